"""`bench demo`: the whole pipeline once, through Dagster's jobs. The sample database is made in demo/."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import dagster as dg
from pydantic import SecretStr

from bench_pipeline.assets.promotion_plan import NO_IMPACT
from bench_pipeline.automation.jobs import job_name
from bench_pipeline.benchmark.ranking import read_ranked
from bench_pipeline.benchmark.task_folders import read_task
from bench_pipeline.benchmark.workbench import Workbench, open_workbench
from bench_pipeline.cli.live_tree import LiveTree, summary
from bench_pipeline.cli.output import json_option, print_json
from bench_pipeline.cli.production_text import plan_text
from bench_pipeline.definitions import build_definitions
from bench_pipeline.demo.home import dagster_home, open_instance
from bench_pipeline.demo.sample_database import make_sample_database
from bench_pipeline.domain.errors import GateFailed, InputError
from bench_pipeline.domain.models.ids import ConversationId
from bench_pipeline.reporting.report import report_path
from bench_pipeline.runtimes.catalogue import Catalogue
from bench_pipeline.settings import Settings, load_settings
from bench_pipeline.storage import promotions
from bench_pipeline.storage.database import open_database
from bench_pipeline.storage.plans import plan_by_hash

TASKS = ("desk",)
MODELS = ("smollm2:135m", "qwen2.5-coder:0.5b", "qwen2.5-coder:1.5b")
FINAL_PASSES = 6  # the two models of the demo differ by far more than 20 %, which shows at this look of the final
_DATABASE = "sqlite:///.bench/bench.db"


@click.command()
@click.option("--fresh", is_flag=True, help="Measure again even when nothing changed since the last demo.")
@click.option("--tasks", default=",".join(TASKS), show_default=True, help="The tasks to run, comma-separated.")
@json_option
def demo(fresh: bool, tasks: str, as_json: bool) -> int:
    """Try everything on a sample database with real small models.

    Downloads three models once (1.7 GB), creates .bench/bench.db with a workflow of eight steps, runs the tasks
    through Dagster's assets, and promotes what the results justify. A final has at most 6 passes, unless
    BENCH_FINAL_PASSES says otherwise. Your own database is not touched, whatever BENCH_DATABASE_URL says. A second run
    measures only what changed.
    """
    chosen = tuple(name.strip() for name in tasks.split(",") if name.strip())
    if not chosen:
        raise InputError("--tasks: name at least one task, such as --tasks desk")
    given = load_settings()
    settings = demo_settings(given)
    for name in chosen:
        read_task(settings, name)
    home = dagster_home()  # like a misspelt task, refused before anything is downloaded
    say = (lambda text: click.echo(text, err=True)) if as_json else click.echo
    say("1. Weights of three small models, downloaded once")
    catalogue = Catalogue(settings.cache_dir)
    missing = [name for name in MODELS if catalogue.path_of(name) is None]
    fetch_weights(catalogue, missing)
    if not missing:
        say(f"   already in {settings.cache_dir}")
    say("2. Sample production database .bench/bench.db")
    database = open_database(_DATABASE)
    say("   created" if make_sample_database(database, settings) else "   exists and is kept")
    database.close()
    again = "everything again" if fresh else "only what is new or changed, --fresh measures everything"
    say(f"3. Benchmark of {' and '.join(chosen)} through Dagster's assets: {again}")
    results = run_jobs(settings, home, chosen, fresh, LiveTree(err=as_json))
    with open_workbench(settings) as bench:
        if as_json:
            print_json({task: _facts(bench, task, result) for task, result in results.items()})
        else:
            click.echo("\n".join(line for task, result in results.items() for line in _conclusion(bench, task, result)))
            served = [(task, one) for task in chosen for one in read_task(settings, task).conversations]
            if served:
                click.echo("\n".join(next_steps(*served[-1], "database_url" in given.model_fields_set)))
    return 0


def demo_settings(given: Settings) -> Settings:
    """Return the settings of the demo: its own database, and a shorter final unless the user chose its length."""
    own: dict[str, object] = {"database_url": SecretStr(_DATABASE), "promoter_url": None}
    if "final_passes" not in given.model_fields_set:
        own["final_passes"] = FINAL_PASSES
    return given.model_copy(update=own)


def next_steps(task: str, conversation: ConversationId, elsewhere: bool) -> list[str]:
    """Return the closing lines: commands about a task and a conversation that it serves.

    `elsewhere`: the user's database is not the demo's.
    """
    bench = f"BENCH_DATABASE_URL={_DATABASE} bench" if elsewhere else "bench"
    steps = (
        (f"{bench} blame {conversation}", "why this step has its model, down to the calls"),
        (f"{bench} log", "every change to production"),
        (f"{bench} history --task {task}", "the champions over time"),
        (f"{bench} ui", f"Dagster; open {task}/scoreboard, {task}/promotion_plan and {task}/report"),
    )
    return ["", "👉 Next:", *(f"   {command}\n      {shows}" for command, shows in steps)]


def fetch_weights(catalogue: Catalogue, names: Sequence[str]) -> None:
    """Fetch these models into the cache; on a terminal with a progress bar, else with a line per model."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

    columns = (TextColumn("   {task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = Console(stderr=True)
    live = sys.stderr.isatty() and not console.is_dumb_terminal  # rich takes FORCE_COLOR for a terminal
    with Progress(*columns, console=console, disable=not live) as progress:
        for name in names:
            bar = progress.add_task(name, total=None)
            if not live:
                click.echo(f"   {name}", err=True)

            def show(_: str, done: int, total: int, bar: TaskID = bar) -> None:
                progress.update(bar, completed=done, total=total)

            catalogue.fetch(name, show)


@dataclass(frozen=True, slots=True)
class JobResult:
    """The benchmark and the plan that a job made, and what each planned change saves, by conversation id."""

    benchmark_id: str
    plan_hash: str
    impacts: Mapping[str, str]


def run_jobs(settings: Settings, home: Path, tasks: Sequence[str], fresh: bool, tree: LiveTree) -> dict[str, JobResult]:
    """Run the job of each task in this process, recorded in the Dagster instance of `home`. Raises `GateFailed`."""
    definitions = build_definitions(settings, tree)
    results = {}
    with open_instance(home) as instance:
        for task in tasks:
            result = definitions.resolve_job_def(job_name(task)).execute_in_process(
                instance=instance,
                raise_on_error=False,
                run_config={
                    "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},  # the run keeps its log
                    "ops": {f"{task}__model_runs": {"config": {"only_if_changed": not fresh}}},
                },
            )
            if not result.success:
                raise GateFailed(f"{_cause(result)}; `bench ui` shows the log of Dagster run {result.run_id}")
            plan = result.asset_materializations_for_node(f"{task}__promotion_plan")[0].metadata
            results[task] = JobResult(
                str(plan["benchmark_id"].value), str(plan["plan_hash"].value), _impacts(plan["changes"])
            )
    return results


def _impacts(changes: dg.MetadataValue) -> dict[str, str]:
    """Return the column `impact` of the plan's table of changes, without those that are not known."""
    records = changes.records if isinstance(changes, dg.TableMetadataValue) else []
    found = {str(record.data["conversation_id"]): str(record.data["impact"]) for record in records}
    return {number: impact for number, impact in found.items() if impact != NO_IMPACT}


def _cause(result: dg.ExecuteInProcessResult) -> str:
    """Return which step of a job failed first, and why; of a check that stops the job, what it says."""
    failed = next((event for event in result.all_events if event.is_step_failure), None)
    if failed is None:
        return f"the job {result.job_def.name} failed"
    data = failed.step_failure_data
    said = data.user_failure_data.description if data.user_failure_data else None
    if said is None:
        checks = result.get_asset_check_evaluations()
        said = next(
            (one.description for one in checks if not one.passed and one.blocking and one.description), ""
        ).rstrip(".")
    return f"{failed.step_key} failed: {said or (data.error.cls_name if data.error else 'no reason given')}"


def _facts(bench: Workbench, task: str, result: JobResult) -> dict[str, object]:
    ranked = read_ranked(bench.database, result.benchmark_id)
    with bench.database.engine.connect() as connection:
        promotion = promotions.latest_promotion(connection, task)
        plan = plan_by_hash(connection, result.plan_hash)
    return {
        "benchmark_id": ranked.benchmark.benchmark_id,
        "results": ranked.scoreboard.results,
        "plan": plan.plan if plan else None,
        "impacts": result.impacts,
        "promotion": promotion,
        "report": report_path(bench.settings.reports_dir, ranked),
    }


def _conclusion(bench: Workbench, task: str, result: JobResult) -> list[str]:
    ranked = read_ranked(bench.database, result.benchmark_id)
    with bench.database.engine.connect() as connection:
        plan = plan_by_hash(connection, result.plan_hash)
        promotion = promotions.promotion_by_plan(connection, result.plan_hash)
        validation = promotions.last_validation_of_task(connection, task)
    lines = [f"\n━━ {task} ━━", *summary(ranked), "\n🏭 Production:", *([plan_text(plan.plan)] if plan else [])]
    lines += [f"💡 conversation {number}: {impact}" for number, impact in result.impacts.items()]
    if promotion is not None:
        lines.append(f"✅ promotion {promotion.promotion_id}: {promotion.status}")
    if validation is not None and not validation.passed:
        lines.append(f"❌ its validation failed, so it was undone: {'; '.join(validation.details['reasons'])}")
    return [*lines, f"📄 Report: {report_path(bench.settings.reports_dir, ranked)}"]
