"""Who may write production beside the promotion: by rights, by memberships, and by functions that lend rights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import RowMapping

from bench_pipeline.storage.identifiers import quoted
from bench_pipeline.storage.inspection.findings import Finding, Stops
from bench_pipeline.storage.inspection.inspected import Inspected
from bench_pipeline.storage.inspection.schemas import schema_keeper

_ATTRIBUTES = """
SELECT rolname AS role, 'SUPERUSER' AS attribute FROM pg_roles WHERE rolsuper AND rolname = ANY (:roles)
UNION ALL SELECT rolname, 'CREATEROLE' FROM pg_roles WHERE rolcreaterole AND rolname = ANY (:roles)
UNION ALL SELECT rolname, 'CREATEDB' FROM pg_roles WHERE rolcreatedb AND rolname = ANY (:roles)
UNION ALL SELECT rolname, 'REPLICATION' FROM pg_roles WHERE rolreplication AND rolname = ANY (:roles)
UNION ALL SELECT rolname, 'BYPASSRLS' FROM pg_roles WHERE rolbypassrls AND rolname = ANY (:roles)
"""
_GRANTED = """
SELECT CAST(CAST(c.oid AS regclass) AS text) AS table, pg_get_userbyid(c.relowner) AS owner, a.grantee = 0 AS public,
    g.rolname AS role, string_agg(DISTINCT a.privilege_type, ', ') AS rights
FROM pg_class c
CROSS JOIN LATERAL (
    SELECT * FROM aclexplode(c.relacl)
    UNION ALL SELECT x.* FROM pg_attribute t, aclexplode(t.attacl) x WHERE t.attrelid = c.oid AND NOT t.attisdropped
) a
LEFT JOIN pg_roles g ON g.oid = a.grantee
WHERE c.oid = ANY (:oids) AND a.privilege_type IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER')
    AND (a.grantee = 0 OR g.rolname = ANY (:roles))
