"""Writes documents: atomically, only inside their folder, only on a change. Their text comes from the other modules."""

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
    """Return a file name for `text`: the text itself if it is safe, else its readable part and a hash.

    Different texts never share a name: a text that already ends like our hash gets a hash as well.
    """
    readable = _UNSAFE.sub("-", text)[:_MAX_READABLE].strip("-.")
    if readable == text and text and not _LIKE_A_HASH.search(text):
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    return f"{readable}-{digest}" if readable else digest


def path_in(folder: Path, *names: str) -> Path:
    """Return the path of `names` below `folder`. Raises `InputError` when it is outside."""
    path = folder.joinpath(*names)
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{path}: is outside {folder}; remove the link or choose another folder")
    return path


def write_new(path: Path, text: str) -> Path:
    """Write `text` to `path`, or to the next free `name-2`, `name-3` …, and return the path.

    No file is overwritten; an existing file with the same bytes is returned. Raises `InputError` when the file cannot
    be written.
    """
    content = text.encode()
    with _readable_errors(path), _temporary(path, content) as temporary:
        return next(name for name in _numbered(path) if _claim(temporary, name) or _holds(name, content))


def _numbered(path: Path) -> Iterator[Path]:
    yield path
    for number in count(2):
        yield path.with_name(f"{path.stem}-{number}{path.suffix}")


def _claim(temporary: Path, name: Path) -> bool:
    """Link the file to this name unless the name is taken; atomic, so no other writer's file is lost."""
    try:
        os.link(temporary, name)
    except FileExistsError:
        return False
    return True


def write_if_changed(path: Path, text: str) -> bool:
    """Replace the content of `path` by `text` atomically and return whether it changed.

    A failed write leaves the old file and nothing else, and raises `InputError`.
    """
    content = text.encode()
    with _readable_errors(path):
        if _holds(path, content):
            return False
        with _temporary(path, content) as temporary:
            temporary.replace(path)
    return True


def _holds(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content


@contextmanager
def _temporary(path: Path, content: bytes) -> Iterator[Path]:
    """Yield a temporary file beside `path` with `content` synced to disk; it is removed afterwards."""
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
def _readable_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written: {error.strerror}; correct that or choose another folder"
        ) from None
