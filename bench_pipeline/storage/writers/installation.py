"""Installs the promotion's function and the two roles. Installing again is safe, and can be shown first."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Connection, Engine, Table, text
from sqlalchemy.exc import DBAPIError

from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.mapping.names import Names
from bench_pipeline.storage.database import Database
from bench_pipeline.storage.database_errors import driver_message
from bench_pipeline.storage.inspection.inspected import inspected
from bench_pipeline.storage.inspection.inspection import faults_before_install
from bench_pipeline.storage.inspection.schemas import creation, search_path
from bench_pipeline.storage.own_schema import VERSION_TABLE, own_schema
from bench_pipeline.storage.production import Production, enabled_sql, model_sql, open_production
from bench_pipeline.storage.production_texts import prompt_parts
from bench_pipeline.storage.schema import SCHEMA_VERSION, SchemaRefused, pending_statements, version_of
from bench_pipeline.storage.tables import (
    AUDIT,
    benchmark_history,
    champions,
    freezes,
    intents,
    metadata,
    promotion_rows,
    promotions,
)
from bench_pipeline.storage.triggers import REFUSAL
from bench_pipeline.storage.triggers import SIGNATURE as SIGNING

FUNCTION = "benchmark_apply"
SIGNATURE = f"{FUNCTION}(text, text, text, json)"
_SOURCE = Path(__file__).with_name("apply.sql")
_ALL_RIGHTS = "SELECT, INSERT, UPDATE, DELETE"
_RIGHTS = {
    **{table.name: "SELECT, INSERT" for table in AUDIT},
    **{table.name: "SELECT" for table in (promotions, promotion_rows, champions)},  # the function writes them
    intents.name: "SELECT, UPDATE",
}


@dataclass(frozen=True, slots=True)
class Roles:
    """The names of the two roles: the recorder reads the application and writes our tables; the promoter promotes."""

    recorder: str
    promoter: str


def own_rights(roles: Roles) -> dict[str, dict[str, frozenset[str]]]:
    """Return the rights that each role has on our tables once they are installed: by role, then by table."""
    recorder = {name: frozenset(_RIGHTS.get(name, _ALL_RIGHTS).split(", ")) for name in metadata.tables}
    return {roles.recorder: recorder, roles.promoter: dict.fromkeys(metadata.tables, frozenset())}


def qualified(engine: Engine, function: str) -> str:
    """Return the name or signature of a function of ours with its schema, which no search path is needed for."""
    return f"{_schema(engine)}.{function}"


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
        ours=_schema(engine),
        promotions_oid=_own_oid(engine, promotions),
        freezes_oid=_own_oid(engine, freezes),
        actors=_name(engine, actors),
        actors_oid=_oid(engine, actors),
        conversations=_name(engine, conversations),
        conversations_oid=_oid(engine, conversations),
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
    query = _TYPE.format(table=_oid(connection.engine, column.table), name=literal(column.name))
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
        "table": _name(engine, table),
        "conversation_id": names["conversation_id"],
        "type": types["prompt"],
        "parts": [names[column.key] for column in prompt_parts(table)],
    }


def _own_oid(engine: Engine, table: Table) -> str:
    return f"{literal(qualified(engine, table.name))}::regclass"


def _oid(engine: Engine, table: Table) -> str:
    return f"{literal(_name(engine, table))}::regclass"


def script(database: Database, production: Production, roles: Roles) -> list[str]:
    """Return everything that `open_database` and `install` do as this login, in order, without doing any of it.

    Passwords are not among it. Raises `InputError` for SQLite, and when this login may not make or migrate our tables.
    """
    _refuse_sqlite(database)
    try:
        tables = pending_statements(database.engine)
    except SchemaRefused as error:
        raise InputError(f"{database.name} {error}") from None
    place = f"SET search_path TO {_schema(database.engine)}"
    with database.engine.connect() as connection:
        return [place, *tables, *statements(connection, production, roles)]


def _refuse_sqlite(database: Database) -> None:
    if database.engine.dialect.name != "postgresql":
        raise InputError(f"{database.name} is SQLite, which has no roles; there is nothing to install")


def statements(connection: Connection, production: Production, roles: Roles) -> list[str]:
    """Return everything that `install` does, in its order; passwords are not among it."""
    engine = connection.engine
    function = qualified(engine, SIGNATURE)
    return [
        f"DROP FUNCTION IF EXISTS {function}",  # its parameters had other names
        function_sql(connection, production, key_types(connection, production), search_path_of(connection)),
        f"COMMENT ON FUNCTION {function} IS '{_mark(connection, production)}'",
        *(f"REVOKE ALL ON FUNCTION {qualified(engine, name)} FROM PUBLIC" for name in (SIGNATURE, REFUSAL, SIGNING)),
        *(_make_role(role) for role in (roles.recorder, roles.promoter)),
        *_grants(engine, production, roles),
    ]


def install(database: Database, production: Production, roles: Roles, passwords: dict[str, str]) -> None:
    """Make the function and the roles with their rights, in one transaction; each is brought up to date if there.

    `passwords` are set for the roles that it names. Raises `InputError` when the login is not the owner of production's
    tables or may not do it, for a role that can do more than it should, and for every fault of the database that would
    make the installation useless or unsafe.
    """
    _refuse_sqlite(database)
    try:
        # Without parameters: the driver would take a percent sign of the function for one.
        with database.engine.connect().execution_options(no_parameters=True, as_owner=True) as connection:
            _check_owner(connection, production)
            _refuse_faults(database, production, roles)
            for statement in statements(connection, production, roles):
                connection.exec_driver_sql(statement)
            _check_roles(connection, roles)
            for role, password in passwords.items():
                _set_password(connection, role, password)
            connection.commit()
    except DBAPIError as error:
        raise InputError(
            f"{database.name}: cannot be installed: {driver_message(error)}; set BENCH_OWNER_URL to the owner of the "
            "tables, who may also make roles"
        ) from None


def refuse_missing_right(seen: Database, names: Names, model_types: Collection[str]) -> None:
    """Refuse an owner who may not create our tables, before it is tried. `seen` was only looked into.

    Raises `InputError` with the statement that gives the right.
    """
    if seen.engine.dialect.name != "postgresql":
        return
    production = open_production(seen, names, model_types)
    with seen.engine.connect() as connection:
        if version_of(connection) == SCHEMA_VERSION:
            return
        owner, login = connection.execute(text(_owner_of(seen.engine, production))).one()
        faults = list(creation(connection, owner, search_path(connection, owner))) if owner == login else []
    if faults:
        raise InputError(f"{seen.name}: {faults[0]}")


def _refuse_faults(database: Database, production: Production, roles: Roles) -> None:
    with database.engine.connect() as connection:
        faults = faults_before_install(inspected(connection, production, roles.recorder, roles.promoter))
    if faults:
        raise InputError("\n".join(f"{database.name}: {fault}" for fault in faults))


def installed_fault(engine: Engine, production: Production) -> str | None:
    """Return what is wrong with the installed function, or None when it is the one of this program."""
    name = qualified(engine, SIGNATURE)
    with engine.connect() as connection:
        mark = connection.scalar(text("SELECT obj_description(to_regprocedure(:name), 'pg_proc')"), {"name": name})
        expected = _mark(connection, production)
    if mark is None:
        return "the promotion's function is not installed"
    if mark != expected:
        return "the installed promotion's function is of another version, or for other names of tables"
    return None


def may_promote(connection: Connection, signature: str) -> bool:
    """Return whether this login may call the function with this qualified signature."""
    query = text("SELECT has_function_privilege(:name, 'EXECUTE')")
    return bool(connection.scalar(query, {"name": signature}))


def _mark(connection: Connection, production: Production) -> str:
    """Return what tells the function of this program from others, for whatever types and search path it was made."""
    types = dict.fromkeys(("actor_id", "conversation_id", "key", "prompt"), "")
    source = function_sql(connection, production, types, "")
    return f"bench_pipeline {hashlib.sha256(source.encode()).hexdigest()}"


def _check_owner(connection: Connection, production: Production) -> None:
    """The function works with the rights of whoever makes it: that must be the owner, and nobody of more might."""
    conversations = _name(connection.engine, production.table("conversations"))
    owner, login = connection.exec_driver_sql(_owner_of(connection.engine, production)).one()
    if owner != login:
        raise InputError(f"{conversations} belongs to {owner}, not to {login}; set BENCH_OWNER_URL to {owner}'s login")


def _owner_of(engine: Engine, production: Production) -> str:
    return _OWNER.format(table=literal(_name(engine, production.table("conversations"))))


def _check_roles(connection: Connection, roles: Roles) -> None:
    """A role that was there before may have rights that no REVOKE takes: attributes, memberships, tables of its own."""
    if roles.recorder == roles.promoter:
        raise InputError(f"BENCH_RECORDER_ROLE and BENCH_PROMOTER_ROLE are both {roles.recorder}; name two roles")
    for variable, role in (("BENCH_RECORDER_ROLE", roles.recorder), ("BENCH_PROMOTER_ROLE", roles.promoter)):
        if why := connection.exec_driver_sql(_TOO_MUCH.format(role=literal(role))).scalar():
            raise InputError(f"{variable}: {role} {why}, so it can do more than it should; name a role of its own")


_TYPE = """
SELECT CASE WHEN n.nspname = 'pg_catalog' THEN pg_catalog.format_type(a.atttypid, a.atttypmod)
    ELSE pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(t.typname) END
FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace WHERE a.attrelid = {table} AND a.attname = {name}
"""
_OWNER = """
SELECT pg_catalog.pg_get_userbyid(relowner), current_user FROM pg_catalog.pg_class WHERE oid = {table}::regclass
"""
_TOO_MUCH = """
SELECT CASE
    WHEN r.rolsuper THEN 'is a superuser'
    WHEN r.rolcreaterole OR r.rolcreatedb OR r.rolreplication OR r.rolbypassrls THEN 'has an attribute of its own'
    WHEN EXISTS (SELECT FROM pg_catalog.pg_auth_members m WHERE m.member = r.oid) THEN 'is a member of another role'
    WHEN EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.relowner = r.oid) THEN 'owns tables'
END FROM pg_catalog.pg_roles r WHERE r.rolname = {role}
"""
# Another owner's tables are left out: a REVOKE there would be refused, and with it all of the installation.
_TAKE_ALL = """DO $do$ DECLARE kind text; name regclass; BEGIN
    FOR kind, name IN SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid FROM pg_catalog.pg_class c
        WHERE c.relnamespace = {schema}::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
            AND pg_catalog.pg_has_role(c.relowner, 'USAGE')
    LOOP
        EXECUTE format('REVOKE ALL ON %s %s FROM %I, %I', kind, name, {recorder}, {promoter});
    END LOOP;
