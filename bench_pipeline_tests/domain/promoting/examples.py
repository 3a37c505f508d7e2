"""Results of models that decisions are made about, and the decision about them."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean

from bench_pipeline.domain.measuring.scoreboard import (
    CaseFailure,
    ModelResult,
    Standing,
    rank,
)
from bench_pipeline.domain.promoting.decision import Decision, DecisionKind, Incumbent, decide
from bench_pipeline.domain.promoting.policy import PromotionPolicy
from bench_pipeline.domain.tasks.outcome import Outcome

CASES = [f"c{number}" for number in range(10)]
PROMOTE, KEEP, INCONCLUSIVE = DecisionKind.PROMOTE, DecisionKind.KEEP, DecisionKind.INCONCLUSIVE


def result(
    model: str, actor_id: int | None, ms: float = 100.0, standing: Standing = Standing.QUALIFIED, correct: int = 10
) -> ModelResult:
    return ModelResult(
        model,
        standing,
        10,
        correct,
        correct * 10.0,
        calls=10,
        actor_id=actor_id,
        avg_latency_ms=ms,
        reason="time-out",
        final_passes=4,
        final_latencies_ms=(dict.fromkeys(CASES, ms),) * 4,
    )


def timed(model: str, actor_id: int, *passes_ms: float, main_ms: float | None = None) -> ModelResult:
    """A qualified model with these means of the final's passes; in the ranking it has the mean `main_ms`."""
    return replace(
        result(model, actor_id, main_ms or fmean(passes_ms)),
        final_passes=len(passes_ms),
        final_latencies_ms=tuple(dict.fromkeys(CASES, ms) for ms in passes_ms),
    )


def without_final(one: ModelResult) -> ModelResult:
    return replace(one, final_passes=0, final_latencies_ms=())


FAST, NEXT = result("fast", 1, 100), result("next", 2, 150)
OLD = result("old", 9, 200)
WRONG = replace(OLD, standing=Standing.DISQUALIFIED, cases_correct=9)
UNREADABLE = replace(WRONG, cases_correct=8, failures=(CaseFailure("c1", Outcome.INVALID, "empty reply"),))
ALSO_WRONG = replace(UNREADABLE, failures=(*UNREADABLE.failures, CaseFailure("c2", Outcome.WRONG, "said PASS")))
OPEN = replace(OLD, standing=Standing.INCONCLUSIVE, cases_correct=4)
UNREGISTERED = result("by hand", None, 50)


def decided(results: list[ModelResult], incumbent: Incumbent | None = None, min_gain: float = 0.05) -> Decision:
    return decide(rank(results), incumbent or Incumbent(9, "old", "ai_model", OLD), PromotionPolicy(min_gain))
