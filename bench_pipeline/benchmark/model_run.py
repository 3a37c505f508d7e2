"""The run of one model: load, warm up, call, unload. Each call is screened, judged and stored as soon as it ends.

Knows nothing of other models; their order is in runner.py, their hosts in dispatcher.py, retries in loaded_model.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby

from sqlalchemy import Connection

from bench_pipeline.benchmark.describing import OF_THE_SERVER
from bench_pipeline.benchmark.events import (
    BatchStarted,
    CallRetried,
    CallsRepeated,
    ModelLoaded,
    OnEvent,
    SampleTaken,
)
from bench_pipeline.benchmark.loaded_model import AttemptsSpent, LoadedModel, OnRetry
from bench_pipeline.benchmark.machine import Machine
from bench_pipeline.benchmark.preparation import PreparedTask
from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.errors import FailureKind, RuntimeFailure
from bench_pipeline.domain.measuring.benchmark import Role
from bench_pipeline.domain.measuring.disturbance import Disturbance, due, with_takes_settled
from bench_pipeline.domain.measuring.racing import StopReason
from bench_pipeline.domain.measuring.sample import Sample
from bench_pipeline.domain.measuring.validity import ValidityRule, screen, truncation
from bench_pipeline.domain.models.actor import Entrant
from bench_pipeline.domain.models.identity import LoadReport, ModelIdentity, Placement
from bench_pipeline.domain.models.model_ref import ModelRef
from bench_pipeline.domain.models.reply import Reply, ServerTimings
from bench_pipeline.domain.tasks.outcome import Outcome
from bench_pipeline.domain.tasks.suite import TestCase
from bench_pipeline.domain.tasks.verdict import judge
from bench_pipeline.storage import benchmarks as store
from bench_pipeline.storage.benchmarks import ModelRun
from bench_pipeline.storage.locks import HeldLock
from bench_pipeline.storage.lost_hosts import discard_final, move_model_run
from bench_pipeline.storage.pass_loads import record_pass_load
from bench_pipeline.storage.samples import exclude_first_take, exclude_samples, insert_sample, samples_of

Stop = Callable[[Sequence[Sample]], StopReason | None]
"""Called after every call with all samples of the model; a reason ends the model's run."""


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """One case in one pass over the suite; `take` is 2 for the repetition of a disturbed call."""

    case: TestCase
    repeat: int
    batch: int
    take: int = 1


@dataclass(frozen=True, slots=True)
class Measured:
    """A model run with all its samples."""

    run: ModelRun
    samples: tuple[Sample, ...]


class HostLost(Exception):
    """A named host stopped answering; what it measured of its present model does not count."""

    def __init__(self, host: str, why: str) -> None:
        self.host = host
        self.why = why
        super().__init__(f"{host}: {why}")


@dataclass(frozen=True, slots=True)
class Where:
    """Where a benchmark is measured: on the named host, or with None on the server of each model, under this lock."""

    benchmark_id: str
    host: str | None
    lock: HeldLock


