"""The file `.env`: whether it can be read as settings. Which settings there are is in settings.py."""

from __future__ import annotations

import codecs
import io
from pathlib import Path

from dotenv.parser import parse_stream

from bench_pipeline.domain.errors import InputError

ENV_FILE = Path(".env")
ENCODING = "utf-8-sig"
"""Windows editors begin UTF-8 with a byte order mark, which would become part of the first name."""


def check_env_file() -> None:
    """Raise `InputError` if `.env` is there and cannot be read as settings.

    Without this check a folder or a faulty line is ignored, and another encoding fails without the file's name. A
    virtual environment of that name is left alone.
    """
    if (ENV_FILE / "pyvenv.cfg").is_file():
        return
    if ENV_FILE.is_dir():
        raise InputError(f"{ENV_FILE}: is a folder; remove it, or replace it by a file with one NAME=value per line")
    try:
        raw = ENV_FILE.read_bytes()
    except FileNotFoundError:
        if ENV_FILE.is_symlink():
            raise InputError(f"{ENV_FILE}: is a link to a file that does not exist; remove or correct it") from None
        return
    except OSError as error:
        raise InputError(f"{ENV_FILE}: cannot be read: {error.strerror}; correct that or remove the file") from None
    for binding in parse_stream(io.StringIO(_text_of_env_file(raw))):
        if binding.error:
            raise InputError(f"{ENV_FILE}: line {binding.original.line} cannot be read; write NAME=value")


def _text_of_env_file(raw: bytes) -> str:
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in raw:
        raise InputError(
            f"{ENV_FILE}: is UTF-16 or binary, not UTF-8 text; in PowerShell write "
            f"`(Get-Content {ENV_FILE}) | Set-Content -Encoding utf8 {ENV_FILE}`"
        )
    try:
        return raw.decode(ENCODING)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InputError(f"{ENV_FILE}: line {line} is not UTF-8 text; save the file as UTF-8") from None
