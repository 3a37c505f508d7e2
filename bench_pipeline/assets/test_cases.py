"""Stage 1: the gold-labelled cases of a task, read and checked. The rules are in domain/tasks/."""

import math
from collections import Counter

import dagster as dg

from bench_pipeline.assets.metadata import CODE_VERSION, OWNERS, first_rows, words
from bench_pipeline.assets.production_tables import PROMPT_TEMPLATES
from bench_pipeline.assets.workbench_resource import WorkbenchResource
from bench_pipeline.benchmark.preparation import prepare
from bench_pipeline.domain.errors import BenchError
from bench_pipeline.domain.tasks.gold import Gold
from bench_pipeline.domain.tasks.readers.contracts import classes_of

_COLUMNS = {"id": "string", "expected": "string", "difficulty": "string", "words": "int"}


def test_cases_asset(task: str) -> dg.AssetsDefinition:
    """Return `<task>/test_cases`."""

    @dg.asset(
        key=[task, "test_cases"],
        group_name=task,
        owners=OWNERS,
        kinds={"json"},
        deps=[PROMPT_TEMPLATES],
        code_version=CODE_VERSION,
        description=f"The gold-labelled cases of {task} with production's prompt: suite.json and task.yaml, checked.",
    )
    def test_cases(context: dg.AssetExecutionContext, workbench: WorkbenchResource) -> dg.MaterializeResult[None]:
        with workbench.open() as bench:
            try:
                prepared = prepare(bench, task)
            except BenchError as error:
                context.log.error(str(error))  # the blocking check fails with it and stops what follows
                return dg.MaterializeResult(metadata={"cases": 0, "faults": words(str(error))})
        cases = [
            {
                "id": case.id,
                "expected": case.expected_verdict,
                "difficulty": case.difficulty,
                "words": len((case.posting or " ".join(case.input_fields.values())).split()),
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
                **first_rows("table", cases, _COLUMNS, "suite.json of the task"),
            },
        )

    return test_cases


def suite_checks(task: str) -> list[dg.AssetChecksDefinition]:
    """Return the checks that the suite has no faults, and that it has enough cases of both classes."""

    @dg.asset_check(
        asset=dg.AssetKey([task, "test_cases"]),
        name="suite_is_valid",
        blocking=True,
        description="suite.json and task.yaml have no faults; only then is anything measured.",
    )
    def suite_is_valid(workbench: WorkbenchResource) -> dg.AssetCheckResult:
        with workbench.open() as bench:
            try:
                cases = len(prepare(bench, task).suite.test_cases)
            except BenchError as error:
                return dg.AssetCheckResult(passed=False, description=words(str(error)))
        return dg.AssetCheckResult(passed=True, description=f"{cases} cases without faults")

    @dg.asset_check(
        asset=dg.AssetKey([task, "test_cases"]),
        name="suite_is_balanced",
        description="At least 10 cases, and as many of each class: half of them should PASS, half should FAIL.",
    )
    def suite_is_balanced(workbench: WorkbenchResource) -> dg.AssetCheckResult:
        with workbench.open() as bench:
            try:
                prepared = prepare(bench, task)
            except BenchError:
                return dg.AssetCheckResult(
                    passed=False, severity=dg.AssetCheckSeverity.WARN, description="the suite has faults"
                )
        counts = Counter(case.expected_verdict for case in prepared.suite.test_cases)
        classes = classes_of(prepared.task.verdict)
        balanced = len({counts[name] for name in classes}) == 1 and counts.total() >= 10
        stated = ", ".join(_stated(name, counts[name]) for name in classes)
        least = math.ceil(10 / len(classes))
        return dg.AssetCheckResult(
            passed=balanced,
            severity=dg.AssetCheckSeverity.WARN,
            description=stated if balanced else f"{stated}; a suite should have {least} or more of each",
            metadata={f"{name.lower()}_cases": counts[name] for name in classes},
        )

    return [suite_is_valid, suite_is_balanced]


def _stated(name: str, count: int) -> str:
    match name:
        case Gold.PASS:
            return f"{count} cases should pass"
        case Gold.FAIL:
            return f"{count} should fail"
        case _:
            return f"{count} of {name}"


def broken_task(name: str, fault: str) -> dg.AssetsDefinition:
    """Return the one asset of a broken task: it shows the faults, and fails with them when it is run."""

    @dg.asset(
        key=[name, "test_cases"],
        group_name=name,
        owners=OWNERS,
        kinds={"json"},
        code_version=CODE_VERSION,
        description=f"This task cannot be used. Correct it and reload the code location:\n\n{fault}",
    )
    def test_cases() -> None:
        raise dg.Failure(fault, allow_retries=False)

    return test_cases
