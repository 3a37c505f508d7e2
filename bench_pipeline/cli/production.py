"""`bench plan`, `promote`, `validate`, `reconcile` and `docs`. The steps themselves are in promotion/."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click

from bench_pipeline.benchmark.conversations import conversation_faults, existing_conversations
from bench_pipeline.benchmark.fitness import passed_over_text
from bench_pipeline.benchmark.task_folders import read_task, testcases_dir
from bench_pipeline.benchmark.workbench import Workbench, account, open_workbench
from bench_pipeline.cli.completion import task_names
from bench_pipeline.cli.live_tree import LiveTree
from bench_pipeline.cli.output import json_option, print_json, safe
from bench_pipeline.cli.production_text import (
    document_lines,
    plan_text,
    promotion_text,
    rollback_text,
    validation_lines,
)
from bench_pipeline.domain.errors import FileRefused, InputError
from bench_pipeline.domain.promoting.plan import ApprovalMode, PromotionPlan
from bench_pipeline.promotion.delivery import (
    Delivery,
    DeliveryEvent,
    DeliveryRequest,
    PlanApplied,
    PlanMade,
    chosen_benchmarks,
    deliver,
    plan_from,
)
from bench_pipeline.promotion.gates import awaited
from bench_pipeline.promotion.plan import impacts
from bench_pipeline.promotion.reconciliation import reconcile as reconcile_production
from bench_pipeline.promotion.reconciliation import write_open_documents
from bench_pipeline.promotion.validation import validate_promotion
from bench_pipeline.settings import load_settings
from bench_pipeline.storage import promotions
from bench_pipeline.storage.plans import plan_by_hash

benchmark_option = click.option(
    "--benchmark",
    "benchmark_ids",
    multiple=True,
    metavar="ID",
    help="Use this benchmark.  [default: the task's latest that is fit for production]",
)


@click.command()
@click.option(
    "--task",
    "tasks",
    required=True,
    multiple=True,
    shell_complete=task_names,
    help="The task; several are planned together.",
)
@benchmark_option
@json_option
def plan(tasks: tuple[str, ...], benchmark_ids: tuple[str, ...], as_json: bool) -> int:
    """Show what a benchmark would change in production.

    Every conversation of the task is listed with the reason. Nothing is changed or stored. Without --benchmark,
    the latest benchmark that is fit for production decides: the task's own suite and protocol, the current prompt,
    finished and valid, every incumbent measured. Newer ones that are not fit are named.

    \b
    Examples:
      bench plan --task grading
      bench plan --task grading --benchmark grading-20261124T045803Z-2ace

    Exit status: 0 there is something to promote, 1 nothing would change, 2 a task names a conversation that does not
    exist, or that another task serves.
    """
    with open_workbench(load_settings()) as bench:
        _check_conversations(bench, tasks)
        chosen = chosen_benchmarks(bench, tasks, benchmark_ids)
        made = plan_from(bench, chosen.ranked)
        found = made.plan
        saved = impacts(bench, made, datetime.now(UTC)) if as_json else {}
        waits = _awaits(bench, found)
    if as_json:
        facts = {"hash": found.hash, "impact": saved, "awaits": waits or None, "passed_over": chosen.passed_over}
        print_json(found.model_dump(mode="json") | facts)
    else:
        notes = [f"⏭️  not fit for production: {passed_over_text(chosen.passed_over)}"] if chosen.passed_over else []
        notes += [f"⏳ {waits}"] if waits else []
        click.echo("\n".join([plan_text(found), *map(safe, notes)]))
    return 0 if found.changes else 1


def _check_conversations(bench: Workbench, tasks: tuple[str, ...]) -> None:
    files = [testcases_dir(bench.settings) / task / "task.yaml" for task in tasks]
    faults = conversation_faults(bench.settings, existing_conversations(bench.database, bench.production))
    if mine := [fault for fault in faults if Path(fault.file) in files]:
        raise FileRefused(mine)


@click.command()
@click.option(
    "--task", "tasks", multiple=True, shell_complete=task_names, help="The task; several change together, all or none."
)
@benchmark_option
@click.option("--plan", "plan_hash", metavar="HASH", help="Apply this stored plan, such as one that was approved.")
@click.option("--no-validate", is_flag=True, help="Leave the validation to a later `bench validate`.")
@json_option
def promote(
    tasks: tuple[str, ...], benchmark_ids: tuple[str, ...], plan_hash: str | None, no_validate: bool, as_json: bool
) -> int:
    """Put the champion into production, validate, write the documents.

    The benchmark is chosen as in `bench plan`. All rows change in one transaction, each only if it still has the
    planned old actor. A plan that needs an approval is stored and waits. A failed validation undoes the promotion.
    After a crash, run the same command again to complete it.

    \b
    Examples:
      bench promote --task grading
      bench promote --task grading --task extraction
      bench promote --plan 9508ed0a85d1

    Exit status: 0 promoted or nothing to promote, 1 refused, waiting for approval, or undone.
    """
    if bool(tasks) is (plan_hash is not None):
        raise click.UsageError("give either --task or --plan")
    if plan_hash is not None and benchmark_ids:
        raise click.UsageError("--benchmark requires --task; a stored plan already names its benchmarks")
    request = DeliveryRequest(account(), tasks, benchmark_ids, plan_hash, validate=not no_validate)
    with open_workbench(load_settings()) as bench:
        done = deliver(bench, request, _Shown(as_json))
    if as_json:
        print_json(_delivery_facts(done))
    else:
        lines = [] if done.promotion else ["nothing to promote"]
        lines += [line for one in done.validations for line in validation_lines(one)]
        click.echo("\n".join([*lines, *document_lines(done.documents)]))
    return 0 if done.valid else 1


class _Shown:
    """Prints the progress of a delivery: the plan, the promotion, the calls of the validation."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._tree = LiveTree(err=as_json)

    def __call__(self, event: DeliveryEvent) -> None:
        match event:
            case PlanMade():
                self._say(plan_text(event.plan))
            case PlanApplied():
                self._say(promotion_text(event.promotion, event.already))
            case _:
                self._tree(event)

    def _say(self, text: str) -> None:
        if not self._as_json:
            click.echo(text)


