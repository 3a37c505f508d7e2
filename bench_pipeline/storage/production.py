"""Production's tables, which the user's application owns: all reads, and the only write, `conversations.actor_id`.

Our own tables are in tables.py; the rules of a promotion are in domain/promoting. Values of the optional columns are
read in production_texts.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    DateTime,
    Integer,
    MetaData,
    Select,
    String,
    Table,
    case,
    cast,
    func,
    inspect,
    literal,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.engine import Inspector
from sqlalchemy.exc import NoSuchTableError
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.hashing import content_hash
from bench_pipeline.domain.models.actor import MODEL_ACTOR_TYPE, Actor, ActorNow, Exclusion
from bench_pipeline.domain.models.ids import ActorId, ConversationId, WorkflowId
from bench_pipeline.storage.database import Database
from bench_pipeline.storage.production_texts import ConversationPrompt, Interaction, read_interactions, read_prompts

REQUIRED = {
    "actors": ("actor_id", "actor_name", "actor_type", "execution_path", "enabled"),
    "conversations": ("conversation_id", "conversation_name", "actor_id"),
    "workflows": ("workflow_id", "workflow_name"),
    "workflow_conversations": ("workflow_id", "conversation_id", "execution_order"),
}
OPTIONAL = {
    "prompt_templates": ("conversation_id", "template"),
    "postings": ("posting_id", "posting_text"),
    "interactions": ("interaction_id", "conversation_id", "actor_id", "latency_ms", "created_at"),
}
OPTIONAL_COLUMNS = {
    "prompt_templates": ("system_template", "options", "time_limit_s"),
    "interactions": ("input", "output", "posting_id"),
}
"""Columns that a table may lack and still be used."""
KNOWN_NAMES = frozenset(
    name
    for table, columns in (REQUIRED | OPTIONAL).items()
    for name in (table, *(f"{table}.{column}" for column in (*columns, *OPTIONAL_COLUMNS.get(table, ()))))
)


@dataclass(frozen=True, slots=True)
class Conversation:
    """A step of a workflow, with the actor that serves it now."""

    conversation_id: ConversationId
    name: str
    actor_id: ActorId | None
    actor_name: str | None
    actor_type: str | None
    execution_path: str | None


@dataclass(frozen=True, slots=True)
class Workflow:
    """A workflow with its steps in execution order."""

    workflow_id: WorkflowId
    name: str
    steps: tuple[Conversation, ...]


class Production:
    """The application's tables under their real names, checked against the live schema."""

    def __init__(self, tables: Mapping[str, Table]) -> None:
        self._tables = tables
        self.optional = frozenset(tables) & OPTIONAL.keys()

    def table(self, name: str) -> Table:
        """Return a table by our name; its columns have our keys and the application's names."""
        return self._tables[name]

    @property
    def tables(self) -> tuple[Table, ...]:
        """All tables that are read."""
        return tuple(self._tables.values())

    def schema_hash(self, database: Database) -> str:
        """Hash the live column types and foreign keys of the required tables, limited to the columns in use."""
        inspector = inspect(database.engine)
        return content_hash({name: _live_schema(inspector, self._tables[name]) for name in REQUIRED})

    def actors(
        self, connection: Connection, excluded_names: Sequence[str], specialist_names: Sequence[str]
    ) -> list[Actor]:
        """Return every actor, ordered by id, with the first database rule that excludes it."""
        a = self._tables["actors"].c
        exclusion = case(
            (func.coalesce(cast(a.actor_type, String), "") != MODEL_ACTOR_TYPE, Exclusion.TYPE.value),
            (func.coalesce(cast(a.enabled, Integer), 0) == 0, Exclusion.DISABLED.value),
            (_named_like(a, excluded_names), Exclusion.NAME_PATTERN.value),
            (_named_like(a, specialist_names), Exclusion.SPECIALIST.value),
            else_=null(),
        )
        rows = connection.execute(
            select(a.actor_id, a.actor_name, a.actor_type, a.execution_path, cast(a.enabled, Integer), exclusion)
            .order_by(a.actor_id)
        )  # fmt: skip
        return [
            Actor(number, name, kind or "", path or "", bool(enabled), Exclusion(reason) if reason else None)
            for number, name, kind, path, enabled, reason in rows
        ]

    def conversations(self, connection: Connection, ids: Iterable[ConversationId] | None = None) -> list[Conversation]:
        """Return the conversations with these ids, or all of them, ordered by id."""
        c = self._tables["conversations"].c
        query = self._conversation_query().order_by(c.conversation_id)
        if ids is not None:
            query = query.where(c.conversation_id.in_(list(ids)))
        return [Conversation(*row) for row in connection.execute(query)]

    def workflows(self, connection: Connection) -> list[Workflow]:
        """Return every workflow, ordered by id, with its steps in execution order."""
        w, link = self._tables["workflows"].c, self._tables["workflow_conversations"].c
        links, step_id = self._tables["workflow_conversations"], self._tables["conversations"].c.conversation_id
        steps = (
            self._conversation_query()
            .add_columns(link.workflow_id)
            .join(links, link.conversation_id == step_id)
            .order_by(link.workflow_id, link.execution_order, link.conversation_id)
        )
        of_workflow: dict[WorkflowId, list[Conversation]] = {}
        for row in connection.execute(steps):
            of_workflow.setdefault(row[-1], []).append(Conversation(*row[:-1]))
        return [
            Workflow(number, name, tuple(of_workflow.get(number, ())))
            for number, name in connection.execute(select(w.workflow_id, w.workflow_name).order_by(w.workflow_id))
        ]

    def prompt_of(self, connection: Connection, conversation_id: ConversationId) -> ConversationPrompt | None:
        """Return the whole prompt of a conversation, or None if it has no template. Raises as `read_prompts` does."""
        return self.prompts_of(connection, [conversation_id]).get(conversation_id)

    def prompts_of(
        self, connection: Connection, conversation_ids: Iterable[ConversationId]
    ) -> dict[ConversationId, ConversationPrompt]:
        """Return the whole prompts of the conversations that have a template. Raises as `read_prompts` does."""
        if "prompt_templates" not in self.optional:
            return {}
        return read_prompts(connection, self._tables["prompt_templates"], conversation_ids)

    def interactions_of(self, connection: Connection, conversation_id: ConversationId, limit: int) -> list[Interaction]:
        """Return at most `limit` interactions of a conversation, newest first; none without the table."""
        if "interactions" not in self.optional:
            return []
        return read_interactions(connection, self._tables["interactions"], conversation_id, limit)

    def postings(self, connection: Connection, posting_ids: Iterable[int | str]) -> dict[str, str]:
        """Return the texts of these postings, keyed by id as text."""
        if "postings" not in self.optional:
            return {}
        p = self._tables["postings"].c
        numeric = isinstance(p.posting_id.type, Integer)
        wanted = [int(i) if numeric else str(i) for i in posting_ids if not numeric or str(i).isdecimal()]
        query = select(p.posting_id, p.posting_text).where(p.posting_id.in_(wanted))
        return {str(number): posting for number, posting in connection.execute(query) if posting}

    def calls(
        self, connection: Connection, conversation_ids: Iterable[ConversationId], since: datetime, until: datetime
    ) -> dict[ConversationId, int]:
        """Return how many interactions these conversations had from `since` to `until`, both with a time zone.

        Conversations without any are left out. Empty when the application stores no interactions or no timestamps.
        """
        if "interactions" not in self.optional:
            return {}
        i = self._tables["interactions"].c
        kept_as = i.created_at.type
        if not isinstance(kept_as, DateTime):
            return {}
        query = (
            select(i.conversation_id, func.count())
            .where(i.conversation_id.in_(list(conversation_ids)))
            .where(i.created_at >= _as_kept(since, kept_as), i.created_at <= _as_kept(until, kept_as))
            .group_by(i.conversation_id)
        )
        return {number: count for number, count in connection.execute(query)}  # noqa: C416 - mypy does not take a row for a pair

    def actor_now(self, connection: Connection, actor_id: ActorId) -> ActorNow | None:
        """Return an actor's row, or None when it is gone."""
        return self.actors_now(connection, [actor_id]).get(actor_id)

    def actors_now(self, connection: Connection, actor_ids: Iterable[ActorId]) -> dict[ActorId, ActorNow]:
        """Return the rows of these actors, without those that are gone."""
        a = self._tables["actors"].c
        columns = a.actor_id, a.actor_name, cast(a.actor_type, String), a.execution_path, cast(a.enabled, Integer)
        query = select(*columns).where(a.actor_id.in_(list(actor_ids)))
        return {
            number: ActorNow(name, kind or "", path or "", bool(enabled))
            for number, name, kind, path, enabled in connection.execute(query)
        }

    def holders(
        self, connection: Connection, conversation_ids: Iterable[ConversationId]
    ) -> dict[ConversationId, list[ActorId | None]]:
        """Return the actor of every row that has one of these ids; without a key, a conversation may have several."""
        c = self._tables["conversations"].c
        query = select(c.conversation_id, c.actor_id).where(c.conversation_id.in_(list(conversation_ids)))
        found: dict[ConversationId, list[ActorId | None]] = {}
        for number, actor_id in connection.execute(query):
            found.setdefault(number, []).append(actor_id)
        return found

    def set_actor(
        self, connection: Connection, conversation_id: ConversationId, old: ActorId | None, new: ActorId | None
    ) -> int:
        """Give the conversation its new actor only while it still holds `old`; return how many rows that changed."""
        table = self._tables["conversations"]
        done = connection.execute(
            update(table)
            .where(table.c.conversation_id == conversation_id, table.c.actor_id.is_not_distinct_from(old))
            .values({table.c.actor_id: new})
        )
        return done.rowcount

    def _conversation_query(self) -> Select[Any]:
        c, a = self._tables["conversations"].c, self._tables["actors"].c
        return select(
            c.conversation_id, c.conversation_name, c.actor_id, a.actor_name, a.actor_type, a.execution_path
        ).outerjoin_from(self._tables["conversations"], self._tables["actors"], c.actor_id == a.actor_id)


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


