"""Production's tables, which the user's application owns: all reads, and the only write, `conversations.actor_id`.

Our own tables are in tables.py; the rules of a promotion are in domain/promoting. Values of the optional columns are
read in production_texts.py.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    DateTime,
    Select,
    String,
    Table,
    case,
    cast,
    func,
    literal,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.mapping.names import ENABLED, OPTIONAL, REQUIRED, ColumnName, Names
from bench_pipeline.domain.models.actor import MODEL_ACTOR_TYPE, Actor, ActorNow, Exclusion
from bench_pipeline.domain.models.ids import ActorId, ConversationId, Key, WorkflowId
from bench_pipeline.storage.database import Database
from bench_pipeline.storage.production_keys import ProductionKey
from bench_pipeline.storage.production_schema import fingerprint_sql, schema_hash
from bench_pipeline.storage.production_tables import find_tables, has_table, place
from bench_pipeline.storage.production_texts import (
    ConversationPrompt,
    Interaction,
    read_interactions,
    read_prompt_hashes,
    read_prompts,
)
from bench_pipeline.storage.production_truth import Truth, sql_of
from bench_pipeline.storage.production_use import as_kept, count_calls, read_latencies

_HASHED = (*REQUIRED, "workflows", "workflow_conversations")


@dataclass(frozen=True, slots=True)
class Conversation:
    """A step of a workflow, with the actor that serves it now."""

    conversation_id: ConversationId
    name: str
    actor_id: ActorId | None
    actor_name: str | None
    actor_type: str | None
    execution_path: str | None
    is_model: bool


@dataclass(frozen=True, slots=True)
class Workflow:
    """A workflow with its steps in execution order."""

    workflow_id: WorkflowId
    name: str
    steps: tuple[Conversation, ...]


class Production:
    """The application's tables under their real names, checked against the live schema."""

    def __init__(self, tables: Mapping[str, Table], truth: Truth) -> None:
        self._tables = tables
        self.truth = truth
        self.optional = frozenset(tables) & OPTIONAL.keys()

    def table(self, name: str) -> Table:
        """Return a table by our name; its columns have our keys and the application's names."""
        return self._tables[name]

    @property
    def tables(self) -> tuple[Table, ...]:
        """All tables that are read."""
        return tuple(self._tables.values())

    def conversation_key(self, typed: Key) -> ConversationId:
        """Return the id that a person typed, with the type of its column. Raises `InputError`."""
        column = self._tables["conversations"].c.conversation_id
        key = _key_type(column).key(typed)
        if key is None:
            raise InputError(
                f"{typed!r} is not an id of a conversation: {place(column)} is {_key_type(column).shown}; "
                f"write {_key_type(column).expected}"
            )
        return key

    def schema_hash(self, database: Database) -> str:
        """Hash the live column types and foreign keys of the required tables, limited to the columns in use."""
        with database.engine.connect() as connection:
            return self.live_schema_hash(connection)

    def live_schema_hash(self, connection: Connection) -> str:
        """Hash the same as seen by this connection, in PostgreSQL by the query that the promotion's function has."""
        required = {name: self._tables[name] for name in _HASHED if name in self._tables}
        return schema_hash(connection, required)

    def live_schema_sql(self, connection: Connection) -> str:
        """Return that query."""
        return fingerprint_sql(connection, {name: self._tables[name] for name in _HASHED if name in self._tables})

    def own_prompt_hashes(
        self, connection: Connection, conversation_ids: Iterable[ConversationId]
    ) -> dict[ConversationId, str]:
        """Return the SHA-256 of the prompt that production keeps, for each conversation that has one."""
        if "prompt_templates" not in self.optional:
            return {}
        return read_prompt_hashes(connection, self._tables["prompt_templates"], list(conversation_ids))

    def enabled_faults(self, connection: Connection) -> list[str]:
        """Return one line for each actor of which its row does not say whether it is enabled."""
        a = self._tables["actors"].c
        query = select(a.actor_id, cast(a.enabled, String)).where(self._says_neither).order_by(a.actor_id)
        return [
            f"{place(a.enabled)}, actor {number}: {value!r} does not say whether the actor is enabled; write true or "
            f"false there, or the values that count as true under {ENABLED} in BENCH_PRODUCTION_NAMES"
            for number, value in connection.execute(query)
        ]

    @property
    def _says_neither(self) -> ColumnElement[bool]:
        enabled = self._tables["actors"].c.enabled
        return ~or_(self.truth.enabled(enabled), self.truth.disabled(enabled))

    def actors(
        self, connection: Connection, excluded_names: Sequence[str], specialist_names: Sequence[str]
    ) -> list[Actor]:
        """Return every actor, ordered by id, with the first database rule that excludes it.

        Raises `InputError` for actors whose rows do not say whether they are enabled.
        """
        a = self._tables["actors"].c
        enabled = self.truth.enabled(a.enabled)
        exclusion = case(
            (~self.truth.is_model(a.actor_type), Exclusion.TYPE.value),
            (~enabled, Exclusion.DISABLED.value),
            (_named_like(a, excluded_names), Exclusion.NAME_PATTERN.value),
            (_named_like(a, specialist_names), Exclusion.SPECIALIST.value),
            else_=null(),
        )
        columns = _text(a.actor_name), _text(a.actor_type), _text(a.execution_path), enabled
        rows = connection.execute(select(a.actor_id, *columns, self._says_neither, exclusion).order_by(a.actor_id))
        found = rows.all()
        if any(unclear for *_, unclear, _ in found):
            raise InputError("\n".join(self.enabled_faults(connection)))
        return [
            Actor(number, name, kind or "", path or "", bool(enabled), Exclusion(reason) if reason else None)
            for number, name, kind, path, enabled, _, reason in found
        ]

    def conversations(self, connection: Connection, ids: Iterable[ConversationId] | None = None) -> list[Conversation]:
        """Return the conversations with these ids, or all of them, ordered by id."""
        c = self._tables["conversations"].c
        query = self._conversation_query().order_by(c.conversation_id)
        if ids is not None:
            query = query.where(c.conversation_id.in_(list(ids)))
        return [_conversation(row) for row in connection.execute(query)]

    def workflows(self, connection: Connection) -> list[Workflow]:
        """Return every workflow, ordered by id, with its steps in execution order; none without both tables."""
        if not {"workflows", "workflow_conversations"} <= self.optional:
            return []
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
            of_workflow.setdefault(row[-1], []).append(_conversation(row[:-1]))
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
        wanted = {key: str(typed) for typed in posting_ids if (key := _key_type(p.posting_id).key(typed)) is not None}
        query = select(p.posting_id, p.posting_text).where(p.posting_id.in_(list(wanted)))
        return {wanted.get(key, str(key)): posting for key, posting in connection.execute(query) if posting}

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
        wanted = {_key_type(i.conversation_id).key(number): number for number in conversation_ids}
        query = (
            select(i.conversation_id, func.count())
            .where(i.conversation_id.in_(list(wanted)))
            .where(i.created_at >= as_kept(since, kept_as), i.created_at <= as_kept(until, kept_as))
            .group_by(i.conversation_id)
        )
        return {wanted[key]: count for key, count in connection.execute(query)}

    def model_calls(self, connection: Connection, since: datetime, until: datetime) -> int:
        """Return how many calls the models answered in all conversations; 0 where production keeps none."""
        if "interactions" not in self.optional:
            return 0
        a, i = self._tables["actors"].c, self._tables["interactions"].c
        models = connection.scalars(select(a.actor_id).where(self.truth.is_model(a.actor_type)))
        keys = [key for number in models if (key := _key_type(i.actor_id).key(number)) is not None]
        return count_calls(connection, self._tables["interactions"], keys, since, until)

    def latencies(
        self,
        connection: Connection,
        actor_id: ActorId,
        conversation_ids: Iterable[ConversationId],
        since: datetime,
        limit: int,
    ) -> list[float]:
        """Return the latencies (ms) of an actor's last calls as `read_latencies` does; none without the table."""
        if "interactions" not in self.optional:
            return []
        i = self._tables["interactions"].c
        actor = _key_type(i.actor_id).key(actor_id)
        asked = [key for n in conversation_ids if (key := _key_type(i.conversation_id).key(n)) is not None]
        if actor is None:
            return []
        return read_latencies(connection, self._tables["interactions"], actor, asked, since, limit)

    def actor_now(self, connection: Connection, actor_id: ActorId) -> ActorNow | None:
        """Return an actor's row, or None when it is gone."""
        return self.actors_now(connection, [actor_id]).get(actor_id)

    def actors_now(self, connection: Connection, actor_ids: Iterable[ActorId]) -> dict[ActorId, ActorNow]:
        """Return the rows of these actors, without those that are gone."""
        a = self._tables["actors"].c
        truths = self.truth.enabled(a.enabled), self.truth.is_model(a.actor_type)
        columns = _text(a.actor_name), _text(a.actor_type), _text(a.execution_path), *truths
        query = select(a.actor_id, *columns).where(a.actor_id.in_(list(actor_ids)))
        return {
            number: ActorNow(name, kind or "", path or "", bool(enabled), bool(is_model))
            for number, name, kind, path, enabled, is_model in connection.execute(query)
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
        kept_as = _key_type(table.c.actor_id)
        if any(actor is not None and kept_as.native_value(actor) is None for actor in (old, new)):
            return 0  # bound as NULL, such an id would stand for a conversation without an actor
        done = connection.execute(
            update(table)
            .where(table.c.conversation_id == conversation_id, table.c.actor_id.is_not_distinct_from(old))
            .values({table.c.actor_id: new})
        )
        return done.rowcount

    def _conversation_query(self) -> Select[Any]:
        c, a = self._tables["conversations"].c, self._tables["actors"].c
        texts = _text(a.actor_name), _text(a.actor_type), _text(a.execution_path)
        return select(
            c.conversation_id, _text(c.conversation_name), c.actor_id, *texts, self.truth.is_model(a.actor_type)
        ).outerjoin_from(self._tables["conversations"], self._tables["actors"], c.actor_id == a.actor_id)


def _conversation(row: Sequence[Any]) -> Conversation:
    number, name, actor_id, actor_name, actor_type, path, is_model = row
    return Conversation(number, name, actor_id, actor_name, actor_type, path, bool(is_model))


def _key_type(column: Column[Any]) -> ProductionKey:
    assert isinstance(column.type, ProductionKey)  # noqa: S101 - find_tables refuses every other type
    return column.type


def _text(column: Column[Any]) -> ColumnElement[str]:
    """Read a column as text, without the blanks to which PostgreSQL pads the type char."""
    return cast(column, String)


def _named_like(columns: ReadOnlyColumnCollection[str, Any], patterns: Sequence[str]) -> ColumnElement[bool]:
    names = [func.lower(func.coalesce(_text(column), "")) for column in (columns.actor_name, columns.execution_path)]
    tests = [name.like(_like(pattern), escape="\\") for pattern in patterns for name in names]
    return or_(literal(False), *tests)


def _like(pattern: str) -> str:
    """Turn `*` and `?` into LIKE's wildcards; everything else is literal."""
    quoted = pattern.lower().replace("\\", "\\\\").replace("%", r"\%").replace("_", r"\_")
    return quoted.replace("*", "%").replace("?", "_")


def enabled_sql(production: Production) -> str:
    """Return whether an actor is enabled, as PostgreSQL's SQL; the table of actors must have the alias `a`."""
    return sql_of(production.truth.enabled(production.table("actors").alias("a").c.enabled))


def model_sql(production: Production) -> str:
    """Return whether an actor is a model, as PostgreSQL's SQL; the table of actors must have the alias `a`."""
    return sql_of(production.truth.is_model(production.table("actors").alias("a").c.actor_type))


def open_production(database: Database, names: Names, model_types: Collection[str] = (MODEL_ACTOR_TYPE,)) -> Production:
    """Open production's tables under their configured names; `model_types` are the types of actors that are models.

    Raises `InputError` as `find_tables` and `Truth` do.
    """
    tables = find_tables(database, names)
    enabled, stated = tables["actors"].c.enabled, names.get(ENABLED)
    true_values = stated.true_texts if isinstance(stated, ColumnName) else None
    return Production(tables, Truth(database.engine.dialect.name, enabled, true_values, model_types))


def has_production(database: Database, names: Names) -> bool:
    """Whether the database has an `actors` table; without one, models must be named explicitly."""
    with database.engine.connect() as connection:
        return has_table(connection, names, "actors")
