"""What the guarantees are tested with: two tasks in one plan, and the hands that get in between."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

import pytest
from sqlalchemy import Connection, Update, event, text, update

from bench_pipeline.benchmark.task_folders import read_task
from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.promoting.changes import Promotion
from bench_pipeline.domain.promoting.facts import Observed
from bench_pipeline.domain.promoting.plan import PromotionPlan
from bench_pipeline.domain.promoting.refusal import PlanRefused
from bench_pipeline.promotion.plan import make_plan
from bench_pipeline.promotion.plan_application import apply_plan
from bench_pipeline.storage import tables
from bench_pipeline.storage.writers import postgresql
from bench_pipeline.storage.writers.base import PromotionWriter
from bench_pipeline_tests.kit.models import SLOW, WRONG
from bench_pipeline_tests.kit.production import conversations
from bench_pipeline_tests.kit.tasks import EXTRACT, GRADE_A, GRADE_B, REGRADE, suite_value, task_value, write_task
from bench_pipeline_tests.kit.world import World

BOTH_TASKS = (GRADE_A, GRADE_B, REGRADE, EXTRACT)
OLD_ACTORS = [SLOW, None, WRONG, SLOW]
"""Who carries them out before; the second has nobody."""

_HALT = 4711  # the key of the lock that a halted promotion waits for
T = TypeVar("T")


# Two tasks in one plan


def add_extraction(world: World) -> None:
    """Let a second task serve a conversation of its own."""
    prompt = task_value()["prompt"] | {"conversation": EXTRACT}
    task = {"task": "extraction", "conversations": [EXTRACT], "prompt": prompt, "promotion": {"auto": [EXTRACT]}}
    write_task(world.folder / "testcases", suite_value("extraction"), task_value() | task, "extraction")


def plan_of_one(world: World) -> PromotionPlan:
    """Store a plan that gives `grading` to `fast`."""
    world.server.models["slow:7b"].latency_ms = 0  # what is ranked is set
    plan = world.plan()
    world.store(plan)
    return plan


def plan_of_both(
    world: World, tasks: Sequence[str] = ("grading", "extraction"), models: Sequence[str] = ("fast", "slow", "wrong")
) -> PromotionPlan:
    """Give four conversations their old actors; store a plan that gives the fastest of `models` to all of them."""
    for conversation, actor in zip(BOTH_TASKS, OLD_ACTORS, strict=True):
        world.give(conversation, actor)
    return plan_of_now(world, tasks, models)


def plan_of_now(
    world: World, tasks: Sequence[str] = ("grading", "extraction"), models: Sequence[str] = ("fast", "slow", "wrong")
) -> PromotionPlan:
    """Store a plan from new benchmarks and from what production holds."""
    world.server.models["slow:7b"].latency_ms = 0  # what is ranked is set
    add_extraction(world)
    stated = [read_task(world.settings, task) for task in tasks]
    ranked = [world.ranked(*models, task=task) for task in tasks]
    plan = make_plan(world.bench, ranked, stated).plan
    world.store(plan)
    return plan


def state(world: World) -> dict[str, list[tuple[object, ...]]]:
    """Every row that a promotion may write, production's and ours."""
    written = (tables.promotions, tables.promotion_rows, tables.intents, tables.champions)
    return world.snapshot() | {table.name: world.rows(table.name, *table.columns.keys()) for table in written}


# Applying, with somebody in between


@dataclass(frozen=True)
class Interrupted:
    """A writer that lets something happen after the look at the world, just before the locks, or after the commit."""

    writer: PromotionWriter
    before: Callable[[], object] = lambda: None
    after: Callable[[], object] = lambda: None

    def apply(
        self, plan_hash: str, requested_by: str, dagster_run_id: str | None, observed: Sequence[Observed]
    ) -> int | None:
        self.before()
        promotion_id = self.writer.apply(plan_hash, requested_by, dagster_run_id, observed)
        self.after()
        return promotion_id

    def close(self) -> None:
        self.writer.close()


@contextmanager
def bench_of(world: World, **between: Callable[[], object]) -> Iterator[Workbench]:
    """A promoter as a new process has it; `before` and `after` as above."""
    bench = world.bench
    try:
        yield replace(bench, application_writer=Interrupted(bench.writer, **between))
    finally:
        bench.writer.close()


def apply_stored(world: World, plan: PromotionPlan, **between: Callable[[], object]) -> Promotion | None:
    """Apply a plan that is stored already."""
    with bench_of(world, **between) as bench:
        return apply_plan(bench, plan.hash, "the tests")


def refusal(world: World, plan: PromotionPlan, before: Callable[[], object] | None = None) -> PlanRefused:
    """Apply a stored plan, which must be refused and leave every row as it is then; return the refusal."""
    seen = [state(world)]

    def change() -> None:
        if before is not None:
            before()
            seen.append(state(world))

    with pytest.raises(PlanRefused) as refused:
        apply_stored(world, plan, before=change)
    assert state(world) == seen[-1]
    return refused.value


