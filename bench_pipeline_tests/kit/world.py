"""A small production in any database with a task and models on a fake server: the `World` that tests act on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

from pydantic import SecretStr
from sqlalchemy import Table, delete, exists, insert, literal, make_url, or_, select, text, update

from bench_pipeline.benchmark import system
from bench_pipeline.benchmark.eligibility import candidates, named_candidates
from bench_pipeline.benchmark.events import Event
from bench_pipeline.benchmark.field import Field, incumbent_models
from bench_pipeline.benchmark.hardware import this_machine
from bench_pipeline.benchmark.preparation import PreparedTask, prepare
from bench_pipeline.benchmark.ranking import RankedBenchmark, rank_benchmark, reusable_runs
from bench_pipeline.benchmark.runner import RunTerms, run_benchmark
from bench_pipeline.benchmark.task_folders import read_task
from bench_pipeline.benchmark.workbench import Workbench, make_workbench
from bench_pipeline.domain.measuring import disturbance
from bench_pipeline.domain.models.actor import Candidate
from bench_pipeline.domain.promoting.champion import Champion
from bench_pipeline.domain.promoting.changes import Promotion
from bench_pipeline.domain.promoting.final import LOOKS
from bench_pipeline.domain.promoting.plan import PromotionPlan
from bench_pipeline.promotion.gates import approve, set_freeze
from bench_pipeline.promotion.plan import DecidedPlan, make_plan
from bench_pipeline.promotion.plan_application import apply_plan
from bench_pipeline.runtimes.registry import Runtimes
from bench_pipeline.settings import Settings
from bench_pipeline.storage.champions import all_champions
from bench_pipeline.storage.database import Database, open_database
from bench_pipeline.storage.plans import insert_plan
from bench_pipeline.storage.production import Production, open_production
from bench_pipeline.storage.promotions import all_promotions
from bench_pipeline.storage.tables import metadata as own_tables
from bench_pipeline.storage.tables import plans as own_plans
from bench_pipeline.storage.writers.installation import Roles, install
from bench_pipeline_tests.fakes.ollama_server import FakeOllama
from bench_pipeline_tests.fakes.system import FakeSystem
from bench_pipeline_tests.kit.models import RANKED_LATENCIES_MS, SLOW, fake_models
from bench_pipeline_tests.kit.production import (
    PRODUCTION,
    actors,
    conversations,
    fill_production,
    interactions,
    prompt_templates,
)
from bench_pipeline_tests.kit.tasks import SERVED, case_of, write_task

_ROLES = Roles("bench_recorder", "bench_promoter")
_NEVER_NS = 600 * 10**9


@dataclass
class World:
    """What the pipeline works on, open: the real database and the fake server with its log.

    In PostgreSQL the pipeline logs in under its two roles, at `url` and `promoter_url`; the `owner` does what an
    operator does. In SQLite all three are the same.
    """

    folder: Path
    url: str
    promoter_url: str | None
    settings: Settings
    owner: Database
    database: Database
    production: Production
    runtimes: Runtimes
    server: FakeOllama
    events: list[Event] = field(default_factory=list)

    def configure(self, **changes: object) -> None:
        """Work with other settings from now on, as a new process would."""
        self.runtimes.close()
        self.settings = self.settings.model_copy(update=changes)
        self.runtimes = Runtimes(self.settings)

    # Benchmarks

    def prepared(self, task: str = "grading", **protocol: object) -> PreparedTask:
        return prepare(self.bench, task).with_terms(**protocol)

    @property
    def evidence_key(self) -> str:
        """What must be equal for two runs of the sample task to be ranked together."""
        return self.prepared().evidence_key(this_machine(self.bench.system))

    def candidates(self, *names: str) -> list[Candidate]:
        """All actors, or the ones named."""
        return named_candidates(self.bench, names) if names else candidates(self.bench)

    def run(
        self,
        *names: str,
        on_event: Callable[[Event], None] | None = None,
        resume_hours: float = 24.0,
        task: str = "grading",
        **protocol: object,
    ) -> str:
        """Benchmark all actors, or the ones named, and return the benchmark's id."""
        prepared = self.prepared(task, **protocol)
        field = Field(tuple(self.candidates(*names)), frozenset(incumbent_models(self.bench, prepared.task)))
        return run_benchmark(
            self.bench, prepared, field, on_event or self.events.append, RunTerms(resume_hours=resume_hours)
        )

    def ranked(
        self,
        *names: str,
        on_event: Callable[[Event], None] | None = None,
        task: str = "grading",
        final: bool = True,
        **protocol: object,
    ) -> RankedBenchmark:
        """Benchmark, and rank by `RANKED_LATENCIES_MS`; nobody waits for the models' own.

        If two models were right, their main pass stands for the passes of a `final` too, for without one nothing is
        promoted.
        """
        with self._hurried():
            benchmark_id = self.run(*names, on_event=on_event, task=task, **protocol | {"final_passes": 0})
        self._relabel(benchmark_id, self.prepared(task, **protocol))
        runs, samples = own_tables.tables["benchmark_model_runs"], own_tables.tables["benchmark_samples"]
        of_benchmark = runs.c.benchmark_id == benchmark_id
        for model, latency_ms in RANKED_LATENCIES_MS.items():
            mine = select(runs.c.model_run_id).where(of_benchmark, runs.c.model_name == model)
            timed = samples.c.model_run_id.in_(mine), samples.c.latency_ns.is_not(None)
            self.change(update(samples).where(*timed).values(latency_ns=latency_ms * 1_000_000))
        if final:
            self._add_final(benchmark_id)
        return rank_benchmark(self.database, benchmark_id)

    def ranked_among(self, *names: str, days: float = 35.0) -> RankedBenchmark:
        """Benchmark the models named and rank them among all actors, which count with their earlier runs."""
        prepared, everyone = self.prepared(), self.candidates()
        named = tuple(candidate for candidate in everyone if candidate.name in names)
        field = Field(named, frozenset(incumbent_models(self.bench, prepared.task)))
        field = field.among(everyone, reusable_runs(self.database, self.evidence_key, everyone, days))
        return rank_benchmark(self.database, run_benchmark(self.bench, prepared, field, self.events.append))

    def _relabel(self, benchmark_id: str, prepared: PreparedTask) -> None:
        """Let the benchmark have been made under this protocol."""
        made_as = {
            "protocol": prepared.protocol.model_dump(mode="json"),
            "protocol_hash": prepared.protocol.hash,
            "evidence_key": prepared.evidence_key(this_machine(self.bench.system)),
        }
        runs = own_tables.tables["benchmark_runs"]
        self.change(update(runs).where(runs.c.benchmark_id == benchmark_id).values(made_as))

    def _add_final(self, benchmark_id: str) -> None:
        """Let each model that was right in its only pass have made the passes of a final as it made that one."""
        runs, samples = own_tables.tables["benchmark_model_runs"], own_tables.tables["benchmark_samples"]
        of_run = samples.c.model_run_id == runs.c.model_run_id
        flawed = exists().where(of_run, or_(samples.c.outcome != "correct", samples.c.repeat > 1))
        right = select(runs.c.model_run_id).where(runs.c.benchmark_id == benchmark_id, ~flawed)
        with self.owner.engine.connect() as connection:
            numbers = list(connection.execute(right).scalars())
        if len(numbers) < 2:
            return
        copied = [column for column in samples.c if column.name not in ("sample_id", "repeat")]
        for repeat in range(2, 2 + LOOKS[0]):
            first = select(literal(repeat), *copied).where(samples.c.model_run_id.in_(numbers), samples.c.repeat == 1)
            self.change(insert(samples).from_select([samples.c.repeat, *copied], first))
        self.change(update(runs).where(runs.c.model_run_id.in_(numbers)).values(final_passes=LOOKS[0]))

    @contextmanager
    def _hurried(self) -> Iterator[None]:
        """Let every model answer at once."""
        waiting = [(model, model.latency_ms) for model in self.server.models.values() if model.latency_ms]
        for model, _ in waiting:
            model.latency_ms = 0
        try:
            yield
        finally:
            for model, latency_ms in waiting:
                model.latency_ms = latency_ms

    # Promotions

    def plan(self, ranked: RankedBenchmark | None = None, min_gain: float = 0.05) -> PromotionPlan:
        """Plan from this benchmark, or from a new one of `fast` and `slow`."""
        return self.decided(ranked, min_gain).plan

    def decided(self, ranked: RankedBenchmark | None = None, min_gain: float = 0.05) -> DecidedPlan:
        """The plan with what it rests on."""
        ranked = ranked or self.ranked("fast", "slow")
        settings = self.settings.model_copy(update={"min_gain": min_gain})
        return make_plan(replace(self.bench, settings=settings), [ranked], [read_task(settings, "grading")])

    def store(self, plan: PromotionPlan, requested_by: str = "the tests", at: datetime | None = None) -> None:
        """Store a plan for a person, see `signed_as`; `at` is when the database is to say that it was."""
        with self.signed_as(requested_by) as database, database.writing() as connection:
            insert_plan(connection, plan, requested_by, at or datetime.now(UTC))
        if at is not None and self.promoter_url is not None:
            self.falsify(own_plans, update(own_plans).where(own_plans.c.plan_hash == plan.hash).values(made_at=at))

    @contextmanager
    def signed_as(self, name: str) -> Iterator[Database]:
        """The database as a person opens it: in PostgreSQL under a login of that name, which `the tests` share."""
        if self.promoter_url is None or name == "the tests":
            yield self.database
            return
        self.add_login(name)
        database = open_database(as_role(self.url, name))
        yield database
        database.close()

    def add_login(self, name: str) -> None:
        """What an administrator does for a person, once for the whole server."""
        known = text("SELECT 1 FROM pg_roles WHERE rolname = :name")
        with self.owner.engine.connect() as connection:
            missing = connection.scalar(known, {"name": name}) is None
        if missing:
            self.change(text(f'CREATE ROLE "{name}" LOGIN IN ROLE bench_recorder'))

    def approve(self, plan_hash: str, name: str) -> None:
        """What a person types."""
        with self.signed_as(name) as database:
            approve(database, plan_hash, name)

    def freeze(self, frozen: bool, reason: str, name: str) -> None:
        """What a person types."""
        with self.signed_as(name) as database:
            set_freeze(database, frozen, reason, name)

    def signer(self, name: str) -> str:
        """Whom the database records for what this person stores."""
        return "bench_recorder" if self.promoter_url is not None and name == "the tests" else name

    @property
    def bench(self) -> Workbench:
        return make_workbench(self.settings, self.database, self.production, self.runtimes)

    def apply(self, plan: PromotionPlan) -> Promotion | None:
        """Store the plan and apply it."""
        self.store(plan)
        bench = self.bench
        try:
            return apply_plan(bench, plan.hash, "the tests")
        finally:
            bench.writer.close()

    def promoted(self) -> Promotion:
        """Promote `fast` over `slow`."""
        promotion = self.apply(self.plan())
        assert promotion is not None
        return promotion

    # What production holds

    def holds(self, *conversation_ids: int) -> list[int | None]:
        """The actors of these conversations, of the three that the task serves unless others are named."""
        with self.database.engine.connect() as connection:
            rows = connection.execute(select(conversations.c.conversation_id, conversations.c.actor_id))
            held = {number: actor for number, actor in rows}  # noqa: C416 - rows are no pairs to mypy
        return [held[number] for number in conversation_ids or SERVED]

    def give(self, conversation_id: int, actor_id: int | None) -> None:
        """What an operator does by hand."""
        self.change(
            update(conversations).where(conversations.c.conversation_id == conversation_id).values(actor_id=actor_id)
        )

    def set_actor(self, actor_id: int, **values: object) -> None:
        self.change(update(actors).where(actors.c.actor_id == actor_id).values(**values))

    def add_actor(
        self, actor_id: int, name: str | None, path: str | None, kind: str = "ai_model", enabled: bool | None = True
    ) -> None:
        self.change(
            insert(actors).values(
                actor_id=actor_id, actor_name=name, actor_type=kind, execution_path=path, enabled=enabled
            )
        )

    def remove_actor(self, actor_id: int) -> None:
        self.change(delete(actors).where(actors.c.actor_id == actor_id))

    def was_called(self, conversation_id: int, times: int, days_ago: float = 1.0) -> None:
        """What production did, as it keeps it."""
        at = datetime.now(UTC) - timedelta(days=days_ago)
        call = {"conversation_id": conversation_id, "actor_id": SLOW, "latency_ms": 2000.0, "created_at": at}
        self.change(*[insert(interactions).values(call)] * times)

    def set_template(self, conversation_id: int, template: str) -> None:
        self.change(insert(prompt_templates).values(conversation_id=conversation_id, template=template))

    def change(self, *statements: Any) -> None:  # noqa: ANN401 - any statement of SQLAlchemy's
        """What whoever owns the database does by hand."""
        with self.owner.writing() as connection:
            for statement in statements:
                connection.execute(statement)

    def falsify(self, table: Table, statement: Any) -> None:  # noqa: ANN401 - any statement of SQLAlchemy's
        """What nobody may do: an owner switches the guards of an append-only table off and changes it."""
        sqlite = self.owner.engine.dialect.name == "sqlite"
        off = f"DROP TRIGGER {table.name}_no_update" if sqlite else f"ALTER TABLE {table.name} DISABLE TRIGGER USER"
        self.change(text(off), statement)

    def snapshot(self) -> dict[str, list[tuple[object, ...]]]:
        """Every row of production's tables."""
        with self.database.engine.connect() as connection:
            return {
                table.name: [tuple(row) for row in connection.execute(select(table).order_by(*table.c))]
                for table in PRODUCTION.sorted_tables
            }

    def promotions(self) -> list[Promotion]:
        """Every change, oldest first."""
        with self.database.engine.connect() as connection:
            return all_promotions(connection)

    def registry(self) -> dict[int, Champion]:
        with self.database.engine.connect() as connection:
            return {row.conversation_id: row for row in all_champions(connection)}

    def rows(self, table: str, *columns: str) -> list[tuple[Any, ...]]:
        """These columns of a table of ours, in the order of its key."""
        found = own_tables.tables[table]
        query = select(*(found.c[name] for name in columns)).order_by(*found.primary_key)
        with self.database.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(query)]

    # What the server saw

    def calls(self, since: int = 0) -> list[tuple[str, str]]:
        """The calls with a case, in order: model and case. `since` counts requests of the server's log."""
        return [(model, case) for model, case in self.prompts(since) if case != "warm-up"]

    def prompts(self, since: int = 0) -> list[tuple[str, str]]:
        """The calls with a prompt, in order: model, and its case or `warm-up`."""
        return [
            (str(record.model), case_of(record.body["messages"][0]["content"]))
            for record in self.server.log[since:]
            if record.path in ("/api/chat", "/v1/chat/completions") and record.body["messages"]
        ]


