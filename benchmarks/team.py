"""The database of a large team, filled by bulk SQL: production's tables, and a year of benchmarks and promotions.

Values are synthetic and the same in every run. It fills SQLite and PostgreSQL; the commands are timed in
team_commands.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy import Connection, insert, text

from bench_pipeline.benchmark.preparation import PreparedTask, prepare_from_files
from bench_pipeline.benchmark.ranking import rank_benchmark
from bench_pipeline.demo.sample_database import (
    actors,
    application,
    conversations,
    interactions,
    prompt_templates,
    workflow_conversations,
    workflows,
)
from bench_pipeline.domain.measuring.benchmark import Purpose, RunStatus
from bench_pipeline.domain.models.identity import ModelIdentity
from bench_pipeline.domain.tasks.verdict import READER_VERSION
from bench_pipeline.settings import Settings
from bench_pipeline.storage import tables
from bench_pipeline.storage.benchmarks import BenchmarkRow, insert_benchmark
from bench_pipeline.storage.database import Database, open_database
from benchmarks.workload import suite_cases

Rows = list[dict[str, Any]]
_CASES = 10
_FINAL_PASSES = 4
_PASSES = 1 + _FINAL_PASSES
_CHUNK = 5_000
_TEMPLATE = "Posting: {posting}\nSummary: {summary}\nReply [PASS] or [FAIL]."
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Team:
    """How many rows of each kind the team has; a model run has 50 samples, a promotion 20 rows."""

    conversations: int = 5_000
    actors: int = 2_000
    workflows: int = 500
    tasks: int = 10
    benchmarks: int = 50
    """Benchmarks of each task."""
    models: int = 40
    """Models that each benchmark measures; the others of the actors are not installed."""
    promotions: int = 1_000
    calls: int = 100_000
    """Stored interactions of production."""

    @property
    def samples(self) -> int:
        """All samples together."""
        return self.tasks * self.benchmarks * self.models * _CASES * _PASSES

    @property
    def task_names(self) -> list[str]:
        """The tasks; the first one serves all conversations."""
        return ["grading", *(f"task_{number}" for number in range(1, self.tasks))]

    @property
    def model_names(self) -> list[str]:
        """The models of the server; the first of them are measured."""
        return [f"m{number:03d}:latest" for number in range(self.models + self.models // 2)]


TEAM = Team()
SMALL = Team(200, 100, 20, tasks=2, benchmarks=3, models=5, promotions=10, calls=200)
"""Of the same shape, for tests."""


def write_tasks(folder: Path, team: Team) -> None:
    """Write the tasks below `folder`/testcases."""
    for name in team.task_names:
        home = folder / "testcases" / name
        home.mkdir(parents=True)
        suite = {"task_type": name, "version": "1", "created": "2026-01-01", "test_cases": suite_cases(_CASES)}
        task = {
            "task": name,
            "description": "Synthetic.",
            "conversations": list(range(1, team.conversations + 1)) if name == "grading" else [],
            "prompt": {"template": _TEMPLATE},
            "verdict": {"reader": "leading_tag"},
            "promotion": {"max_rows": team.conversations},
        }
        (home / "suite.json").write_text(json.dumps(suite), encoding="utf-8")
        (home / "task.yaml").write_text(yaml.safe_dump(task), encoding="utf-8")


def fill(url: str, folder: Path, team: Team, now: datetime) -> None:
    """Fill the empty database at `url`; its tasks are in `folder`, its latest benchmark is of the day before `now`."""
    settings = Settings(testcases_dir=folder / "testcases", final_passes=_FINAL_PASSES, anchor=None)
    database = open_database(url)
    try:
        with database.writing() as connection:
            _fill_production(connection, team, now)
            for name in team.task_names:
                _fill_task(connection, prepare_from_files(settings, name), team, now)
            _fill_candidates(connection, team)
            connection.execute(text(_SAMPLES[connection.dialect.name]), {"passes": _PASSES, "cases": _CASES})
            _fill_promotions(connection, team, now)
        _fill_history(database, team)
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("ANALYZE"))
    finally:
        database.close()


def _fill_production(connection: Connection, team: Team, now: datetime) -> None:
    application.create_all(connection)
    names, steps = team.model_names, range(1, team.conversations + 1)
    kinds = [
        {
            "actor_id": number,
            "actor_name": f"actor {number:04d}",
            "actor_type": "script" if number % 25 == 0 else "ai_model",
            # The first actors are the measured models; of the others every third is installed.
            "execution_path": f"ollama:{names[(number - 1) % len(names)]}"
            if number <= team.models or number % 3 == 0
            else f"ollama:gone{number}:7b",
            "enabled": number % 50 != 49,
        }
        for number in range(1, team.actors + 1)
    ]
    for row in kinds[: team.models]:
        row |= {"actor_type": "ai_model", "enabled": True}
    _insert(connection, actors, kinds)
    held = [{"conversation_id": n, "conversation_name": f"Step {n}", "actor_id": 1 + n % team.models} for n in steps]
    _insert(connection, conversations, held)
    flows = range(1, team.workflows + 1)
    _insert(connection, workflows, [{"workflow_id": n, "workflow_name": f"Workflow {n}"} for n in flows])
    links = [
        {"workflow_id": 1 + n % team.workflows, "conversation_id": n, "execution_order": n // team.workflows}
        for n in steps
    ]
    _insert(connection, workflow_conversations, links)
    _insert(connection, prompt_templates, [{"conversation_id": n, "template": _TEMPLATE} for n in steps])
    calls = [
        {
            "conversation_id": 1 + n % team.conversations,
            "actor_id": 1 + n % team.models,
            "input": "a posting",
            "output": "[PASS] it names the job",
            "latency_ms": 1000.0,
            "created_at": now - (n % 60) * _DAY,
        }
        for n in range(team.calls)
    ]
    _insert(connection, interactions, calls)


def _fill_task(connection: Connection, prepared: PreparedTask, team: Team, now: datetime) -> None:
    """Store the task's benchmarks, one a week, each with the runs of all measured models."""
    runs: Rows = []
    for number in range(team.benchmarks):
        begun = now - _DAY - 7 * (team.benchmarks - 1 - number) * _DAY
        row = _benchmark(prepared, f"{prepared.name}-{number:04d}", begun)
        insert_benchmark(connection, row)
        runs += [_model_run(row, actor_id, team) for actor_id in range(1, team.models + 1)]
    _insert(connection, tables.benchmark_model_runs, runs)


