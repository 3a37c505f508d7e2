"""The rights of the two roles on our own tables, compared with what an installation gives them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass

from bench_pipeline.storage.inspection.findings import Finding, Stops, install_remedy
from bench_pipeline.storage.inspection.inspected import Inspected

_RIGHTS = """
SELECT c.relname AS table, ARRAY(SELECT p.privilege
    FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER']) AS p(privilege)
    WHERE has_table_privilege(r.oid, c.oid, p.privilege)) AS rights
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace CROSS JOIN pg_roles r
WHERE n.nspname = :schema AND c.relkind = 'r' AND c.relname = ANY (:tables) AND r.rolname = :role AND NOT r.rolsuper
ORDER BY c.relname
"""


@dataclass(frozen=True, slots=True)
class OwnTables:
    """The schema of our tables, and the rights that each role should have on them: by role, then by table."""

    schema: str
    rights: Mapping[str, Mapping[str, Set[str]]]


def own_rights(inspected: Inspected, own: OwnTables) -> Iterator[Finding]:
    """Find what a role may do beyond its task, and what it lacks. Installing again repairs both."""
    for role, expected in own.rights.items():
        rows = inspected.rows(_RIGHTS, schema=own.schema, tables=list(expected), role=role)
        found = {row["table"]: set(row["rights"]) for row in rows}
        more = _listed({table: rights - expected[table] for table, rights in found.items()})
        less = _listed({table: expected[table] - rights for table, rights in found.items()})
        remedy = install_remedy(inspected.owner)
        if more:
            yield Finding(Stops.SAFETY, f"{role} has rights on our tables beyond its task: {more}", remedy)
        if less:
            yield Finding(Stops.BENCHMARK, f"{role} lacks rights on our tables: {less}", remedy)


def _listed(rights: Mapping[str, Set[str]]) -> str:
    return ", ".join(f"{' and '.join(sorted(some))} on {table}" for table, some in rights.items() if some)
