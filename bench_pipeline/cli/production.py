"""`bench plan`, `promote`, `validate`, `reconcile` and `docs`: the way into production."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import click

from bench_pipeline.benchmark.preparation import prepare, read_task
from bench_pipeline.benchmark.ranking import latest_ranked
from bench_pipeline.benchmark.workbench import Workbench, account, open_workbench
from bench_pipeline.cli.live_tree import LiveTree
from bench_pipeline.cli.output import json_option, print_json, safe
from bench_pipeline.cli.production_text import (
    document_lines,
    plan_text,
    promotion_text,
    rollback_text,
    validation_lines,
)
from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.promoting.changes import Promotion
from bench_pipeline.domain.promoting.facts import StoredPlan
from bench_pipeline.domain.promoting.plan import ApprovalMode, PromotionPlan
from bench_pipeline.promotion.gates import awaited
from bench_pipeline.promotion.plan import DecidedPlan, impacts, make_plan, store_plan
from bench_pipeline.promotion.plan_application import apply_plan
from bench_pipeline.promotion.reconciliation import reconcile as reconcile_production
from bench_pipeline.promotion.reconciliation import write_open_documents
from bench_pipeline.promotion.validation import ValidationResult, validate_promotion
from bench_pipeline.settings import load_settings
from bench_pipeline.storage import promotions
from bench_pipeline.storage.plans import plan_by_hash


@click.command()
@click.option("--task", "tasks", required=True, multiple=True, help="The task; several are planned together.")
@json_option
def plan(tasks: tuple[str, ...], as_json: bool) -> int:
    """Show what the latest benchmark would change in production.

    Every conversation of the task has its line, with the reason. Nothing is changed or stored.
    Exit status: 0 there is something to promote, 1 everything stays as it is.
    """
    with open_workbench(load_settings()) as bench:
        made = latest_plan(bench, tasks)
        found = made.plan
        saved = impacts(bench, made, datetime.now(UTC)) if as_json else {}
        waits = _awaits(bench, found)
    if as_json:
        print_json(found.model_dump(mode="json") | {"hash": found.hash, "impact": saved, "awaits": waits or None})
    else:
        click.echo("\n".join([plan_text(found), *([f"⏳ {safe(waits)}"] if waits else [])]))
    return 0 if found.changes else 1


@click.command()
@click.option("--task", "tasks", multiple=True, help="The task; several change together, all or none.")
@click.option("--plan", "plan_hash", metavar="HASH", help="Apply this stored plan, such as one that was approved.")
@click.option("--no-validate", is_flag=True, help="Leave the validation to a later `bench validate`.")
@json_option
def promote(tasks: tuple[str, ...], plan_hash: str | None, no_validate: bool, as_json: bool) -> int:
    """Put the champion into production, validate, write the documents.

    The champion is the latest benchmark's. All rows change in one transaction, each only while it holds the
    planned old actor. A plan that needs an approval is stored and waits. A failed validation undoes the promotion.
    After a crash, the same command once more does what is left to do.

    \b
    Examples:
      bench promote --task grading
      bench promote --task grading --task extraction
      bench promote --plan 9508ed0a85d1

    Exit status: 0 promoted or nothing to promote, 1 refused, waiting for approval, or undone.
    """
    if bool(tasks) is (plan_hash is not None):
        raise click.UsageError("give either --task or --plan")
    with open_workbench(load_settings()) as bench:
        reconcile_production(bench, account())
        stored = _stored(bench, plan_hash) if plan_hash else _planned(bench, tasks)
        if not no_validate:
            # Before anything changes: a suite that is refused must not leave a promotion without its validation.
            for task in {row.task for row in stored.plan.changes}:
                prepare(bench, task)
        if not as_json:
            click.echo(plan_text(stored.plan))
        with bench.database.engine.connect() as connection:
            already = promotions.promotion_by_plan(connection, stored.plan_hash) is not None
        promotion = apply_plan(bench, stored.plan_hash, account())
        if promotion is not None and not as_json:
            click.echo(promotion_text(promotion, already))
        written, _ = write_open_documents(bench)
        results = []
        for waiting in [] if no_validate else _waiting(bench, stored.plan):
            results.append(_validate(bench, waiting, as_json))
            written += write_open_documents(bench)[0]
    written = tuple(dict.fromkeys(written))
    failed = [one for one in results if not one.passed]
    if as_json:
        validation = next(iter([*failed, *results]), None)
        print_json({"plan": stored.plan, "promotion": promotion, "validation": validation, "documents": written})
    else:
        if promotion is None:
            click.echo("nothing to promote")
        lines = [line for one in results for line in validation_lines(one)]
        click.echo("\n".join([*lines, *document_lines(written)]))
    return 1 if failed else 0


@click.command()
@click.option("--task", required=True, help="The task.")
@json_option
def validate(task: str, as_json: bool) -> int:
    """Run the known cases on the champion that was promoted.

    A failure undoes the promotion, unless a person put it back after an undoing: that one stays.
    Exit status: 0 it holds, 1 it does not.
    """
    with open_workbench(load_settings()) as bench:
        read_task(bench.settings, task)
        with bench.database.engine.connect() as connection:
            promotion = promotions.latest_promotion(connection, task)
        if promotion is None:
            raise InputError(f"nothing of {task} is promoted; `bench promote --task {task}` does")
        result = _validate(bench, promotion, as_json)
        written, _ = write_open_documents(bench)
    if as_json:
        print_json({"validation": result, "documents": written})
    else:
        click.echo("\n".join([*validation_lines(result), *document_lines(written)]))
    return 0 if result.passed else 1


@click.command()
@json_option
def reconcile(as_json: bool) -> int:
    """Finish what a run that died left open.

    A promotion whose validation failed is undone, and the documents are made to say what the database holds.
    `bench promote` and every job of Dagster begin with this.

    Exit status: 0 nothing is open any more, 1 a promotion still waits for its validation.
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

    They are made from the database; files that would not change stay untouched.
    Exit status: 0.
    """
    with open_workbench(load_settings()) as bench:
        written, _ = write_open_documents(bench)
    if as_json:
        print_json({"documents": written})
    else:
        click.echo("\n".join(document_lines(written)))
    return 0


def latest_plan(bench: Workbench, tasks: Sequence[str]) -> DecidedPlan:
    """Return what the latest benchmarks of these tasks would change, with the decisions. Stores nothing."""
    stated = [read_task(bench.settings, task) for task in dict.fromkeys(tasks)]
    ranked = [latest_ranked(bench.database, task.task) for task in stated]
    return make_plan(bench, ranked, stated)


def _planned(bench: Workbench, tasks: Sequence[str]) -> StoredPlan:
    made = latest_plan(bench, tasks)
    store_plan(bench.database, made, account())
    return _stored(bench, made.plan.hash)


def _stored(bench: Workbench, plan_hash: str) -> StoredPlan:
    with bench.database.engine.connect() as connection:
        stored = plan_by_hash(connection, plan_hash)
    if stored is None:
        raise InputError(f"there is no stored plan {plan_hash}; `bench log --plans` lists them")
    return stored


def _awaits(bench: Workbench, plan: PromotionPlan) -> str:
    """Return what a plan that was just made would wait for; empty when nothing."""
    with bench.database.engine.connect() as connection:
        stored = plan_by_hash(connection, plan.hash)
    if stored is not None:
        return awaited(bench, replace(stored, made_at=datetime.now(UTC)))  # `bench promote` would store it again
    if plan.changes and plan.terms.approval is ApprovalMode.REQUIRED:
        return f"needs an approval: bench promote stores the plan, then bench approve {plan.hash[:12]}"
    return ""


def _waiting(bench: Workbench, plan: PromotionPlan) -> list[Promotion]:
    """Return what was promoted for the plan's tasks and not validated, now or by a run that died in between."""
    with bench.database.engine.connect() as connection:
        found = [one for task in plan.tasks.split(",") for one in promotions.unvalidated(connection, task)]
    return list({one.promotion_id: one for one in found}.values())


def _validate(bench: Workbench, promotion: Promotion, as_json: bool) -> ValidationResult:
    return validate_promotion(bench, promotion, account(), LiveTree(err=as_json))
