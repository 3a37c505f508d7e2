"""What an inspection looks at: production's tables as the catalogue knows them, over one connection that only reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, Table, text

from bench_pipeline.domain.mapping.names import REQUIRED
from bench_pipeline.storage.identifiers import formatted
from bench_pipeline.storage.inspection.schemas import search_path
from bench_pipeline.storage.production import Production


@dataclass(frozen=True, slots=True)
class Relation:
    """A table or view of production. `name` is quoted and has its schema; `kind` is that of pg_class."""

    oid: int
    name: str
    kind: str
    owner: str
    columns: Mapping[str, str]
    """The application's column names by our names."""

    @property
    def is_view(self) -> bool:
        """Whether it has no rows of its own."""
        return self.kind in ("v", "m")


@dataclass(frozen=True, slots=True)
class Inspected:
    """What is inspected, over one connection that only reads.

    `relations` are production's tables by our names. `owner` is the role that owns conversations and the function,
    `owner_path` the schemas of its search path. `reader` is this login, `path` its search path. `restricted` are the
    roles that must not write production, as far as they exist.
    """

    connection: Connection
    relations: Mapping[str, Relation]
    owner: str
    owner_path: tuple[str, ...]
    path: tuple[str, ...]
    reader: str
    restricted: tuple[str, ...]

    def rows(self, query: str, **values: object) -> list[RowMapping]:
        """Return the rows of a query."""
        return list(self.connection.execute(text(query), values).mappings())

    def value(self, query: str, **values: object) -> Any:  # noqa: ANN401 - a column of any type
        """Return the first column of the first row."""
        return self.connection.scalar(text(query), values)


def inspected(connection: Connection, production: Production, recorder: str, promoter: str) -> Inspected:
    """Find production's tables as this login sees them. From then on the connection sees no schema but the system's.

    So no object of the application can stand in for one of the system, and every name is shown with its schema. The
    restricted roles are these two and the login, unless it has the owner's rights.
    """
    found = {name: _oid(connection, production.table(name)) for name in (*REQUIRED, *sorted(production.optional))}
    owner = connection.scalar(text(_OWNER), {"oid": found["conversations"]})
    login = connection.execute(text("SELECT current_user")).scalar_one()
    owner_path, path = search_path(connection, owner), search_path(connection, login)
    connection.execute(text("SET LOCAL search_path TO pg_catalog"))
    relations = {name: _relation(connection, oid, production.table(name)) for name, oid in found.items()}
    restricted = connection.scalars(text(_RESTRICTED), {"names": [recorder, promoter], "owner": owner})
    return Inspected(connection, relations, owner, owner_path, path, login, tuple(restricted))


_OWNER = "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = :oid"
_RESTRICTED = """
SELECT rolname FROM pg_roles WHERE rolname = ANY (:names)
    OR rolname = session_user AND NOT rolsuper AND NOT pg_has_role(oid, CAST(:owner AS name), 'MEMBER')
ORDER BY rolname
"""


def _oid(connection: Connection, table: Table) -> int:
    name = formatted(table)
    oid: int = connection.execute(text("SELECT CAST(to_regclass(:name) AS oid)"), {"name": name}).scalar_one()
    return oid


def _relation(connection: Connection, oid: int, table: Table) -> Relation:
    query = """
        SELECT CAST(CAST(oid AS regclass) AS text), relkind, pg_get_userbyid(relowner) FROM pg_class WHERE oid = :oid
    """
    name, kind, owner = connection.execute(text(query), {"oid": oid}).one()
    return Relation(oid, name, kind, owner, {column.key: column.name for column in table.columns})
