"""The measurement itself: model by model, batch by batch, call by call, each a row as soon as it ends.

A benchmark that was interrupted goes on with the calls that are missing.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version

from sqlalchemy import Connection

from bench_pipeline.benchmark.events import (
    BatchStarted,
    BenchmarkStarted,
    ModelFinished,
    ModelLoaded,
    ModelStarted,
    OnEvent,
    SampleTaken,
)
from bench_pipeline.benchmark.hardware import hardware
from bench_pipeline.benchmark.preparation import PreparedTask
from bench_pipeline.domain.actor import Candidate
from bench_pipeline.domain.errors import GateFailed, RuntimeFailure
from bench_pipeline.domain.prompt import PROMPT_FIELDS, render_prompt
from bench_pipeline.domain.sample import Outcome, Reply, Sample
from bench_pipeline.domain.scoreboard import score_model
from bench_pipeline.domain.suite import TestCase
from bench_pipeline.domain.verdict import READER_VERSION, judge
from bench_pipeline.runtimes.base import Runtime
from bench_pipeline.runtimes.registry import Runtimes
from bench_pipeline.storage import benchmarks as store
from bench_pipeline.storage.benchmarks import BenchmarkRow, ModelRun
from bench_pipeline.storage.database import Database

BENCHMARK_LOCK = "benchmark"


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """One case in one pass over the suite."""

    case: TestCase
    repeat: int
    batch: int


def run_benchmark(
    database: Database,
    prepared: PreparedTask,
    candidates: Sequence[Candidate],
    runtimes: Runtimes,
    on_event: OnEvent,
    resume_hours: float = 24.0,
    dagster_run_id: str | None = None,
    purpose: str = store.BENCHMARK,
) -> str:
    """Run every eligible candidate through the suite and return the benchmark's id.

    An interrupted benchmark of equal evidence that began less than `resume_hours` ago goes on. A failing
    model never stops the others. Raises `GateFailed` when nobody is eligible, `LockTaken` when another
    benchmark runs on this database: two would slow each other down and measure that.
    """
    eligible = [candidate for candidate in candidates if candidate.eligible]
    if not eligible:
        reasons = "; ".join(f"{c.name}: {c.detail}" for c in candidates) or "there are no actors"
        raise GateFailed(f"no model can be measured for {prepared.name}: {reasons}")
    with database.exclusive(BENCHMARK_LOCK):
        row, resumed = _begin(database, prepared, resume_hours, dagster_run_id, purpose)
        with database.writing() as connection:
            store.replace_candidates(connection, row.benchmark_id, candidates)
        names = tuple(candidate.name for candidate in eligible)
        on_event(
            BenchmarkStarted(
                row.benchmark_id, prepared.name, names, len(prepared.case_ids), prepared.protocol.repeats, resumed
            )
        )
        run = _BenchmarkRun(database, prepared, runtimes, on_event, row.benchmark_id)
        for number, candidate in enumerate(eligible, start=1):
            run.measure(candidate, number, len(eligible))
        with database.writing() as connection:
            store.finish_benchmark(connection, row.benchmark_id, _now())
    return row.benchmark_id


def _begin(
    database: Database, prepared: PreparedTask, resume_hours: float, dagster_run_id: str | None, purpose: str
) -> tuple[BenchmarkRow, bool]:
    machine = hardware()
    key = prepared.evidence_key(machine)
    now = _now()
    with database.writing() as connection:
        since = now - timedelta(hours=resume_hours)
        if interrupted := store.interrupted_benchmark(connection, purpose, key, since):
            return interrupted, True
        row = BenchmarkRow(
            benchmark_id=f"{prepared.name}-{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}",
            task_type=prepared.name,
            purpose=purpose,
            status=store.RUNNING,
            evidence_key=key,
            suite_version=prepared.suite.version,
            suite_hash=prepared.suite.hash,
            suite=prepared.suite.model_dump(mode="json"),
            prompt_hash=prepared.prompt_hash,
            task=prepared.task.model_copy(
                update={"prompt": prepared.task.prompt.model_copy(update={"template": prepared.template})}
            ).model_dump(mode="json"),
            prompt_source=prepared.prompt_source,
            reader_version=READER_VERSION,
            protocol=prepared.protocol.model_dump(mode="json"),
            protocol_hash=prepared.protocol.hash,
            hardware=machine,
            tool_version=version("bench_pipeline"),
            dagster_run_id=dagster_run_id,
            started_at=now,
            finished_at=None,
        )
        store.insert_benchmark(connection, row)
    return row, False


def _now() -> datetime:
    return datetime.now(UTC)


class _BenchmarkRun:
    """One benchmark while it runs: what all its models share."""

    def __init__(
        self,
        database: Database,
        prepared: PreparedTask,
        runtimes: Runtimes,
        on_event: OnEvent,
        benchmark_id: str,
    ) -> None:
        self._database = database
        self._prepared = prepared
        self._runtimes = runtimes
        self._on_event = on_event
        self._benchmark_id = benchmark_id

    def measure(self, candidate: Candidate, number: int, total: int) -> None:
        """Make the calls of one model that are missing, and mark its run as ended."""
        model_run, samples = self._begin_model(candidate)
        done = {(sample.case_id, sample.repeat) for sample in samples}
        calls = planned_calls(self._prepared)
        missing = [call for call in calls if (call.case.id, call.repeat) not in done]
        self._on_event(ModelStarted(candidate.name, number, total, len(calls), len(samples)))
        failure = model_run.failure
        if model_run.finished_at is None:
            failure = self._run_calls(model_run, missing, samples) if missing else None
            with self._database.writing() as connection:
                store.finish_model_run(connection, model_run.model_run_id, _now(), failure)
        result = score_model(candidate.name, self._prepared.case_ids, samples, self._prepared.protocol.repeats, failure)
        self._on_event(ModelFinished(candidate.name, result))

    def _begin_model(self, candidate: Candidate) -> tuple[ModelRun, list[Sample]]:
        """Return the model's run in this benchmark, begun now or before an interruption, and its samples."""
        assert candidate.identity is not None  # noqa: S101 - an eligible candidate was described
        with self._database.writing() as connection:
            run = self._stored_run(connection, candidate)
            if run is not None and run.identity != candidate.identity:
                store.delete_model_run(connection, run.model_run_id)
                run = None
            if run is None:
                store.insert_model_run(connection, self._benchmark_id, candidate, candidate.identity, _now())
                run = self._stored_run(connection, candidate)
            assert run is not None  # noqa: S101 - it was inserted in this transaction
            return run, store.samples(connection, [run.model_run_id])[run.model_run_id]

    def _stored_run(self, connection: Connection, candidate: Candidate) -> ModelRun | None:
        return store.model_run(connection, self._benchmark_id, candidate.name)

    def _run_calls(self, run: ModelRun, calls: Sequence[PlannedCall], samples: list[Sample]) -> str | None:
        """Load, warm up, call, unload. Return what stopped the model, or None."""
        runtime = self._runtimes.of(run.ref)
        protocol = self._prepared.protocol
        try:
            report = runtime.load(run.ref, protocol.decoding, protocol.load_time_limit_s)
            with self._database.writing() as connection:
                store.record_load(connection, run.model_run_id, report)
            self._on_event(ModelLoaded(run.model, report.load_ns / 1e6))
            for _ in range(protocol.warm_up_calls):
                runtime.call(run.ref, self._warm_up_prompt(), protocol.decoding, protocol.time_limit_s)
            samples.extend(self._take_sample(runtime, run, call) for call in self._announced(run.model, calls))
        except RuntimeFailure as failure:
            return f"{failure.kind}: {failure}"
        finally:
            _unload(runtime, run)
        return None

    def _warm_up_prompt(self) -> str:
        """The production template without a case: its prefix is warm afterwards, no case's text is."""
        return render_prompt(self._prepared.template, dict.fromkeys(PROMPT_FIELDS, "(warm-up)"))

    def _announced(self, model: str, calls: Iterable[PlannedCall]) -> Iterator[PlannedCall]:
        batches = -(-len(self._prepared.case_ids) // self._prepared.protocol.batch_size)
        current: tuple[int, int] | None = None
        for call in calls:
            if (call.repeat, call.batch) != current:
                current = (call.repeat, call.batch)
                self._on_event(BatchStarted(model, call.repeat, call.batch, batches))
            yield call

    def _take_sample(self, runtime: Runtime, run: ModelRun, call: PlannedCall) -> Sample:
        protocol = self._prepared.protocol
        prompt = render_prompt(self._prepared.template, call.case.prompt_fields)
        called_at = _now()
        try:
            reply = runtime.call(run.ref, prompt, protocol.decoding, protocol.time_limit_s)
        except RuntimeFailure as failure:
            sample = _failed_sample(call, failure)
        else:
            sample = self._judged_sample(call, reply)
        with self._database.writing() as connection:
            store.insert_sample(connection, run.model_run_id, sample, called_at)
        self._on_event(SampleTaken(run.model, sample))
        return sample

    def _judged_sample(self, call: PlannedCall, reply: Reply) -> Sample:
        judgement = judge(self._prepared.task.verdict, call.case, reply)
        whole = judgement.outcome in (Outcome.CORRECT, Outcome.WRONG)
        return Sample(
            case_id=call.case.id,
            repeat=call.repeat,
            batch=call.batch,
            outcome=judgement.outcome,
            expected=call.case.expected_verdict,
            verdict=judgement.verdict,
            reason=judgement.reason,
            latency_ns=reply.latency_ns if whole else None,
            done_reason=reply.done_reason if reply.complete else None,
            reply_text=reply.text,
            thinking=reply.thinking or None,
            timings=reply.timings,
        )


def _failed_sample(call: PlannedCall, failure: RuntimeFailure) -> Sample:
    return Sample(
        case_id=call.case.id,
        repeat=call.repeat,
        batch=call.batch,
        outcome=Outcome.ERROR,
        expected=call.case.expected_verdict,
        reason=f"{failure.kind}: {failure}",
    )


def _unload(runtime: Runtime, run: ModelRun) -> None:
    """Give the memory back; a server that is gone has given it back already."""
    try:
        runtime.unload(run.ref)
    except RuntimeFailure:
        return


def planned_calls(prepared: PreparedTask) -> list[PlannedCall]:
    """Return all calls of a model in their order: pass by pass over the suite, in batches."""
    size = prepared.protocol.batch_size
    return [
        PlannedCall(case, repeat, position // size + 1)
        for repeat in range(1, prepared.protocol.repeats + 1)
        for position, case in enumerate(prepared.suite.test_cases)
    ]
