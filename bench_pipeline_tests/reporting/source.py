"""A real database with production's tables, two measured actors and a champion."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, insert, text

from bench_pipeline.domain.measuring.scoreboard import ModelResult, Standing, rank
from bench_pipeline.domain.models.actor import Candidate, Entrant, Exclusion
from bench_pipeline.domain.models.identity import LoadReport, ModelIdentity
from bench_pipeline.domain.models.model_ref import parse_execution_path
from bench_pipeline.domain.promoting.champion import Champion
from bench_pipeline.reporting.workflow_docs import StepFacts, WorkflowFacts, read_production, render_conversations
from bench_pipeline.storage import benchmarks, champions
from bench_pipeline.storage.database import Database, open_database
from bench_pipeline.storage.history import replace_history
from bench_pipeline.storage.production import Production, open_production
from bench_pipeline_tests.kit.production import PRODUCTION, actors, conversations, workflow_conversations, workflows
from bench_pipeline_tests.reporting.examples import benchmark

AT = datetime(2025, 3, 1, 3, 0, tzinfo=UTC)
LIMIT = 8_000_000_000
FAST, SLOW, SCRIPT, DISABLED, HUGE = 1, 2, 3, 4, 5
EXTRACT, GRADE_A, GRADE_B, REGRADE, TICKET = 3335, 3336, 3337, 3339, 3340
_ACTORS = (
    (FAST, "fast", "ai_model", "fast:1b", True),
    (SLOW, "slow", "ai_model", "ollama:slow:7b", True),
    (SCRIPT, "ticket.py", "script", "scripts/ticket.py", True),
    (DISABLED, "old", "ai_model", "old:3b", False),
    (HUGE, "huge", "ai_model", "huge:70b", True),
)
_STEPS = (
    (EXTRACT, "Extract", SLOW),
    (GRADE_A, "Grade A", FAST),
    (GRADE_B, "Grade B", SLOW),
    (TICKET, "Ticket", SCRIPT),
    (REGRADE, "Regrade", FAST),
)


@dataclass(frozen=True)
class Source:
    """The database, and what the documents make of it."""

    database: Database
    production: Production

    def run(self, statement: str, **values: object) -> None:
        with self.database.writing() as connection:
            connection.execute(text(statement), values)

    def give(self, conversation_id: int, actor_id: int | None) -> None:
        self.run(
            "UPDATE conversations SET actor_id = :actor WHERE conversation_id = :conversation",
            actor=actor_id,
            conversation=conversation_id,
        )

    def workflow(self, max_model_bytes: int = LIMIT) -> WorkflowFacts:
        (facts,) = read_production(self.database, self.production, max_model_bytes).workflows
        return facts

    def others_document(self) -> str:
        """The document of the conversations without a workflow."""
        return render_conversations(read_production(self.database, self.production, LIMIT).others)

    def step(self, conversation_id: int, max_model_bytes: int = LIMIT) -> StepFacts:
        steps = self.workflow(max_model_bytes).steps
        return next(step for step in steps if step.conversation_id == conversation_id)

    def measure(self, benchmark_id: str, at: datetime, latencies: dict[int, float]) -> None:
        """Store a finished benchmark of grading in which these actors qualified."""
        names = {FAST: "fast:1b", SLOW: "slow:7b"}
        results = [
            ModelResult(names[actor], Standing.QUALIFIED, 4, 4, 100.0, 4, actor, latency, 1e6 / latency)
            for actor, latency in latencies.items()
        ]
        row = replace(benchmark(benchmark_id=benchmark_id, started_at=at), finished_at=None)
        with self.database.writing() as connection:
            benchmarks.insert_benchmark(connection, row)
            huge = Candidate("huge:70b", HUGE, None, None, Exclusion.TOO_LARGE, "40.0 GB, the limit is 8.0 GB")
            benchmarks.replace_candidates(connection, benchmark_id, [huge])
            for actor in latencies:
                ref = parse_execution_path(names[actor])
                identity = ModelIdentity(name=ref.address, runtime="ollama", size_bytes=actor * 2_000_000_000)
                entrant = Entrant(names[actor], actor, ref, identity)
                number = benchmarks.insert_model_run(connection, benchmark_id, entrant, at)
                benchmarks.record_load(connection, number, LoadReport(load_ns=actor * 1_000_000_000))
            benchmarks.finish_benchmark(connection, benchmark_id, at)
            replace_history(connection, row, rank(results), {})

    def register(self, conversation_id: int, champion: int, runner_up: int | None) -> None:
        row = Champion(conversation_id, "grading", champion, runner_up, "grading-1", 120.0, AT)
        with self.database.writing() as connection:
            champions.restore_champion(connection, conversation_id, row)


@contextmanager
def open_source(folder: Path) -> Iterator[Source]:
    """A database below `folder` in which grading was measured once and has a champion for two of its steps."""
    database = open_database(f"sqlite:///{folder / 'bench.db'}")
    with database.writing() as connection:
        _fill_production(connection)
    source = Source(database, open_production(database, {}))
    source.measure("grading-1", AT, {FAST: 120.0, SLOW: 480.0})
    source.register(GRADE_A, FAST, SLOW)
    source.register(GRADE_B, FAST, SLOW)
    yield source
    database.close()


def _fill_production(connection: Connection) -> None:
    PRODUCTION.create_all(connection)
    connection.execute(insert(actors).values(_ACTORS))
    connection.execute(insert(conversations).values([(*step, None) for step in _STEPS]))
    connection.execute(insert(workflows).values(workflow_id=3001, workflow_name="Complete Job Processing Pipeline"))
    order = [(3001, step, 10 * number) for number, (step, *_) in enumerate(_STEPS, start=1)]
    connection.execute(insert(workflow_conversations).values(order))
