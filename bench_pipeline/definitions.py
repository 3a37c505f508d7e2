"""What Dagster loads: the table of contents. Opens no connection and asks no model."""

from __future__ import annotations

import dagster as dg

from bench_pipeline.assets.common import WorkbenchResource
from bench_pipeline.assets.eligible_models import eligible_models
from bench_pipeline.assets.model_runs import measured_check, model_runs_asset
from bench_pipeline.assets.production import (
    approval_check,
    document_assets,
    production_assets,
    production_equals_registry,
    validation_check,
)
from bench_pipeline.assets.reconciliation import reconciliation
from bench_pipeline.assets.scoreboard import report_asset, scoreboard_asset, scoreboard_checks
from bench_pipeline.assets.test_cases import suite_check, test_cases_asset
from bench_pipeline.automation.jobs import jobs, monthly_schedule
from bench_pipeline.automation.sensors import new_model_sensor
from bench_pipeline.benchmark.preparation import task_names
from bench_pipeline.settings import Settings, load_settings


def build_definitions(settings: Settings, workbench: WorkbenchResource) -> dg.Definitions:
    """Return the assets, checks, jobs, schedule and sensor of every task that has a folder of test cases."""
    tasks = task_names(settings)
    all_jobs = jobs(tasks)
    stages = [
        asset
        for task in tasks
        for asset in (
            test_cases_asset(task),
            model_runs_asset(task),
            scoreboard_asset(task),
            report_asset(task),
            *production_assets(task),
        )
    ]
    checks = [
        check
        for task in tasks
        for check in (
            suite_check(task),
            measured_check(task),
            *scoreboard_checks(task),
            approval_check(task),
            validation_check(task),
        )
    ]
    return dg.Definitions(
        assets=[reconciliation, eligible_models, *stages, *document_assets(tasks)],
        asset_checks=[*checks, production_equals_registry],
        jobs=all_jobs,
        schedules=[monthly_schedule(all_jobs[0], settings.schedule, settings.schedule_timezone)],
        sensors=[new_model_sensor(tasks, all_jobs[1:])],
        resources={"workbench": workbench},
        executor=dg.in_process_executor,  # one model at a time; a subprocess a step would cost 1.4 s each
    )


defs = build_definitions(load_settings(), WorkbenchResource())
