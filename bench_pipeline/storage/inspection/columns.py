"""The columns that a promotion depends on: the types of keys, the truth of `enabled`, what writes actor_id itself."""

from __future__ import annotations

from collections.abc import Iterator

from bench_pipeline.storage.inspection.findings import Finding, Stops
from bench_pipeline.storage.inspection.inspected import Inspected, Relation
from bench_pipeline.storage.inspection.names import quoted

_KINDS = {
    **dict.fromkeys(("int2", "int4", "int8", "numeric"), "number"),
    **dict.fromkeys(("text", "varchar", "bpchar", "citext", "name"), "text"),
    "uuid": "uuid",
}
"""Types that an id may have; values of one kind can be compared."""
_TRUTH = ("bool", "int2", "int4", "int8", "numeric")
_KEYS = {
    "actors": ("actor_id",),
    "conversations": ("conversation_id", "actor_id"),
    "workflows": ("workflow_id",),
    "workflow_conversations": ("workflow_id", "conversation_id"),
}
_REFERENCES = (
    ("conversations", "actor_id", "actors"),
    ("workflow_conversations", "conversation_id", "conversations"),
    ("workflow_conversations", "workflow_id", "workflows"),
)
_TYPES = """
SELECT a.attname AS name, format_type(a.atttypid, a.atttypmod) AS shown, coalesce(b.typname, t.typname) AS base
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type b ON b.oid = t.typbasetype
WHERE a.attrelid = :oid AND a.attnum > 0 AND NOT a.attisdropped
"""
_WRITTEN = """
SELECT attgenerated AS generated, attidentity AS identity FROM pg_attribute
WHERE attrelid = :oid AND attname = :name
"""
_CHECKS = """
SELECT c.conname AS name, pg_get_constraintdef(c.oid) AS rule FROM pg_constraint c
JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)
WHERE c.conrelid = :oid AND c.contype = 'c' AND a.attname = :name ORDER BY c.conname
"""


def key_types(inspected: Inspected) -> Iterator[Finding]:
    """Find keys of a type that no id can have, and keys that cannot be compared with what they refer to."""
    kinds: dict[tuple[str, str], tuple[str, str | None]] = {}
    for table, keys in _KEYS.items():
        if (relation := inspected.relations.get(table)) is None:
            continue
        types = _types(inspected, relation)
        for key in keys:
            shown, base = types[relation.columns[key]]
            kinds[table, key] = shown, _KINDS.get(base)
            if base not in _KINDS:
                yield _unusable(relation, key, shown)
    for table, key, other in _REFERENCES:
        here, there = kinds.get((table, key)), kinds.get((other, key))
        if here and there and here[1] and there[1] and here[1] != there[1]:
            yield _differing(inspected.relations[table], inspected.relations[other], key, (here[0], there[0]))


def _types(inspected: Inspected, relation: Relation) -> dict[str, tuple[str, str]]:
    return {row["name"]: (row["shown"], row["base"]) for row in inspected.rows(_TYPES, oid=relation.oid)}


def _unusable(relation: Relation, key: str, shown: str) -> Finding:
    usable = "number" if shown in ("real", "double precision") else "text"
    column = quoted(relation.columns[key])
    new = "bigint" if usable == "number" else "text"
    return Finding(
        Stops.BENCHMARK,
        f"{relation.name}.{column} is of type {shown}; an id must be a whole number, a text or a uuid",
        _retyped(relation, column, new),
    )


def _differing(relation: Relation, other: Relation, key: str, shown: tuple[str, str]) -> Finding:
    column, referred = quoted(relation.columns[key]), quoted(other.columns[key])
    return Finding(
        Stops.BENCHMARK,
        f"{relation.name}.{column} is of type {shown[0]}, but {other.name}.{referred} is of type {shown[1]}, "
        "so they cannot be compared",
        _retyped(relation, column, shown[1]),
    )


def _retyped(relation: Relation, column: str, new: str) -> str:
    if relation.is_view:
        return f"map a table in BENCH_PRODUCTION_NAMES, or let the view {relation.name} give {column}::{new}"
    statement = f"ALTER TABLE {relation.name} ALTER COLUMN {column} TYPE {new} USING {column}::{new}"
    return f"as {relation.owner}: `{statement}`"


def truth(inspected: Inspected) -> Iterator[Finding]:
    """Find a column `enabled` whose type cannot be read as true or false."""
    actors = inspected.relations["actors"]
    column = quoted(actors.columns["enabled"])
    shown, base = _types(inspected, actors)[actors.columns["enabled"]]
    if base not in _TRUTH:
        yield Finding(
            Stops.BENCHMARK,
            f"{actors.name}.{column} is of type {shown}, which cannot be read as true or false",
            _retyped(actors, column, "boolean"),
        )


def written_column(inspected: Inspected) -> Iterator[Finding]:
    """Find what keeps conversations.actor_id from being written, and the constraints that each new value must meet."""
    conversations = inspected.relations["conversations"]
    name = conversations.columns["actor_id"]
    column = f"{conversations.name}.{quoted(name)}"
    alter = f"as {conversations.owner}: `ALTER TABLE {conversations.name} ALTER COLUMN {quoted(name)}"
    for row in inspected.rows(_WRITTEN, oid=conversations.oid, name=name):
        if row["generated"]:
            problem = f"{column} is a generated column, which cannot be written"
            yield Finding(Stops.PROMOTION, problem, f"{alter} DROP EXPRESSION`")
        if row["identity"] == "a":
            problem = f"{column} is GENERATED ALWAYS AS IDENTITY, which cannot be written"
            yield Finding(Stops.PROMOTION, problem, f"{alter} SET GENERATED BY DEFAULT`")
    for row in inspected.rows(_CHECKS, oid=conversations.oid, name=name):
        yield Finding(Stops.NOTHING, f"constraint {row['name']} of {column} holds for each champion: {row['rule']}")