def _benchmark(prepared: PreparedTask, benchmark_id: str, begun: datetime) -> BenchmarkRow:
    hardware = {"processor": "synthetic"}
    prompt = prepared.task.prompt.holding(prepared.prompt)
    return BenchmarkRow(
        benchmark_id=benchmark_id,
        task_type=prepared.name,
        purpose=Purpose.BENCHMARK,
        status=RunStatus.FINISHED,
        evidence_key=prepared.evidence_key(hardware),
        suite_version=prepared.suite.version,
        suite_hash=prepared.suite.hash,
        suite=prepared.suite.model_dump(mode="json"),
        prompt_hash=prepared.prompt_hash,
        task=prepared.task.model_copy(update={"prompt": prompt}).model_dump(mode="json"),
        prompt_source=prepared.prompt_source,
        reader_version=READER_VERSION,
        protocol=prepared.protocol.model_dump(mode="json"),
        protocol_hash=prepared.protocol.hash,
        hardware=hardware,
        tool_version="synthetic",
        dagster_run_id=None,
        started_at=begun,
        finished_at=begun + timedelta(hours=1),
        incumbents=[],
    )


def _model_run(row: BenchmarkRow, actor_id: int, team: Team) -> dict[str, Any]:
    name = team.model_names[actor_id - 1]
    identity = ModelIdentity(name=name, runtime="ollama", digest=f"sha256:{actor_id:064x}", size_bytes=4 * 10**9)
    return {
        "benchmark_id": row.benchmark_id,
        "model_name": f"actor {actor_id:04d}",
        "actor_id": actor_id,
        "execution_path": f"ollama:{name}",
        "digest": identity.digest,
        "identity": identity.model_dump(mode="json"),
        "load_ns": 3 * 10**9,
        "memory_bytes": 5 * 10**9,
        "role": "candidate",
        "final_passes": _FINAL_PASSES,
        "started_at": row.started_at,
        "finished_at": row.finished_at,
    }


def _fill_candidates(connection: Connection, team: Team) -> None:
    """Store what every benchmark said of every actor."""
    connection.execute(
        text(
            "INSERT INTO benchmark_candidates (benchmark_id, model_name, actor_id, execution_path, exclusion, detail) "
            "SELECT b.benchmark_id, a.actor_name, a.actor_id, a.execution_path, "
            "CASE WHEN a.actor_id > :models THEN 'not_installed' END, '' FROM benchmark_runs b CROSS JOIN actors a"
        ),
        {"models": team.models},
    )


