"""`bench plan`, `promote`, `rollback`, `validate` and `docs`: the way into production and back."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime

import click

from bench_pipeline.benchmark.eligibility import candidates
from bench_pipeline.benchmark.preparation import PreparedTask, prepare, read_task
from bench_pipeline.benchmark.ranking import latest_ranked
from bench_pipeline.cli.live import LiveTree
from bench_pipeline.cli.output import json_option, print_json, safe, table
from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.plan import PromotionPlan
from bench_pipeline.promotion.applying import Rollback, apply_plan, roll_back
from bench_pipeline.promotion.planning import DecidedPlan, impacts, make_plan, store_plan
from bench_pipeline.promotion.validating import ValidationResult, validate_promotion
from bench_pipeline.reporting.workflow_docs import write_documents
from bench_pipeline.settings import load_settings
from bench_pipeline.storage import promotions
from bench_pipeline.storage.promotions import Promotion
from bench_pipeline.workbench import Workbench, open_workbench

task_option = click.option("--task", required=True, help="The task.")


@click.command()
@task_option
@json_option
def plan(task: str, as_json: bool) -> int:
    """Show what the latest benchmark would change in production.

    Every conversation of the task has its line, with the reason. Nothing is changed.
    Exit status: 0 there is something to promote, 1 everything stays as it is.
    """
    with open_workbench(load_settings()) as bench:
        made = latest_plan(bench, task)
        saved = impacts(bench.database, bench.production, made, datetime.now(UTC)) if as_json else {}
    found = made.plan
    if as_json:
        print_json(found.model_dump(mode="json") | {"hash": found.hash, "impact": saved})
    else:
        click.echo(plan_text(found))
    return 0 if found.changes else 1


@click.command()
@task_option
@click.option("--no-validate", is_flag=True, help="Leave the validation to a later `bench validate`.")
@json_option
def promote(task: str, no_validate: bool, as_json: bool) -> int:
    """Put the champion into production, write the documents, validate.

    The champion is the latest benchmark's. All rows change in one transaction, each only while it holds the
    planned old actor. A failed validation undoes the promotion.

    Exit status: 0 promoted or nothing to promote, 1 refused or undone.
    """
    with open_workbench(load_settings()) as bench:
        made = latest_plan(bench, task)
        found = made.plan
        # Before anything changes: a suite that is refused must not leave a promotion without its validation.
        prepared = None if no_validate else prepare(bench.settings, task, bench.database, bench.production)
        store_plan(bench.database, made)
        promotion = apply_plan(bench.database, bench.production, found, getpass.getuser())
        result = None
        if promotion is not None and prepared is not None and promotion.status == promotions.APPLIED:
            result = _validate(bench, prepared, promotion, as_json)
        written = _write_documents(bench)
    if as_json:
        print_json({"plan": found, "promotion": promotion, "validation": result, "documents": written})
    else:
        click.echo(plan_text(found))
        click.echo(f"✅ promotion {promotion.promotion_id} applied" if promotion else "nothing to promote")
        _show(result, written)
    return 0 if result is None or result.passed else 1


@click.command()
@click.argument("promotion_id", type=int, required=False)
@click.option("--task", help="Undo the last promotion of this task.")
@json_option
def rollback(promotion_id: int | None, task: str | None, as_json: bool) -> int:
    """Undo the last promotion.

    Or the one with PROMOTION_ID: every conversation that still holds the promoted actor gets the old one back.
    Conversations that somebody changed since are left alone and named.
    Exit status: 0 all restored, 1 some were left.
    """
    with open_workbench(load_settings()) as bench:
        reason = f"asked for by {getpass.getuser()}"
        undone = roll_back(bench.database, bench.production, reason, promotion_id, task)
        written = _write_documents(bench)
    if as_json:
        print_json({"rollback": undone, "documents": written})
    else:
        click.echo(rollback_text(undone))
        _show(None, written)
    return 1 if undone.left else 0


@click.command()
@task_option
@json_option
def validate(task: str, as_json: bool) -> int:
    """Run the known cases on the champion that was promoted.

    A failure undoes the promotion.
    Exit status: 0 it holds, 1 it was undone.
    """
    with open_workbench(load_settings()) as bench:
        prepared = prepare(bench.settings, task, bench.database, bench.application)
        with bench.database.engine.connect() as connection:
            promotion = promotions.latest_promotion(connection, task)
        if promotion is None:
            raise InputError(f"nothing of {task} is promoted; `bench promote --task {task}` does")
        result = _validate(bench, prepared, promotion, as_json)
        written = _write_documents(bench)
    if as_json:
        print_json({"validation": result, "documents": written})
    else:
        _show(result, written)
    return 0 if result.passed else 1


@click.command()
@json_option
def docs(as_json: bool) -> int:
    """Write the workflow documents and the champion registry.

    They are made from the database; files that would not change stay untouched.
    Exit status: 0.
    """
    with open_workbench(load_settings()) as bench:
        written = _write_documents(bench)
    if as_json:
        print_json({"documents": written})
    else:
        _show(None, written)
    return 0


def latest_plan(bench: Workbench, task: str) -> DecidedPlan:
    """Return what the task's latest benchmark would change, with its decisions. Stores nothing."""
    read_task(bench.settings, task)
    ranked = latest_ranked(bench.database, task)
    return make_plan(bench.database, bench.production, ranked, bench.settings.promotion_policy)


def _validate(bench: Workbench, prepared: PreparedTask, promotion: Promotion, as_json: bool) -> ValidationResult:
    return validate_promotion(
        bench.database,
        bench.production,
        prepared,
        promotion,
        candidates(bench.settings, bench.database, bench.production, bench.runtimes),
        bench.runtimes,
        bench.settings.max_model_bytes,
        LiveTree(err=as_json),
    )


def _write_documents(bench: Workbench) -> list[str]:
    settings = bench.settings
    changed = write_documents(bench.database, bench.production, settings.production_dir, settings.max_model_bytes)
    return [str(path) for path in changed]


def plan_text(found: PromotionPlan) -> str:
    """Return a plan as a table with its hash."""
    rows = [
        (
            f"{row.conversation_id} {row.conversation}",
            row.decision.value.upper(),
            f"{row.old_actor or 'none'} → {row.new_actor}" if row.changes else row.old_actor or "none",
            row.runner_up or "none",
            row.reason,
        )
        for row in found.rows
    ]
    header = ("conversation", "decision", "actor", "runner-up", "why")
    return f"{table(header, rows)}\n\nbenchmark {found.benchmark_id}, plan {found.hash[:12]}"


def rollback_text(undone: Rollback) -> str:
    """Return what a rollback did."""
    lines = [f"↩️  promotion {undone.promotion.promotion_id} is undone"]
    rows = {row.conversation_id: row for row in undone.promotion.plan.changes}
    lines += [f"   {n} {rows[n].conversation}: {rows[n].new_actor} → {rows[n].old_actor}" for n in undone.restored]
    lines += [f"   {n} {rows[n].conversation}: left alone, somebody changed it since" for n in undone.left]
    return "\n".join(safe(line) for line in lines)


def _show(result: ValidationResult | None, written: list[str]) -> None:
    if result is not None and result.passed:
        click.echo(f"✅ validation passed: {safe(result.champion.model if result.champion else '')}")
    elif result is not None:
        click.echo(f"❌ validation failed: {safe('; '.join(result.reasons))}")
        if result.rollback is not None:
            click.echo(rollback_text(result.rollback))
    click.echo("\n".join(f"📝 {path}" for path in written) or "📝 documents are up to date")
