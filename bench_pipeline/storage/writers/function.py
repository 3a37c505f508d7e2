"""The promotion's function of PostgreSQL as a statement, and whether the installed one is that of this program.

Its rules are in apply.sql, its installation in installation.py, its calls in postgresql.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Connection, Engine, Table, text

from bench_pipeline.storage.identifiers import home, in_schema, literal, quoted, relation
from bench_pipeline.storage.production import Production, enabled_sql, model_sql
from bench_pipeline.storage.production_texts import prompt_parts
from bench_pipeline.storage.tables import freezes, promotions

FUNCTION = "benchmark_apply"
SIGNATURE = f"{FUNCTION}(text, text, text, json)"
_SOURCE = Path(__file__).with_name("apply.sql")
_TYPE = """
SELECT CASE WHEN n.nspname = 'pg_catalog' THEN pg_catalog.format_type(a.atttypid, a.atttypmod)
    ELSE pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(t.typname) END
FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace WHERE a.attrelid = {table} AND a.attname = {name}
"""


def function_sql(connection: Connection, production: Production, types: Mapping[str, str], search_path: str) -> str:
    """Return the statement that makes the function, for production's real names.

    `types` are those of the key columns, see `key_types`. `search_path` is what the application's triggers run under.
    """
    from jinja2 import Environment, StrictUndefined

    # The result is SQL: what is filled in was quoted by the dialect, and HTML's rules would spoil it.
    template = Environment(undefined=StrictUndefined, autoescape=False).from_string(  # noqa: S701
        _SOURCE.read_text(encoding="utf-8")
    )
    engine = connection.engine
    actors, conversations = production.table("actors"), production.table("conversations")
    return template.render(
        ours=home(engine),
        promotions_oid=_oid(in_schema(engine, promotions.name)),
        freezes_oid=_oid(in_schema(engine, freezes.name)),
        actors=relation(engine, actors),
        actors_oid=_oid(relation(engine, actors)),
        conversations=relation(engine, conversations),
        conversations_oid=_oid(relation(engine, conversations)),
        a=_columns(actors),
        c=_columns(conversations),
        types=types,
        held_json=_held_json(types["actor_id"]),
        is_model=model_sql(production),
        enabled=enabled_sql(production),
        prompts=_prompts(connection.engine, production, types),
        schema_hash=production.live_schema_sql(connection),
        search_path=search_path,
    )


def search_path_of(connection: Connection) -> str:
    """Return the search path of this login as a list of existing schemas, with that of temporary tables last."""
    schemas: list[str] = connection.exec_driver_sql("SELECT current_schemas(false)").scalar_one()
    return ", ".join([*map(quoted, schemas), "pg_temp"])


def key_types(connection: Connection, production: Production) -> dict[str, str]:
    """Return the types of the key columns as SQL that needs no search path."""
    columns = {
        "actor_id": production.table("conversations").c.actor_id,
        "conversation_id": production.table("conversations").c.conversation_id,
        "key": production.table("actors").c.actor_id,
    }
    if "prompt_templates" in production.optional:
        columns["prompt"] = production.table("prompt_templates").c.conversation_id
    return {name: _type_of(connection, column) for name, column in columns.items()}


def _type_of(connection: Connection, column: Column[Any]) -> str:
    query = _TYPE.format(table=_oid(relation(connection.engine, column.table)), name=literal(column.name))
    return str(connection.execution_options(no_parameters=True).exec_driver_sql(query).scalar_one())


def _held_json(type_name: str) -> str:
    """Return the actor that a conversation holds as the JSON value of a key, see domain/models/ids.py."""
    if type_name in ("smallint", "integer", "bigint"):
        return "to_json(held)"
    if type_name.startswith("numeric"):
        return "CASE WHEN held = trunc(held) THEN to_json(trunc(held)) ELSE to_json(held::text) END"
    return "to_json(held::text)"


def _prompts(engine: Engine, production: Production, types: Mapping[str, str]) -> dict[str, object] | None:
    """Return the names of the table that keeps the conversations' own prompts, None without one."""
    if "prompt_templates" not in production.optional:
        return None
    table = production.table("prompt_templates")
    names = _columns(table)
    return {
        "table": relation(engine, table),
        "conversation_id": names["conversation_id"],
        "type": types["prompt"],
        "parts": [names[column.key] for column in prompt_parts(table)],
    }


def _oid(relation_name: str) -> str:
    return f"{literal(relation_name)}::regclass"


def installed_fault(engine: Engine, production: Production) -> str | None:
    """Return what is wrong with the installed function, or None when it is the one of this program."""
    name = in_schema(engine, SIGNATURE)
    with engine.connect() as connection:
        mark = connection.scalar(text("SELECT obj_description(to_regprocedure(:name), 'pg_proc')"), {"name": name})
        expected = mark_of(connection, production)
    if mark is None:
        return "the promotion's function is not installed"
    if mark != expected:
        return "the installed promotion's function is of another version, or for other names of tables"
    return None


def may_promote(connection: Connection, signature: str) -> bool:
    """Return whether this login may call the function with this qualified signature."""
    query = text("SELECT has_function_privilege(:name, 'EXECUTE')")
    return bool(connection.scalar(query, {"name": signature}))


def mark_of(connection: Connection, production: Production) -> str:
    """Return what tells the function of this program from others, for whatever types and search path it was made."""
    types = dict.fromkeys(("actor_id", "conversation_id", "key", "prompt"), "")
    source = function_sql(connection, production, types, "")
    return f"bench_pipeline {hashlib.sha256(source.encode()).hexdigest()}"


def _columns(table: Table) -> dict[str, str]:
    return {column.key: quoted(column.name) for column in table.columns}