def _delivery_facts(done: Delivery) -> dict[str, object]:
    failed = [one for one in done.validations if not one.passed]
    return {
        "plan": done.plan,
        "promotion": done.promotion,
        "validation": next(iter([*failed, *done.validations]), None),
        "documents": done.documents,
    }


@click.command()
@click.option("--task", required=True, shell_complete=task_names, help="The task.")
@json_option
def validate(task: str, as_json: bool) -> int:
    """Run the test cases again on the promoted champion.

    A failure undoes the promotion, unless a person restored it after an earlier rollback.
    Exit status: 0 it passed, 1 it failed.
    """
    with open_workbench(load_settings()) as bench:
        read_task(bench.settings, task)
        with bench.database.engine.connect() as connection:
            promotion = promotions.latest_promotion(connection, task)
        if promotion is None:
            raise InputError(f"task {task} has no promotion; run `bench promote --task {task}` first")
        result = validate_promotion(bench, promotion, account(), LiveTree(err=as_json))
        written, _ = write_open_documents(bench)
    if as_json:
        print_json({"validation": result, "documents": written})
    else:
        click.echo("\n".join([*validation_lines(result), *document_lines(written)]))
    return 0 if result.passed else 1


@click.command()
@json_option
def reconcile(as_json: bool) -> int:
    """Complete what an interrupted run left open.

    A promotion whose validation failed is undone, and the documents are brought up to date with the database.
    `bench promote` and Dagster's promotion plans start with this.

    Exit status: 0 nothing is open, 1 a promotion still waits for its validation.
    """
    with open_workbench(load_settings()) as bench:
        done = reconcile_production(bench, account())
    if as_json:
        print_json(done)
    else:
        lines = [rollback_text(one) for one in done.undone] + list(document_lines(done.documents))
        lines += [
            f"⏳ promotion {one.promotion_id} waits for its validation: bench validate --task {safe(task)}"
            for one in done.waiting
            for task in one.tasks
        ]
        click.echo("\n".join(lines))
    return 1 if done.waiting else 0


@click.command()
@json_option
def docs(as_json: bool) -> int:
    """Write the workflow documents and the champion registry.

    They are rendered from the database. Unchanged files are not written again. If the database does not
    show this login the rows that the documents list, because of a policy, a missing right or an empty table, all files
    stay as they are.

    Exit status: 0 written or unchanged, 2 the database does not show the rows.
    """
    with open_workbench(load_settings()) as bench:
        written, _ = write_open_documents(bench)
    if as_json:
        print_json({"documents": written})
    else:
        click.echo("\n".join(document_lines(written)))
    return 0


def _awaits(bench: Workbench, plan: PromotionPlan) -> str:
    """Return what a plan that was just made would wait for; empty when nothing."""
    with bench.database.engine.connect() as connection:
        stored = plan_by_hash(connection, plan.hash)
    if stored is not None:
        return awaited(bench, replace(stored, made_at=datetime.now(UTC)))  # `bench promote` would store it again
    if plan.changes and plan.terms.approval is ApprovalMode.REQUIRED:
        return f"needs an approval: bench promote stores the plan, then bench approve {plan.hash[:12]}"
    return ""
