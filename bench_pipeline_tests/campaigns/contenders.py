"""The contenders of a race: promoters, operators and an administrator who freezes, each in a process of its own.

A contender receives an act, waits at a barrier for the others, spins for as long as the act says, and carries it out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection as Pipe
from multiprocessing.synchronize import Barrier
from typing import Any

from pydantic import SecretStr
from sqlalchemy import Engine, create_engine, event, make_url, update
from sqlalchemy.exc import DBAPIError

from bench_pipeline.benchmark.workbench import make_workbench
from bench_pipeline.domain.errors import GateFailed
from bench_pipeline.domain.promoting.facts import Observed
from bench_pipeline.domain.promoting.refusal import PlanRefused
from bench_pipeline.promotion.gates import set_freeze
from bench_pipeline.promotion.plan_application import apply_plan
from bench_pipeline.promotion.rollback import roll_back
from bench_pipeline.runtimes.registry import Runtimes
from bench_pipeline.settings import Settings
from bench_pipeline.storage.database import Database, open_database
from bench_pipeline.storage.production import open_production
from bench_pipeline.storage.writers.base import PromotionWriter
from bench_pipeline_tests.campaigns.template_world import FORK, Copy
from bench_pipeline_tests.kit.production import actors, conversations

OPERATOR, PROMOTER, RECORDER = "campaign_operator", "bench_promoter", "bench_recorder"
COMMITTED, ABORTED, DEADLOCK, APPLIED, LATE_S = "committed", "aborted", "deadlock", "applied", 30


@dataclass(frozen=True)
class Promote:
    """Apply a stored plan; with `looked` the race begins only after it looked at the evidence and the runtime."""

    plan_hash: str
    looked: bool
    spin_ns: int


@dataclass(frozen=True)
class Undo:
    """Roll a promotion back."""

    promotion_id: int
    spin_ns: int


@dataclass(frozen=True)
class Edit:
    """An operator's transactions: each a list of statements with a spin (ns) before it, committed or not."""

    transactions: tuple[tuple[tuple[Statement, ...], bool], ...]


@dataclass(frozen=True)
class Statement:
    """One row set by hand: a conversation's actor, or whether an actor is enabled."""

    what: str
    key: int
    value: int | bool | None
    spin_ns: int


@dataclass(frozen=True)
class Freeze:
    """Stop all promotions."""

    spin_ns: int


Act = Promote | Undo | Edit | Freeze


@dataclass(frozen=True)
class Outcome:
    """The result of an act: a word, the statements that were committed, the promotion that was returned.

    `took_ns` is how long it took from the barrier on, its first spin left out.
    """

    word: str
    committed: tuple[Statement, ...] = ()
    promotion_id: int | None = None
    took_ns: int = 0


@dataclass
class AtTheBarrier:
    """A promotion's writer that waits for the others first."""

    writer: PromotionWriter
    wait: Callable[[], None]

    def apply(
        self, plan_hash: str, requested_by: str, dagster_run_id: str | None, observed: Sequence[Observed]
    ) -> int | None:
        self.wait()
        return self.writer.apply(plan_hash, requested_by, dagster_run_id, observed)

    def check(self) -> None:
        self.writer.check()

    def close(self) -> None:
        self.writer.close()


class Contender:
    """A process that acts."""

    def __init__(self, world: Copy, ollama: str, barriers: Mapping[int, Barrier]) -> None:
        self._pipe, theirs = FORK.Pipe()
        self._process = FORK.Process(target=_work, args=(theirs, world, ollama, barriers), daemon=True)
        self._process.start()

    def begin(self, act: Act, parties: int) -> None:
        """Send it an act; it waits at the barrier for this number of contenders."""
        self._pipe.send((act, parties))

    def answer(self) -> Outcome | str:
        """Wait for the outcome of its act, or for the reason why there is none."""
        if not self._pipe.poll(2 * LATE_S):
            return f"a contender did not answer within {2 * LATE_S} s"
        answer: Outcome | str = self._pipe.recv()
        return answer

    def stop(self) -> None:
        """Kill the process."""
        self._process.kill()
        self._process.join()


@contextmanager
def contenders(number: int, world: Copy, ollama: str) -> Iterator[list[Contender]]:
    """Yield this number of contenders."""
    barriers = {parties: FORK.Barrier(parties) for parties in range(1, number + 1)}
    hired = [Contender(world, ollama, barriers) for _ in range(number)]
    try:
        yield hired
    finally:
        for one in hired:
            one.stop()


def _work(pipe: Pipe, world: Copy, ollama: str, barriers: Mapping[int, Barrier]) -> None:
    desk = _Desk(world, ollama)
    while True:
        act, parties = pipe.recv()
        try:
            pipe.send(desk.do(act, barriers[parties]))
        except Exception as error:  # noqa: BLE001 - whatever it is, the campaign has to be told
            pipe.send(f"{act}: {type(error).__name__}: {error}")


