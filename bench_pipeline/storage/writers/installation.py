"""Installs the promotion's function and the two roles. Installing again is safe, and can be shown first.

The function itself is in function.py.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.mapping.names import Names
from bench_pipeline.storage.database import Database
from bench_pipeline.storage.database_errors import driver_message
from bench_pipeline.storage.identifiers import home, in_schema, literal, quoted, relation
from bench_pipeline.storage.inspection.inspected import inspected
from bench_pipeline.storage.inspection.inspection import faults_before_install
from bench_pipeline.storage.inspection.schemas import creation, search_path
from bench_pipeline.storage.own_schema import VERSION_TABLE
from bench_pipeline.storage.production import Production, open_production
from bench_pipeline.storage.schema import SCHEMA_VERSION, SchemaRefused, pending_statements, version_of
from bench_pipeline.storage.sql_triggers import REFUSAL
from bench_pipeline.storage.sql_triggers import SIGNATURE as SIGNING
from bench_pipeline.storage.tables import (
    AUDIT,
    benchmark_history,
    champions,
    intents,
    metadata,
    promotion_rows,
    promotions,
)
from bench_pipeline.storage.writers.function import SIGNATURE, function_sql, key_types, mark_of, search_path_of

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


def script(database: Database, production: Production, roles: Roles) -> list[str]:
    """Return everything that `open_database` and `install` do as this login, in order, without doing any of it.

    Passwords are not among it. Raises `InputError` for SQLite, and when this login may not make or migrate our tables.
    """
    _refuse_sqlite(database)
    try:
        tables = pending_statements(database.engine)
    except SchemaRefused as error:
        raise InputError(f"{database.name} {error}") from None
    place = f"SET search_path TO {home(database.engine)}"
    with database.engine.connect() as connection:
        return [place, *tables, *statements(connection, production, roles)]


def _refuse_sqlite(database: Database) -> None:
    if database.engine.dialect.name != "postgresql":
        raise InputError(f"{database.name} is SQLite, which has no roles; there is nothing to install")


def statements(connection: Connection, production: Production, roles: Roles) -> list[str]:
    """Return everything that `install` does, in its order; passwords are not among it."""
    engine = connection.engine
    function = in_schema(engine, SIGNATURE)
    return [
        f"DROP FUNCTION IF EXISTS {function}",  # its parameters had other names
        function_sql(connection, production, key_types(connection, production), search_path_of(connection)),
        f"COMMENT ON FUNCTION {function} IS '{mark_of(connection, production)}'",
        *(f"REVOKE ALL ON FUNCTION {in_schema(engine, name)} FROM PUBLIC" for name in (SIGNATURE, REFUSAL, SIGNING)),
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


def _check_owner(connection: Connection, production: Production) -> None:
    """The function works with the rights of its maker: that must be the owner, and not a role with more rights."""
    conversations = relation(connection.engine, production.table("conversations"))
    owner, login = connection.exec_driver_sql(_owner_of(connection.engine, production)).one()
    if owner != login:
        raise InputError(f"{conversations} belongs to {owner}, not to {login}; set BENCH_OWNER_URL to {owner}'s login")


def _owner_of(engine: Engine, production: Production) -> str:
    return _OWNER.format(table=literal(relation(engine, production.table("conversations"))))


def _check_roles(connection: Connection, roles: Roles) -> None:
    """A role that was there before may have rights that no REVOKE takes: attributes, memberships, tables of its own."""
    if roles.recorder == roles.promoter:
        raise InputError(f"BENCH_RECORDER_ROLE and BENCH_PROMOTER_ROLE are both {roles.recorder}; name two roles")
    for variable, role in (("BENCH_RECORDER_ROLE", roles.recorder), ("BENCH_PROMOTER_ROLE", roles.promoter)):
        if why := connection.exec_driver_sql(_TOO_MUCH.format(role=literal(role))).scalar():
            raise InputError(f"{variable}: {role} {why}, so it can do more than it should; name a role of its own")


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
    recorder, promoter, ours = quoted(roles.recorder), quoted(roles.promoter), home(engine)
    names = {"recorder": literal(roles.recorder), "promoter": literal(roles.promoter)}
    schemas = dict.fromkeys([ours, *(home(engine, table.schema) for table in production.tables)])
    for schema in schemas:
        yield _TAKE_ALL.format(schema=literal(schema), **names)
        yield f"GRANT USAGE ON SCHEMA {schema} TO {recorder}, {promoter}"
    for table in production.tables:
        yield f"GRANT SELECT ON {relation(engine, table)} TO {recorder}"
    yield f"GRANT SELECT ON {ours}.{quoted(VERSION_TABLE)} TO {recorder}"
    for name, own in sorted(metadata.tables.items()):
        rights = _RIGHTS.get(name, _ALL_RIGHTS)
        yield f"GRANT {rights} ON {ours}.{quoted(name)} TO {recorder}"
        key = own.autoincrement_column
        if own is benchmark_history:
            yield _COUNT_UP.format(table=literal(f"{ours}.{quoted(name)}"), recorder=names["recorder"])
        elif key is not None and "INSERT" in rights:
            yield f"GRANT USAGE ON SEQUENCE {ours}.{quoted(f'{name}_{key.name}_seq')} TO {recorder}"
    yield f"GRANT EXECUTE ON FUNCTION {in_schema(engine, SIGNATURE)} TO {promoter}"


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
