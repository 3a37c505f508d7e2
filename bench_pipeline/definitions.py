"""What Dagster loads: the table of contents. Opens no connection and asks no model."""

from __future__ import annotations

import re

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
from bench_pipeline.assets.validation import validation_asset, validation_check
from bench_pipeline.assets.workbench_resource import workbench_resource
from bench_pipeline.automation.freshness import scoreboard_freshness
from bench_pipeline.automation.jobs import benchmark_jobs, monthly_schedule, reconcile_job
from bench_pipeline.automation.sensors import new_model_sensor
from bench_pipeline.benchmark.events import OnEvent
from bench_pipeline.benchmark.task_folders import task_folders
from bench_pipeline.domain.hashing import content_hash
from bench_pipeline.settings import Settings, load_settings

_MAX_KEY_CHARS = 80


def build_definitions(settings: Settings, *listeners: OnEvent) -> dg.Definitions:
    """Return the assets, checks, jobs, schedule and sensors for these settings.

    A task whose directory is broken has one asset that shows its faults; the other tasks are not affected.
    The listeners also hear the events of benchmarks. Raises `InputError` for a schedule that Dagster refuses.
    """
    folders = task_folders(settings)
    tasks = folders.valid
    broken = {_legal(name): f"{name}: {fault}" for name, fault in folders.broken.items()}
    jobs = benchmark_jobs(tasks, tuple(broken))
    return dg.Definitions(
        assets=[
            *production_tables(),
            eligible_models,
            *(asset for task in tasks for asset in _stages(task, settings)),
            *(broken_task(name, fault) for name, fault in broken.items()),
            *document_assets(tasks),
        ],
        asset_checks=[models_are_eligible, *(check for task in tasks for check in _checks(task)), registry_checks],
        jobs=[jobs.all_tasks, *jobs.of_tasks, reconcile_job],
        schedules=[monthly_schedule(jobs.all_tasks, settings)],
        sensors=[new_model_sensor(tasks, jobs)],
        resources={"workbench": workbench_resource(settings, *listeners)},
        executor=dg.in_process_executor,  # one model at a time; a subprocess per step would cost 1.4 s each
    )


def _stages(task: str, settings: Settings) -> list[dg.AssetsDefinition]:
    return [
        test_cases_asset(task),
        model_runs_asset(task),
        scoreboard_asset(task, scoreboard_freshness(settings)),
        report_asset(task),
        promotion_plan_asset(task),
        production_update_asset(task),
        validation_asset(task),
    ]


def _checks(task: str) -> list[dg.AssetChecksDefinition]:
    return [
        *suite_checks(task),
        measured_check(task),
        *scoreboard_checks(task),
        valid_check(task),
        unblocked_check(task),
        readable_check(task),
        validation_check(task),
    ]


def _legal(name: str) -> str:
    """Return the name of a directory as Dagster accepts it in keys; two directories never share one."""
    legal = re.sub(r"[^A-Za-z0-9_]", "_", name)[:_MAX_KEY_CHARS]
    return legal if legal == name else f"{legal}_{content_hash(name)[:8]}"


defs = build_definitions(load_settings())
