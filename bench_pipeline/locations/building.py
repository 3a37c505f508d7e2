"""Builds the definitions of a code location from the parts that it holds. Opens no connection and asks no model.

What an asset does is in assets/, what starts runs in automation/.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import dagster as dg

from bench_pipeline.assets.documents import document_assets
from bench_pipeline.assets.eligible_models import eligible_models, models_are_eligible
from bench_pipeline.assets.model_runs import measured_check, model_runs_asset
from bench_pipeline.assets.production_tables import production_tables
from bench_pipeline.assets.production_update import production_update_asset
from bench_pipeline.assets.promotion_plan import promotion_plan_asset, readable_check, unblocked_check, valid_check
from bench_pipeline.assets.registry_checks import registry_checks
from bench_pipeline.assets.report import report_asset
from bench_pipeline.assets.scoreboard import scoreboard_asset
from bench_pipeline.assets.scoreboard_checks import scoreboard_checks
from bench_pipeline.assets.test_cases import broken_task, suite_checks, test_cases_asset
from bench_pipeline.assets.triggers import triggers_asset
from bench_pipeline.assets.validation import validation_asset, validation_check
from bench_pipeline.assets.workbench_resource import workbench_resource
from bench_pipeline.automation.alerts import alerting_automation
from bench_pipeline.automation.freshness import scoreboard_freshness
from bench_pipeline.automation.ghost_runs import ghost_run_sensor
from bench_pipeline.automation.jobs import AssetJob, benchmark_jobs, promotion_jobs, reconcile_job
from bench_pipeline.automation.sensors import delivering_automation, measuring_automation
from bench_pipeline.benchmark.events import OnEvent
from bench_pipeline.benchmark.task_folders import task_folders
from bench_pipeline.domain.hashing import content_hash
from bench_pipeline.settings import Settings

_MAX_KEY_CHARS = 80


class Part(StrEnum):
    """What a code location can hold."""

    MEASURE = "measure"  # from the test cases to the report; never writes production
    PROMOTE = "promote"  # from the plan to the documents


@dataclass(frozen=True, slots=True)
class _Stages:
    """The assets of one part, and their checks."""

    assets: list[dg.AssetsDefinition]
    checks: list[dg.AssetChecksDefinition]


def build_location(settings: Settings, parts: Sequence[Part], listeners: Sequence[OnEvent] = ()) -> dg.Definitions:
    """Return the assets, checks, jobs, schedules and sensors of these parts.

    Assets of the other part are external here, so that each code location shows the whole lineage. A task whose
    directory is broken has one asset that shows its faults; the other tasks are not affected. The listeners also hear
    the events of benchmarks. Raises `InputError` for a schedule that Dagster refuses.
    """
    folders = task_folders(settings)
    tasks = folders.valid
    broken = {_legal(name): f"{name}: {fault}" for name, fault in folders.broken.items()}
    stages = {Part.MEASURE: _measuring(tasks, broken, settings), Part.PROMOTE: _promoting(tasks)}
    held = [stages[part] for part in parts]
    elsewhere = [asset for part in stages if part not in parts for asset in stages[part].assets]
    jobs: list[AssetJob] = []
    schedules: list[dg.ScheduleDefinition] = []
    sensors = [ghost_run_sensor]
    if Part.MEASURE in parts:
        benchmarks = benchmark_jobs(tasks, tuple(broken), delivers=Part.PROMOTE in parts)
        jobs += [benchmarks.all_tasks, *benchmarks.of_tasks]
        measuring = measuring_automation(tasks, benchmarks, settings, delivers=Part.PROMOTE in parts)
        schedules += measuring.schedules
        sensors += [*measuring.sensors, *alerting_automation(settings)]
    if Part.PROMOTE in parts:
        promotions = promotion_jobs(tasks)
        jobs += [*promotions, reconcile_job]
        sensors += delivering_automation(tasks, promotions, settings).sensors
    return dg.Definitions(
        assets=[
            *production_tables(),
            triggers_asset(),
            *(asset for part in held for asset in part.assets),
            *(spec for asset in elsewhere for spec in asset.specs),
        ],
        asset_checks=[check for part in held for check in part.checks],
        jobs=jobs,
        schedules=schedules,
        sensors=sensors,
        resources={"workbench": workbench_resource(settings, *listeners)},
        executor=dg.in_process_executor,  # one model at a time; a subprocess per step would cost 1.4 s each
    )


def _measuring(tasks: Sequence[str], broken: Mapping[str, str], settings: Settings) -> _Stages:
    freshness = scoreboard_freshness(settings)
    stages = _Stages(
        [eligible_models, *(broken_task(name, fault) for name, fault in broken.items())],
        [models_are_eligible],
    )
    for task in tasks:
        stages.assets.extend(
            [test_cases_asset(task), model_runs_asset(task), scoreboard_asset(task, freshness), report_asset(task)]
        )
        stages.checks.extend([*suite_checks(task), measured_check(task), *scoreboard_checks(task)])
    return stages


def _promoting(tasks: Sequence[str]) -> _Stages:
    stages = _Stages(document_assets(tasks), [registry_checks])
    for task in tasks:
        stages.assets.extend([promotion_plan_asset(task), production_update_asset(task), validation_asset(task)])
        stages.checks.extend([valid_check(task), unblocked_check(task), readable_check(task), validation_check(task)])
    return stages


def _legal(name: str) -> str:
    """Return the name of a directory as Dagster accepts it in keys; two directories never share one."""
    legal = re.sub(r"[^A-Za-z0-9_]", "_", name)[:_MAX_KEY_CHARS]
    return legal if legal == name else f"{legal}_{content_hash(name)[:8]}"