GROUP BY c.oid, c.relowner, a.grantee, g.rolname ORDER BY 1, 3 DESC, 4
"""
# A membership counts also where it is not inherited, for SET ROLE needs no more.
_MEMBERSHIPS = """
SELECT r.rolname AS role, g.rolname AS group, string_agg(CAST(CAST(c.oid AS regclass) AS text), ', ') AS tables
FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member JOIN pg_roles g ON g.oid = m.roleid
CROSS JOIN pg_class c
WHERE r.rolname = ANY (:roles) AND NOT r.rolsuper AND NOT g.rolname = ANY (:roles) AND c.oid = ANY (:oids)
    AND EXISTS (SELECT FROM pg_roles w WHERE pg_has_role(g.oid, w.oid, 'MEMBER') AND (
        has_any_column_privilege(w.oid, c.oid, 'INSERT, UPDATE')
        OR has_table_privilege(w.oid, c.oid, 'DELETE, TRUNCATE, TRIGGER')))
    AND NOT EXISTS (SELECT FROM aclexplode(c.relacl) a
        WHERE a.grantee = 0 AND a.privilege_type IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER'))
GROUP BY r.rolname, g.rolname ORDER BY 1, 2
"""
_LENT = """
SELECT format('%s(%s)', CAST(CAST(p.oid AS regproc) AS text), pg_get_function_identity_arguments(p.oid)) AS name,
    CASE p.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END AS kind, pg_get_userbyid(p.proowner) AS owner,
    (SELECT string_agg(DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(g.rolname) END, ', ')
        FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a LEFT JOIN pg_roles g ON g.oid = a.grantee
        WHERE a.privilege_type = 'EXECUTE' AND (a.grantee = 0 OR g.rolname = ANY (:roles))) AS grantees
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE p.prosecdef AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND NOT p.proname LIKE 'benchmark\\_%'
    AND EXISTS (SELECT FROM unnest(CAST(:oids AS oid[])) AS t(oid)
        WHERE has_any_column_privilege(p.proowner, t.oid, 'UPDATE'))
    AND NOT EXISTS (SELECT FROM pg_depend d
        WHERE d.classid = CAST('pg_proc' AS regclass) AND d.objid = p.oid AND d.deptype = 'e')
ORDER BY 1
"""
_MAY_CREATE = """
SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(g.rolname) END AS grantee,
    pg_get_userbyid(n.nspowner) AS owner
FROM pg_namespace n CROSS JOIN LATERAL aclexplode(n.nspacl) a LEFT JOIN pg_roles g ON g.oid = a.grantee
WHERE n.nspname = :schema AND a.privilege_type = 'CREATE' AND a.grantee <> n.nspowner
    AND (a.grantee = 0 OR NOT g.rolsuper AND NOT pg_has_role(g.oid, CAST(:owner AS name), 'MEMBER'))
ORDER BY 1
"""
_UNREADABLE = """
SELECT r.rolname AS role FROM pg_roles r WHERE r.rolname = :role AND NOT has_table_privilege(r.oid, :oid, 'SELECT')
    AND EXISTS (SELECT FROM unnest(CAST(:columns AS text[])) AS c(name)
        WHERE NOT has_column_privilege(r.oid, :oid, c.name, 'SELECT'))
"""


def mighty_roles(inspected: Inspected) -> Iterator[Finding]:
    """Find attributes and memberships of the restricted roles that let them write production."""
    for row in inspected.rows(_ATTRIBUTES, roles=list(inspected.restricted)):
        yield _unsafe(
            f"the role {row['role']} has the attribute {row['attribute']}",
            f"as a superuser: `ALTER ROLE {quoted(row['role'])} NO{row['attribute']}`",
        )
    for row in inspected.rows(_MEMBERSHIPS, roles=list(inspected.restricted), oids=_written(inspected)):
        yield _unsafe(
            f"{row['role']} is a member of {row['group']}, which may write {row['tables']}",
            f"as a superuser: `REVOKE {quoted(row['group'])} FROM {quoted(row['role'])}`",
        )


def open_tables(inspected: Inspected, roles: Sequence[str] = ()) -> Iterator[Finding]:
    """Find rights of every role, or of one of `roles`, to write production's actors or conversations."""
    return map(_granted, inspected.rows(_GRANTED, roles=list(roles), oids=_written(inspected)))


def lent_rights(inspected: Inspected) -> Iterator[Finding]:
    """Find functions that every role, or a restricted one, may call, and that write production as another role."""
    rows = inspected.rows(_LENT, roles=list(inspected.restricted), oids=_written(inspected))
    return (_lent(row) for row in rows if row["grantees"])


def _written(inspected: Inspected) -> list[int]:
    """Return the tables that decide what production calls."""
    return [inspected.relations[name].oid for name in ("conversations", "actors")]


def _unsafe(problem: str, remedy: str) -> Finding:
    return Finding(Stops.SAFETY, problem, remedy)


def _granted(row: RowMapping) -> Finding:
    grantee = "PUBLIC" if row["public"] else quoted(row["role"])
    who = "every role" if row["public"] else row["role"]
    return _unsafe(
        f"{who} has {row['rights']} on {row['table']}, so production can change without a promotion",
        f"as {row['owner']}: `REVOKE {row['rights']} ON {row['table']} FROM {grantee}`",
    )


def _lent(row: RowMapping) -> Finding:
    who = row["grantees"].replace("PUBLIC", "every role")
    return _unsafe(
        f"{row['name']} runs with the rights of {row['owner']}, who may write production, and {who} may call it",
        f"grant it to the roles that need it, then, as {row['owner']}: "
        f"`REVOKE EXECUTE ON {row['kind']} {row['name']} FROM {row['grantees']}`",
    )


def open_schemas(inspected: Inspected) -> Iterator[Finding]:
    """Find the schemas of the owner's search path in which others may create what the owner's triggers then run."""
    for schema in inspected.owner_path:
        for row in inspected.rows(_MAY_CREATE, schema=schema, owner=inspected.owner):
            who = "every role" if row["grantee"] == "PUBLIC" else row["grantee"]
            yield _unsafe(
                f"{who} may create objects in the schema {schema}, which is in the search path of {inspected.owner}",
                f"as {schema_keeper(row['owner'])}: `REVOKE CREATE ON SCHEMA {quoted(schema)} FROM {row['grantee']}`",
            )


def unreadable(inspected: Inspected) -> Iterator[Finding]:
    """Find the tables of production that this login may not read."""
    for relation in inspected.relations.values():
        columns = list(relation.columns.values())
        for row in inspected.rows(_UNREADABLE, role=inspected.reader, oid=relation.oid, columns=columns):
            yield Finding(
                Stops.BENCHMARK,
                f"{row['role']} may not read {relation.name}",
                f"as {relation.owner}: `GRANT SELECT ON {relation.name} TO {quoted(row['role'])}`",
            )


def locking(inspected: Inspected) -> Iterator[Finding]:
    """Find whether the owner of conversations, as whom a promotion runs, may read and lock the rows of actors."""
    actors, owner = inspected.relations["actors"], quoted(inspected.owner)
    may = "has_table_privilege(CAST(:owner AS name), :oid, 'SELECT') AND "
    may += "has_any_column_privilege(CAST(:owner AS name), :oid, 'UPDATE')"
    if inspected.value(f"SELECT {may}", owner=inspected.owner, oid=actors.oid):
        return
    column = quoted(actors.columns["actor_id"])
    yield Finding(
        Stops.PROMOTION,
        f"{inspected.owner}, who owns conversations, may not lock rows of {actors.name}, which a promotion must",
        f"as {actors.owner}: `GRANT SELECT, UPDATE ({column}) ON {actors.name} TO {owner}`",
    )