END $do$"""
# A history that was adopted counts up with a sequence of any name, or as an identity, which needs no right.
_COUNT_UP = """DO $do$ DECLARE counter regclass; BEGIN
    FOR counter IN SELECT s.oid FROM pg_catalog.pg_attrdef d
        JOIN pg_catalog.pg_depend u ON u.classid = 'pg_catalog.pg_attrdef'::regclass AND u.objid = d.oid
        JOIN pg_catalog.pg_class s ON s.oid = u.refobjid AND s.relkind = 'S'
        WHERE u.refclassid = 'pg_catalog.pg_class'::regclass AND d.adrelid = {table}::regclass
    LOOP
        EXECUTE format('GRANT USAGE ON SEQUENCE %s TO %I', counter, {recorder});
    END LOOP;
END $do$"""


def _grants(engine: Engine, production: Production, roles: Roles) -> Iterator[str]:
    recorder, promoter, ours = quoted(roles.recorder), quoted(roles.promoter), _schema(engine)
    names = {"recorder": literal(roles.recorder), "promoter": literal(roles.promoter)}
    schemas = dict.fromkeys([ours, *(_schema(engine, table.schema) for table in production.tables)])
    for schema in schemas:
        yield _TAKE_ALL.format(schema=literal(schema), **names)
        yield f"GRANT USAGE ON SCHEMA {schema} TO {recorder}, {promoter}"
    for table in production.tables:
        yield f"GRANT SELECT ON {_name(engine, table)} TO {recorder}"
    yield f"GRANT SELECT ON {ours}.{quoted(VERSION_TABLE)} TO {recorder}"
    for name, own in sorted(metadata.tables.items()):
        rights = _RIGHTS.get(name, _ALL_RIGHTS)
        yield f"GRANT {rights} ON {ours}.{quoted(name)} TO {recorder}"
        key = own.autoincrement_column
        if own is benchmark_history:
            yield _COUNT_UP.format(table=literal(f"{ours}.{quoted(name)}"), recorder=names["recorder"])
        elif key is not None and "INSERT" in rights:
            yield f"GRANT USAGE ON SEQUENCE {ours}.{quoted(f'{name}_{key.name}_seq')} TO {recorder}"
    yield f"GRANT EXECUTE ON FUNCTION {qualified(engine, SIGNATURE)} TO {promoter}"


def _make_role(role: str) -> str:
    return (
        f"DO $do$ BEGIN IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {literal(role)}) THEN "
        f"CREATE ROLE {quoted(role)} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT; END IF; END $do$"
    )


def _set_password(connection: Connection, role: str, password: str) -> None:
    """Send only the verifier, so that no log of the server ever holds the password."""
    from psycopg2.extensions import encrypt_password

    raw = connection.connection.driver_connection
    verifier = encrypt_password(password, role, raw, "scram-sha-256")
    connection.exec_driver_sql(f"ALTER ROLE {quoted(role)} PASSWORD {literal(verifier)}")


def _schema(engine: Engine, name: str | None = None) -> str:
    return quoted(name or own_schema(engine) or "public")


def _name(engine: Engine, table: Table) -> str:
    return f"{_schema(engine, table.schema)}.{quoted(table.name)}"


def _columns(table: Table) -> dict[str, str]:
    return {column.key: quoted(column.name) for column in table.columns}


def quoted(name: str) -> str:
    """Quote an identifier. The dialect would double a percent sign as well, for a driver that is given parameters."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: str) -> str:
    """Quote a text."""
    return "'" + value.replace("'", "''") + "'"
