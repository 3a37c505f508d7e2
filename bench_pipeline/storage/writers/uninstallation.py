"""Removes what installing made: our tables, functions, rights and roles. Nothing of the application is touched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, func, inspect, literal_column, select, table, text
from sqlalchemy.exc import DBAPIError

from bench_pipeline.domain.errors import InputError
from bench_pipeline.storage.database import Database, connect_to, open_database, without_tables
from bench_pipeline.storage.database_errors import driver_message
from bench_pipeline.storage.identifiers import literal, quoted
from bench_pipeline.storage.own_schema import VERSION_TABLE, NoOwnSchema, in_own_schema, own_schema, search_only
from bench_pipeline.storage.schema import NO_RIGHT
from bench_pipeline.storage.tables import benchmark_history, metadata
from bench_pipeline.storage.writers.installation import Roles

HISTORY = benchmark_history.name
_OTHERS_DEPEND = "2BP01"


@dataclass(frozen=True, slots=True)
class Installed:
    """What is there: our tables in the order in which they can be dropped, functions as signatures, and roles.

    `history_rows` is the number of rows in `benchmark_history`, None where that table does not exist;
    `rows_of_others` of them were stored by other programs.
    """

    tables: tuple[str, ...]
    functions: tuple[str, ...]
    roles: tuple[str, ...]
    history_rows: int | None
    rows_of_others: int = 0

    @property
    def anything(self) -> bool:
        """Whether there is anything to remove."""
        return bool(self.tables or self.functions or self.roles)


@dataclass(frozen=True, slots=True)
class Uninstalled:
    """What was removed, and the roles that stay, each with the reason."""

    tables: tuple[str, ...]
    functions: tuple[str, ...]
    roles: tuple[str, ...]
    roles_kept: tuple[tuple[str, str], ...]


def look_at_installation(url: str, variable: str, roles: Roles, schema: str | None = None) -> Installed:
    """Return what is installed in the database at `url`. Changes nothing. Raises `InputError`."""
    engine = connect_to(variable, url)
    try:
        if engine.dialect.name == "sqlite" and not Path(str(engine.url.database)).exists():
            return Installed((), (), (), None)
        with in_own_schema(engine, schema).connect() as connection:
            search_only(connection)
            return _installed(connection, roles)
    except NoOwnSchema as error:
        raise InputError(f"{variable}: {Database(engine).name} {error}") from None
    except DBAPIError as error:
        raise InputError(f"{variable}: {Database(engine).name} cannot be used: {driver_message(error)}") from None
    finally:
        engine.dispose()


def uninstall(url: str, variable: str, roles: Roles, keep_history: bool, schema: str | None = None) -> Uninstalled:
    """Remove what is installed in one transaction; with `keep_history` all of `benchmark_history` stays.

    It always stays while it has rows of other programs.

    A role stays if it has rights or rows elsewhere, is a member of others or has members, or may not be dropped by
    this login. Raises `InputError` when this login is not the owner of the tables, or something else depends on them.
    """
    # SQLite's transactions need the engine of an open database; PostgreSQL's tables may be of any version.
    database = open_database(url, variable) if url.startswith("sqlite") else without_tables(url, variable, schema)
    try:
        with database.writing() as connection:
            search_only(connection)
            return _uninstall(connection.execution_options(as_owner=True), roles, keep_history)
    except DBAPIError as error:
        detail = getattr(getattr(error.orig, "diag", None), "message_detail", None)
        because = f"{driver_message(error)}{f' ({_one_line(detail)})' if detail else ''}"
        owner = "; set BENCH_OWNER_URL to the owner of the tables" if _code(error) in NO_RIGHT else ""
        raise InputError(f"{database.name}: nothing was removed: {because}{owner}") from None
    finally:
        database.close()


def _uninstall(connection: Connection, roles: Roles, keep_history: bool) -> Uninstalled:
    found = _installed(connection, roles)
    stays = keep_history or found.rows_of_others > 0
    tables = tuple(name for name in found.tables if not (stays and name == HISTORY))
    for name in tables:
        connection.exec_driver_sql(f"DROP TABLE {quoted(name)}")
    for signature in found.functions:
        connection.execution_options(no_parameters=True).exec_driver_sql(f"DROP FUNCTION {signature}")
    kept = dict(_dropped_roles(connection, found.roles))
    gone = tuple(role for role in found.roles if role not in kept)
    return Uninstalled(tables, found.functions, gone, tuple(kept.items()))


def _installed(connection: Connection, roles: Roles) -> Installed:
    seen = inspect(connection)
    present = set(seen.get_table_names(own_schema(connection)))
    # Without the version nothing was installed: tables of these names are somebody else's.
    wanted = [VERSION_TABLE, *(one.name for one in reversed(metadata.sorted_tables))]
    tables = tuple(name for name in wanted if name in present) if VERSION_TABLE in present else ()
    rows, of_others = None, 0
    if HISTORY in tables:
        count = select(func.count()).select_from(table(HISTORY))
        rows = connection.execute(count).scalar_one()
        names_benchmark = {one["name"] for one in seen.get_columns(HISTORY, own_schema(connection))}
        if "benchmark_run_id" in names_benchmark:  # an older version had rows of its own alone
            of_others = connection.execute(count.where(literal_column("benchmark_run_id").is_(None))).scalar_one()
    if connection.dialect.name != "postgresql":
        return Installed(tables, (), (), rows, of_others)
    functions = tuple(connection.scalars(text(_FUNCTIONS)))
    names = {"names": [roles.recorder, roles.promoter]}
    there = tuple(
        connection.scalars(text("SELECT rolname FROM pg_roles WHERE rolname = ANY(:names) ORDER BY 1"), names)
    )
    return Installed(tables, functions, there, rows, of_others)


# Only functions with our names that this login may drop: a trigger of the application may have functions of its own.
_FUNCTIONS = """
SELECT p.oid::regprocedure::text FROM pg_catalog.pg_proc p
WHERE p.pronamespace = current_schema()::regnamespace AND pg_catalog.pg_has_role(p.proowner, 'USAGE') AND (
    p.proname = 'benchmark_apply' AND pg_catalog.obj_description(p.oid, 'pg_proc') LIKE 'bench_pipeline %'
    OR p.prorettype = 'trigger'::regtype AND p.proname LIKE 'benchmark\\_%' AND EXISTS (
        SELECT FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
        WHERE t.tgfoid = p.oid AND c.relnamespace = p.pronamespace AND c.relname LIKE 'benchmark\\_%'))
