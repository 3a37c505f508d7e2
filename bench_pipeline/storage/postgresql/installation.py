"""Installs the promotion's function and the two roles; all of it can be shown first, and done again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine, Table, inspect, text
from sqlalchemy.exc import DBAPIError

from bench_pipeline.domain.errors import InputError
from bench_pipeline.storage.database import Database, lock_key
from bench_pipeline.storage.production import Production
from bench_pipeline.storage.schema import VERSION_TABLE
from bench_pipeline.storage.tables import AUDIT, champions, intents, metadata, promotion_rows, promotions

_PARAMETERS = "(text, text, text, json)"
LOCK_TIMEOUT_S = 10
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


def function_name(engine: Engine) -> str:
    """Return the function's name with its schema, quoted."""
    return f"{_schema(engine)}.benchmark_apply"


def function_sql(engine: Engine, production: Production) -> str:
    """Return the statement that makes the function, for production's real names."""
    from jinja2 import Environment, StrictUndefined

    # The result is SQL: what is filled in was quoted by the dialect, and HTML's rules would spoil it.
    template = Environment(undefined=StrictUndefined, autoescape=False).from_string(  # noqa: S701
        _SOURCE.read_text(encoding="utf-8")
    )
    actors, conversations = production.table("actors"), production.table("conversations")
    return template.render(
        ours=_schema(engine),
        actors=_name(engine, actors),
        conversations=_name(engine, conversations),
        a=_columns(engine, actors),
        c=_columns(engine, conversations),
        lock_key=lock_key("promotion"),
        lock_timeout_s=LOCK_TIMEOUT_S,
    )


def statements(database: Database, production: Production, roles: Roles) -> list[str]:
    """Return everything that `install` does, in its order; passwords are not among it."""
    engine = database.engine
    source = function_sql(engine, production)
    function = function_name(engine) + _PARAMETERS
    return [
        source,
        f"COMMENT ON FUNCTION {function} IS '{_mark(source)}'",
        f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC",
        *(_make_role(engine, role) for role in (roles.recorder, roles.promoter)),
        *_grants(engine, production, roles),
    ]


def install(database: Database, production: Production, roles: Roles, passwords: dict[str, str]) -> None:
    """Make the function and the roles with their rights, in one transaction; each is brought up to date if there.

    `passwords` are set for the roles that it names. Raises `InputError` when the login may not do it.
    """
    if database.engine.dialect.name != "postgresql":
        raise InputError(f"{database.name} is SQLite, which has no roles; there is nothing to install")
    try:
        with database.engine.begin() as connection:
            _check_login(connection, production, roles)
            # Without parameters: the driver would take a percent sign of the function for one.
            plain = connection.execution_options(no_parameters=True)
            for statement in statements(database, production, roles):
                plain.exec_driver_sql(statement)
            for role, password in passwords.items():
                _set_password(connection, role, password)
    except DBAPIError as error:
        cause = str(error.orig or error).strip().splitlines()[0]
        raise InputError(
            f"{database.name}: cannot be installed: {cause}; set BENCH_OWNER_URL to the owner of the tables, who may "
            "also make roles"
        ) from None


def installed_fault(engine: Engine, production: Production) -> str | None:
    """Return what is wrong with the installed function, or None when it is the one of this program."""
    name = function_name(engine) + _PARAMETERS
    with engine.connect() as connection:
        mark = connection.scalar(text("SELECT obj_description(to_regprocedure(:name), 'pg_proc')"), {"name": name})
    if mark is None:
        return "the promotion's function is not installed"
    if mark != _mark(function_sql(engine, production)):
        return "the installed promotion's function is of another version, or for other names of tables"
    return None


def may_promote(connection: Connection, function: str) -> bool:
    """Return whether this login may call the function."""
    query = text("SELECT has_function_privilege(:name, 'EXECUTE')")
    return bool(connection.scalar(query, {"name": function + _PARAMETERS}))


def _mark(source: str) -> str:
    return f"bench_pipeline {hashlib.sha256(source.encode()).hexdigest()}"