class ModelMeasurement:
    """Makes the calls of one benchmark on one host, model by model.

    Raises `LockLost` before a call that the lock does not cover, `HostLost` when a named host answers no more.
    """

    def __init__(self, bench: Workbench, prepared: PreparedTask, on_event: OnEvent, where: Where) -> None:
        self.benchmark_id = where.benchmark_id
        self.host = where.host
        self.tell = on_event
        self._lock = where.lock
        self._database = bench.database
        self.prepared = prepared
        self._runtimes = bench.runtimes
        self._machine = Machine(bench.runtimes.address_of, bench.system)
        self._shared_chars = prepared.prompt.shared_chars

    def begin(self, entrant: Entrant, role: Role = Role.CANDIDATE) -> Measured:
        """Return the model's run in this benchmark with its samples; it is new, or from before an interruption."""
        with self._database.writing() as connection:
            run = store.model_run(connection, self.benchmark_id, entrant.name)
            if run is not None and run.identity != entrant.identity:
                store.delete_model_run(connection, run.model_run_id)
                run = None
            if run is None:
                store.insert_model_run(connection, self.benchmark_id, entrant, datetime.now(UTC), role)
            return self._stored(connection, entrant.name)

    def settle(self, measured: Measured, calls: Sequence[PlannedCall]) -> Measured:
        """Return the run on this host, if any of the calls is missing or the run did not end.

        Samples from a host that was lost are deleted, so that all of a model's main passes are made on one machine.
        """
        run = measured.run
        complete = run.finished_at is not None and not _missing(measured.samples, calls)
        if run.host == self.host or run.failure is not None or complete:
            return measured
        with self._database.writing() as connection:
            self._lock.check_claim(connection, self.benchmark_id)
            move_model_run(connection, run.model_run_id, self.host)
            return self._stored(connection, run.model)

    def take(self, measured: Measured, calls: Sequence[PlannedCall], stop: Stop | None = None) -> Measured:
        """Make the calls of a turn that have no sample yet, repeat the disturbed ones, and mark the run as ended.

        Returns it with all samples. A run that ended with an infrastructure failure is not resumed.
        """
        run, samples = measured.run, list(measured.samples)
        missing = _missing(samples, calls)
        if run.failure is not None or (not missing and run.finished_at is not None):
            return measured
        stopped = stop(samples) if stop else None
        failure = None
        if stopped is None and (missing or self._due(samples)):
            with self._database.writing() as connection:
                store.reopen_model_run(connection, run.model_run_id)
            stopped, failure = self._loads(run, missing, samples, stop)
        with self._database.writing() as connection:
            store.finish_model_run(connection, run.model_run_id, datetime.now(UTC), failure, stopped)
            return self._stored(connection, run.model)

    def mark_stopped(self, measured: Measured, reason: StopReason) -> Measured:
        """Store why a race stopped the model."""
        with self._database.writing() as connection:
            run = measured.run
            store.finish_model_run(connection, run.model_run_id, datetime.now(UTC), run.failure, reason)
            return self._stored(connection, run.model)

    def give_up(self, measured: Measured, why: str) -> Measured:
        """Store that the model cannot be measured now."""
        with self._database.writing() as connection:
            store.finish_model_run(connection, measured.run.model_run_id, datetime.now(UTC), why)
            return self._stored(connection, measured.run.model)

    def begin_final_pass(self, measured: Measured, number: int) -> Measured:
        """Store that the model starts pass `number` of the final."""
        with self._database.writing() as connection:
            store.set_final_passes(connection, measured.run.model_run_id, number, self.host)
            return self._stored(connection, measured.run.model)

    def discard_final(self, measured: Measured) -> Measured:
        """Delete the model's passes in a final whose host was lost."""
        with self._database.writing() as connection:
            repeats = self.prepared.protocol.repeats
            discard_final(connection, measured.run.model_run_id, repeats, datetime.now(UTC))
            return self._stored(connection, measured.run.model)

    def _stored(self, connection: Connection, model: str) -> Measured:
        run = store.model_run(connection, self.benchmark_id, model)
        if run is None:
            raise LookupError(f"the run of {model} in {self.benchmark_id} is gone from the database")
        return Measured(run, tuple(samples_of(connection, [run.model_run_id])[run.model_run_id]))

    def _loads(
        self, run: ModelRun, calls: Sequence[PlannedCall], samples: list[Sample], stop: Stop | None
    ) -> tuple[StopReason | None, str | None]:
        """Make the calls in one load, or one load per pass in the cold regime; return why it stopped or failed."""
        cold = self.prepared.protocol.cache_regime == "cold"
        loads = [list(of_load) for _, of_load in groupby(calls, key=lambda call: call.repeat if cold else 0)]
        *others, last = loads or [[]]  # after an interruption only repetitions may be missing
        try:
            for of_load in others:
                if stopped := self._one_load(run, of_load, samples, stop, ends_turn=False):
                    return stopped, None
            return self._one_load(run, last, samples, stop, ends_turn=True), None
        except RuntimeFailure as failure:
            self._check_host(run, failure)
            return None, f"{failure.kind}: {failure}"

    def _check_host(self, run: ModelRun, failure: RuntimeFailure) -> None:
        """Raise `HostLost` if the named host does not answer after this failure."""
        if self.host is None or failure.kind not in (*OF_THE_SERVER, FailureKind.SERVER_ERROR):
            return
        self._lock.check()
        try:
            self._runtimes.of(self._place(run)).describe(self._place(run))
        except RuntimeFailure as now:
            if now.kind in OF_THE_SERVER:
                raise HostLost(self.host, str(failure)) from failure

    def _place(self, run: ModelRun) -> ModelRef:
        return run.ref.at(self.host) if self.host else run.ref

    def _one_load(
        self, run: ModelRun, calls: Sequence[PlannedCall], samples: list[Sample], stop: Stop | None, *, ends_turn: bool
    ) -> StopReason | None:
        """Load, warm up, call, unload, and check that the identity did not change. Raises `RuntimeFailure`."""
        self._lock.check()
        model = self._model(run)
        stopped = None
        try:
            model.load(self._retrying(run, "(load)"))
            for repeat, of_pass in groupby(calls, key=lambda call: call.repeat):
                self._machine.begin(self._place(run))
                for call in self._announced(run.model, of_pass):
                    if stopped := self._add(model, run, call, samples, stop):
                        break
                self._record_load(run, repeat)
                if stopped:
                    break
            if ends_turn and stopped is None:
                stopped = self._repeat_disturbed(model, run, samples, stop)
        finally:
            model.unload()
        self._check_identity(model, run)
        return stopped

    def _add(
        self, model: LoadedModel, run: ModelRun, call: PlannedCall, samples: list[Sample], stop: Stop | None
    ) -> StopReason | None:
        """Make a call and add its sample; return why the model stops now, which may take a call more to confirm."""
        samples.append(self._sample(model, run, call, samples))
        samples[:] = with_takes_settled(samples)
        stopped = stop(samples) if stop else None
        if stopped is StopReason.FAILED and self.prepared.protocol.confirm_wrong:
            again = replace(call, repeat=self.prepared.protocol.repeats + 1, take=1)
            samples.append(self._sample(model, run, again, samples))
        return stopped

    def _repeat_disturbed(
        self, model: LoadedModel, run: ModelRun, samples: list[Sample], stop: Stop | None
    ) -> StopReason | None:
        """Repeat the disturbed calls once; return why the model stops. A failing runtime ends only the repetitions."""
        disturbed = self._due(samples)
        if not disturbed:
            return None
        self.tell(CallsRepeated(run.model, disturbed))
        by_id = {case.id: case for case in self.prepared.suite.test_cases}
        try:
            model.warm_up(self._retrying(run, "(warm-up)"))
            for first in (one.first for one in disturbed):
                again = PlannedCall(by_id[first.case_id], first.repeat, first.batch, take=2)
                if stopped := self._add(model, run, again, samples, stop):
                    return stopped
        except RuntimeFailure:
            return None
        return None

    def _record_load(self, run: ModelRun, repeat: int) -> None:
        load = self._machine.end(repeat)
        if load is not None:
            with self._database.writing() as connection:
                record_pass_load(connection, run.model_run_id, load)

    def _due(self, samples: Sequence[Sample]) -> tuple[Disturbance, ...]:
        return due(samples, len(self.prepared.case_ids))

    def _model(self, run: ModelRun) -> LoadedModel:
        def loaded(report: LoadReport) -> None:
            with self._database.writing() as connection:
                store.record_load(connection, run.model_run_id, report)
            self.tell(ModelLoaded(run.model, report.load_ns / 1e6))

        # The production template without a case warms its prefix, but no case's text.
        prompt = self.prepared.prompt
        warm_up = prompt.render(dict.fromkeys(prompt.fields, "(warm-up)"))
        place = self._place(run)
        return LoadedModel(self._runtimes.of(place), place, self.prepared.protocol, warm_up, loaded)

    def _retrying(self, run: ModelRun, what: str) -> OnRetry:
        return lambda attempt, failure: self.tell(CallRetried(run.model, what, attempt, failure))

    def _announced(self, model: str, calls: Iterable[PlannedCall]) -> Iterator[PlannedCall]:
        batches = -(-len(self.prepared.case_ids) // self.prepared.protocol.batch_size)
        for (repeat, batch), of_batch in groupby(calls, key=lambda call: (call.repeat, call.batch)):
            self.tell(BatchStarted(model, repeat, batch, batches))
            yield from of_batch

    def _check_identity(self, model: LoadedModel, run: ModelRun) -> None:
        """Void the run if the model changed: it is unknown which model made which sample."""
        try:
            now = model.identity(self._retrying(run, "(identity)"))
        except RuntimeFailure as failure:
            self._void(run)
            raise RuntimeFailure(failure.kind, f"{run.model} may have been changed: {failure}") from failure
        if now != run.identity:
            self._void(run)
            raise RuntimeFailure(
                FailureKind.UNSUPPORTED,
                f"{run.model} was changed while it was measured: {_difference(run.identity, now)}",
            )

    def _void(self, run: ModelRun) -> None:
        with self._database.writing() as connection:
            exclude_samples(connection, run.model_run_id, ValidityRule.IDENTITY_CHANGED)

    # One call

    def _sample(self, model: LoadedModel, run: ModelRun, call: PlannedCall, earlier: Sequence[Sample]) -> Sample:
        self._lock.check()
        request = self.prepared.prompt.render(call.case.prompt_fields)
        called_at = datetime.now(UTC)
        try:
            answered = model.reply_to(request, self._retrying(run, call.case.id))
        except AttemptsSpent as spent:
            sample = _failed(call, spent.attempts)
        else:
            # A call that is repeated because it was slow cannot show that its repetition is too fast.
            other = (s for s in earlier if s.case_id == call.case.id and (call.take == 1 or s.repeat != call.repeat))
            first = next((s.timings for s in other if s.ranks), None)
            sample = self._judged(call, answered.reply, answered.placement, request.chars, first, answered.attempts)
        with self._database.writing() as connection:
            self._lock.check_claim(connection, self.benchmark_id)  # a process that continues it makes this call too
            insert_sample(connection, run.model_run_id, sample, called_at)
            if sample.take > 1 and sample.ranks:
                exclude_first_take(connection, run.model_run_id, sample, ValidityRule.DISTURBED)
        self.tell(SampleTaken(run.model, sample))
        return sample

    def _judged(
        self,
        call: PlannedCall,
        reply: Reply,
        placement: Placement | None,
        prompt_chars: int,
        first: ServerTimings | None,
        attempts: tuple[str, ...],
    ) -> Sample:
        protocol = self.prepared.protocol
        judgement = judge(self.prepared.task.verdict, call.case, reply)
        outcome, verdict, reason = judgement.outcome, judgement.verdict, judgement.reason
        if cut := truncation(reply, prompt_chars, protocol, placement):
            # The model did not answer the question that was asked.
            outcome, verdict = Outcome.ERROR, None
            reason = f"prompt truncated: {cut}; {self._remedy(placement)} or shorten the prompt"
        read = outcome in (Outcome.CORRECT, Outcome.WRONG)
        exclusion = screen(reply, prompt_chars, self._shared_chars, protocol, placement, first)
        return Sample(
            case_id=call.case.id,
            repeat=call.repeat,
            batch=call.batch,
            outcome=outcome,
            expected=call.case.expected_verdict,
            verdict=verdict,
            reason=reason,
            latency_ns=reply.latency_ns if read else None,
            elapsed_ns=reply.elapsed_ns,
            exclusion=exclusion or (None if read else ValidityRule.NO_VERDICT),
            attempts=attempts,
            done_reason=reply.done_reason if reply.complete else None,
            reply_text=reply.text,
            thinking=reply.thinking or None,
            timings=reply.timings,
            first_token_ns=reply.first_token_ns,
            first_text_ns=reply.first_text_ns,
            take=call.take,
        )

    def _remedy(self, placement: Placement | None) -> str:
        asked, given = self.prepared.protocol.decoding.num_ctx, placement.context_length if placement else None
        if given is not None and given < asked:
            return f"the server gave a window of {given} instead of {asked}: free its memory, take another model"
        return "raise decoding.num_ctx"


def _missing(samples: Sequence[Sample], calls: Sequence[PlannedCall]) -> list[PlannedCall]:
    done = {(sample.case_id, sample.repeat) for sample in samples}
    return [call for call in calls if (call.case.id, call.repeat) not in done]


def _failed(call: PlannedCall, attempts: tuple[str, ...]) -> Sample:
    return Sample(
        case_id=call.case.id,
        repeat=call.repeat,
        batch=call.batch,
        outcome=Outcome.ERROR,
        expected=call.case.expected_verdict,
        reason=attempts[-1],
        attempts=attempts,
        take=call.take,
    )


def _difference(before: ModelIdentity, after: ModelIdentity) -> str:
    old, new = before.model_dump(), after.model_dump()
    return "; ".join(f"{name} {old[name]} became {new[name]}" for name in old if old[name] != new[name])
