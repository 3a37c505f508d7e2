"""The elimination ledger: one reason code per model that a benchmark looked at.

Ranking is in scoreboard.py, storing in storage/ledger.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass
from enum import StrEnum

from bench_pipeline.domain.measuring.scoreboard import (
    TIE_LEVEL,
    CaseFailure,
    ModelResult,
    Scoreboard,
    Standing,
    compare_means,
)
from bench_pipeline.domain.measuring.statistics import interval_text
from bench_pipeline.domain.models.actor import Exclusion
from bench_pipeline.domain.tasks.outcome import Outcome


class ReasonCode(StrEnum):
    """The fate of a model that was not excluded. Stored, displayed and counted."""

    CHAMPION = "champion"
    RUNNER_UP = "runner_up"
    TIED = "tied"
    SLOWER = "slower"
    OUTPACED = "outpaced"
    WRONG = "wrong"
    INVALID = "invalid"
    NO_VALID_LATENCY = "no_valid_latency"
    INCONCLUSIVE = "inconclusive"
    NOT_MEASURED = "not_measured"
    UNRANKED = "unranked"


@dataclass(frozen=True, slots=True)
class LookedAt:
    """A model that a benchmark knew of; `exclusion` is None when it takes part."""

    model: str
    exclusion: Exclusion | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """The fate of a model, as a code and in words."""

    model: str
    code: ReasonCode | Exclusion
    reason: str


def ledger(scoreboard: Scoreboard, looked_at: Iterable[LookedAt], measured: Set[str]) -> list[LedgerLine]:
    """Return one line per model that was looked at; `measured` names those with a run of this or an earlier benchmark.

    Models are compared with the champion in the mean, at `TIE_LEVEL`; ties are taken from the ranking.
    """
    return [_line(scoreboard, model, measured) for model in looked_at]


def _line(scoreboard: Scoreboard, looked_at: LookedAt, measured: Set[str]) -> LedgerLine:
    name, result = looked_at.model, scoreboard.of(looked_at.model)
    if looked_at.exclusion is not None:
        return LedgerLine(name, looked_at.exclusion, looked_at.detail or looked_at.exclusion.replace("_", " "))
    if result is None or name not in measured:
        why = result.reason if result else "it was not run, or its run is not part of the ranking"
        return LedgerLine(name, ReasonCode.NOT_MEASURED, why)
    code, reason = _ranked(scoreboard, result) if result.qualified else _unranked(result)
    notes = [
        "it is not an actor, so it is never promoted" if result.qualified and result.actor_id is None else "",
        f"nothing is decided from this run: {scoreboard.invalid}" if scoreboard.invalid else "",
    ]
    return LedgerLine(name, code, "; ".join([reason, *filter(None, notes)]))


def _ranked(scoreboard: Scoreboard, result: ModelResult) -> tuple[ReasonCode, str]:
    champion, qualified = scoreboard.ranked[0], len(scoreboard.ranked)
    if result.model == champion.model:
        others = f"; not separated from {', '.join(result.tied_with)}" if result.tied_with else ""
        mean = f"mean {result.avg_latency_ms or 0:,.0f} ms"
        return ReasonCode.CHAMPION, f"the fastest of {qualified} that qualified, {mean}{others}"
    tied = champion.model in result.tied_with
    words = f"{_against(champion, result)}{', not separated from it' if tied else ''}"
    if result.model == scoreboard.ranked[1].model:
        return ReasonCode.RUNNER_UP, words
    return ReasonCode.TIED if tied else ReasonCode.SLOWER, words


def _against(champion: ModelResult, result: ModelResult) -> str:
    means = f"mean {result.avg_latency_ms or 0:,.0f} ms against {champion.avg_latency_ms or 0:,.0f} ms"
    found = compare_means(result, champion, TIE_LEVEL)
    if found is None:
        return f"slower than {champion.model} by the mean ({means}; fewer than two passes to compare)"
    ratio = f"{found.ratio:.3g} times the mean latency of {champion.model}"
    return f"{ratio} ({interval_text(found)}; {means})"


def _unranked(result: ModelResult) -> tuple[ReasonCode, str]:
    wrong = [failure for failure in result.failures if failure.outcome is Outcome.WRONG]
    invalid = [failure for failure in result.failures if failure.outcome is Outcome.INVALID]
    if result.standing is Standing.OUTPACED:
        return ReasonCode.OUTPACED, result.why
    if wrong:
        return ReasonCode.WRONG, _cases(result, wrong, "wrong")
    if invalid:
        return ReasonCode.INVALID, _cases(result, invalid, "without a readable verdict")
    if result.failures and result.cases_correct == result.cases:  # all replies were right, but some latency is invalid
        what = _cases(result, result.failures, "without a valid latency")
        return ReasonCode.NO_VALID_LATENCY, f"{result.reason}; {what}" if result.reason else what
    return ReasonCode.INCONCLUSIVE, result.why


def _cases(result: ModelResult, found: Iterable[CaseFailure], what: str) -> str:
    first, *others = found
    seen = f", {result.cases_seen} seen" if result.cases_seen < result.cases else ""
    begins = "first " if others else ""
    return f"{1 + len(others)} of {result.cases} cases {what}{seen}; {begins}{first.case_id}: {first.reason}"