def _grants(engine: Engine, production: Production, roles: Roles) -> Iterator[str]:
    quote = engine.dialect.identifier_preparer.quote_identifier
    recorder, promoter, ours = quote(roles.recorder), quote(roles.promoter), _schema(engine)
    tables = {_name(engine, table): "SELECT" for table in production.tables} | {
        f"{ours}.{quote(VERSION_TABLE)}": "SELECT"
    }
    yield f"GRANT USAGE ON SCHEMA {ours} TO {recorder}, {promoter}"
    for schema in sorted({_schema(engine, table.schema) for table in production.tables} - {ours}):
        yield f"GRANT USAGE ON SCHEMA {schema} TO {recorder}"
    for name, own in sorted(metadata.tables.items()):
        tables[f"{ours}.{quote(name)}"] = rights = _RIGHTS.get(name, _ALL_RIGHTS)
        if (key := own.autoincrement_column) is not None:
            sequence = f"{ours}.{quote(f'{name}_{key.name}_seq')}"
            yield f"REVOKE ALL ON SEQUENCE {sequence} FROM {recorder}, {promoter}"
            if "INSERT" in rights:
                yield f"GRANT USAGE ON SEQUENCE {sequence} TO {recorder}"
    for table, rights in tables.items():
        yield f"REVOKE ALL ON {table} FROM {recorder}, {promoter}"
        yield f"GRANT {rights} ON {table} TO {recorder}"
    yield f"GRANT EXECUTE ON FUNCTION {function_name(engine)}{_PARAMETERS} TO {promoter}"


def _check_login(connection: Connection, production: Production, roles: Roles) -> None:
    """The function works with the rights of whoever makes it: that must be the owner, and nobody of more might."""
    conversations = _name(connection.engine, production.table("conversations"))
    owner, login = connection.execute(
        text("SELECT pg_get_userbyid(relowner), current_user FROM pg_class WHERE oid = CAST(:name AS regclass)"),
        {"name": conversations},
    ).one()
    if owner != login:
        raise InputError(f"{conversations} belongs to {owner}, not to {login}; set BENCH_OWNER_URL to {owner}'s login")
    mighty = connection.scalars(
        text(
            "SELECT rolname FROM pg_roles WHERE rolname IN (:recorder, :promoter) AND rolname <> current_user AND "
            "(rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls)"
        ),
        {"recorder": roles.recorder, "promoter": roles.promoter},
    ).all()
    if mighty or login in (roles.recorder, roles.promoter):
        names = ", ".join(mighty) or login
        raise InputError(
            f"{names} may do more than it should; name other roles by BENCH_RECORDER_ROLE, BENCH_PROMOTER_ROLE"
        )


def _make_role(engine: Engine, role: str) -> str:
    name = engine.dialect.identifier_preparer.quote_identifier(role)
    literal = role.replace("'", "''")
    return (
        f"DO $do$ BEGIN IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = '{literal}') THEN "
        f"CREATE ROLE {name} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT; END IF; END $do$"
    )


def _set_password(connection: Connection, role: str, password: str) -> None:
    """Send only the verifier, so that no log of the server ever holds the password."""
    from psycopg2.extensions import encrypt_password

    raw = connection.connection.driver_connection
    verifier = encrypt_password(password, role, raw, "scram-sha-256")
    name = connection.dialect.identifier_preparer.quote_identifier(role)
    connection.exec_driver_sql(f"ALTER ROLE {name} PASSWORD '{verifier}'")


def _schema(engine: Engine, name: str | None = None) -> str:
    schema = name or inspect(engine).default_schema_name or "public"
    return engine.dialect.identifier_preparer.quote_identifier(schema)


def _name(engine: Engine, table: Table) -> str:
    quote = engine.dialect.identifier_preparer.quote_identifier
    return f"{_schema(engine, table.schema)}.{quote(table.name)}"


def _columns(engine: Engine, table: Table) -> dict[str, str]:
    quote = engine.dialect.identifier_preparer.quote_identifier
    return {column.key: quote(column.name) for column in table.columns}
