"""Stage 4: the ranking of a benchmark, stored as history. The ranking itself is in benchmark/ranking.py."""

import dagster as dg

from bench_pipeline.assets.lineage import handed_on
from bench_pipeline.assets.metadata import CODE_VERSION, OWNERS, numbers, table
from bench_pipeline.assets.workbench_resource import WorkbenchResource
from bench_pipeline.benchmark.evidence import hash_of_evidence
from bench_pipeline.benchmark.ranking import RankedBenchmark, rank_benchmark, read_ranked
from bench_pipeline.domain.measuring.scoreboard import ModelResult
from bench_pipeline.storage.ledger import LedgerEntry, benchmark_ledger

_COLUMNS = {"rank": "int", "model": "string", "standing": "string", "correct": "string", "avg_latency_ms": "float",
            "median_ms": "float", "p90_ms": "float", "speed_score": "float", "calls": "int", "valid_calls": "int",
            "tied_with": "string"}  # fmt: skip
_LEDGER_COLUMNS = {"model": "string", "code": "string", "reason": "string"}


def scoreboard_asset(task: str) -> dg.AssetsDefinition:
    """Return `<task>/scoreboard`."""
    model_runs = dg.AssetKey([task, "model_runs"])

    @dg.asset(
        key=[task, "scoreboard"],
        group_name=task,
        owners=OWNERS,
        kinds={"sql"},
        deps=[model_runs],
        code_version=CODE_VERSION,
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
        return dg.MaterializeResult(
            data_version=dg.DataVersion(hash_of_evidence(ranked.benchmark, ranked.scoreboard)),
            metadata=_metadata(ranked, entries),
        )

    return scoreboard


def _metadata(ranked: RankedBenchmark, entries: list[LedgerEntry]) -> dict[str, dg.MetadataValue | str | float]:
    board = ranked.scoreboard
    champion, runner_up = board.champion, board.runner_up
    ledger = [{"model": entry.model, "code": entry.code, "reason": entry.reason} for entry in entries]
    return {
        "benchmark_id": ranked.benchmark.benchmark_id,
        "champion": champion.model if champion else "none",
        "runner_up": runner_up.model if runner_up else "none",
        "qualified": len(board.ranked),
        "models": len(board.results),
        "reused": len(ranked.reused),
        "invalid": board.invalid or "no",
        "table": table([_row(result) for result in board.results], _COLUMNS),
        "ledger": table(ledger, _LEDGER_COLUMNS),
        **numbers(
            champion_latency_ms=champion.avg_latency_ms if champion else None,
            champion_speed_score=champion.speed_score if champion else None,
        ),
    }


def _row(result: ModelResult) -> dict[str, object]:
    names = ("rank", "model", "avg_latency_ms", "median_ms", "p90_ms", "speed_score", "calls", "valid_calls")
    return {name: getattr(result, name) for name in names} | {
        "standing": result.standing.value,
        "correct": f"{result.cases_correct}/{result.cases}",
        "tied_with": ", ".join(result.tied_with),
    }


def scoreboard_checks(task: str) -> list[dg.AssetChecksDefinition]:
    """Return the checks that the run is valid and that the scoreboard has a champion and a runner-up."""
    key = dg.AssetKey([task, "scoreboard"])

    def ranked(context: dg.AssetCheckExecutionContext, workbench: WorkbenchResource) -> RankedBenchmark:
        with workbench.open() as bench:
            return read_ranked(bench.database, handed_on(context, key, "benchmark_id"))

    @dg.asset_check(asset=key, name="run_is_valid", description="The anchor did not drift; otherwise no decision.")
    def run_is_valid(context: dg.AssetCheckExecutionContext, workbench: WorkbenchResource) -> dg.AssetCheckResult:
        invalid = ranked(context, workbench).scoreboard.invalid
        return dg.AssetCheckResult(passed=not invalid, description=invalid or "the run is valid")

    @dg.asset_check(asset=key, name="champion_exists", description="At least one model was correct in every case.")
    def champion_exists(context: dg.AssetCheckExecutionContext, workbench: WorkbenchResource) -> dg.AssetCheckResult:
        champion = ranked(context, workbench).scoreboard.champion
        if champion is None:
            return dg.AssetCheckResult(passed=False, description="no model was correct in every case")
        return dg.AssetCheckResult(
            passed=True, description=champion.model, metadata=numbers(avg_latency_ms=champion.avg_latency_ms)
        )

    @dg.asset_check(
        asset=key, name="runner_up_exists", description="A second model could take over when the champion fails."
    )
    def runner_up_exists(context: dg.AssetCheckExecutionContext, workbench: WorkbenchResource) -> dg.AssetCheckResult:
        runner_up = ranked(context, workbench).scoreboard.runner_up
        return dg.AssetCheckResult(
            passed=runner_up is not None,
            severity=dg.AssetCheckSeverity.WARN,
            description=runner_up.model if runner_up else "fewer than two models qualified",
        )

    return [run_is_valid, champion_exists, runner_up_exists]
