"""The state of a running race: from the samples so far, which models continue, with which case, and until when.

The rules are in domain/measuring/racing.py; this module only keeps the figures that they need.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from bench_pipeline.benchmark.model_run import Measured, PlannedCall, Stop
from bench_pipeline.benchmark.preparation import PreparedTask
from bench_pipeline.domain.measuring.racing import Racer, StopReason, case_order, live, stop_reason
from bench_pipeline.domain.measuring.sample import Sample
from bench_pipeline.domain.measuring.scoreboard import case_medians_ms
from bench_pipeline.domain.tasks.outcome import Outcome


class Race:
    """All models of a benchmark in a race. `earlier_failures` counts the models that failed a case before."""

    def __init__(
        self,
        prepared: PreparedTask,
        measured: dict[str, Measured],
        incumbents: frozenset[str],
        earlier_failures: Mapping[str, int],
    ) -> None:
        self.measured = measured
        self._prepared = prepared
        self._incumbents = incumbents
        self._earlier = earlier_failures

    def next_round(self) -> list[str]:
        """Return the models that need another pass now; empty when the race is over."""
        return live(self._field(), self._prepared.protocol.repeats)

    def calls(self, model: str) -> list[PlannedCall]:
        """Return the calls of the model's next pass, starting with the cases that most models failed."""
        protocol, by_id = self._prepared.protocol, {case.id: case for case in self._prepared.suite.test_cases}
        order = case_order(self._prepared.case_ids, self._failures())
        repeat = self._racer(model).passes + 1
        return [
            PlannedCall(by_id[case_id], repeat, position // protocol.batch_size + 1)
            for position, case_id in enumerate(order)
        ]

    def stop(self, model: str) -> Stop:
        """Return the function that decides after each call whether `model` stops."""

        def decide(samples: Sequence[Sample]) -> StopReason | None:
            racer = self._racer(model, samples)
            return stop_reason(racer, self._field(besides=model), self._prepared.protocol.repeats)

        return decide

    def goes_on(self, model: str) -> bool:
        """Whether the model is neither complete nor failed nor inconclusive; it may be outpaced."""
        racer = self._racer(model)
        return racer.in_the_race and not racer.is_complete(self._prepared.protocol.repeats)

    def outpaced(self) -> list[str]:
        """Return the models that were outpaced, once the race is over."""
        return [model for model in self.measured if self.goes_on(model)]

    def _field(self, besides: str | None = None) -> list[Racer]:
        return [self._racer(model) for model in self.measured if model != besides]

    def _racer(self, model: str, samples: Sequence[Sample] | None = None) -> Racer:
        measured = self.measured[model]
        samples = measured.samples if samples is None else samples
        errors = sum(sample.outcome is Outcome.ERROR and not sample.failed_again for sample in samples)
        return Racer(
            model=model,
            medians_ms=case_medians_ms(samples),
            passes=self._passes(samples),
            failed=any(sample.outcome.disqualifies for sample in samples),
            inconclusive=measured.run.failure is not None or errors > self._prepared.protocol.error_budget,
            incumbent=model in self._incumbents,
        )

    def _passes(self, samples: Sequence[Sample]) -> int:
        """Count the complete passes before the first incomplete one."""
        calls = Counter(sample.repeat for sample in samples if sample.take == 1)
        cases = len(self._prepared.case_ids)
        return next(number for number in range(1, len(calls) + 2) if calls[number] < cases) - 1

    def _failures(self) -> Counter[str]:
        failed = Counter(self._earlier)
        for measured in self.measured.values():
            failed.update({sample.case_id for sample in measured.samples if sample.outcome.disqualifies})
        return failed
