"""Stage 1: the gold-labelled cases of a task, read, checked and counted."""

from collections import Counter

import dagster as dg

from bench_pipeline.assets.common import OWNERS, WorkbenchParam, table
from bench_pipeline.benchmark.preparation import PreparedTask, prepare
from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.errors import BenchError
from bench_pipeline.domain.tasks.gold import Gold


def test_cases_asset(task: str) -> dg.AssetsDefinition:
    """Return `<task>/test_cases`."""

    @dg.asset(
        key=[task, "test_cases"],
        group_name=task,
        owners=OWNERS,
        kinds={"json"},
        deps=[dg.AssetKey("reconciliation")],
        description=f"The gold-labelled cases of {task}: suite.json and task.yaml, checked, with production's prompt.",
    )
    def test_cases(workbench: WorkbenchParam) -> dg.MaterializeResult[None]:
        with workbench.open() as bench:
            prepared = _prepared(bench, task)
        cases = [
            {
                "id": case.id,
                "expected": case.expected_verdict.value,
                "difficulty": case.difficulty,
                "words": len((case.posting or case.input or "").split()),
            }
            for case in prepared.suite.test_cases
        ]
        return dg.MaterializeResult(
            data_version=dg.DataVersion(prepared.suite.hash),
            metadata={
                "cases": len(cases),
                "version": prepared.suite.version,
                "suite_hash": prepared.suite.hash,
                "prompt_source": prepared.prompt_source,
                "prompt_hash": prepared.prompt_hash,
                "table": table(cases, {"id": "string", "expected": "string", "difficulty": "string", "words": "int"}),
            },
        )

    return test_cases


def suite_check(task: str) -> dg.AssetChecksDefinition:
    """Return the check that the suite is sound and fit to judge a model."""

    @dg.asset_check(
        asset=dg.AssetKey([task, "test_cases"]),
        name="suite_is_sound",
        blocking=True,
        description="Without faults; 10 cases, 5 that should pass and 5 that should fail (a warning where not).",
    )
    def suite_is_sound(workbench: WorkbenchParam) -> dg.AssetCheckResult:
        with workbench.open() as bench:
            try:
                prepared = _prepared(bench, task)
            except BenchError as error:
                return dg.AssetCheckResult(passed=False, description=str(error))
        classes = Counter(case.expected_verdict for case in prepared.suite.test_cases)
        balanced = classes[Gold.PASS] == classes[Gold.FAIL] and classes.total() >= 10
        counts = f"{classes[Gold.PASS]} cases should pass, {classes[Gold.FAIL]} should fail"
        return dg.AssetCheckResult(
            passed=balanced,
            severity=dg.AssetCheckSeverity.WARN,
            description=counts if balanced else f"{counts}; a suite should have 5 and 5 or more",
            metadata={"pass_cases": classes[Gold.PASS], "fail_cases": classes[Gold.FAIL]},
        )

    return suite_is_sound


def _prepared(bench: Workbench, task: str) -> PreparedTask:
    return prepare(bench, task)
