"""The head of a GGUF file, which identifies its model. Reads the metadata and stops before the tensors.

Skips arrays without building them, so a vocabulary of 150,000 words takes a tenth of a second.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from bench_pipeline.domain.errors import InputError

MAGIC = b"GGUF"
_READABLE_VERSIONS = (2, 3)
_LONGEST_HEAD_BYTES = 64 * 2**20
_MOST_FIELDS = 65_536
_STRING, _ARRAY = 8, 9
_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}

# llama.cpp's enum llama_ftype; the missing numbers are formats that were withdrawn.
_QUANTIZATIONS = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K",
    11: "Q3_K_S",
    12: "Q3_K_M",
    13: "Q3_K_L",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    19: "IQ2_XXS",
    20: "IQ2_XS",
    21: "Q2_K_S",
    22: "IQ3_XS",
    23: "IQ3_XXS",
    24: "IQ1_S",
    25: "IQ4_NL",
    26: "IQ3_S",
    27: "IQ3_M",
    28: "IQ2_S",
    29: "IQ2_M",
    30: "IQ4_XS",
    31: "IQ1_M",
    32: "BF16",
    36: "TQ1_0",
    37: "TQ2_0",
    38: "MXFP4_MOE",
    39: "NVFP4",
    40: "Q1_0",
}
_GUESSED = 1024

_Scalar = int | float | str


@dataclass(frozen=True, slots=True)
class GgufHead:
    """What a GGUF file says about its model; `None` where it says nothing.

    `context_length` is in tokens, `template_hash` the SHA-256 of the chat template.
    """

    architecture: str
    name: str | None = None
    parameter_size: str | None = None
    quantization: str | None = None
    context_length: int | None = None
    template_hash: str | None = None
    embeds: bool = False


class _Unusable(Exception):
    """The bytes are not the head of a complete GGUF file."""


class _Cursor:
    """Reads values one after another, up to `_LONGEST_HEAD_BYTES`."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = _LONGEST_HEAD_BYTES

    def _spend(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise _Unusable(f"its head is longer than {_LONGEST_HEAD_BYTES // 2**20} MiB")

    def take(self, count: int) -> bytes:
        self._spend(count)
        data = self._file.read(count)
        if len(data) < count:
            raise _Unusable("it ends within its head")
        return data

    def skip(self, count: int) -> None:
        self._spend(count)
        self._file.seek(count, 1)

    def unsigned(self, code: str) -> int:
        return int.from_bytes(self.take(struct.calcsize(code)), "little")

    def string(self) -> str:
        return self.take(self.unsigned("<Q")).decode("utf-8", "replace")

    def value(self) -> _Scalar | None:
        """Return the next value, or None for an array, which is skipped."""
        kind = self.unsigned("<I")
        if kind == _ARRAY:
            self._skip_array()
            return None
        if kind == _STRING:
            return self.string()
        code = self._scalar(kind)
        scalar: _Scalar = struct.unpack(code, self.take(struct.calcsize(code)))[0]
        return scalar

    def _skip_array(self) -> None:
        kind, count = self.unsigned("<I"), self.unsigned("<Q")
        if kind != _STRING:
            self.skip(count * struct.calcsize(self._scalar(kind)))
            return
        for _ in range(count):
            self.skip(self.unsigned("<Q"))

    @staticmethod
    def _scalar(kind: int) -> str:
        if kind not in _SCALARS:
            raise _Unusable(f"it contains a value of unknown type {kind}")
        return _SCALARS[kind]


def read_head(path: Path) -> GgufHead:
    """Return what the file at `path` says about its model.

    Raises `InputError` when it cannot be read, is not a GGUF file, or is one part of several.
    """
    try:
        with path.open("rb") as file:
            fields = _read_fields(_Cursor(file))
        return _head_of(fields)
    except (_Unusable, OSError) as error:
        raise InputError(f"{path}: is not a usable GGUF file: {error}; give a complete one") from error


def _read_fields(cursor: _Cursor) -> dict[str, _Scalar]:
    if cursor.take(len(MAGIC)) != MAGIC:
        raise _Unusable("it does not start with GGUF")
    version = cursor.unsigned("<I")
    if version not in _READABLE_VERSIONS:
        raise _Unusable(f"its version is {version}; supported are 2 and 3, little-endian")
    cursor.skip(struct.calcsize("<Q"))
    count = cursor.unsigned("<Q")
    if count > _MOST_FIELDS:
        raise _Unusable(f"it claims {count} fields")
    fields: dict[str, _Scalar] = {}
    for _ in range(count):
        key, value = cursor.string(), cursor.value()
        if value is not None:
            fields[key] = value
    return fields


def _head_of(fields: dict[str, _Scalar]) -> GgufHead:
    architecture = _text(fields, "general.architecture")
    if architecture is None:
        raise _Unusable("it lacks general.architecture")
    if (_count(fields, "split.count") or 1) > 1:
        raise _Unusable("it is one part of several; join them with llama-gguf-split --merge")
    template = _text(fields, "tokenizer.chat_template")
    return GgufHead(
        architecture=architecture,
        name=_text(fields, "general.name"),
        parameter_size=_parameter_size(fields),
        quantization=_quantization(_count(fields, "general.file_type")),
        context_length=_count(fields, f"{architecture}.context_length"),
        template_hash=hashlib.sha256(template.encode()).hexdigest() if template else None,
        embeds=f"{architecture}.pooling_type" in fields,
    )


def _text(fields: dict[str, _Scalar], key: str) -> str | None:
    value = fields.get(key)
    return value if isinstance(value, str) else None


def _count(fields: dict[str, _Scalar], key: str) -> int | None:
    value = fields.get(key)
    return value if isinstance(value, int) else None


def _parameter_size(fields: dict[str, _Scalar]) -> str | None:
    label, count = _text(fields, "general.size_label"), _count(fields, "general.parameter_count")
    if label or count is None:
        return label
    return f"{count / 1e9:.3g}B" if count >= 10**9 else f"{count / 1e6:.3g}M"


def _quantization(file_type: int | None) -> str | None:
    if file_type is None:
        return None
    number = file_type & ~_GUESSED
    return _QUANTIZATIONS.get(number, f"ftype {number}")
