"""The order of a benchmark: the anchor, the main passes or the race, the final, the anchor once more.

An interrupted benchmark continues with the missing calls. How one model is called is in model_run.py.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from itertools import takewhile

from bench_pipeline.benchmark.accelerators import exclude_those_on_cpu, surveyed
from bench_pipeline.benchmark.events import (
    AnchorStarted,
    BenchmarkStarted,
    FinalPass,
    LockAwaited,
    ModelFinished,
    ModelStarted,
    OnEvent,
)
from bench_pipeline.benchmark.evidence import new_benchmark_id
from bench_pipeline.benchmark.field import Field
from bench_pipeline.benchmark.hardware import Hardware, common_hardware, comparable
from bench_pipeline.benchmark.model_run import Measured, ModelMeasurement, PlannedCall
from bench_pipeline.benchmark.preparation import PreparedTask
from bench_pipeline.benchmark.race import Race
from bench_pipeline.benchmark.results import model_result
from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.errors import GateFailed
from bench_pipeline.domain.measuring.benchmark import Purpose, Role, RunStatus
from bench_pipeline.domain.measuring.disturbance import disturbances, with_takes_settled
from bench_pipeline.domain.measuring.protocol import MAX_DRIFT
from bench_pipeline.domain.measuring.racing import StopReason
from bench_pipeline.domain.measuring.scoreboard import ModelResult, Scoreboard, rank
from bench_pipeline.domain.measuring.validity import drift
from bench_pipeline.domain.models.actor import Candidate, Entrant, Exclusion
from bench_pipeline.domain.promoting.final import contenders, order_of, settled
from bench_pipeline.domain.promoting.validation import Limits, rivals_meet, session_over
from bench_pipeline.domain.tasks.suite import TestCase
from bench_pipeline.domain.tasks.verdict import READER_VERSION
from bench_pipeline.runtimes.registry import Runtimes
from bench_pipeline.storage import benchmarks as store
from bench_pipeline.storage.benchmarks import BenchmarkRow
from bench_pipeline.storage.database import Database
from bench_pipeline.storage.locks import BENCHMARK, HeldLock
from bench_pipeline.storage.samples import case_failures


@dataclass(frozen=True, slots=True)
class RunTerms:
    """The purpose of a benchmark, the Dagster run that asked for it, and which interrupted one may be resumed.

    An interrupted benchmark with equal evidence is resumed when it began less than `resume_hours` ago. `limits` names
    the rivals of a validation's champion.
    """

    purpose: Purpose = Purpose.BENCHMARK
    dagster_run_id: str | None = None
    resume_hours: float = 24.0
    limits: Limits = dataclass_field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _FinalRules:
    """Who meets in passes of their own after the main passes, and whether it is decided after so many."""

    meet: Callable[[Scoreboard], tuple[str, ...]]
    decided: Callable[[Scoreboard, Sequence[str], int], bool]


def run_benchmark(
    bench: Workbench, prepared: PreparedTask, field: Field, on_event: OnEvent, terms: RunTerms = RunTerms()
) -> str:
    """Run every eligible candidate of the field through the suite and return the benchmark's id.

    Challenger and incumbents meet in a final, which ends when the settings' promotion policy is decided; in a
    validation, champion and rivals do. The anchor is measured before and after all others. A failing model never stops
    the others. A candidate whose runtime does not support the protocol is excluded before the first call. The models
    beside the field are recorded for the ranking.

    Raises `GateFailed` when no model is eligible, `LockTaken` while another benchmark runs on this machine, because
    the two would slow each other down, and `LockLost` when that can happen from now on.
    """
    candidates = [bound(line, prepared, bench.runtimes) for line in field.candidates]
    hardware = common_hardware(bench, candidates, field.incumbents)
    candidates = comparable(bench, candidates, hardware)
    _check_any(prepared, candidates, field)
    database = bench.database
    with database.exclusive(BENCHMARK, bench.lock_wait_s, lambda why: on_event(LockAwaited(why))) as lock:
        candidates = surveyed(bench, prepared, candidates, on_event)
        eligible = _check_any(prepared, candidates, field)
        row, resumed = _begin(database, lock, prepared, hardware, terms)
        with database.writing() as connection:
            store.replace_candidates(connection, row.benchmark_id, candidates)
            store.add_candidates(connection, row.benchmark_id, field.beside, field.reused)
            store.record_incumbents(connection, row.benchmark_id, field.incumbents)
        names = tuple(entrant.name for entrant in eligible)
        on_event(
            BenchmarkStarted(
                row.benchmark_id, prepared.name, names, len(prepared.case_ids), prepared.protocol.repeats, resumed
            )
        )
        measurement = ModelMeasurement(bench, prepared, on_event, row.benchmark_id, lock)
        _BenchmarkRun(bench, prepared, field, on_event, measurement).measure(eligible, terms)
        with database.writing() as connection:
            store.finish_benchmark(connection, row.benchmark_id, _now())
    return row.benchmark_id


def _check_any(prepared: PreparedTask, candidates: Sequence[Candidate], field: Field) -> list[Entrant]:
    """Return the models to run. Raises `GateFailed` with the reasons when there is none."""
    eligible = [entrant for candidate in candidates if (entrant := candidate.entrant) is not None]
    if not eligible and not field.reused:
        reasons = "; ".join(f"{c.name}: {c.detail}" for c in candidates) or "there are no actors"
        raise GateFailed(f"no model can be measured for {prepared.name}: {reasons}")
    return eligible


def bound(candidate: Candidate, prepared: PreparedTask, runtimes: Runtimes) -> Candidate:
    """Exclude a candidate whose runtime does not support the protocol, which would distort the comparison."""
    if not candidate.eligible or candidate.ref is None:
        return candidate
    refusal = runtimes.of(candidate.ref).refusal(prepared.protocol)
    return replace(candidate, exclusion=Exclusion.PROTOCOL, detail=refusal) if refusal else candidate


def _begin(
    database: Database, lock: HeldLock, prepared: PreparedTask, hardware: Hardware, terms: RunTerms
) -> tuple[BenchmarkRow, bool]:
    key = prepared.evidence_key(hardware)
    now = _now()
    with database.writing() as connection:
        since = now - timedelta(hours=terms.resume_hours)
        unfinished = store.unfinished_benchmarks(connection, terms.purpose, key, since)
        for interrupted in unfinished:
            if lock.claim(connection, interrupted.benchmark_id):
                if terms.dagster_run_id is not None:
                    store.record_dagster_run(connection, interrupted.benchmark_id, terms.dagster_run_id)
                return interrupted, True
        row = BenchmarkRow(
            benchmark_id=new_benchmark_id(prepared.name, now),
            task_type=prepared.name,
            purpose=terms.purpose,
            status=RunStatus.RUNNING,
            evidence_key=key,
            suite_version=prepared.suite.version,
            suite_hash=prepared.suite.hash,
            suite=prepared.suite.model_dump(mode="json"),
            prompt_hash=prepared.prompt_hash,
            task=prepared.task.model_copy(update={"prompt": prepared.task.prompt.holding(prepared.prompt)}).model_dump(
                mode="json"
            ),
            prompt_source=prepared.prompt_source,
            reader_version=READER_VERSION,
            protocol=prepared.protocol.model_dump(mode="json"),
            protocol_hash=prepared.protocol.hash,
            hardware=hardware,
            tool_version=version("bench_pipeline"),
            dagster_run_id=terms.dagster_run_id,
            started_at=now,
            finished_at=None,
        )
        store.insert_benchmark(connection, row)
        lock.claim(connection, row.benchmark_id)
    return row, False


def _now() -> datetime:
    return datetime.now(UTC)


class _BenchmarkRun:
    """The shared state of one running benchmark."""

    def __init__(
        self,
        bench: Workbench,
        prepared: PreparedTask,
        field: Field,
        on_event: OnEvent,
        measurement: ModelMeasurement,
    ) -> None:
        self._database = bench.database
        self._prepared = prepared
        self._protocol = prepared.protocol
        self._measurement = measurement
        self._on_event = on_event
        self._benchmark_id = measurement.benchmark_id
        self._incumbents = field.incumbents
        self._anchor = field.anchor.entrant if field.anchor else None
        self._policy = bench.settings.promotion_policy

    def measure(self, eligible: Sequence[Entrant], terms: RunTerms) -> None:
        """Make every call of the benchmark that has not been made."""
        first = self._anchor_pass(Role.ANCHOR_FIRST)
        if self._protocol.strategy == "race" and terms.purpose is Purpose.BENCHMARK:
            self._race(eligible)
        else:
            for number, entrant in enumerate(eligible, start=1):
                self._model(entrant, number, len(eligible))
        if self._protocol.placement == "auto":
            exclude_those_on_cpu(self._database, self._benchmark_id)
        if self._is_decided_by_a_final(terms):
            self._final(eligible, self._rules(terms))
        self._compare_anchor(first, self._anchor_pass(Role.ANCHOR_LAST))

    # The main passes

    def _model(self, entrant: Entrant, number: int, total: int) -> None:
        measured = self._measurement.begin(entrant)
        calls = planned_calls(self._prepared, range(1, self._protocol.repeats + 1))
        made = sum(sample.repeat <= self._protocol.repeats and sample.take == 1 for sample in measured.samples)
        self._on_event(ModelStarted(entrant.name, number, total, len(calls), made))
        self._finished(self._measurement.take(measured, calls))

    def _finished(self, measured: Measured) -> None:
        disturbed = disturbances(measured.samples)
        self._on_event(ModelFinished(measured.run.model, self._result(measured), disturbed))

    def _result(self, measured: Measured) -> ModelResult:
        return model_result(self._prepared.case_ids, self._protocol, measured.run, measured.samples)

    # The race

    def _race(self, eligible: Sequence[Entrant]) -> None:
        with self._database.engine.connect() as connection:
            earlier = case_failures(connection, self._prepared.suite.hash)
        race = Race(self._prepared, {c.name: self._measurement.begin(c) for c in eligible}, self._incumbents, earlier)
        while models := race.next_round():
            for number, model in enumerate(models, start=1):
                calls = race.calls(model)
                self._on_event(ModelStarted(model, number, len(models), len(calls), 0))
                race.measured[model] = self._measurement.take(race.measured[model], calls, race.stop(model))
                if not race.goes_on(model):
                    self._finished(race.measured[model])
        for model in race.outpaced():
            race.measured[model] = self._measurement.mark_stopped(race.measured[model], StopReason.OUTPACED)
            self._finished(race.measured[model])

    # The final

    def _rules(self, terms: RunTerms) -> _FinalRules:
        incumbents, policy = self._incumbents, self._policy
        if terms.purpose is Purpose.VALIDATION:
            return _FinalRules(
                lambda board: rivals_meet(board, terms.limits),
                lambda board, _, passes: session_over(board, terms.limits, passes, policy),
            )
        return _FinalRules(
            lambda board: contenders(board, incumbents),
            lambda board, names, passes: settled(board, names, incumbents, passes, policy),
        )

    def _final(self, eligible: Sequence[Entrant], rules: _FinalRules) -> None:
        """Let those who meet make passes in turn, in random order, until every pair is decided."""
        measured = {entrant.name: self._measurement.begin(entrant) for entrant in eligible}
        main = rank((self._main_result(one) for one in measured.values()), self._incumbents)
        names = rules.meet(main)
        passes = 0
        while names and passes < self._protocol.final_passes:
            passes += 1
            in_order = order_of(names, passes, self._benchmark_id)
            self._on_event(FinalPass(passes, in_order))
            for name in in_order:
                measured[name] = self._final_pass(measured[name], passes)
            board = rank((self._result(one) for one in measured.values()), self._incumbents)
            if rules.decided(board, names, passes):
                break
        for name in names:
            self._finished(measured[name])

    def _is_decided_by_a_final(self, terms: RunTerms) -> bool:
        """Whether there is an incumbent to beat, or a rival, or a race that may have left its leaders close."""
        wanted = bool(self._incumbents or terms.limits) or self._protocol.strategy == "race"
        return wanted and self._protocol.final_passes > 0

    def _final_pass(self, measured: Measured, number: int) -> Measured:
        if measured.run.final_passes < number:
            measured = self._measurement.begin_final_pass(measured, number)
        repeat = self._protocol.repeats + number
        return self._measurement.take(measured, planned_calls(self._prepared, [repeat]))

    def _main_result(self, measured: Measured) -> ModelResult:
        """Return the result of the main passes only, so that a resumed final keeps its contenders."""
        main = takewhile(lambda sample: sample.repeat <= self._protocol.repeats, measured.samples)
        # The final may have repeated calls of the main passes; until then their first latencies counted.
        return self._result(Measured(replace(measured.run, final_passes=0), tuple(with_takes_settled(main))))

    # The anchor

    def _anchor_pass(self, role: Role) -> Measured | None:
        if self._anchor is None:
            return None
        when = "first" if role is Role.ANCHOR_FIRST else "last"
        line = replace(self._anchor, name=f"{self._anchor.name} (anchor, {when})", actor_id=None)
        self._on_event(AnchorStarted(line.name, len(self._prepared.case_ids)))
        return self._measurement.take(self._measurement.begin(line, role), planned_calls(self._prepared, [1]))

    def _compare_anchor(self, first: Measured | None, last: Measured | None) -> None:
        if first is None or last is None:
            return
        before, after = self._result(first).case_medians_ms, self._result(last).case_medians_ms
        common = [case_id for case_id in self._prepared.case_ids if case_id in before and case_id in after]
        change = drift([before[case_id] for case_id in common], [after[case_id] for case_id in common])
        if change is None:
            why = f"the anchor {first.run.model} has no valid latency to compare"
        elif abs(change) > MAX_DRIFT:
            n = f"n={len(common)} cases"
            why = f"the anchor's latency changed by {change:+.1%} over the run ({n}), more than {MAX_DRIFT:.0%}"
        else:
            return
        with self._database.writing() as connection:
            store.invalidate_benchmark(connection, self._benchmark_id, why)


def planned_calls(prepared: PreparedTask, passes: Iterable[int]) -> list[PlannedCall]:
    """Return a model's calls in these passes, in batches; a seed shuffles each pass, the same way for all models."""
    protocol = prepared.protocol
    return [
        PlannedCall(case, repeat, position // protocol.batch_size + 1)
        for repeat in passes
        for position, case in enumerate(_in_order(prepared.suite.test_cases, protocol.order_seed, repeat))
    ]


def _in_order(cases: Sequence[TestCase], seed: int | None, repeat: int) -> list[TestCase]:
    if seed is None:
        return list(cases)
    return random.Random(f"{seed}:{repeat}").sample(cases, len(cases))  # noqa: S311 - an order, not a secret
