"""The Dagster side of the comparison: the main job's assets up to the scoreboard, all models in one run.

With `--prepare` it only creates the instance's tables, as the installation of a deployment does.
"""

from __future__ import annotations

import sys

import dagster as dg

from bench_pipeline.definitions import defs
from bench_pipeline.demo.home import dagster_home, open_instance


def main() -> None:
    """Run against the environment; the exit status says whether it succeeded."""
    if "--prepare" in sys.argv:
        open_instance(dagster_home()).dispose()
        return
    keys = [dg.AssetKey("eligible_models")]
    keys += [dg.AssetKey(["grading", name]) for name in ("test_cases", "model_runs", "scoreboard")]
    with open_instance(dagster_home()) as instance:
        result = defs.resolve_job_def("benchmark_grading").execute_in_process(
            instance=instance,
            asset_selection=keys,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
    raise SystemExit(0 if result.success else 1)


if __name__ == "__main__":
    main()
