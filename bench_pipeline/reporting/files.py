"""Writing documents: whole or not at all, never outside their folder, never for nothing."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from bench_pipeline.domain.errors import InputError

_MODE = 0o644
_MAX_READABLE = 80
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_LIKE_A_HASH = re.compile(r"(^|-)[0-9a-f]{10}$")


def slug(text: str) -> str:
    """Return a file name for `text`: the text itself when it is safe, else what is readable of it and a hash.

    Different texts never share one: whatever looks as if it ended in our hash gets one as well.
    """
    readable = _UNSAFE.sub("-", text)[:_MAX_READABLE].strip("-.")
    if readable == text and text and not _LIKE_A_HASH.search(text):
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    return f"{readable}-{digest}" if readable else digest


def path_in(folder: Path, *names: str) -> Path:
    """Return the path of `names` below `folder`. Raises `InputError` when it leads elsewhere."""
    path = folder.joinpath(*names)
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{path}: leads out of {folder}; remove the link or choose another folder")
    return path


def write_new(path: Path, text: str) -> Path:
    """Write `text` to `path`, or to the next free `name-2`, `name-3` …, and return where it stands.

    No file is ever overwritten; one that holds the same bytes already is returned as it is. Raises
    `InputError` when the file cannot be written.
    """
    content = text.encode()
    with _told(path), _temporary(path, content) as temporary:
        return next(name for name in _numbered(path) if _claim(temporary, name) or _holds(name, content))


def _numbered(path: Path) -> Iterator[Path]:
    yield path
    for number in count(2):
        yield path.with_name(f"{path.stem}-{number}{path.suffix}")


def _claim(temporary: Path, name: Path) -> bool:
    """Give the file this name as well, unless the name is taken; in one step, so that no other writer loses."""
    try:
        os.link(temporary, name)
    except FileExistsError:
        return False
    return True


def write_if_changed(path: Path, text: str) -> bool:
    """Make `path` hold `text` in one step and return whether it changed.

    A failed write leaves the old file and nothing else. Raises `InputError` then.
    """
    content = text.encode()
    with _told(path):
        if _holds(path, content):
            return False
        with _temporary(path, content) as temporary:
            temporary.replace(path)
    return True


def _holds(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content


@contextmanager
def _temporary(path: Path, content: bytes) -> Iterator[Path]:
    """Give a file beside `path` with `content` safely on the disk; it is gone afterwards."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), _MODE)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}; free it or choose another folder") from None
