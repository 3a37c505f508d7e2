"""Row-level security that hides rows from this login, or forbids the owner of conversations to change them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import RowMapping

from bench_pipeline.storage.identifiers import literal, quoted
from bench_pipeline.storage.inspection.findings import Finding, Stops
from bench_pipeline.storage.inspection.inspected import Inspected, Relation

_SUBJECT = """
SELECT c.relrowsecurity AND NOT r.rolsuper AND NOT r.rolbypassrls
    AND (c.relforcerowsecurity OR NOT pg_has_role(r.oid, c.relowner, 'USAGE'))
FROM pg_class c, pg_roles r WHERE c.oid = :oid AND r.rolname = :role
"""
_POLICIES = """
SELECT p.polname AS name, p.polcmd AS command, p.polpermissive AS permissive,
    pg_get_expr(p.polqual, p.polrelid) AS condition
FROM pg_policy p, pg_roles r
WHERE p.polrelid = :oid AND r.rolname = :role AND (0 = ANY (p.polroles)
    OR EXISTS (SELECT FROM unnest(p.polroles) AS of(role) WHERE pg_has_role(r.oid, of.role, 'USAGE')))
ORDER BY p.polname
"""


def hidden_rows(inspected: Inspected) -> Iterator[Finding]:
    """Find the tables whose rows this login cannot read."""
    for relation in inspected.relations.values():
        yield from _hidden(inspected, relation)


def unwritable_rows(inspected: Inspected) -> Iterator[Finding]:
    """Find the tables whose rows the owner of conversations, as whom a promotion runs, cannot lock or write."""
    for name in ("conversations", "actors"):
        yield from _unwritable(inspected, inspected.relations[name])


def _hidden(inspected: Inspected, relation: Relation) -> Iterator[Finding]:
    """Restrictive policies are altered rather than answered by another one: they hold beside any permissive one."""
    role = inspected.reader
    if not inspected.value(_SUBJECT, oid=relation.oid, role=role):
        return
    applying = [row for row in inspected.rows(_POLICIES, oid=relation.oid, role=role) if row["command"] in ("r", "*")]
    if not _grants_all(applying, role):
        policy = quoted(f"{role}_reads")
        statement = f"CREATE POLICY {policy} ON {relation.name} FOR SELECT TO {quoted(role)} USING (true)"
        yield Finding(
            Stops.BENCHMARK,
            f"row-level security of {relation.name} hides rows from {role}",
            f"as {relation.owner}: `{statement}`",
        )
    for row in applying:
        if not row["permissive"] and not _admits(row, role):
            condition = f"({row['condition']}) OR current_user = {literal(role)}"
            statement = f"ALTER POLICY {quoted(row['name'])} ON {relation.name} USING ({condition})"
            yield Finding(
                Stops.BENCHMARK,
                f"the restrictive policy {row['name']} of {relation.name} hides rows from {role}",
                f"as {relation.owner}: `{statement}`",
            )


def _unwritable(inspected: Inspected, relation: Relation) -> Iterator[Finding]:
    """Locking a row asks for the policies of a change as well as for those of reading."""
    role = inspected.owner
    if not inspected.value(_SUBJECT, oid=relation.oid, role=role):
        return
    applying = inspected.rows(_POLICIES, oid=relation.oid, role=role)
    kinds = [[row for row in applying if row["command"] in (command, "*")] for command in ("r", "w")]
    if all(_grants_all(rows, role) for rows in kinds):
        return
    policy = quoted(f"{role}_promotes")
    statement = f"CREATE POLICY {policy} ON {relation.name} TO {quoted(role)} USING (true) WITH CHECK (true)"
    yield Finding(
        Stops.PROMOTION,
        f"row-level security of {relation.name} applies to {role} too, with whose rights a promotion writes it",
        f"as {relation.owner}: `{statement}`",
    )


def _grants_all(policies: Sequence[RowMapping], role: str) -> bool:
    return any(row["permissive"] and _admits(row, role) for row in policies)


def _admits(policy: RowMapping, role: str) -> bool:
    """Whether a policy shows this role every row. Only two forms are known to: any other may hide some."""
    condition = policy["condition"]
    return condition == "true" or f"CURRENT_USER = {literal(role)}::name" in (condition or "")
