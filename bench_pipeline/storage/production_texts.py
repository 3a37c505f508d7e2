"""What production keeps beyond the required columns: whole prompts of conversations, and past interactions.

The tables and their names are in production.py. Values come from production and may hold anything.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from sqlalchemy import JSON, Column, ColumnElement, Connection, String, Table, cast, func, literal, select

from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.models.ids import ConversationId
from bench_pipeline.domain.strict_json import JsonRefused, strict_json

_UNIT, _RECORD = "\x1f", "\x1e"  # ASCII's own separators: between the parts of a prompt, and between prompts


@dataclass(frozen=True, slots=True)
class ConversationPrompt:
    """What production sends for a conversation. `options` are the runtime's, as production names them."""

    template: str
    system: str | None
    options: Mapping[str, object]
    time_limit_s: float | None


@dataclass(frozen=True, slots=True)
class Interaction:
    """A past call. `input` is a text, an object of JSON, or None; `output` and `posting_id` are None if not kept."""

    interaction_id: int | str
    posting_id: int | str | None
    input: str | Mapping[str, object] | None
    output: str | None


def read_prompts(
    connection: Connection, table: Table, conversation_ids: Iterable[ConversationId]
) -> dict[ConversationId, ConversationPrompt]:
    """Return the prompts of these conversations, without those that have no template.

    Raises `InputError` for options that are not an object of JSON, and for a time limit that is not a positive number.
    """
    wanted = [table.c.template, *(_text(table, name) for name in ("system_template", "options", "time_limit_s"))]
    query = select(table.c.conversation_id, *wanted).where(table.c.conversation_id.in_(list(conversation_ids)))
    last = {number: row for number, *row in connection.execute(query) if row[0]}
    return {
        number: ConversationPrompt(
            template,
            system or None,
            _options(options, _Where(table, "options", number)),
            _time_limit(limit, _Where(table, "time_limit_s", number)),
        )
        for number, (template, system, options, limit) in last.items()
    }


def prompt_parts(table: Table) -> list[Column[Any]]:
    """Return the columns of a prompt, in the order in which they are hashed."""
    names = ("template", "system_template", "options", "time_limit_s")
    return [table.c[name] for name in names if name in table.c]


def read_prompt_hashes(
    connection: Connection, table: Table, conversation_ids: Sequence[ConversationId]
) -> dict[ConversationId, str]:
    """Return the SHA-256 over all rows of each conversation that has any, sorted, as the promotion's function does."""
    parts = [func.coalesce(cast(column, String), "") for column in prompt_parts(table)]
    query = select(table.c.conversation_id, *parts).where(table.c.conversation_id.in_(conversation_ids))
    lines: dict[ConversationId, list[str]] = {}
    for number, *texts in connection.execute(query):
        lines.setdefault(number, []).append(_UNIT.join(texts))
    return {number: sha256(_RECORD.join(sorted(found)).encode()).hexdigest() for number, found in lines.items()}


def read_interactions(
    connection: Connection, table: Table, conversation_id: ConversationId, limit: int
) -> list[Interaction]:
    """Return at most `limit` interactions of a conversation, newest first."""
    c = table.c
    query = (
        select(c.interaction_id, _own_type(table, "posting_id"), _text(table, "input"), _text(table, "output"))
        .where(c.conversation_id == conversation_id)
        .order_by(c.created_at.desc().nulls_last(), c.interaction_id.desc())
        .limit(limit)
    )
    as_json = {name: name in c and isinstance(c[name].type, JSON) for name in ("input", "output")}
    return [
        Interaction(
            number,
            posting_id,
            _decoded(given, as_json["input"]),
            _plain(answered, as_json["output"]),
        )
        for number, posting_id, given, answered in connection.execute(query)
    ]


@dataclass(frozen=True, slots=True)
class _Where:
    """The place of a faulty value, for its message."""

    table: Table
    column: str
    conversation_id: ConversationId

    def refused(self, problem: str, remedy: str) -> InputError:
        name: Column[Any] = self.table.c[self.column]
        return InputError(
            f"table {self.table.name}, column {name.name}, conversation {self.conversation_id}: {problem}; {remedy}"
        )


def _own_type(table: Table, name: str) -> ColumnElement[Any]:
    return table.c[name] if name in table.c else literal(None)


def _text(table: Table, name: str) -> ColumnElement[Any]:
    """Read a column as text: a column of JSON may hold what a driver cannot decode."""
    return cast(table.c[name], String) if name in table.c else literal(None)


def _options(text: str | None, where: _Where) -> Mapping[str, object]:
    if text is None or not text.strip():
        return {}
    try:
        value = strict_json(text)
    except JsonRefused as error:
        raise where.refused(f"is {error}", "write one JSON object") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise where.refused("is not a JSON object", 'write one, such as {"num_predict": 64}')
    return value


def _time_limit(text: str | None, where: _Where) -> float | None:
    if text is None or not text.strip():
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        raise where.refused("is not a number of seconds above 0", "correct it, or set it to NULL")
    return seconds


def _decoded(text: str | None, as_json: bool) -> str | Mapping[str, object] | None:
    """Return an object of JSON as a mapping, whatever the column's type; every other value as text."""
    if text is None:
        return None
    try:
        value = strict_json(text)
    except JsonRefused:
        return text
    if isinstance(value, dict):
        return value
    return _plain(text, as_json)


def _plain(text: str | None, as_json: bool) -> str | None:
    """Return a text of a JSON column without its quotes; null is None, other values stay JSON."""
    if text is None or not as_json:
        return text
    try:
        value = strict_json(text)
    except JsonRefused:
        return text
    return value if isinstance(value, str) else None if value is None else text
