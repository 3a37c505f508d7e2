"""Output shared by all commands: JSON, tables, durations, safe text. Texts about production: production_text.py."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from datetime import datetime
from enum import Enum
from pathlib import Path

import click
from pydantic import BaseModel

from bench_pipeline.cli.streams import as_written

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")


def print_json(value: object) -> None:
    """Print a value as JSON, including dataclasses, models, enums and paths.

    Where standard output cannot write a character, all of them are escaped, so that none is lost.
    """
    plain = _plain(value)
    text = json.dumps(plain, indent=2, ensure_ascii=False)
    click.echo(text if as_written(text) == text else json.dumps(plain, indent=2))


def _plain(value: object) -> object:
    match value:
        case Enum():
            return value.value
        case BaseModel():
            return value.model_dump(mode="json")
        case datetime():
            return value.isoformat()
        case Path():
            return str(value)
        case dict():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return value


def duration(ms: float | None) -> str:
    """Return milliseconds in readable form: `34 ms` below a second, else `2.11 s`."""
    if ms is None:
        return "–"
    return f"{ms:.0f} ms" if ms < 1000 else f"{ms / 1000:.2f} s"


def safe(text: object) -> str:
    """Return text without control characters: a model's output must not control the terminal."""
    return "".join(c if c.isprintable() else " " for c in str(text))


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return an aligned table of plain text."""
    cells = [[safe(cell) for cell in row] for row in rows]
    widths = [max(len(line[i]) for line in [list(header), *cells]) for i in range(len(header))]
    lines = [header, ["─" * width for width in widths], *cells]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
