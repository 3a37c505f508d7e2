"""Metadata that all assets share: owners, groups, code version, tables and rounded figures. No asset is here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import dagster as dg

OWNERS = ["team:llm-operations"]
CODE_VERSION = version("bench_pipeline")
PRODUCTION, MODELS, DOCUMENTS = "production", "models", "documents"
"""Groups of the lineage, from left to right; the groups of the tasks are between models and documents."""

_SIGNIFICANT_DIGITS = 4


def table(records: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> dg.TableMetadataValue:
    """Return rows as a table of the UI. `columns` maps each name to `string`, `int`, `float` or `bool`."""
    schema = dg.TableSchema([dg.TableColumn(name, kind) for name, kind in columns.items()])
    return dg.MetadataValue.table(
        [dg.TableRecord({name: _shown(record[name]) for name in columns}) for record in records], schema
    )


def numbers(**values: float | None) -> dict[str, float]:
    """Return the known values, rounded; the UI plots numbers over time."""
    return {name: rounded(value) for name, value in values.items() if value is not None}


def rounded(value: float) -> float:
    """Return a figure with four significant digits; more would claim more than is known."""
    return float(f"{value:.{_SIGNIFICANT_DIGITS}g}")


def _shown(value: object) -> Any:  # noqa: ANN401 - any value of a table's cell
    return rounded(value) if isinstance(value, float) else value
