"""Whether this login sees all rows of a table: row-level security hides rows without an error. PostgreSQL only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, Table, text


@dataclass(frozen=True, slots=True)
class HiddenRows:
    """A table whose rows may be hidden from `login`, with what its owner has to run against that, as SQL."""

    table: str
    login: str
    remedy: str


# A policy holds for a login whose rights include those of one of its roles; role 0 is PUBLIC.
_HIDDEN = """
WITH looked_at AS (
    SELECT to_regclass(n.name)::oid AS id FROM unnest(CAST(:names AS text[])) AS n (name)
), policies AS (
    SELECT p.*, e.condition, e.condition = 'true'
        OR strpos(e.condition, format('CURRENT_USER = %L::name', current_user)) > 0 AS shows_all
    FROM pg_catalog.pg_policy p, pg_catalog.pg_get_expr(p.polqual, p.polrelid) AS e (condition)
    WHERE p.polcmd IN ('r', '*') AND EXISTS (
        SELECT FROM unnest(p.polroles) AS r (id)
        WHERE r.id = 0 OR pg_catalog.pg_has_role(current_user, r.id, 'USAGE'))
)
SELECT c.oid::regclass::text, current_user,
    format('CREATE POLICY %I ON %s FOR SELECT TO %I USING (true)', current_user || '_reads', c.oid::regclass,
        current_user)
FROM pg_catalog.pg_class c
WHERE c.oid IN (SELECT id FROM looked_at) AND pg_catalog.row_security_active(c.oid)
    AND NOT EXISTS (SELECT FROM policies p WHERE p.polrelid = c.oid AND p.polpermissive AND p.shows_all)
UNION ALL
SELECT c.oid::regclass::text, current_user,
    format('ALTER POLICY %I ON %s USING ((%s) OR current_user = %L)', p.polname, c.oid::regclass, p.condition,
        current_user)
FROM pg_catalog.pg_class c JOIN policies p ON p.polrelid = c.oid
WHERE c.oid IN (SELECT id FROM looked_at) AND pg_catalog.row_security_active(c.oid)
    AND NOT p.polpermissive AND p.shows_all IS NOT TRUE
ORDER BY 1, 3
"""


def hidden_rows(connection: Connection, tables: Iterable[Table]) -> list[HiddenRows]:
    """Return those of these tables of which policies may hide rows from this login, by name; none in SQLite.

    A policy shows all rows if its condition is `true` or contains `current_user = '<login>'`, as the remedies write
    it; what another condition admits is not known here.
    """
    if connection.dialect.name != "postgresql":
        return []
    quote = connection.dialect.identifier_preparer.format_table
    found = connection.execute(text(_HIDDEN), {"names": [quote(table) for table in tables]})
    return [HiddenRows(*row) for row in found]