@contextmanager
def applying(world: World, plan: PromotionPlan, waiters: int = 1) -> Iterator[Future[Promotion | None]]:
    """Apply a stored plan beside; goes on once the writer waits for what somebody else holds.

    In PostgreSQL it is the server that says so, of `waiters` backends; in SQLite, that the writer has come to its
    BEGIN IMMEDIATE, which does not return while another transaction writes.
    """
    with _begun(world) as begun, ThreadPoolExecutor(1) as pool:
        outcome = pool.submit(apply_stored, world, plan)
        if world.promoter_url is None:
            assert begun.wait(10)
        else:
            until(lambda: outcome.done() or len(waiting(world)) >= waiters)
        yield outcome


@contextmanager
def _begun(world: World) -> Iterator[threading.Event]:
    begun = threading.Event()

    def note(connection: object, cursor: object, statement: str, *_: object) -> None:
        if statement == "BEGIN IMMEDIATE":
            begun.set()

    event.listen(world.database.engine, "before_cursor_execute", note)
    try:
        yield begun
    finally:
        event.remove(world.database.engine, "before_cursor_execute", note)


def waiting(world: World, login: str = "bench_promoter") -> list[int]:
    """The backends of this login that wait for a lock, or for a standby to confirm their commit."""
    query = text(
        "SELECT pid FROM pg_stat_activity "
        "WHERE datname = current_database() AND usename = :login "
        "AND (wait_event_type = 'Lock' OR wait_event = 'SyncRep')"
    )
    with world.owner.engine.connect() as connection:
        return list(connection.scalars(query, {"login": login}))


def until(condition: Callable[[], T]) -> T:
    """Ask again until the answer is yes; less long than a promotion waits for a lock."""
    pause, end = threading.Event(), time.monotonic() + 8
    while not (answer := condition()):
        assert time.monotonic() < end, "it never came to that"
        pause.wait(0.01)
    return answer


@contextmanager
def operator(world: World) -> Iterator[Connection]:
    """An operator's open transaction, which holds what it changed until it is committed or rolled back."""
    with world.owner.engine.connect().execution_options(immediate=True) as connection:
        if world.promoter_url is not None:  # a promotion without a limit of its own would wait for ever
            connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = '20s'"))
        yield connection


def edit(conversation: int, actor: int | None) -> Update:
    """What an operator does to a conversation."""
    return update(conversations).where(conversations.c.conversation_id == conversation).values(actor_id=actor)


def hurry(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a promotion wait for a tenth of a second, not for as long as is set."""
    if world.promoter_url is None:
        event.listen(world.database.engine, "connect", lambda raw, _: raw.execute("PRAGMA busy_timeout = 100"))
        world.database.engine.dispose()
    else:
        monkeypatch.setattr(postgresql, "LOCK_TIMEOUT_S", 0.1)


# PostgreSQL: a promotion that halts


def patient(world: World) -> None:
    """Let a promotion not give way as long as a test may take: it would, shortly before the server's deadlock check."""
    with world.owner.engine.connect() as connection:
        name = connection.scalar(text("SELECT current_database()"))
    for role in ("bench_promoter", "bench_recorder"):
        world.change(text(f"ALTER ROLE {role} IN DATABASE {name} SET deadlock_timeout = '20s'"))


def halt_after(world: World, conversation_id: int) -> None:
    """Let whoever changes this row wait, just after it, for the lock that `halting` holds."""
    _halt(
        world, f"TRIGGER halt AFTER UPDATE ON conversations FOR EACH ROW WHEN (NEW.conversation_id = {conversation_id})"
    )


def _halt(world: World, trigger: str) -> None:
    patient(world)
    waits = f"$$ BEGIN PERFORM pg_catalog.pg_advisory_xact_lock({_HALT}); RETURN NULL; END $$"
    world.change(
        text(f"CREATE FUNCTION halt() RETURNS trigger LANGUAGE plpgsql AS {waits}"),
        text(f"CREATE {trigger} EXECUTE FUNCTION halt()"),
    )


@contextmanager
def halting(world: World) -> Iterator[Callable[[], None]]:
    """Hold the lock of `halt_after`; what this gives releases it."""
    with world.owner.engine.connect() as keeper:
        keeper.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _HALT})
        yield keeper.rollback


@contextmanager
def halting_commits(world: World) -> Iterator[Callable[[], None]]:
    """Let a promoter's commit wait for a standby that does not exist; what this gives ends that."""
    with world.owner.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as owner:
        name = owner.scalar(text("SELECT current_database()"))
        owner.execute(text(f"ALTER ROLE bench_promoter IN DATABASE {name} SET synchronous_commit = on"))
        owner.execute(text("ALTER SYSTEM SET synchronous_standby_names = 'absent'"))
        owner.execute(text("SELECT pg_reload_conf()"))

        def release() -> None:
            owner.execute(text("ALTER SYSTEM RESET synchronous_standby_names"))
            owner.execute(text("SELECT pg_reload_conf()"))

        try:
            yield release
        finally:
            release()


def terminate(world: World, backend: int) -> None:
    """End a backend as an administrator does, and wait until it is gone."""
    with world.owner.engine.connect() as connection:
        assert connection.scalar(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": backend})
