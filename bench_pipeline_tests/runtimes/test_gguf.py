"""The head of a GGUF file is read as it stands, and no bytes do more harm than one clear line."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bench_pipeline.domain.errors import InputError
from bench_pipeline.runtimes.gguf import GgufHead, read_head

U32, F32, STRING, ARRAY, U64 = 4, 6, 8, 9, 10


def packed(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def number(key: str, value: int) -> bytes:
    return packed(key) + struct.pack("<II", U32, value)


def words(key: str, value: str) -> bytes:
    return packed(key) + struct.pack("<I", STRING) + packed(value)


def array(key: str, kind: int, count: int, content: bytes) -> bytes:
    return packed(key) + struct.pack("<IIQ", ARRAY, kind, count) + content


def gguf(*fields: bytes, version: int = 3, tensors: int = 0) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, len(fields)) + b"".join(fields)


LLAMA = words("general.architecture", "llama")


def head_of(folder: Path, content: bytes) -> GgufHead:
    path = folder / "model.gguf"
    path.write_bytes(content)
    return read_head(path)


def problem_of(folder: Path, content: bytes) -> str:
    try:
        head_of(folder, content)
    except InputError as error:
        return str(error)
    return ""


def test_what_identifies_a_model_is_read(tmp_path: Path) -> None:
    head = head_of(
        tmp_path,
        gguf(
            LLAMA,
            words("general.name", "Small"),
            words("general.size_label", "135M"),
            number("general.file_type", 15),
            number("llama.context_length", 8192),
            words("tokenizer.chat_template", "{{ messages }}"),
        ),
    )
    template = hashlib.sha256(b"{{ messages }}").hexdigest()
    assert head == GgufHead("llama", "Small", "135M", "Q4_K_M", 8192, template)


def test_what_a_file_does_not_say_is_unknown(tmp_path: Path) -> None:
    assert head_of(tmp_path, gguf(LLAMA)) == GgufHead("llama")


def test_fields_behind_a_vocabulary_are_read(tmp_path: Path) -> None:
    head = head_of(
        tmp_path,
        gguf(
            LLAMA,
            array("tokenizer.ggml.tokens", STRING, 3, packed("a") + packed("") + packed("ccc")),
            array("tokenizer.ggml.scores", F32, 3, bytes(12)),
            words("general.name", "Behind"),
        ),
    )
    assert head.name == "Behind"


@pytest.mark.parametrize(
    ("number_of", "name"), [(0, "F32"), (2, "Q4_0"), (3, "Q4_1"), (7, "Q8_0"), (17, "Q5_K_M"), (1024 + 15, "Q4_K_M")]
)
def test_a_file_type_has_its_usual_name(tmp_path: Path, number_of: int, name: str) -> None:
    assert head_of(tmp_path, gguf(LLAMA, number("general.file_type", number_of))).quantization == name


def test_an_unknown_file_type_keeps_its_number(tmp_path: Path) -> None:
    assert head_of(tmp_path, gguf(LLAMA, number("general.file_type", 99))).quantization == "ftype 99"


def test_a_parameter_count_stands_in_for_a_missing_label(tmp_path: Path) -> None:
    count = packed("general.parameter_count") + struct.pack("<IQ", U64, 134_515_008)
    assert head_of(tmp_path, gguf(LLAMA, count)).parameter_size == "135M"


def test_a_model_that_pools_is_known_to_embed(tmp_path: Path) -> None:
    bert = words("general.architecture", "bert")
    assert head_of(tmp_path, gguf(bert, number("bert.pooling_type", 1))).embeds


def test_a_field_of_another_type_than_usual_is_unknown(tmp_path: Path) -> None:
    head = head_of(tmp_path, gguf(LLAMA, words("llama.context_length", "long"), number("general.name", 7)))
    assert head == GgufHead("llama")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "ends within its head"),
        (b"PK\x03\x04 and more of a zip", "does not start with GGUF"),
        (gguf(LLAMA, version=1), "its version is 1"),
        (gguf(words("general.name", "Nobody")), "lacks general.architecture"),
        (gguf(LLAMA)[:-3], "ends within its head"),
        (gguf(LLAMA, number("split.count", 3)), "one part of several"),
        (gguf(LLAMA, packed("key") + struct.pack("<I", 77)), "unknown type 77"),
        (gguf(LLAMA, array("nested", ARRAY, 1, bytes(16))), "unknown type 9"),
        (gguf(LLAMA, array("endless", STRING, 2**63, b"")), "ends within its head"),
        (gguf(LLAMA, array("endless", U64, 2**63, b"")), "head is longer than 64 MiB"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**40), "claims 1099511627776 fields"),
    ],
)
def test_an_unusable_file_is_named_with_its_problem(tmp_path: Path, content: bytes, problem: str) -> None:
    with pytest.raises(InputError, match=rf"model\.gguf: is not a usable GGUF file: .*{problem}"):
        head_of(tmp_path, content)


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.gguf"):
        read_head(tmp_path / "absent.gguf")


WHOLE = gguf(LLAMA, array("words", STRING, 2, packed("a") + packed("b")), number("general.file_type", 2))


@given(head=st.binary(max_size=200), cut=st.integers(0, len(WHOLE)), flip=st.integers(0, len(WHOLE) - 1))
@example(head=struct.pack("<IQQ", 3, 0, 60_000), cut=4, flip=0)
def test_no_bytes_do_more_than_raise_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, head: bytes, cut: int, flip: int
) -> None:
    folder = tmp_path_factory.getbasetemp()
    damaged = bytes(byte ^ (0xFF if at == flip else 0) for at, byte in enumerate(WHOLE))
    for content in (head, b"GGUF" + head, WHOLE[:cut] + head, damaged, damaged[:cut]):
        assert "\n" not in problem_of(folder, content)
