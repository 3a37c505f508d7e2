"""A small production world in any database, a task with four cases, and models that are good and bad at it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr
from sqlalchemy import (
    Boolean,
    Column,
    DateTime,
    Double,
    Integer,
    MetaData,
    Table,
    Text,
    create_engine,
    delete,
    insert,
    make_url,
    select,
    text,
    update,
)

from bench_pipeline.benchmark.eligibility import candidates, named_candidates
from bench_pipeline.benchmark.events import Event
from bench_pipeline.benchmark.field import Field, incumbent_models
from bench_pipeline.benchmark.preparation import PreparedTask, prepare, read_task
from bench_pipeline.benchmark.ranking import RankedBenchmark, rank_benchmark
from bench_pipeline.benchmark.runner import RunTerms, run_benchmark
from bench_pipeline.benchmark.workbench import Workbench, make_workbench
from bench_pipeline.domain.models.actor import Candidate
from bench_pipeline.domain.promoting.champion import Champion
from bench_pipeline.domain.promoting.changes import Promotion
from bench_pipeline.domain.promoting.plan import PromotionPlan
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
from bench_pipeline.storage.writers.installation import Roles, install
from bench_pipeline_tests.fakes.faults import Fault
from bench_pipeline_tests.fakes.ollama_server import FakeModel, FakeOllama

ONE_ENGINE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For behaviour that does not depend on the database."""
ONLY_POSTGRESQL = pytest.mark.parametrize(
    "database_url", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)
"""For behaviour that rests on roles, or on transactions that run at once."""

# The task. No case's text is part of the template, so a prompt tells which case it is of.

CASES = {
    "PASS_001": "the gardener of Elmsway Park, by name and place",
    "PASS_002": "the night nurse at Corvane Clinic",
    "FAIL_001": "a pleasant job in the fresh air",
    "FAIL_002": "a baker, though the posting seeks a welder",
}
TEMPLATE = "Posting: {posting}\nSummary: {summary}\nReply [PASS] or [FAIL]."
EXTRACT, GRADE_A, GRADE_B, IMPROVE, REGRADE, TICKET, FORMAT = range(3335, 3342)
SERVED = (GRADE_A, GRADE_B, REGRADE)

# The actors. `slow` really answers late, for the commands; elsewhere the latencies that are ranked are set, so
# that no scheduler of a busy machine turns a ranking round.

FAST, SLOW, WRONG, SILENT, BROKEN, SCRIPT = range(1, 7)
ACTORS = {FAST: "fast", SLOW: "slow", WRONG: "wrong", SILENT: "silent", BROKEN: "broken"}
LATENCY_OF_FAST_MS = 8.0  # far enough from 0 that a busy machine does not change it by a multiple
LATENCY_OF_SLOW_MS = 100.0
# One pass and nothing besides, so that a test can count calls; retries and finals have tests of their own.
PLAIN_PROTOCOL = {"BENCH_RETRIES": "0", "BENCH_FINAL_PASSES": "0"}
RANKED_LATENCIES_MS = {"wrong": 1, "fast": 5, "slow": 2000}
_RIGHT = {CASES["FAIL_001"]: "[FAIL] no job is named", CASES["FAIL_002"]: "[FAIL] another job"}
_WRONG_IN_ONE = {CASES["FAIL_001"]: "[FAIL] no job is named"}

PRODUCTION = MetaData()
actors = Table(
    "actors",
    PRODUCTION,
    Column("actor_id", Integer, primary_key=True, autoincrement=False),
    Column("actor_name", Text),
    Column("actor_type", Text),
    Column("execution_path", Text),
    Column("enabled", Boolean),
)
conversations = Table(
    "conversations",
    PRODUCTION,
    Column("conversation_id", Integer, primary_key=True, autoincrement=False),
    Column("conversation_name", Text),
    Column("actor_id", Integer),
    Column("owner", Text),
)
workflows = Table(
    "workflows",
    PRODUCTION,
    Column("workflow_id", Integer, primary_key=True, autoincrement=False),
    Column("workflow_name", Text),
)
workflow_conversations = Table(
    "workflow_conversations",
    PRODUCTION,
    Column("workflow_id", Integer),
    Column("conversation_id", Integer),
    Column("execution_order", Integer),
)
prompt_templates = Table("prompt_templates", PRODUCTION, Column("conversation_id", Integer), Column("template", Text))
postings = Table(
    "postings",
    PRODUCTION,
    Column("posting_id", Integer, primary_key=True, autoincrement=False),
    Column("posting_text", Text),
)
interactions = Table(
    "interactions",
    PRODUCTION,
    Column("interaction_id", Integer, primary_key=True),
    Column("conversation_id", Integer),
    Column("actor_id", Integer),
    Column("latency_ms", Double),
    Column("created_at", DateTime(timezone=True)),
)