@contextmanager
def open_world(url: str, folder: Path, passwords: Mapping[str, str] | None = None) -> Iterator[World]:
    """Prepare the database at `url`, which is empty, and open the world in it.

    `passwords` are those of the two roles, by name, where the server asks for one.
    """
    prepare_database(url, passwords)
    with open_prepared(url, folder, passwords) as world:
        yield world


def prepare_database(url: str, passwords: Mapping[str, str] | None = None) -> None:
    """Create production, our tables and, in PostgreSQL, the two roles with the function."""
    owner = open_database(url)
    fill_production(url)
    install_roles(owner, url, passwords or {})
    owner.close()


@contextmanager
def open_prepared(url: str, folder: Path, passwords: Mapping[str, str] | None = None) -> Iterator[World]:
    """The world in a prepared database, its task in `folder`, its models on a server of their own."""
    write_task(folder / "testcases")
    # The machine of the tests is busy at any time: it must neither have calls repeated nor be told of in reports.
    never_noticed = patch.object(disturbance, "MIN_EXTRA_NS", _NEVER_NS)
    never_seen = patch.object(system, "OperatingSystem", FakeSystem)
    recorder_url, promoter_url = _role_urls(url, passwords or {})
    owner, database = open_database(url), open_database(recorder_url)
    with never_noticed, never_seen, FakeOllama(fake_models()) as server:
        settings = Settings.model_construct(
            database_url=SecretStr(recorder_url),
            promoter_url=SecretStr(promoter_url) if promoter_url else None,
            testcases_dir=folder / "testcases",
            cache_dir=folder / "cache",
            ollama_host=server.url,
            retries=0,
            final_passes=0,
        )
        production = open_production(database, {})
        runtimes = Runtimes(settings)
        world = World(folder, recorder_url, promoter_url, settings, owner, database, production, runtimes, server)
        yield world
        world.runtimes.close()
    database.close()
    owner.close()


def install_roles(owner: Database, url: str, passwords: Mapping[str, str]) -> None:
    """What `bench db install` does; SQLite has no roles."""
    if owner.engine.dialect.name == "postgresql":
        install(owner, open_production(owner, {}), _ROLES, dict(passwords))


def _role_urls(url: str, passwords: Mapping[str, str]) -> tuple[str, str | None]:
    """The recorder's and the promoter's addresses."""
    if make_url(url).get_backend_name() == "sqlite":
        return url, None
    recorder, promoter = (as_role(url, role, passwords.get(role)) for role in (_ROLES.recorder, _ROLES.promoter))
    return recorder, promoter


def as_role(url: str, role: str, password: str | None = None) -> str:
    """The same database as another login."""
    return make_url(url)._replace(username=role, password=password).render_as_string(hide_password=False)
