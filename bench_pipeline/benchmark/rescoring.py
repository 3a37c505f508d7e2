"""Re-judging of stored replies with the current reader. Calls no model and never changes the old benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version

from bench_pipeline.benchmark.evidence import evidence_key, new_benchmark_id
from bench_pipeline.benchmark.ranking import (
    RankedBenchmark,
    latest_benchmark_id,
    rank_benchmark,
    read_ranked,
)
from bench_pipeline.benchmark.task_folders import read_task, task_names
from bench_pipeline.domain.errors import FileRefused, InputError
from bench_pipeline.domain.measuring.benchmark import RunStatus
from bench_pipeline.domain.measuring.disturbance import with_takes_settled
from bench_pipeline.domain.measuring.sample import Sample
from bench_pipeline.domain.measuring.validity import ValidityRule
from bench_pipeline.domain.models.reply import Reply
from bench_pipeline.domain.tasks.outcome import Outcome
from bench_pipeline.domain.tasks.readers.contracts import Contract
from bench_pipeline.domain.tasks.suite import Suite, TestCase
from bench_pipeline.domain.tasks.task import Task
from bench_pipeline.domain.tasks.verdict import READER_VERSION, Judgement, contract_faults, judge
from bench_pipeline.settings import Settings
from bench_pipeline.storage import benchmarks as store
from bench_pipeline.storage.copies import copy_model_run, stored_candidates, update_judgement
from bench_pipeline.storage.database import Database
from bench_pipeline.storage.locks import BENCHMARK


@dataclass(frozen=True, slots=True)
class Rejudged:
    """A sample as stored, and as the current reader judges it."""

    model: str
    before: Sample
    after: Sample

    @property
    def differs(self) -> bool:
        """Whether outcome or verdict differ; a differently worded reason does not count."""
        return (self.before.outcome, self.before.verdict) != (self.after.outcome, self.after.verdict)


@dataclass(frozen=True, slots=True)
class Rescoring:
    """A benchmark as stored, and its samples as the current reader judges them.

    `task` is the stored task with the contract used now; `samples` holds every call in order.
    """

    ranked: RankedBenchmark
    task: Task
    evidence_key: str
    samples: tuple[Rejudged, ...]

    @property
    def changes(self) -> tuple[Rejudged, ...]:
        """The samples whose outcome or verdict differs now."""
        return tuple(sample for sample in self.samples if sample.differs)

    @property
    def is_new_evidence(self) -> bool:
        """Whether storing it would add anything to what is stored already."""
        return bool(self.changes) or self.evidence_key != self.ranked.benchmark.evidence_key


def rescore_benchmark(database: Database, settings: Settings, task: str, benchmark_id: str | None = None) -> Rescoring:
    """Judge the replies of a benchmark again; the default is the task's latest one. Stores nothing.

    The gold is the stored suite's. The contract is the one in `task.yaml` now, because production uses that; the
    stored one if the file no longer exists. Raises `InputError` when the task has no such benchmark or its replies were
    removed, `FileRefused`
    when the stored gold cannot be compared under the contract.
    """
    ranked = read_ranked(database, benchmark_id or latest_benchmark_id(database, task))
    row = ranked.benchmark
    if row.task_type != task:
        raise InputError(f"benchmark {row.benchmark_id} is of {row.task_type}, not of {task}")
    if row.pruned_at is not None:
        raise InputError(
            f"the replies of {row.benchmark_id} were removed on {row.pruned_at:%Y-%m-%d} by `bench db prune`; "
            "they cannot be judged again"
        )
    stored = Task.model_validate(row.task)
    contract = read_task(settings, task).verdict if task in task_names(settings) else stored.verdict
    suite = Suite.model_validate(row.suite)
    if faults := contract_faults(contract, suite, f"suite of {row.benchmark_id}"):
        raise FileRefused(faults)
    cases = {case.id: case for case in suite.test_cases}
    return Rescoring(
        ranked=ranked,
        task=stored.model_copy(update={"verdict": contract}),
        evidence_key=evidence_key(
            task=task,
            suite_hash=row.suite_hash,
            prompt_hash=row.prompt_hash,
            contract=contract,
            protocol_hash=row.protocol_hash,
            hardware=row.hardware,
        ),
        samples=tuple(
            Rejudged(model, before, after)
            for model, samples in ranked.samples.items()
            for before, after in zip(samples, _all_rejudged(contract, cases, samples), strict=True)
        ),
    )


def _all_rejudged(contract: Contract, cases: Mapping[str, TestCase], samples: Sequence[Sample]) -> list[Sample]:
    """Return the samples of a model as judged now; which of two takes ranks depends on whether the second is valid."""
    return with_takes_settled(rejudged(contract, cases[sample.case_id], sample) for sample in samples)


def rejudged(contract: Contract, case: TestCase, sample: Sample) -> Sample:
    """Return the sample as judged now; an infrastructure error has no reply and stays as it is.

    So does a stored reply that was a failure of the runtime. A sample that had no verdict gets its latency from its
    elapsed time. Exclusions from the ranking stay, except the one for a missing verdict.
    """
    if sample.outcome is Outcome.ERROR:
        return sample
    reply = _reply(sample)
    judgement = Judgement(Outcome.ERROR, None, reply.fault) if reply.fault else judge(contract, case, reply)
    whole = judgement.outcome in (Outcome.CORRECT, Outcome.WRONG)
    kept = None if sample.exclusion == ValidityRule.NO_VERDICT else sample.exclusion
    return replace(
        sample,
        outcome=judgement.outcome,
        verdict=judgement.verdict,
        reason=judgement.reason,
        latency_ns=(sample.latency_ns or reply.latency_ns or None) if whole else None,
        exclusion=kept or (None if whole else ValidityRule.NO_VERDICT),
    )


def _reply(sample: Sample) -> Reply:
    return Reply(
        text=sample.reply_text or "",
        elapsed_ns=sample.elapsed_ns or 0,
        complete=sample.done_reason is not None,
        done_reason=sample.done_reason or "",
        thinking=sample.thinking or "",
        timings=sample.timings,
    )


def save_rescored(database: Database, rescoring: Rescoring) -> RankedBenchmark:
    """Store and rank the rescored benchmark as a new one; its model runs keep their times.

    Raises `InputError` unless it is the task's latest benchmark, because the new one becomes the latest and a plan
    rests on that. Raises `LockTaken` while a benchmark runs on this machine.
    """
    old = rescoring.ranked.benchmark
    with database.exclusive(BENCHMARK):
        if (latest := latest_benchmark_id(database, old.task_type)) != old.benchmark_id:
            raise InputError(
                f"{latest} is newer than {old.benchmark_id}; a plan rests on the latest benchmark, so only the "
                "latest one can be saved again"
            )
        now = datetime.now(UTC)
        row = replace(
            old,
            benchmark_id=new_benchmark_id(old.task_type, now),
            rescored_from=old.benchmark_id,
            status=RunStatus.RUNNING,  # until it is ranked
            evidence_key=rescoring.evidence_key,
            task=rescoring.task.model_dump(mode="json"),
            reader_version=READER_VERSION,
            tool_version=version("bench_pipeline"),
            dagster_run_id=None,
            started_at=now,
            finished_at=None,
        )
        _insert(database, rescoring, row)
        rank_benchmark(database, row.benchmark_id)
        with database.writing() as connection:
            store.finish_benchmark(connection, row.benchmark_id, datetime.now(UTC))
    return read_ranked(database, row.benchmark_id)


def _insert(database: Database, rescoring: Rescoring, row: store.BenchmarkRow) -> None:
    runs = rescoring.ranked.runs
    with database.writing() as connection:
        candidates = stored_candidates(connection, rescoring.ranked.benchmark.benchmark_id)
        store.insert_benchmark(connection, row)
        store.replace_candidates(connection, row.benchmark_id, candidates)
        copies = {model: copy_model_run(connection, run.model_run_id, row.benchmark_id) for model, run in runs.items()}
        for sample in rescoring.samples:
            if sample.after != sample.before:
                update_judgement(connection, copies[sample.model], sample.after)
