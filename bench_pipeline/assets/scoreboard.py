"""Stage 4: the ranking of a benchmark, stored as history. The ranking itself is in benchmark/ranking.py."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg

from bench_pipeline.assets.lineage import handed_on
from bench_pipeline.assets.metadata import CODE_VERSION, OWNERS, TRIGGERS, first_rows, numbers, text, words
from bench_pipeline.assets.workbench_resource import WorkbenchResource
from bench_pipeline.benchmark.evidence import hash_of_evidence
from bench_pipeline.benchmark.ranking import RankedBenchmark, rank_benchmark
from bench_pipeline.domain.measuring.estimates import counted, estimate, ms_text
from bench_pipeline.domain.measuring.scoreboard import ModelResult
from bench_pipeline.domain.promoting.changes import Promotion
from bench_pipeline.domain.text import in_the_middle, listed, shortened
from bench_pipeline.domain.triggers.trigger import Trigger, TriggerState
from bench_pipeline.operation.trigger_texts import state_of
from bench_pipeline.reporting.report import report_file
from bench_pipeline.storage.history import PastBenchmark
from bench_pipeline.storage.ledger import LedgerEntry, benchmark_ledger
from bench_pipeline.storage.promotions import latest_promotion
from bench_pipeline.storage.triggers import triggers_of

_COLUMNS = {"rank": "int", "model": "string", "outcome": "string", "correct": "string", "avg_latency_ms": "float",
            "median_ms": "float", "p90_ms": "float", "speed_score": "float", "calls": "int", "valid_calls": "int",
            "tied_with": "string"}  # fmt: skip
_MODEL_CHARS, _REASON_CHARS, _REASONS, _TIES = 32, 100, 3, 3  # longer texts make a line of the table many lines high


def scoreboard_asset(task: str, freshness: dg.FreshnessPolicy | None = None) -> dg.AssetsDefinition:
    """Return `<task>/scoreboard`."""
    model_runs = dg.AssetKey([task, "model_runs"])

    @dg.asset(
        key=[task, "scoreboard"],
        group_name=task,
        owners=OWNERS,
        kinds={"sql"},
        deps=[model_runs],
        code_version=CODE_VERSION,
        freshness_policy=freshness,
        description=(
            f"The models of {task} ranked: 100 % correct only, fastest first. A model that the benchmark did not run "
            "is ranked by its earlier run if all evidence is the same."
        ),
    )
    def scoreboard(context: dg.AssetExecutionContext, workbench: WorkbenchResource) -> dg.MaterializeResult[None]:
        with workbench.open() as bench:
            ranked = rank_benchmark(bench.database, handed_on(context, model_runs, "benchmark_id"))
            with bench.database.engine.connect() as connection:
                entries = benchmark_ledger(connection, ranked.benchmark.benchmark_id)
                promotion = latest_promotion(connection, task)
                waiting = triggers_of(connection, [task], (TriggerState.GIVEN_UP, TriggerState.WAITING))
            told = waiting_text(waiting, datetime.now(UTC))
            page = ScoreboardPage(ranked, entries, promotion, bench.settings.reports_dir, told)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(hash_of_evidence(ranked.benchmark, ranked.scoreboard)),
            metadata=page.metadata(),
        )

    return scoreboard


@dataclass(frozen=True)
class ScoreboardPage:
    """What people open a scoreboard for: the champion and the one before, how sure that is, and where to go on.

    `promotion` is the last one in force for the task, `waiting` says what waits or was given up.
    """

    ranked: RankedBenchmark
    ledger: Sequence[LedgerEntry]
    promotion: Promotion | None
    reports_dir: Path
    waiting: str

    def metadata(self) -> dict[str, Any]:
        """Return the metadata, the headline first; its size does not grow with the number of models."""
        board, row = self.ranked.scoreboard, self.ranked.benchmark
        champion, runner_up = board.champion, board.runner_up
        task = row.task_type
        report = report_file(self.reports_dir, task, row.benchmark_id, row.started_at)
        return {
            "result": self._result(),
            "champion": champion.model if champion else "none",
            "runner_up": runner_up.model if runner_up else "none",
            "champion_before": _before(self.ranked.before),
            "in_production": _promoted(self.promotion, task),
            "invalid": words(board.invalid) or "no",
            "qualified": len(board.ranked),
            "models": len(board.results),
            "reused": len(self.ranked.reused),
            **numbers(
                champion_latency_ms=champion.avg_latency_ms if champion else None,
                champion_speed_score=champion.speed_score if champion else None,
            ),
            "report": dg.MetadataValue.asset(dg.AssetKey([task, "report"])),
            "report_file": dg.MetadataValue.path(str(report.resolve())),
            "report_before": self._report_before(),
            "promotion": dg.MetadataValue.asset(dg.AssetKey([task, "production_update"])),
            "waiting_or_given_up": words(self.waiting),
            "triggers": dg.MetadataValue.asset(TRIGGERS),
            **first_rows("table", self._rows(), _COLUMNS, str(report)),
            "not_ranked": self._not_ranked(),
            "benchmark_id": row.benchmark_id,
        }

    def _rows(self) -> list[dict[str, object]]:
        """Return a line for every model of the ledger: first those on the scoreboard, in its order."""
        outcomes = {entry.model: entry for entry in self.ledger}
        ranks = {result.model: result.rank for result in self.ranked.scoreboard.results}
        rows = [_row(result, ranks) for result in self.ranked.scoreboard.results]
        rows += [dict.fromkeys(_COLUMNS) | {"model": model} for model in outcomes if model not in ranks]
        return [row | _outcome(str(row["model"]), outcomes) for row in rows]

    def _not_ranked(self) -> str:
        """Return why the first models have no rank; a column of reasons would make the table many lines high."""
        ranked = {result.model for result in self.ranked.scoreboard.ranked}
        out = [f"{one.model}: {shortened(one.reason, _REASON_CHARS)}" for one in self.ledger if one.model not in ranked]
        return text(out, _REASONS, "bench why MODEL")

    def _result(self) -> str:
        board = self.ranked.scoreboard
        share = f"{len(board.ranked)} of {counted(len(board.results), 'model')} qualified"
        if board.champion is None:
            return f"no champion: {share}"
        second = f"; runner-up {_named(board.runner_up)}" if board.runner_up else "; no runner-up"
        return f"{_named(board.champion)}{second}; {share}"

    def _report_before(self) -> dg.PathMetadataValue | str:
        own = [one for one in self.ranked.before if one.benchmark_id is not None]
        if not own or own[-1].benchmark_id is None:
            return "none"
        path = report_file(self.reports_dir, self.ranked.benchmark.task_type, own[-1].benchmark_id, own[-1].date)
        return dg.MetadataValue.path(str(path.resolve()))


def waiting_text(found: Sequence[Trigger], now: datetime) -> str:
    """Return what waits or was given up, the first in words; `bench triggers` has all."""
    return text([f"{one.about}: {state_of(one, now)}" for one in found], 3, "bench triggers")


def _named(result: ModelResult) -> str:
    return f"{result.model}, {estimate(result) or 'no valid latency'}"


def _before(past: Sequence[PastBenchmark]) -> str:
    """Return the champion of the last benchmark before this one."""
    if not past:
        return "none: this is the first benchmark"
    last = past[-1]
    latency = f", {ms_text(last.champion_latency_ms)} per case" if last.champion_latency_ms is not None else ""
    by = last.benchmark_id or "another program"
    return f"{last.champion or 'no champion'}{latency} ({_day(last.date)}, {by})"


def _promoted(promotion: Promotion | None, task: str) -> str:
    """Return what the last promotion of the task did."""
    if promotion is None:
        return "no promotion of this task is in force"
    changes = [f"{row.new_actor} for {row.old_actor or 'no actor'}" for row in promotion.changed if row.task == task]
    did = f"{listed(list(dict.fromkeys(changes)))} in {counted(len(changes), 'conversation')}"
    return words(f"{did}, promotion {promotion.promotion_id} of {_day(promotion.applied_at)} ({promotion.status})")


def _day(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d}"


def _row(result: ModelResult, ranks: Mapping[str, int | None]) -> dict[str, object]:
    """Return a line of the table; ties are ranks, because names would make it several lines high."""
    names = ("rank", "model", "avg_latency_ms", "median_ms", "p90_ms", "speed_score", "calls", "valid_calls")
    return {name: getattr(result, name) for name in names} | {
        "correct": f"{result.cases_correct}/{result.cases}",
        "tied_with": _ranks([ranks[model] for model in result.tied_with if model in ranks]),
    }


def _ranks(ranks: Sequence[int | None]) -> str:
    """Return the first ranks and the number of the others, without a space at which the cell would break."""
    more = [f"+{len(ranks) - _TIES}"] if len(ranks) > _TIES else []
    return ",".join([*map(str, ranks[:_TIES]), *more])


def _outcome(model: str, outcomes: Mapping[str | None, LedgerEntry]) -> dict[str, object]:
    entry = outcomes.get(model)
    return {"model": in_the_middle(model, _MODEL_CHARS), "outcome": entry.code if entry else "not known"}
