"""Reads which tables a database has, with their columns and references. Writes nothing, and needs no table of ours.

What is made of them is in domain/mapping/proposal.py.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    DateTime,
    Engine,
    Enum,
    Float,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    Uuid,
    cast,
    inspect,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import DOMAIN
from sqlalchemy.engine.reflection import ObjectKind
from sqlalchemy.exc import DBAPIError, SAWarning
from sqlalchemy.types import NullType, TypeEngine

from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.mapping.live import ColumnKind, LiveColumn, LiveTable
from bench_pipeline.storage.database import connect_to
from bench_pipeline.storage.database_errors import driver_message
from bench_pipeline.storage.own_schema import VERSION_TABLE
from bench_pipeline.storage.production_keys import type_name
from bench_pipeline.storage.tables import metadata

_MANY = 20
_TABLES = text("""
SELECT n.nspname, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition AND n.nspname NOT LIKE 'pg\\_%'
    AND n.nspname <> 'information_schema' AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
""")


@contextmanager
def reading(variable: str, url: str) -> Iterator[Engine]:
    """Yield an engine whose connections can only read. Raises `InputError` when the database cannot be reached."""
    engine = connect_to(variable, url)
    try:
        if engine.dialect.name == "sqlite" and not Path(str(engine.url.database)).is_file():
            raise InputError(f"{variable}: there is no file {engine.url.database}; correct the address")
        yield engine.execution_options(postgresql_readonly=True)
    except DBAPIError as error:
        shown = engine.url.render_as_string(hide_password=True)
        raise InputError(f"{variable}: {shown} cannot be used: {driver_message(error)}") from None
    finally:
        engine.dispose()


def live_tables(engine: Engine) -> list[LiveTable]:
    """Return the tables and views of all schemas that this login may use, without bench's own."""
    with engine.connect() as connection, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Did not recognize type", SAWarning)
        return sorted(_tables(connection), key=lambda table: (table.schema or "", table.name))


def values_of(engine: Engine, table: LiveTable, column: LiveColumn) -> Sequence[str]:
    """Return the distinct values of a column as texts; none when there are many or this login may not read them."""
    live: Column[Any] = Column(column.name)
    as_text = cast(live, String).label("value")
    query = select(as_text).select_from(Table(table.name, MetaData(), live, schema=table.schema))
    with closing(engine.connect()) as connection:
        try:
            found = list(
                connection.scalars(query.where(live.is_not(None)).distinct().order_by("value").limit(_MANY + 1))
            )
        except DBAPIError as error:
            if error.connection_invalidated:
                raise
            return []
    return found if len(found) <= _MANY else []


def _tables(connection: Connection) -> Iterator[LiveTable]:
    inspector, own = inspect(connection), {*metadata.tables, VERSION_TABLE}
    if connection.dialect.name == "sqlite":
        schemas: dict[str | None, set[str]] = {None: {*inspector.get_table_names(), *inspector.get_view_names()}}
    else:
        schemas = {}
        for schema, name in connection.execute(_TABLES):
            schemas.setdefault(schema, set()).add(name)
    for schema, names in schemas.items():
        columns = inspector.get_multi_columns(schema, kind=ObjectKind.ANY)
        keys = inspector.get_multi_pk_constraint(schema, kind=ObjectKind.ANY)
        always_named: Any = {} if schema is None else {"postgresql_ignore_search_path": True}
        references = inspector.get_multi_foreign_keys(schema, kind=ObjectKind.ANY, **always_named)
        for place, found in columns.items():
            if place[1] not in names or place[1] in own:
                continue
            primary = keys[place]["constrained_columns"] if place in keys else []
            yield LiveTable(
                schema,
                place[1],
                tuple(_column(one["name"], one["type"], primary == [one["name"]]) for one in found),
                {
                    one["constrained_columns"][0]: (one["referred_schema"], one["referred_table"])
                    for one in references.get(place) or ()
                    if len(one["constrained_columns"]) == 1
                },
            )


def _column(name: str, native: TypeEngine[Any], key: bool) -> LiveColumn:
    plain = native.data_type if isinstance(native, DOMAIN) else native
    labels = tuple(plain.enums) if isinstance(plain, Enum) else ()
    return LiveColumn(name, _kind(plain), type_name(native), key, labels)


def _kind(native: TypeEngine[Any]) -> ColumnKind:
    kinds: tuple[tuple[ColumnKind, tuple[type[Any], ...]], ...] = (
        ("boolean", (Boolean,)),
        ("uuid", (Uuid,)),
        ("other", (Float,)),
        ("number", (Integer, Numeric)),
        ("text", (String,)),
        ("moment", (DateTime,)),
        ("any", (NullType,)),
    )
    return next((kind for kind, types in kinds if isinstance(native, types)), "other")
