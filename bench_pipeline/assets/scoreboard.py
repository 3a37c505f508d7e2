"""Stage 4: the ranking of the latest benchmark, its rows of history and its report."""

import dagster as dg

from bench_pipeline.assets.common import OWNERS, WorkbenchParam, numbers, table
from bench_pipeline.benchmark.eligibility import candidates
from bench_pipeline.benchmark.ranking import latest_benchmark_id, latest_ranked, rank_benchmark
from bench_pipeline.reporting.files import write_new
from bench_pipeline.reporting.report import render_report, report_path
from bench_pipeline.storage.ledger import benchmark_ledger


def scoreboard_asset(task: str) -> dg.AssetsDefinition:
    """Return `<task>/scoreboard`."""

    @dg.asset(
        key=[task, "scoreboard"],
        group_name=task,
        owners=OWNERS,
        kinds={"sql"},
        deps=[dg.AssetKey([task, "model_runs"])],
        description=(
            f"The models of {task} ranked: 100 % correct only, fastest first. A model that the latest benchmark "
            "did not run counts with its earlier run when all evidence is the same."
        ),
    )
    def scoreboard(workbench: WorkbenchParam) -> dg.MaterializeResult[None]:
        with workbench.open() as bench:
            others = candidates(bench)
            ranked = rank_benchmark(
                bench.database,
                latest_benchmark_id(bench.database, task),
                others,
                bench.settings.evidence_days,
            )
            with bench.database.engine.connect() as connection:
                entries = benchmark_ledger(connection, ranked.benchmark.benchmark_id)
        board = ranked.scoreboard
        rows = [
            {"rank": r.rank, "model": r.model, "standing": r.standing.value, "correct": f"{r.cases_correct}/{r.cases}",
             "avg_latency_ms": r.avg_latency_ms, "median_ms": r.median_ms, "p90_ms": r.p90_ms,
             "speed_score": r.speed_score, "calls": r.calls, "valid_calls": r.valid_calls,
             "tied_with": ", ".join(r.tied_with)}
            for r in board.results
        ]  # fmt: skip
        columns = {"rank": "int", "model": "string", "standing": "string", "correct": "string",
                   "avg_latency_ms": "float", "median_ms": "float", "p90_ms": "float",
                   "speed_score": "float", "calls": "int", "valid_calls": "int",
                   "tied_with": "string"}  # fmt: skip
        ledger = [{"model": entry.model, "code": entry.code, "reason": entry.reason} for entry in entries]
        champion, runner_up = board.champion, board.runner_up
        return dg.MaterializeResult(
            metadata={
                "benchmark_id": ranked.benchmark.benchmark_id,
                "champion": champion.model if champion else "none",
                "runner_up": runner_up.model if runner_up else "none",
                "qualified": len(board.ranked),
                "models": len(board.results),
                "reused": len(ranked.reused),
                "invalid": board.invalid or "no",
                "table": table(rows, columns),
                "ledger": table(ledger, {"model": "string", "code": "string", "reason": "string"}),
                **numbers(
                    champion_latency_ms=champion.avg_latency_ms if champion else None,
                    champion_speed_score=champion.speed_score if champion else None,
                ),
            }
        )

    return scoreboard


def report_asset(task: str) -> dg.AssetsDefinition:
    """Return `<task>/report`."""

    @dg.asset(
        key=[task, "report"],
        group_name=task,
        owners=OWNERS,
        kinds={"markdown"},
        deps=[dg.AssetKey([task, "scoreboard"])],
        description=f"The report on {task} as people read it; every benchmark has its own file.",
    )
    def report(workbench: WorkbenchParam) -> dg.MaterializeResult[None]:
        with workbench.open() as bench:
            ranked = latest_ranked(bench.database, task)
            text = render_report(ranked)
            path = write_new(report_path(bench.settings.reports_dir, ranked), text)
        return dg.MaterializeResult(
            metadata={"path": dg.MetadataValue.path(str(path)), "report": dg.MetadataValue.md(text)}
        )

    return report


def scoreboard_checks(task: str) -> list[dg.AssetChecksDefinition]:
    """Return the checks that the run is valid and that the scoreboard has a champion and a runner-up."""
    key = dg.AssetKey([task, "scoreboard"])

    @dg.asset_check(asset=key, name="run_is_valid", description="Nothing may be decided from a run that is invalid.")
    def run_is_valid(workbench: WorkbenchParam) -> dg.AssetCheckResult:
        with workbench.open() as bench:
            invalid = latest_ranked(bench.database, task).scoreboard.invalid
        return dg.AssetCheckResult(passed=not invalid, description=invalid or "nothing speaks against it")

    @dg.asset_check(asset=key, name="there_is_a_champion", description="One model was correct in every case.")
    def there_is_a_champion(workbench: WorkbenchParam) -> dg.AssetCheckResult:
        with workbench.open() as bench:
            champion = latest_ranked(bench.database, task).scoreboard.champion
        if champion is None:
            return dg.AssetCheckResult(passed=False, description="no model was correct in every case")
        return dg.AssetCheckResult(
            passed=True, description=champion.model, metadata=numbers(avg_latency_ms=champion.avg_latency_ms)
        )

    @dg.asset_check(
        asset=key, name="there_is_a_runner_up", description="A second model could take over when the champion fails."
    )
    def there_is_a_runner_up(workbench: WorkbenchParam) -> dg.AssetCheckResult:
        with workbench.open() as bench:
            runner_up = latest_ranked(bench.database, task).scoreboard.runner_up
        return dg.AssetCheckResult(
            passed=runner_up is not None,
            severity=dg.AssetCheckSeverity.WARN,
            description=runner_up.model if runner_up else "fewer than two models qualified",
        )

    return [run_is_valid, there_is_a_champion, there_is_a_runner_up]
