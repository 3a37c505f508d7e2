"""The rule of policy version 1 decides as it did, so that decisions of its time can be replayed."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import pytest

from bench_pipeline.domain.measuring.scoreboard import ModelResult, Standing, rank
from bench_pipeline.domain.promoting.decision import Decision, DecisionKind, Incumbent, decide
from bench_pipeline.domain.promoting.policy import PromotionPolicy

CASES = [f"c{number}" for number in range(10)]
POLICY = PromotionPolicy(min_gain=0.05, alpha=0.008, version=1)


def timed(model: str, actor_id: int, *cases_ms: float, final: Sequence[float] = (), passes: int = 0) -> ModelResult:
    """A qualified model with these medians of its cases, in the main passes and in the final's."""
    return ModelResult(
        model,
        Standing.QUALIFIED,
        10,
        10,
        100.0,
        actor_id=actor_id,
        avg_latency_ms=fmean(final or cases_ms),
        case_medians_ms=dict(zip(CASES, cases_ms, strict=False)),
        final_case_medians_ms=dict(zip(CASES, final, strict=False)),
        final_passes=passes,
    )


def decided(challenger: ModelResult, old: ModelResult, *others: ModelResult) -> Decision:
    return decide(rank([challenger, old, *others]), Incumbent(9, "old", "ai_model", old), POLICY)


STEADY = timed("new", 1, 80, 81, 79, 80, 82), timed("old", 9, 100, 100, 100, 100, 100)


@pytest.mark.parametrize(
    ("challenger", "old", "kind", "reason"),
    [
        pytest.param(
            *STEADY,
            DecisionKind.PROMOTE,
            "19.6% faster than old case by case (98.4 % interval 17.5% to 21.6%, n=5 cases; mean 80 ms against 100 ms)",
            id="clear",
        ),
        pytest.param(
            timed("new", 1, 60, 120, 70, 130, 80),
            timed("old", 9, 100, 100, 100, 100, 100),
            DecisionKind.KEEP,
            "12.1% faster than old case by case "
            "(98.4 % interval -61.1% to 52.1%, n=5 cases; mean 92 ms against 100 ms): "
            "the interval does not exclude that it is no faster",
            id="not clear",
        ),
        pytest.param(
            timed("new", 1, 196, 196),
            timed("old", 9, 200, 200),
            DecisionKind.KEEP,
            "2.0% faster than old case by case (98.4 % interval 2.0% to 2.0%, n=2 cases; mean 196 ms against 200 ms): "
            "less than the margin of 5%",
            id="too little",
        ),
        pytest.param(
            timed("new", 1, 50, 50, 50, final=(99, 100, 98), passes=6),
            timed("old", 9, 100, 100, 100, final=(100, 100, 100), passes=6),
            DecisionKind.KEEP,
            "1.0% faster than old case by case (99.76 % interval -11.5% to 12.1%, n=3 cases, 6 passes of the final; "
            "mean 99 ms against 100 ms): less than the margin of 5%",
            id="a final",
        ),
        pytest.param(
            timed("new", 1, 100),
            timed("old", 9, 200),
            DecisionKind.INCONCLUSIVE,
            "new and old have fewer than two cases in common with a valid latency",
            id="one case",
        ),
    ],
)
def test_it_compares_case_by_case_in_the_words_of_its_time(
    challenger: ModelResult, old: ModelResult, kind: DecisionKind, reason: str
) -> None:
    decision = decided(challenger, old)
    assert (decision.kind, decision.reason) == (kind, reason)


def test_without_a_final_it_divides_alpha_by_the_number_of_challengers() -> None:
    others = [timed(f"m{number}", number, 300, 300) for number in range(2, 6)]
    comparison = decided(*STEADY, *others).comparison
    assert comparison is not None
    assert comparison.level == pytest.approx(1 - 2 * 0.008 / 5)
