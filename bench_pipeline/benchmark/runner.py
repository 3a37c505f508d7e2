"""The order of a benchmark: the anchor, the main passes or the race, the final, the anchor once more.

An interrupted benchmark continues with the missing calls. How one model is called is in model_run.py, how models are
distributed over hosts in dispatcher.py, who meets in the final, and where, in final_session.py.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from datetime import UTC, datetime, timedelta
from importlib.metadata import version

from bench_pipeline.benchmark.accelerators import exclude_those_on_cpu, lock_of, surveyed
from bench_pipeline.benchmark.dispatcher import Dispatcher, Host, Turn
from bench_pipeline.benchmark.events import (
    AnchorStarted,
    BenchmarkStarted,
    HostSkipped,
    LockAwaited,
    ModelStarted,
    OnEvent,
)
from bench_pipeline.benchmark.evidence import new_benchmark_id
from bench_pipeline.benchmark.field import Field
from bench_pipeline.benchmark.final_session import FinalRules, FinalSession
from bench_pipeline.benchmark.hardware import Hardware, common_fingerprint, comparable
from bench_pipeline.benchmark.model_run import Measured, ModelMeasurement, PlannedCall, Where
from bench_pipeline.benchmark.preparation import PreparedTask
from bench_pipeline.benchmark.race import Race
from bench_pipeline.benchmark.results import result_of, tell_finished
from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.errors import GateFailed
from bench_pipeline.domain.measuring.benchmark import Purpose, Role, RunStatus
from bench_pipeline.domain.measuring.protocol import MAX_DRIFT
from bench_pipeline.domain.measuring.racing import StopReason
from bench_pipeline.domain.measuring.validity import drift
from bench_pipeline.domain.models.actor import Candidate, Entrant, Exclusion
from bench_pipeline.domain.promoting.final import contenders, settled
from bench_pipeline.domain.promoting.validation import Limits, rivals_meet, session_over
from bench_pipeline.domain.tasks.suite import TestCase
from bench_pipeline.domain.tasks.verdict import READER_VERSION
from bench_pipeline.runtimes.registry import Runtimes
from bench_pipeline.storage import benchmarks as store
from bench_pipeline.storage.benchmarks import BenchmarkRow
from bench_pipeline.storage.database import Database
from bench_pipeline.storage.locks import HeldLock
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


def run_benchmark(
    bench: Workbench, prepared: PreparedTask, field: Field, on_event: OnEvent, terms: RunTerms = RunTerms()
) -> str:
    """Run every eligible candidate of the field through the suite and return the benchmark's id.

    Challenger and incumbents meet in a final, which ends when the settings' promotion policy is decided; in a
    validation, champion and rivals do. The anchor is measured before and after all others. A failing model never stops
    the others. A candidate whose runtime does not support the protocol is excluded before the first call. The models
    beside the field are recorded for the ranking. Named hosts that agree measure at once, each a model at a time.

    Raises `GateFailed` when no model is eligible, `LockTaken` while another benchmark uses one of the servers, because
    the two would slow each other down, and `LockLost` when that can happen from now on.
    """
    candidates = [bound(line, prepared, bench.runtimes) for line in field.candidates]
    fingerprint = common_fingerprint(bench, candidates, field.incumbents)
    candidates = comparable(bench, candidates, fingerprint)
    _check_any(prepared, candidates, field)
    elsewhere = [field.anchor] if field.anchor and not field.anchor.hosts else []
    database, purpose = bench.database, lock_of(bench, [*candidates, *elsewhere])
    with database.exclusive(purpose, bench.lock_wait_s, lambda why: on_event(LockAwaited(why))) as lock:
        candidates = surveyed(bench, prepared, candidates, on_event)
        for skipped in dict.fromkeys(one for candidate in candidates for one in candidate.left_out):
            on_event(HostSkipped(skipped.host, skipped.why))
        eligible = _check_any(prepared, candidates, field)
        row, resumed = _begin(database, lock, prepared, fingerprint.hardware, terms)
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
        dispatcher = Dispatcher(
            lambda host, tell, own: ModelMeasurement(bench, prepared, tell, Where(row.benchmark_id, host, own)),
            on_event,
            lock,
        )
        _BenchmarkRun(bench, prepared, field, row.benchmark_id, dispatcher).measure(eligible, terms)
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
        self, bench: Workbench, prepared: PreparedTask, field: Field, benchmark_id: str, dispatcher: Dispatcher
    ) -> None:
        self._database = bench.database
        self._prepared = prepared
        self._protocol = prepared.protocol
        self._dispatcher = dispatcher
        self._here = dispatcher.on(None)
        self._benchmark_id = benchmark_id
        self._incumbents = field.incumbents
        self._anchor = field.anchor.entrant if field.anchor else None
        self._policy = bench.settings.promotion_policy

    def measure(self, eligible: Sequence[Entrant], terms: RunTerms) -> None:
        """Make every call of the benchmark that has not been made."""
        hosts = list(dict.fromkeys(host for entrant in eligible for host in entrant.hosts))
        first = self._anchor_passes(Role.ANCHOR_FIRST, hosts)
        if self._protocol.strategy == "race" and terms.purpose is Purpose.BENCHMARK:
            self._race(eligible)
        else:
            self._main_passes(eligible)
        if self._protocol.placement == "auto":
            exclude_those_on_cpu(self._database, self._benchmark_id)
        if self._is_decided_by_a_final(terms):
            measured = {entrant.name: self._here.begin(entrant) for entrant in eligible}
            session = FinalSession(self._prepared, self._incumbents, self._dispatcher)
            session.run(eligible, measured, self._rules(terms), self._final_pass)
        self._compare_anchor(first, self._anchor_passes(Role.ANCHOR_LAST, hosts))

    # The main passes

    def _main_passes(self, eligible: Sequence[Entrant]) -> None:
        turns = {entrant.name: self._turn(entrant, n, len(eligible)) for n, entrant in enumerate(eligible, start=1)}
        left = self._dispatcher.run(list(turns.values()))
        for entrant in eligible:
            if turns[entrant.name] in left and (begun := self._here.begin(entrant)).run.finished_at is None:
                self._give_up(begun, entrant.hosts)

    def _turn(self, entrant: Entrant, number: int, total: int) -> Turn:
        calls = planned_calls(self._prepared, range(1, self._protocol.repeats + 1))

        def make(measurement: ModelMeasurement) -> None:
            measured = measurement.settle(measurement.begin(entrant), calls)
            made = sum(sample.repeat <= self._protocol.repeats and sample.take == 1 for sample in measured.samples)
            measurement.tell(ModelStarted(entrant.name, number, total, len(calls), made))
            tell_finished(measurement, measurement.take(measured, calls))

        return Turn(entrant.hosts, make, self._began_on(entrant) if entrant.hosts else None)

    def _began_on(self, entrant: Entrant) -> Host:
        with self._database.engine.connect() as connection:
            run = store.model_run(connection, self._benchmark_id, entrant.name)
        return run.host if run is not None and run.identity == entrant.identity else None

    def _give_up(self, measured: Measured, hosts: Sequence[str]) -> Measured:
        """Record that no host of a model answers any more."""
        why = f"{self._dispatcher.why_lost(hosts)}; no other host has it, run the benchmark again when one answers"
        measured = self._here.give_up(measured, why)
        tell_finished(self._here, measured)
        return measured

    # The race

    def _race(self, eligible: Sequence[Entrant]) -> None:
        with self._database.engine.connect() as connection:
            earlier = case_failures(connection, self._prepared.suite.hash)
        race = Race(self._prepared, {c.name: self._here.begin(c) for c in eligible}, self._incumbents, earlier)
        hosts = {entrant.name: entrant.hosts for entrant in eligible}
        while models := race.next_round():
            turns = {
                model: self._racing_turn(race, model, hosts[model], (number, len(models)))
                for number, model in enumerate(models, start=1)
            }
            left = self._dispatcher.run(list(turns.values()))
            for model in (model for model in models if turns[model] in left):
                race.measured[model] = self._give_up(race.measured[model], hosts[model])
        for model in race.outpaced():
            race.measured[model] = self._here.mark_stopped(race.measured[model], StopReason.OUTPACED)
            tell_finished(self._here, race.measured[model])

    def _racing_turn(self, race: Race, model: str, hosts: tuple[str, ...], place: tuple[int, int]) -> Turn:
        def make(measurement: ModelMeasurement) -> None:
            race.measured[model] = measurement.settle(race.measured[model], race.calls(model))
            calls = race.calls(model)
            measurement.tell(ModelStarted(model, *place, len(calls), 0))
            race.measured[model] = measurement.take(race.measured[model], calls, race.stop(model))
            if not race.goes_on(model):
                tell_finished(measurement, race.measured[model])

        return Turn(hosts, make, race.measured[model].run.host)

    # The final

    def _rules(self, terms: RunTerms) -> FinalRules:
        incumbents, policy = self._incumbents, self._policy
        if terms.purpose is Purpose.VALIDATION:
            return FinalRules(
                lambda board: rivals_meet(board, terms.limits),
                lambda board, _, passes: session_over(board, terms.limits, passes, policy),
            )
        return FinalRules(
            lambda board: contenders(board, incumbents),
            lambda board, names, passes: settled(board, names, incumbents, passes, policy),
        )

    def _is_decided_by_a_final(self, terms: RunTerms) -> bool:
        """Whether there is an incumbent to beat, or a rival, or a race that may have left its leaders close."""
        wanted = bool(self._incumbents or terms.limits) or self._protocol.strategy == "race"
        return wanted and self._protocol.final_passes > 0

    def _final_pass(self, number: int) -> list[PlannedCall]:
        return planned_calls(self._prepared, [self._protocol.repeats + number])

    # The anchor

    def _anchor_passes(self, role: Role, hosts: Sequence[str]) -> dict[Host, Measured]:
        """Measure the anchor on each of these hosts that has it, or on its own server."""
        if self._anchor is None:
            return {}
        passes: dict[Host, Measured] = {}
        own: list[Host] = [host for host in self._anchor.hosts if host in hosts]
        self._dispatcher.run([self._anchor_turn(self._anchor, role, host, passes) for host in own or [None]])
        return passes

    def _anchor_turn(self, anchor: Entrant, role: Role, host: Host, passes: dict[Host, Measured]) -> Turn:
        when = "first" if role is Role.ANCHOR_FIRST else "last"
        where = f", {host}" if host else ""
        line = replace(anchor, name=f"{anchor.name} (anchor, {when}{where})", actor_id=None)
        calls = planned_calls(self._prepared, [1])

        def make(measurement: ModelMeasurement) -> None:
            measurement.tell(AnchorStarted(line.name, len(self._prepared.case_ids)))
            measured = measurement.settle(measurement.begin(line, role), calls)
            passes[host] = measurement.take(measured, calls)

        return Turn((host,) if host else (), make)

    def _compare_anchor(self, first: Mapping[Host, Measured], last: Mapping[Host, Measured]) -> None:
        changes = [why for host, one in first.items() if (why := self._anchor_change(host, one, last.get(host)))]
        if changes:
            with self._database.writing() as connection:
                store.invalidate_benchmark(connection, self._benchmark_id, "; ".join(changes))

    def _anchor_change(self, host: Host, first: Measured, last: Measured | None) -> str | None:
        """Return in words how far the anchor changed, if it is too far; None if all is well."""
        if last is None:
            return f"{host} was lost before the anchor was measured there again"
        before, after = (result_of(self._prepared, one).case_medians_ms for one in (first, last))
        common = [case_id for case_id in self._prepared.case_ids if case_id in before and case_id in after]
        change = drift([before[case_id] for case_id in common], [after[case_id] for case_id in common])
        if change is None:
            return f"the anchor {first.run.model} has no valid latency to compare"
        if abs(change) <= MAX_DRIFT:
            return None
        on, n = f" on {host}" if host else "", f"n={len(common)} cases"
        return f"the anchor's latency changed by {change:+.1%} over the run{on} ({n}), more than {MAX_DRIFT:.0%}"


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