def _as_kept(moment: datetime, column: DateTime) -> datetime:
    """Convert a moment for a column; one without a time zone is taken to hold UTC."""
    return moment if column.timezone else moment.astimezone(UTC).replace(tzinfo=None)


def _named_like(columns: ReadOnlyColumnCollection[str, Any], patterns: Sequence[str]) -> ColumnElement[bool]:
    names = [func.lower(func.coalesce(column, "")) for column in (columns.actor_name, columns.execution_path)]
    tests = [name.like(_like(pattern), escape="\\") for pattern in patterns for name in names]
    return or_(literal(False), *tests)


def _like(pattern: str) -> str:
    """Turn `*` and `?` into LIKE's wildcards; everything else is literal."""
    quoted = pattern.lower().replace("\\", "\\\\").replace("%", r"\%").replace("_", r"\_")
    return quoted.replace("*", "%").replace("?", "_")


def open_production(database: Database, names: Mapping[str, str]) -> Production:
    """Open production's tables under their configured names.

    Raises `InputError` with every table and column that the live schema lacks.
    """
    if unknown := sorted(names.keys() - KNOWN_NAMES):
        raise InputError(
            f"BENCH_PRODUCTION_NAMES: unknown {', '.join(unknown)}; use names from {', '.join(sorted(KNOWN_NAMES))}"
        )
    faults: list[str] = []
    tables: dict[str, Table] = {}
    inspector = inspect(database.engine)
    for table, columns in (REQUIRED | OPTIONAL).items():
        schema, _, real_name = names.get(table, table).rpartition(".")
        needed = table in REQUIRED or any(name.partition(".")[0] == table for name in names)
        if not inspector.has_table(real_name, schema=schema or None):
            if needed:
                faults.append(f"table {names.get(table, table)}")
            continue
        live = {column["name"]: column["type"] for column in inspector.get_columns(real_name, schema=schema or None)}
        real = {column: names.get(f"{table}.{column}", column) for column in columns}
        extra = {column: names.get(f"{table}.{column}", column) for column in OPTIONAL_COLUMNS.get(table, ())}
        faults += [
            f"column {real_name}.{name}"
            for column, name in extra.items()
            if name not in live and f"{table}.{column}" in names
        ]
        missing = [f"column {real_name}.{name}" for name in real.values() if name not in live]
        if missing and needed:
            faults += missing
        if not missing:
            tables[table] = Table(
                real_name,
                MetaData(),
                *(Column(name, live[name], key=key) for key, name in (real | extra).items() if name in live),
                schema=schema or None,
            )
    if faults:
        raise InputError(
            f"{database.name} lacks {', '.join(faults)}; "
            "set BENCH_DATABASE_URL to your production database, BENCH_PRODUCTION_NAMES to your names, "
            "or run `bench demo` to create a database to try"
        )
    return Production(tables)


def has_production(database: Database, names: Mapping[str, str]) -> bool:
    """Whether the database has an `actors` table; without one, models must be named explicitly."""
    schema, _, real_name = names.get("actors", "actors").rpartition(".")
    return inspect(database.engine).has_table(real_name, schema=schema or None)
