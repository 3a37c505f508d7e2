"""The tables and columns that are relied on, and how a person names the application's own for them.

Whether they exist is checked in storage/production_tables.py; guessing them is in proposal.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr

from bench_pipeline.domain.errors import InputError

REQUIRED = {
    "actors": ("actor_id", "actor_name", "actor_type", "execution_path", "enabled"),
    "conversations": ("conversation_id", "conversation_name", "actor_id"),
}
OPTIONAL = {
    "workflows": ("workflow_id", "workflow_name"),
    "workflow_conversations": ("workflow_id", "conversation_id", "execution_order"),
    "prompt_templates": ("conversation_id", "template"),
    "postings": ("posting_id", "posting_text"),
    "interactions": ("interaction_id", "conversation_id", "actor_id", "latency_ms", "created_at"),
}
OPTIONAL_COLUMNS = {
    "prompt_templates": ("system_template", "options", "time_limit_s"),
    "interactions": ("input", "output", "posting_id"),
}
"""Columns that a table may lack and still be used."""
KNOWN_NAMES = frozenset(
    name
    for table, columns in (REQUIRED | OPTIONAL).items()
    for name in (table, *(f"{table}.{column}" for column in (*columns, *OPTIONAL_COLUMNS.get(table, ()))))
)
KEYS = frozenset({"actor_id", "conversation_id", "workflow_id", "posting_id", "interaction_id"})
"""The columns that hold ids."""
ENABLED = "actors.enabled"
"""The only name that may be mapped with the values that count as true."""

_PART = r'"(?:[^"]|"")+"|[^".][^.]*'
_RELATION = re.compile(rf"(?:({_PART})\.)?({_PART})")


class ColumnName(BaseModel):
    """A column by its name, with the values of it that count as true; None for the values of the general rule."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    column: str = Field(min_length=1)
    true_values: tuple[StrictBool | StrictInt | StrictStr, ...] | None = Field(default=None, min_length=1)

    @property
    def true_texts(self) -> tuple[str, ...] | None:
        """The values as a database casts them to text."""
        if self.true_values is None:
            return None
        return tuple(str(v).lower() if isinstance(v, bool) else str(v).strip() for v in self.true_values)


Names = Mapping[str, str | ColumnName]
"""The application's names by ours: `actors` for a table, `actors.enabled` for a column."""


def mapped_name(name: str, value: Any) -> str | ColumnName:  # noqa: ANN401 - what a person wrote as JSON
    """Return the value of BENCH_PRODUCTION_NAMES for `name`. Raises `ValueError` with what to write."""
    if isinstance(value, str) and value:
        return value
    if "." not in name:
        raise ValueError(f"{name}: write the name of a table, such as crew.models")
    try:
        found = ColumnName.model_validate(value)
    except ValueError:
        raise ValueError(
            f'{name}: write the name of a column, or {{"column": "status", "true_values": ["active"]}}'
        ) from None
    if found.true_values is not None and name != ENABLED:
        raise ValueError(f"{name}: only {ENABLED} takes true_values; write the name of the column")
    return found


def table_name(names: Names, table: str) -> tuple[str | None, str]:
    """Return schema, or None to look along the search path, and name of a table. Raises as `relation_parts` does."""
    value = names.get(table, table)
    return relation_parts(value.column if isinstance(value, ColumnName) else value)


def column_name(names: Names, table: str, column: str) -> str:
    """Return the application's name of a column; quotation marks around it are taken off, as in SQL."""
    value = names.get(f"{table}.{column}", column)
    name = value.column if isinstance(value, ColumnName) else value
    return _plain(name) if re.fullmatch(r'"(?:[^"]|"")+"', name) else name


def relation_parts(written: str) -> tuple[str | None, str]:
    """Split `schema.table`; a part with a dot, or a quotation mark at its start, stands in quotation marks, as in SQL.

    Without them a name is taken as it is written, with its capital letters. Raises `InputError`.
    """
    found = _RELATION.fullmatch(written)
    if found is None:
        raise InputError(
            f"BENCH_PRODUCTION_NAMES: {written} names no table; write TABLE or SCHEMA.TABLE, and a name with a dot "
            'as "my.table"'
        )
    schema, table = found.groups()
    return (None if schema is None else _plain(schema)), _plain(table)


def written_relation(schema: str | None, table: str) -> str:
    """Return what `relation_parts` reads as this schema and table."""
    return _written(table) if schema is None else f"{_written(schema)}.{_written(table)}"


def written_column(name: str) -> str:
    """Return what `column_name` reads as this column."""
    return '"' + name.replace('"', '""') + '"' if name.startswith('"') else name


def _plain(part: str) -> str:
    return part[1:-1].replace('""', '"') if part.startswith('"') else part


def _written(part: str) -> str:
    return '"' + part.replace('"', '""') + '"' if re.search(r'[".]', part) else part