_SAMPLES_OF_RUN = """
INSERT INTO benchmark_samples (model_run_id, case_id, repeat, take, batch, outcome, expected, verdict, reason,
    latency_ns, elapsed_ns, attempts, prompt_tokens, generated_tokens, done_reason, reply, called_at)
SELECT r.model_run_id, {case_id}, p.n, 1, 1 + c.n / 5, 'correct', v.verdict, v.verdict, 'leading tag',
    1000000000 + CAST(r.actor_id AS integer) * 20000000
        + (r.model_run_id * 7919 + c.n * 104729 + p.n * 1299709) % 10000000,
    1100000000 + CAST(r.actor_id AS integer) * 20000000, '[]', 400, 60, 'stop',
    '[' || v.verdict || '] The summary names the job, the employer and the place as the posting does; it leaves out '
        || 'the salary, which the posting does not state either. Case ' || c.n || ', pass ' || p.n || '.',
    r.started_at
FROM benchmark_model_runs r CROSS JOIN {passes} p CROSS JOIN {cases} c
    JOIN (SELECT 0 AS odd, 'PASS' AS verdict UNION ALL SELECT 1, 'FAIL') v ON v.odd = c.n % 2
"""
_COUNTED = """(WITH RECURSIVE numbers (n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM numbers WHERE n < {last})
    SELECT n FROM numbers)"""
_SAMPLES = {
    "postgresql": _SAMPLES_OF_RUN.format(
        case_id="'CASE_' || lpad(c.n::text, 4, '0')",
        passes="(SELECT generate_series(1, :passes) AS n)",
        cases="(SELECT generate_series(0, :cases - 1) AS n)",
    ),
    "sqlite": _SAMPLES_OF_RUN.format(
        case_id="printf('CASE_%04d', c.n)",
        passes=_COUNTED.format(first=1, last=":passes"),
        cases=_COUNTED.format(first=0, last=":cases - 1"),
    ),
}


def _fill_history(database: Database, team: Team) -> None:
    """Rank one benchmark of the first task and give its rows to all others: their samples are alike."""
    ranked = f"grading-{team.benchmarks - 1:04d}"
    rank_benchmark(database, ranked)
    of_run = {"benchmark_run_id": "b.benchmark_id", "task_type": "b.task_type", "benchmark_date": "b.started_at",
              "model_run_id": "r.model_run_id"}  # fmt: skip
    names = [column.name for column in tables.benchmark_history.columns if column.name != "benchmark_id"]
    values = ", ".join(of_run.get(name, f"h.{name}") for name in names)
    with database.writing() as connection:
        connection.execute(
            text(
                f"INSERT INTO benchmark_history ({', '.join(names)}) SELECT {values} FROM benchmark_history h "  # noqa: S608
                "JOIN benchmark_model_runs r ON r.model_name = h.model "
                "JOIN benchmark_runs b ON b.benchmark_id = r.benchmark_id "
                "WHERE h.benchmark_run_id = :ranked AND b.benchmark_id <> :ranked"
            ),
            {"ranked": ranked},
        )


def _fill_promotions(connection: Connection, team: Team, now: datetime) -> None:
    rows_each = min(20, team.conversations)
    numbers = range(1, team.promotions + 1)
    heads: Rows = [
        {
            "promotion_id": n,
            "kind": "promotion",
            "plan_hash": f"{n:064x}",
            "terms_hash": "0" * 64,
            "plan": {},
            "reason": "",
            "requested_by": "synthetic",
            "applied_at": now - (team.promotions - n + 1) * _DAY / 2,
        }
        for n in numbers
    ]
    changed: Rows = [
        {
            "promotion_id": n,
            "conversation_id": 1 + (n * rows_each + place) % team.conversations,
            "task_type": "grading",
            "benchmark_id": "grading-0000",
            "evidence_hash": "0" * 64,
            "conversation": "Step",
            "old_actor_id": 1,
            "new_actor_id": 2,
            "reason": "faster",
            "changed": True,
        }
        for n in numbers
        for place in range(rows_each)
    ]
    moments = {"made_at": now, "done_at": now}
    _insert(connection, tables.promotions, heads)
    _insert(connection, tables.promotion_rows, changed)
    _insert(connection, tables.intents, [{"promotion_id": n, **moments} for n in numbers])
    judged = {"passed": True, "details": {}, "validated_at": now}
    _insert(connection, tables.validations, [{"promotion_id": n, **judged} for n in numbers])
    registered = {"task_type": "grading", "benchmark_id": "grading-0000", "avg_latency_ms": 1000.0, "decided_at": now}
    holders = range(1, team.conversations + 1)
    champions = [{"conversation_id": n, "champion_actor_id": 1, "runner_up_actor_id": 2, **registered} for n in holders]
    _insert(connection, tables.champions, champions)


def _insert(connection: Connection, table: Any, rows: Sequence[dict[str, Any]]) -> None:  # noqa: ANN401 - a table
    for part in _chunks(rows):
        connection.execute(insert(table), part)


def _chunks(rows: Sequence[dict[str, Any]]) -> Iterator[Sequence[dict[str, Any]]]:
    for start in range(0, len(rows), _CHUNK):
        yield rows[start : start + _CHUNK]