def fake_models() -> dict[str, FakeModel]:
    """Five models that are alike but for one thing each."""
    return {
        "fast:1b": FakeModel(
            digest="sha256:fa", size_bytes=1_000_000_000, answers=_RIGHT, latency_ms=LATENCY_OF_FAST_MS
        ),
        "slow:7b": FakeModel(digest="sha256:51", answers=_RIGHT, latency_ms=LATENCY_OF_SLOW_MS),
        "wrong:3b": FakeModel(digest="sha256:aa", answers=_WRONG_IN_ONE),
        "silent:3b": FakeModel(digest="sha256:5e", answers=_RIGHT, fault=Fault.EMPTY_CONTENT),
        "broken:3b": FakeModel(digest="sha256:b0", answers=_RIGHT, fault=Fault.SERVER_ERROR),
    }


def suite_value(task: str = "grading") -> dict[str, Any]:
    """The four cases as `suite.json` holds them; 002's postings are found in the database by their id."""
    return {
        "task_type": task,
        "version": "1.0.0",
        "created": "2026-11-24",
        "test_cases": [
            {
                "id": case,
                "type": case[:4],
                "difficulty": "easy",
                "posting_id": number,
                "summary": summary,
                "expected_verdict": case[:4],
                "expected_scores": {"accuracy": 9, "completeness": 9, "formatting": 9},
                "reasoning": "made for the tests",
                "posting": "We seek a person for a post.",
            }
            for number, (case, summary) in enumerate(CASES.items(), start=1)
        ],
    }


def task_value(task: str = "grading", conversations: Sequence[int] = SERVED) -> dict[str, Any]:
    """The task for these conversations, all of which may change without an approval."""
    return {
        "task": task,
        "description": "Whether a summary is good enough.",
        "conversations": list(conversations),
        "prompt": {"conversation": GRADE_A, "template": TEMPLATE},
        "verdict": {"reader": "leading_tag"},
        "decoding": {"num_ctx": 2048, "num_predict": 32},
        "time_limit_s": 30,
        "promotion": {"auto": list(conversations)},
    }


def write_task(
    folder: Path,
    suite: Mapping[str, Any] | None = None,
    task: Mapping[str, Any] | None = None,
    name: str = "grading",
) -> Path:
    """Write the folder of a task below `folder` and return it."""
    home = folder / name
    home.mkdir(parents=True, exist_ok=True)
    (home / "suite.json").write_text(json.dumps(suite or suite_value()), encoding="utf-8")
    (home / "task.yaml").write_text(yaml.safe_dump(dict(task or task_value())), encoding="utf-8")
    return home


def fill_production(url: str, templates: Mapping[int, str] | None = None) -> None:
    """Make production's tables in any database: five models and a script, and one workflow of seven steps."""
    engine = create_engine(url)
    names = ["Extract", "Grade A", "Grade B", "Improve", "Regrade", "Ticket", "Format"]
    steps = dict(zip(range(EXTRACT, FORMAT + 1), names, strict=True))
    with engine.begin() as connection:
        PRODUCTION.create_all(connection)
        rows = [
            {"actor_id": number, "actor_name": name, "actor_type": "ai_model", "execution_path": path, "enabled": True}
            for (number, name), path in zip(ACTORS.items(), (f"ollama:{m}" for m in fake_models()), strict=True)
        ]
        script = {"actor_id": SCRIPT, "actor_name": "ticket.py", "actor_type": "script", "execution_path": "ticket.py"}
        connection.execute(insert(actors), [*rows, script | {"enabled": True}])
        connection.execute(
            insert(conversations),
            [
                {"conversation_id": n, "conversation_name": name, "actor_id": SCRIPT if n == TICKET else SLOW}
                for n, name in steps.items()
            ],
        )
        connection.execute(
            insert(workflows), {"workflow_id": 3001, "workflow_name": "Complete Job Processing Pipeline"}
        )
        connection.execute(
            insert(workflow_conversations),
            [{"workflow_id": 3001, "conversation_id": n, "execution_order": n - EXTRACT} for n in steps],
        )
        if templates:
            own = [{"conversation_id": n, "template": text} for n, text in templates.items()]
            connection.execute(insert(prompt_templates), own)
    engine.dispose()


