"""Triggers of conversations, which run at each promotion, and views, which may not be locked or written."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from bench_pipeline.storage.identifiers import quoted
from bench_pipeline.storage.inspection.findings import Finding, Stops
from bench_pipeline.storage.inspection.inspected import Inspected, Relation

REHEARSE = "`bench db rehearse` tries this"
_NOT_SUPPORTED = "0A000"
_TRIGGERS = """
SELECT t.tgname AS name, t.tgtype & 2 > 0 AND t.tgtype & 1 > 0 AND p.prosrc ~* 'return\\s+null' AS may_skip
FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
WHERE t.tgrelid = :oid AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') AND t.tgtype & 16 > 0
ORDER BY t.tgname
"""
_WRITABLE = """
SELECT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = a.attrelid AND t.tgtype & 64 > 0 AND t.tgtype & 16 > 0)
    OR pg_column_is_updatable(a.attrelid, a.attnum, false)
FROM pg_attribute a WHERE a.attrelid = :oid AND a.attname = :name
"""
_BASES = """
SELECT DISTINCT CAST(CAST(d.refobjid AS regclass) AS text) FROM pg_rewrite r
JOIN pg_depend d ON d.classid = CAST('pg_rewrite' AS regclass) AND d.objid = r.oid
    AND d.refclassid = CAST('pg_class' AS regclass) AND d.refobjid <> r.ev_class
WHERE r.ev_class = :oid
"""
_COLUMNS = """
SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
WHERE attrelid = :oid AND attnum > 0 AND NOT attisdropped
"""


def triggers_of(inspected: Inspected) -> list[str]:
    """Return the names of the application's triggers that run when a conversation changes, in their order."""
    return [row["name"] for row in inspected.rows(_TRIGGERS, oid=inspected.relations["conversations"].oid)]


def triggers(inspected: Inspected) -> Iterator[Finding]:
    """Name the triggers that run at each promotion, and those that may drop its change.

    Whether the names in their bodies are found is only known when they run.
    """
    conversations = inspected.relations["conversations"]
    found = inspected.rows(_TRIGGERS, oid=conversations.oid)
    if found:
        names = ", ".join(row["name"] for row in found)
        yield Finding(Stops.NOTHING, f"triggers of {conversations.name} run at each promotion: {names}; {REHEARSE}")
    for row in found:
        if row["may_skip"]:
            problem = f"the trigger {row['name']} of {conversations.name} returns NULL, which drops a change"
            yield Finding(Stops.NOTHING, f"{problem}; {REHEARSE}")


def views(inspected: Inspected) -> Iterator[Finding]:
    """Find views in the place of conversations that cannot be written, and of actors that cannot be locked."""
    conversations, actors = inspected.relations["conversations"], inspected.relations["actors"]
    name = conversations.columns["actor_id"]
    if conversations.is_view and not inspected.value(_WRITABLE, oid=conversations.oid, name=name):
        yield Finding(
            Stops.PROMOTION,
            f"{conversations.name} is a view whose {quoted(name)} cannot be written",
            _instead_of(inspected, conversations),
        )
    if actors.is_view and not _can_lock(inspected, actors):
        yield Finding(
            Stops.PROMOTION,
            f"{actors.name} is a view whose rows cannot be locked, because of its DISTINCT, GROUP BY or the like",
            _plain_view(inspected, actors),
        )


def _can_lock(inspected: Inspected, view: Relation) -> bool:
    """Ask the parser, which refuses to lock such a query before it asks for any right."""
    body = str(inspected.value("SELECT pg_get_viewdef(:oid)", oid=view.oid)).rstrip().removesuffix(";")
    savepoint = inspected.connection.begin_nested()
    try:
        inspected.connection.execute(text(f"EXPLAIN SELECT FROM ({body}) v FOR SHARE".replace(":", r"\:")))
    except DBAPIError as error:
        return getattr(error.orig, "pgcode", None) != _NOT_SUPPORTED
    finally:
        savepoint.rollback()
    return True


def _base(inspected: Inspected, view: Relation) -> str | None:
    bases = list(inspected.connection.scalars(text(_BASES), {"oid": view.oid}))
    return bases[0] if len(bases) == 1 else None


def _instead_of(inspected: Inspected, view: Relation) -> str:
    base = _base(inspected, view) or "TABLE"
    actor, key = quoted(view.columns["actor_id"]), quoted(view.columns["conversation_id"])
    schema = view.name.rpartition(".")[0]
    function = f"{schema}.write_conversations()" if schema else "write_conversations()"
    body = f"BEGIN UPDATE {base} SET {actor} = NEW.{actor} WHERE {key} = NEW.{key}; RETURN NEW; END"  # noqa: S608 - shown, not run
    return (
        f"as {view.owner}: `CREATE FUNCTION {function} RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$; "
        f"CREATE TRIGGER write_conversations INSTEAD OF UPDATE ON {view.name} "
        f"FOR EACH ROW EXECUTE FUNCTION {function}`"
    )


def _plain_view(inspected: Inspected, view: Relation) -> str:
    base = _base(inspected, view) or "TABLE"
    columns = inspected.value(_COLUMNS, oid=view.oid)
    statement = f"CREATE OR REPLACE VIEW {view.name} AS SELECT {columns} FROM {base}"  # noqa: S608 - shown, not run
    return f"as {view.owner}: `{statement}`"