ORDER BY 1
"""
_REVOKE_ALL = """DO $do$ DECLARE what text; BEGIN
    FOR what IN
        SELECT format('%s %s', CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::regclass)
        FROM pg_catalog.pg_class c, aclexplode(c.relacl) a
        WHERE a.grantee = {role}::regrole AND pg_catalog.pg_has_role(c.relowner, 'USAGE')
        UNION SELECT format('TABLE %s', t.attrelid::regclass)
        FROM pg_catalog.pg_attribute t JOIN pg_catalog.pg_class c ON c.oid = t.attrelid, aclexplode(t.attacl) a
        WHERE a.grantee = {role}::regrole AND pg_catalog.pg_has_role(c.relowner, 'USAGE')
        UNION SELECT format('SCHEMA %s', n.oid::regnamespace)
        FROM pg_catalog.pg_namespace n, aclexplode(n.nspacl) a
        WHERE a.grantee = {role}::regrole AND pg_catalog.pg_has_role(n.nspowner, 'USAGE')
    LOOP
        EXECUTE format('REVOKE ALL ON %s FROM %I', what, {role});
    END LOOP;
END $do$"""
_MEMBERSHIPS = """
SELECT EXISTS (SELECT FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles r ON r.oid IN (m.member, m.roleid)
    WHERE r.rolname = :role AND m.member <> (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = current_user))
"""


def _dropped_roles(connection: Connection, roles: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Take this database's rights from the roles and drop them; yield those that stay, with the reason."""
    plain = connection.execution_options(no_parameters=True)
    for role in roles:
        plain.exec_driver_sql(_REVOKE_ALL.format(role=literal(role)))
        if connection.scalar(text(_MEMBERSHIPS), {"role": role}):
            yield role, "it has members, or is a member of another role"
            continue
        try:
            with connection.begin_nested():
                plain.exec_driver_sql(f"DROP ROLE {quoted(role)}")
        except DBAPIError as error:
            if _code(error) not in (_OTHERS_DEPEND, *NO_RIGHT):
                raise
            yield role, driver_message(error)


def _code(error: DBAPIError) -> str | None:
    return getattr(error.orig, "pgcode", None)


def _one_line(text_: str) -> str:
    return "; ".join(text_.splitlines())
