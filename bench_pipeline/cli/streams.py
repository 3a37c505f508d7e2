"""The standard streams: set up once, so that a command can write to any terminal, file or pipe, or to none.

Characters that a stream's encoding lacks become readable ASCII. What a line says is the commands' business.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
import unicodedata
from functools import cache
from pathlib import Path
from typing import TextIO

_READABLE = {
    "✅": "[ok]", "❌": "[x]", "➖": "[-]", "⏭": "[-]", "⚠": "[!]", "🔌": "[!]", "🥇": "1.", "🥈": "2.", "🥉": "3.",
    "├": "|", "└": "`", "─": "-", "━": "=", "–": "-", "—": "-", "→": "->", "←": "<-", "×": "x", "…": "...",
    "≤": "<=", "≥": ">=", "‘": "'", "’": "'", "“": '"', "”": '"',
    "▁": "_", "▂": ".", "▃": ":", "▄": "-", "▅": "=", "▆": "+", "▇": "*", "█": "#",
}  # fmt: skip
_DECORATION = frozenset("🏁🔁🐢📊🏃⏳📄🏭👉💾📝🧊💧↩⚓⚔")
_ERRORS = "bench_readable"
_ASCII = "bench_ascii"


def set_up_streams() -> None:
    """Make standard output and standard error writable, whatever the locale and the reader.

    A stream that was closed is replaced by the null device. After a failed write the rest of that stream is dropped,
    so that a promotion does not stop half-way because its reader has gone; `lost_output` returns the failure.
    """
    _register()
    _open_closed_descriptors()
    sys.stdout = _set_up(sys.stdout)
    sys.stderr = _set_up(sys.stderr)


def lost_output() -> OSError | None:
    """Return why output was lost; None if it was written, or if its reader ended early as `head` does."""
    failures = [stream.failure for stream in (sys.stdout, sys.stderr) if isinstance(stream, _Output)]
    return next((one for one in failures if one and not isinstance(one, BrokenPipeError)), None)


def as_written(text: str) -> str:
    """Return a text as standard output shows it: with replacements for the characters that its encoding lacks."""
    _register()
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return text.encode(encoding, _ERRORS).decode(encoding)


class _Output(io.TextIOWrapper):
    """A stream that drops what comes after a failed write."""

    failure: OSError | None = None

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self._drop(error)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._drop(error)

    def _drop(self, error: OSError) -> None:
        """Send what is buffered, and all that follows, to the null device."""
        self.failure = self.failure or error
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self.fileno())
        os.close(null)
        super().flush()


def _set_up(stream: TextIO | None) -> TextIO:
    if stream is None:
        return Path(os.devnull).open("w", encoding="utf-8")
    if not isinstance(stream, io.TextIOWrapper) or isinstance(stream, _Output):
        return stream
    # click writes UTF-8 to a stream that calls itself ASCII.
    encoding = _ASCII if codecs.lookup(stream.encoding).name == "ascii" else stream.encoding
    if type(stream) is not io.TextIOWrapper:  # not the interpreter's own, such as that of a test
        stream.reconfigure(encoding=encoding, errors=_ERRORS)
        return stream
    stream.flush()
    return _Output(
        stream.buffer, encoding, _ERRORS, line_buffering=stream.line_buffering, write_through=stream.write_through
    )


def _open_closed_descriptors() -> None:
    """Open the null device in place of closed standard streams; else the next file to open would get their output."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


@cache
def _register() -> None:
    codecs.register_error(_ERRORS, _readable)
    codecs.register(_ascii_codec)


def _ascii_codec(name: str) -> codecs.CodecInfo | None:
    if name != _ASCII:
        return None
    known = codecs.lookup("ascii")
    return codecs.CodecInfo(
        known.encode, known.decode, known.streamreader, known.streamwriter, known.incrementalencoder,
        known.incrementaldecoder, name=_ASCII,
    )  # fmt: skip


def _readable(error: UnicodeError) -> tuple[str, int]:
    """Replace what an encoding lacks: an error handler for `codecs`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text, end = "".join(map(_replacement, error.object[error.start : error.end])), error.end
    while not text and error.object[end : end + 1] == " ":  # the space after a sign that is left out
        end += 1
    return text, end


def _replacement(character: str) -> str:
    if character in _READABLE:
        return _READABLE[character]
    if character in _DECORATION or unicodedata.category(character) in ("Mn", "Cf"):
        return ""
    letter = unicodedata.normalize("NFD", character)[0]  # an accented letter loses its accent
    return letter if letter.isascii() else "?"
