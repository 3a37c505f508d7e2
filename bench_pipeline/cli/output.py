"""Output shared by all commands: JSON, tables, durations, safe text. Texts about production: production_text.py."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import sys
from collections.abc import Callable, Sequence
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
    plain = str(text)
    return plain if plain.isprintable() else "".join(c if c.isprintable() else " " for c in plain)


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return an aligned table of plain text.

    On a terminal that is too narrow, names are cut in the middle. Figures are never cut, and neither are sentences
    in the last column, which the terminal wraps. In a file or a pipe nothing is cut.
    """
    from rich.cells import cell_len  # wide characters take two cells

    cells = [[as_written(safe(cell)) for cell in row] for row in (header, *rows)]
    columns = [_Column([line[i] for line in cells], cell_len) for i in range(len(header))]
    if sys.stdout.isatty():
        _fit(columns, shutil.get_terminal_size().columns)
    shown = [column.lines() for column in columns]
    return "\n".join("  ".join(line).rstrip() for line in zip(*shown, strict=True))


_LEAST = 12  # cells of a column that is cut: enough for the hashes that commands take
_LETTERS = re.compile(r"[^\W\d_]{4}")


class _Column:
    """A table's column: its texts, the header first, and the cells that it takes."""

    def __init__(self, texts: Sequence[str], cell_len: Callable[[str], int]) -> None:
        self._texts = texts
        self._cell_len = cell_len
        self.width = max(map(cell_len, texts))
        self.is_figures = not any(_LETTERS.search(text) for text in texts[1:])
        self.is_prose = any(text.count(" ") > 3 for text in texts[1:])

    @property
    def spare(self) -> int:
        """How much of the width can be given up: sentences first, figures never."""
        return 0 if self.is_figures else (self.width - _LEAST) * (10_000 if self.is_prose else 1)

    def lines(self) -> list[str]:
        """Return the texts at this width, with a rule below the header."""
        head, *texts = [self._padded(text) for text in self._texts]
        return [head, as_written("─") * self.width, *texts]

    def _padded(self, text: str) -> str:
        if not self.is_prose and self._cell_len(text) > self.width:
            mark = as_written("…")
            room = self.width - len(mark)
            text = f"{self._begin(text, room - room // 2)}{mark}{self._begin(text[::-1], room // 2)[::-1]}"
        return text + " " * (self.width - self._cell_len(text))

    def _begin(self, text: str, room: int) -> str:
        return text[: sum(self._cell_len(text[: i + 1]) <= room for i in range(len(text)))]


def _fit(columns: Sequence[_Column], room: int) -> None:
    """Narrow the columns until the table fits `room` cells, or each is as narrow as is useful."""
    for column in columns[:-1]:
        column.is_prose = False
    excess = sum(column.width for column in columns) + 2 * (len(columns) - 1) - room
    while excess > 0:
        widest = max(columns, key=lambda column: column.spare)
        if widest.spare <= 0:
            return
        widest.width -= 1
        excess -= 1
