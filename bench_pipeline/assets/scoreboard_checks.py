"""Checks on a scoreboard: what must be so for a decision, and what people should know. Rules: domain/promoting."""

from collections.abc import Iterator

import dagster as dg

from bench_pipeline.assets.checks import warned
from bench_pipeline.assets.lineage import handed_on
from bench_pipeline.assets.metadata import words
from bench_pipeline.assets.workbench_resource import WorkbenchResource
from bench_pipeline.benchmark.ranking import read_scoreboard
from bench_pipeline.domain.measuring.estimates import counted, estimate
from bench_pipeline.domain.measuring.scoreboard import Scoreboard
from bench_pipeline.domain.promoting.concerns import flaky_cases, near_margin, no_runner_up, saturated

_DESCRIPTIONS = {
    "run_is_valid": "The anchor did not drift; otherwise no decision.",
    "champion_exists": "At least one model was correct in every case.",
    "runner_up_exists": "A second model could take over when the champion fails.",
    "champion_is_clear_of_margin": "Another measurement would not turn the decision about the champion.",
    "suite_tells_models_apart": "The models differ in the cases that they get right.",
    "no_case_is_flaky": "No case is right in one pass and wrong in another for a model that is right otherwise.",
}


def scoreboard_checks(task: str) -> list[dg.AssetChecksDefinition]:
    """Return the checks on `<task>/scoreboard`; they read the scoreboard once."""
    key = dg.AssetKey([task, "scoreboard"])
    specs = [dg.AssetCheckSpec(name, asset=key, description=words) for name, words in _DESCRIPTIONS.items()]

    @dg.multi_asset_check(name=f"{task}__scoreboard_checks", specs=specs)
    def checks(context: dg.AssetCheckExecutionContext, workbench: WorkbenchResource) -> Iterator[dg.AssetCheckResult]:
        with workbench.open() as bench:
            benchmark, board = read_scoreboard(bench.database, handed_on(context, key, "benchmark_id"))
            policy = bench.settings.promotion_policy
        n = f"n={counted(len(board.results), 'model')}"
        yield from _required(board, n)
        yield warned("runner_up_exists", no_runner_up(board), _runner_up(board, n))
        near = near_margin(board, benchmark.incumbents or (), policy)
        yield warned("champion_is_clear_of_margin", near, f"the decision is clear of {policy.min_gain:.0%} ({n})")
        yield warned("suite_tells_models_apart", saturated(board), f"the models differ in what they get right ({n})")
        yield warned("no_case_is_flaky", flaky_cases(board), f"no case flips ({n})")

    return [checks]


def _required(board: Scoreboard, n: str) -> Iterator[dg.AssetCheckResult]:
    yield dg.AssetCheckResult(
        check_name="run_is_valid", passed=not board.invalid, description=words(board.invalid) or "the run is valid"
    )
    champion = board.champion
    yield dg.AssetCheckResult(
        check_name="champion_exists",
        passed=champion is not None,
        description=f"{champion.model}: {estimate(champion)}"
        if champion
        else f"no model was correct in all cases ({n})",
    )


def _runner_up(board: Scoreboard, n: str) -> str:
    if board.champion is None:
        return f"no model qualified, so none is second ({n})"
    return board.runner_up.model if board.runner_up else "none"