@dataclass
class World:
    """The world, open: what is asked of it is asked of the real database and of the fake server's own log.

    In PostgreSQL the pipeline works under its two roles, `url` and `promoter_url`; only what an operator does is done
    by the `owner`. In SQLite all three are the same.
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

    # Benchmarks

    def prepared(self, task: str = "grading", **protocol: object) -> PreparedTask:
        return prepare(self.bench, task).with_terms(**protocol)

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
        self, *names: str, on_event: Callable[[Event], None] | None = None, task: str = "grading", **protocol: object
    ) -> RankedBenchmark:
        """Benchmark, and rank by the latencies of the table above."""
        benchmark_id = self.run(*names, on_event=on_event, task=task, **protocol)
        runs, samples = own_tables.tables["benchmark_model_runs"].c, own_tables.tables["benchmark_samples"]
        for model, latency_ms in RANKED_LATENCIES_MS.items():
            mine = select(runs.model_run_id).where(runs.benchmark_id == benchmark_id, runs.model_name == model)
            timed = samples.c.model_run_id.in_(mine), samples.c.latency_ns.is_not(None)
            self.change(update(samples).where(*timed).values(latency_ns=latency_ms * 1_000_000))
        return rank_benchmark(self.database, benchmark_id)

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
        with self.database.writing() as connection:
            insert_plan(connection, plan, requested_by, at or datetime.now(UTC))

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


def case_of(prompt: str) -> str:
    return next((case for case, summary in CASES.items() if summary in prompt), "warm-up")


@contextmanager
def open_world(url: str, folder: Path, passwords: Mapping[str, str] | None = None) -> Iterator[World]:
    """The world in the database at `url`, its task in `folder`, its models on a server of their own.

    `passwords` are those of the two roles, by name, where the server asks for one.
    """
    write_task(folder / "testcases")
    owner = open_database(url)
    fill_production(url)
    recorder_url, promoter_url = install_roles(owner, url, passwords or {})
    database = open_database(recorder_url)
    with FakeOllama(fake_models()) as server:
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
        with Runtimes(settings) as runtimes:
            yield World(folder, recorder_url, promoter_url, settings, owner, database, production, runtimes, server)
    database.close()
    owner.close()


def install_roles(owner: Database, url: str, passwords: Mapping[str, str]) -> tuple[str, str | None]:
    """What `bench db install` does; return the recorder's and the promoter's addresses."""
    if owner.engine.dialect.name == "sqlite":
        return url, None
    roles = Roles("bench_recorder", "bench_promoter")
    install(owner, open_production(owner, {}), roles, dict(passwords))
    recorder, promoter = (as_role(url, role, passwords.get(role)) for role in (roles.recorder, roles.promoter))
    return recorder, promoter


def as_role(url: str, role: str, password: str | None = None) -> str:
    """The same database as another login."""
    return make_url(url)._replace(username=role, password=password).render_as_string(hide_password=False)


@dataclass(frozen=True)
class Shell:
    """The `bench` command as a person types it, in `folder`, with nothing of the tests' own environment."""

    folder: Path
    settings: Mapping[str, str]

    def bench(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [_BENCH, *arguments],
            cwd=self.folder,
            env=self.environment(**settings),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the command and let it run; its lines can be read as they come."""
        return subprocess.Popen(
            [_BENCH, *arguments],
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def environment(self, **settings: str) -> dict[str, str]:
        """What such a process finds in its environment."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("BENCH_", "OLLAMA_"))}
        return {**kept, **self.settings, **settings}


_BENCH = str(Path(sys.executable).with_name("bench"))


def shell_in(folder: Path, url: str, ollama: str, promoter_url: str | None = None) -> Shell:
    return Shell(
        folder,
        PLAIN_PROTOCOL
        | {"BENCH_DATABASE_URL": url, "BENCH_OLLAMA_HOST": ollama, "BENCH_CACHE_DIR": str(folder / "cache")}
        | ({"BENCH_PROMOTER_URL": promoter_url} if promoter_url else {}),
    )


def lines_of(text: str, *beginnings: str) -> list[str]:
    """The lines that begin with one of these."""
    return [line for line in text.splitlines() if line.startswith(beginnings)]


def is_calm(text: str) -> bool:
    """Whether text holds nothing that drives a terminal."""
    return all(character.isprintable() or character == "\n" for character in text)


def today() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}"


def only(items: Sequence[Any]) -> Any:  # noqa: ANN401 - whatever the sequence holds
    (item,) = items
    return item
