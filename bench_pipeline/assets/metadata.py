"""Metadata that all assets share: owners, groups, code version, tables, rounded figures and links. No asset is here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import dagster as dg

from bench_pipeline.domain.text import shortened

OWNERS = ["team:llm-operations"]
CODE_VERSION = version("bench_pipeline")
PRODUCTION, MODELS, DOCUMENTS = "production", "models", "documents"
"""Groups of the lineage, from left to right; the groups of the tasks are between models and documents."""
TRIGGERS = dg.AssetKey("triggers")
"""The asset that lists what waits for a run or was given up."""

SHOWN = 20
"""Rows of a table on a page; the others are counted, because a page with hundreds of rows is not read."""
_CELL_CHARS = 200
_TEXT_CHARS = 20_000
_SIGNIFICANT_DIGITS = 4


def first_rows(
    name: str, records: Sequence[Mapping[str, Any]], columns: Mapping[str, str], rest: str = ""
) -> dict[str, Any]:
    """Return the first records as the table `name`, and how many of how many these are if some are left out.

    `columns` maps each name to `string`, `int`, `float` or `bool`. `rest` says where all of them are.
    """
    shown = {name: table(records, columns)}
    if len(records) <= SHOWN:
        return shown
    where = f"; all: {rest}" if rest else ""
    return {f"{name}_shows": f"first {SHOWN} of {len(records):,}{where}", **shown}


def table(records: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> dg.TableMetadataValue:
    """Return the first rows as a table of the UI; long texts are cut."""
    schema = dg.TableSchema([dg.TableColumn(name, kind) for name, kind in columns.items()])
    rows = [dg.TableRecord({name: _shown(record[name]) for name in columns}) for record in records[:SHOWN]]
    return dg.MetadataValue.table(rows, schema)


def text(parts: Sequence[object], most: int = SHOWN, rest: str = "") -> str:
    """Return the first of these texts and the number of the others, or `none`; `rest` says where all of them are.

    They are separated by semicolons, because the UI shows no line breaks.
    """
    more = len(parts) - most
    where = f", all: {rest}" if rest else ""
    return "; ".join([*map(str, parts[:most]), *([f"and {more:,} more{where}"] if more > 0 else [])]) or "none"


def markdown(source: str, rest: str) -> dg.MarkdownMetadataValue:
    """Return Markdown, cut at a line if it is long; `rest` says where all of it is."""
    if len(source) <= _TEXT_CHARS:
        return dg.MetadataValue.md(source)
    whole_lines = source[:_TEXT_CHARS].rpartition("\n")[0]
    return dg.MetadataValue.md(f"{whole_lines}\n\n… the rest: {rest}\n")


def cut(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return a JSON value whose lists are cut; a last text counts what was left out."""
    match value:
        case dict():
            return {name: cut(inner) for name, inner in value.items()}
        case list() if len(value) > SHOWN:
            return [*map(cut, value[:SHOWN]), f"and {len(value) - SHOWN:,} more"]
        case list():
            return [cut(inner) for inner in value]
        case _:
            return value


def words(value: str) -> str:
    """Return a text of a reason or a model, cut if it is long."""
    return shortened(value, _CELL_CHARS * 5)


def numbers(**values: float | None) -> dict[str, float]:
    """Return the known values, rounded; the UI plots numbers over time."""
    return {name: rounded(value) for name, value in values.items() if value is not None}


def rounded(value: float) -> float:
    """Return a figure with four significant digits; more would claim more than is known."""
    return float(f"{value:.{_SIGNIFICANT_DIGITS}g}")


def _shown(value: object) -> Any:  # noqa: ANN401 - any value of a table's cell
    if isinstance(value, float):
        return rounded(value)
    return shortened(value, _CELL_CHARS) if isinstance(value, str) else value
