"""The hash of production's live schema, which a plan is bound to. Reading its tables is in production.py."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, Table, inspect
from sqlalchemy.engine import Inspector
from sqlalchemy.exc import NoSuchTableError

from bench_pipeline.domain.hashing import content_hash
from bench_pipeline.storage.identifiers import literal, relation

_FINGERPRINT = """
SELECT encode(sha256(convert_to(coalesce(
    string_agg(seen.line, E'\\n' ORDER BY seen.line COLLATE "C"), ''), 'UTF8')), 'hex')
FROM (
    SELECT format('%s.%s %s.%s(%s)', k.name, a.attname, nsp.nspname, t.typname, a.atttypmod) AS line
    FROM (VALUES {relations}) AS k(name, relation, columns)
    JOIN pg_catalog.pg_attribute a ON a.attrelid = k.relation AND a.attname = ANY (k.columns) AND NOT a.attisdropped
    JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
    JOIN pg_catalog.pg_namespace nsp ON nsp.oid = t.typnamespace
    UNION ALL
    SELECT format('%s (%s) -> %s (%s)', k.name, (
            SELECT string_agg(x.attname, ',' ORDER BY u.place)
            FROM unnest(f.conkey) WITH ORDINALITY AS u(number, place)
            JOIN pg_catalog.pg_attribute x ON x.attrelid = f.conrelid AND x.attnum = u.number
        ), target.relname, (
            SELECT string_agg(x.attname, ',' ORDER BY u.place)
            FROM unnest(f.confkey) WITH ORDINALITY AS u(number, place)
            JOIN pg_catalog.pg_attribute x ON x.attrelid = f.confrelid AND x.attnum = u.number
        ))
    FROM (VALUES {relations}) AS k(name, relation, columns)
    JOIN pg_catalog.pg_constraint f ON f.conrelid = k.relation AND f.contype = 'f'
    JOIN pg_catalog.pg_class target ON target.oid = f.confrelid
) AS seen
"""


def schema_hash(connection: Connection, tables: Mapping[str, Table]) -> str:
    """Hash the live types of these tables' columns, as far as they are used, and their foreign keys."""
    if connection.dialect.name == "postgresql":
        # Without parameters: the driver would take a percent sign of the query for one.
        bare = connection.execution_options(no_parameters=True)
        return str(bare.exec_driver_sql(fingerprint_sql(connection, tables)).scalar_one())
    inspector = inspect(connection)
    return content_hash({name: _live_schema(inspector, table) for name, table in tables.items()})


def fingerprint_sql(connection: Connection, tables: Mapping[str, Table]) -> str:
    """Return the query of PostgreSQL that computes the hash; the promotion's function has the same one."""
    relations = []
    for name, table in tables.items():
        columns = ", ".join(literal(column.name) for column in table.columns)
        place = literal(relation(connection.engine, table))
        relations.append(f"({literal(name)}, to_regclass({place}), ARRAY[{columns}]::name[])")
    return _FINGERPRINT.format(relations=", ".join(relations))


def _live_schema(inspector: Inspector, table: Table) -> object:
    try:
        columns = {c["name"]: str(c["type"]) for c in inspector.get_columns(table.name, schema=table.schema)}
        keys = inspector.get_foreign_keys(table.name, schema=table.schema)
    except NoSuchTableError:
        return None
    return {
        "columns": {column.key: columns.get(column.name) for column in table.columns},
        "foreign_keys": sorted(
            [key["constrained_columns"], key["referred_table"], key["referred_columns"]] for key in keys
        ),
    }
