"""What must hold at any moment of a promotion, and what must hold once the command was run again."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from bench_pipeline.domain.promoting.changes import Promotion
from bench_pipeline.domain.promoting.plan import PlanKind
from bench_pipeline.reporting.workflow_docs import write_documents
from bench_pipeline.storage.champions import all_champions
from bench_pipeline.storage.database import open_database
from bench_pipeline.storage.production import open_production
from bench_pipeline.storage.promotions import all_promotions
from bench_pipeline.storage.tables import intents, promotion_rows
from bench_pipeline_tests.campaigns.template_world import NEW, OLD, Copy

MAX_MODEL_BYTES = 8_000_000_000
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT[\d:]+\+00:00")
_LOAD_TIME = re.compile(r", which saves [\d.,]+ ms according to the latest load times")
_CHANGES = {PlanKind.PROMOTION: (OLD, NEW), PlanKind.ROLLBACK: (NEW, OLD)}


@dataclass(frozen=True)
class State:
    """What a world holds. `rendered` is what the documents should be; `leftovers` are temporary files beside them.

    `lines` counts the audit's rows by promotion; `intents` says for each promotion whether its documents are written.
    """

    actors: Mapping[int, int | None]
    promotions: tuple[Promotion, ...]
    lines: Mapping[int, int]
    intents: tuple[tuple[int, bool], ...]
    champions: Mapping[int, int]
    documents: Mapping[str, str]
    rendered: Mapping[str, str]
    leftovers: frozenset[str]

    @property
    def statuses(self) -> list[str]:
        """Kind and status of each change, oldest first."""
        return [f"{one.kind.value} {one.status.value}" for one in self.promotions]

    @property
    def documents_are_true(self) -> bool:
        """Whether they say what the database holds, but for the time of a load that was measured since."""
        return {n: but_for_moments(t) for n, t in self.documents.items()} == {
            n: but_for_moments(t) for n, t in self.rendered.items()
        }


@dataclass(frozen=True)
class Known:
    """What runs without a crash show: the world before, each document's texts, and how it ends."""

    before: State
    texts: Mapping[str, frozenset[str]]
    end: State


def look(world: Copy) -> State:
    """Read all of a world as its owner."""
    database = open_database(world.owner_url)
    try:
        production = open_production(database, {})
        with database.engine.connect() as connection:
            numbers = list(connection.scalars(select(promotion_rows.c.promotion_id)))
            written = connection.execute(
                select(intents.c.promotion_id, intents.c.done_at).order_by(intents.c.intent_id)
            )
            owed = tuple((number, done is not None) for number, done in written)
            actors = {one.conversation_id: one.actor_id for one in production.conversations(connection)}
            champions = {one.conversation_id: one.champion_actor_id for one in all_champions(connection)}
            promotions = tuple(all_promotions(connection))
        with tempfile.TemporaryDirectory() as folder:
            write_documents(database, production, Path(folder), MAX_MODEL_BYTES)
            rendered = _texts(Path(folder))
    finally:
        database.close()
    lines = {number: numbers.count(number) for number in numbers}
    found = _texts(world.production)
    leftovers = frozenset(name for name in found if Path(name).name.startswith("."))
    documents = {name: text for name, text in found.items() if name not in leftovers}
    return State(actors, promotions, lines, owed, champions, documents, rendered, leftovers)


def _texts(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes().decode() for path in files}


def but_for_moments(text: str) -> str:
    """A document without what differs between two equal runs: when it was decided, whether and how long a load took."""
    return _LOAD_TIME.sub("", _MOMENT.sub("MOMENT", text))


def faults_at_any_moment(state: State, known: Known) -> Iterator[str]:
    """Whichever process died: all rows or none, an audit of exactly what was changed, whole documents."""
    yield from _faults_of_the_rows(state, known)
    for one in state.promotions:
        old, new = _CHANGES[one.kind]
        told = {row.conversation_id: (row.old_actor_id, row.new_actor_id, row.changed) for row in one.rows}
        if told != {number: (old[number], new[number], True) for number in old}:
            yield f"the audit of {one.kind.value} {one.promotion_id} is not what was changed: {told}"
    heads = [one.promotion_id for one in state.promotions]
    if state.lines.keys() - set(heads):
        yield f"rows of promotions that are not there: {state.lines}"
    if [number for number, _ in state.intents] != heads:
        yield f"promotions {heads}, but intents {state.intents}"
    if [one.kind for one in state.promotions] not in ([], [PlanKind.PROMOTION], [*_CHANGES]):
        yield f"more than one promotion, or one undoing: {state.statuses}"
    if state.intents and all(done for _, done in state.intents) and not state.documents_are_true:
        yield f"no documents are owed, {state.intents}, and they do not say what the database holds"
    if state.documents.keys() != known.before.documents.keys():
        yield f"documents are there or gone: {sorted(state.documents)}"
    for name, text in state.documents.items():
        if but_for_moments(text) not in known.texts.get(name, ()):
            yield f"{name} is not whole: {text[:200]!r}"


def _faults_of_the_rows(state: State, known: Known) -> Iterator[str]:
    in_force = [one for one in state.promotions if one.forward and one.in_force]
    expected = {**known.before.actors, **(NEW if in_force else {})}
    if state.actors != expected:
        held = {number: state.actors.get(number) for number in OLD}
        yield f"{len(in_force)} promotions are in force, and production holds {held}"
    if state.champions != (NEW if in_force else {}):
        yield f"{len(in_force)} promotions are in force, and the registry holds {state.champions}"


def faults_at_the_end(state: State, known: Known) -> Iterator[str]:
    """Once the command was run again: as if nothing had died."""
    yield from faults_at_any_moment(state, known)
    if (state.statuses, state.actors) != (known.end.statuses, known.end.actors):
        yield f"it ended as {state.statuses} instead of {known.end.statuses}"
    if not all(done for _, done in state.intents):
        yield f"documents are still owed: {state.intents}"
    for name, text in state.documents.items():
        if text != state.rendered.get(name):
            yield f"{name} is not what the database says"
        if but_for_moments(text) != but_for_moments(known.end.documents.get(name, "")):
            yield f"{name} is not what a run without a crash writes"