class _Desk:
    """The connections of one contender: the pipeline's two and an operator's."""

    def __init__(self, world: Copy, ollama: str) -> None:
        self.login = OPERATOR
        self._began_ns = 0
        tell_who_writes(lambda: self.login)
        settings = Settings.model_construct(
            database_url=SecretStr(world.url),
            promoter_url=SecretStr(world.promoter_url) if world.promoter_url else None,
            testcases_dir=world.folder / "testcases",
            ollama_host=ollama,
        )
        self._database: Database = open_database(world.url)
        self._bench = make_workbench(settings, self._database, open_production(self._database, {}), Runtimes(settings))
        self._operator = create_engine(operator_url(world), **_patient(world))

    def do(self, act: Act, barrier: Barrier) -> Outcome:
        """Act, and return the outcome."""
        match act:
            case Promote() | Undo():
                self.login = PROMOTER
                done = self._promote(act, barrier) if isinstance(act, Promote) else self._undo(act, barrier)
            case Freeze():
                self.login = RECORDER
                self._set_off(barrier, act.spin_ns)
                set_freeze(self._database, True, "a race", "an administrator")
                done = Outcome(COMMITTED)
            case Edit():
                self.login = OPERATOR
                self._set_off(barrier, 0)
                done = self._edit(act)
        return replace(done, took_ns=time.perf_counter_ns() - self._began_ns)

    def _set_off(self, barrier: Barrier, spin_ns: int) -> None:
        barrier.wait(LATE_S)
        _spin(spin_ns)
        self._began_ns = time.perf_counter_ns()

    def _promote(self, act: Promote, barrier: Barrier) -> Outcome:
        bench = self._bench
        if act.looked:
            waiting = AtTheBarrier(bench.writer, lambda: self._set_off(barrier, act.spin_ns))
            bench = replace(bench, application_writer=waiting)
        else:
            self._set_off(barrier, act.spin_ns)
        before_ns = self._began_ns
        done = _told(lambda: apply_plan(bench, act.plan_hash, "a promoter"))
        if act.looked and self._began_ns == before_ns:
            barrier.abort()
            raise RuntimeError(f"it was refused before the race began: {done.word}")
        return done

    def _undo(self, act: Undo, barrier: Barrier) -> Outcome:
        self._set_off(barrier, act.spin_ns)
        why = f"a race, {self._began_ns}"  # another one for each, so that two rollbacks are two plans
        return _told(lambda: roll_back(self._bench, why, "a promoter", act.promotion_id, bar=None).promotion)

    def _edit(self, act: Edit) -> Outcome:
        done: list[Statement] = []
        word = COMMITTED
        for statements, commits in act.transactions:
            try:
                with self._operator.connect() as connection:
                    for one in statements:
                        _spin(one.spin_ns)
                        connection.execute(_update(one))
                    if commits:
                        connection.commit()
                        done += statements
                    else:
                        word = ABORTED
            except DBAPIError as error:
                if getattr(error.orig, "pgcode", None) != "40P01":
                    raise
                word = DEADLOCK
        return Outcome(word, tuple(done))


def _told(change: Callable[[], Any]) -> Outcome:
    try:
        made = change()
    except PlanRefused as refused:
        return Outcome(refused.reason)
    except GateFailed as refused:
        return Outcome("undone_already" if "is already undone" in str(refused) else str(refused))
    return Outcome(APPLIED, promotion_id=made.promotion_id)


def _update(one: Statement) -> Any:  # noqa: ANN401 - a statement of SQLAlchemy's
    if one.what == "conversation":
        return update(conversations).where(conversations.c.conversation_id == one.key).values(actor_id=one.value)
    return update(actors).where(actors.c.actor_id == one.key).values(enabled=one.value)


def tell_who_writes(login: Callable[[], str]) -> None:
    """Let SQLite's triggers, which know no logins, ask this process who writes. PostgreSQL knows."""

    def on_connect(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own type
        if hasattr(connection, "create_function"):
            connection.create_function("campaign_login", 0, login)

    event.listen(Engine, "connect", on_connect)


def operator_url(world: Copy) -> str:
    """The address under an operator's own login, where there are any."""
    address = make_url(world.owner_url)
    if address.get_backend_name() == "sqlite":
        return world.owner_url
    return address.set(username=OPERATOR).render_as_string(hide_password=False)


def _patient(world: Copy) -> dict[str, Any]:
    return {"connect_args": {"timeout": 30}} if world.owner_url.startswith("sqlite") else {}


def _spin(duration_ns: int) -> None:
    ends = time.perf_counter_ns() + duration_ns
    while time.perf_counter_ns() < ends:
        pass
