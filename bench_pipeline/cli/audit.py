"""`bench log` and `bench blame`: who changed production, when and why. Both only read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from bench_pipeline.benchmark.workbench import open_workbench
from bench_pipeline.cli.completion import task_names
from bench_pipeline.cli.output import duration, json_option, print_json, safe, table
from bench_pipeline.domain.measuring.sample import Sample
from bench_pipeline.domain.promoting.approval import signer
from bench_pipeline.domain.promoting.changes import Promotion, PromotionRow
from bench_pipeline.domain.promoting.facts import StoredPlan
from bench_pipeline.promotion.blame import Blame, Grounds
from bench_pipeline.promotion.blame import blame as blame_conversation
from bench_pipeline.promotion.gates import awaited
from bench_pipeline.settings import load_settings
from bench_pipeline.storage.plans import all_plans
from bench_pipeline.storage.promotions import all_promotions


@click.command()
@click.option("--task", shell_complete=task_names, help="Only changes to this task's conversations.")
@click.option("--plans", "show_plans", is_flag=True, help="Show the stored plans instead, and what they wait for.")
@json_option
def log(task: str | None, show_plans: bool, as_json: bool) -> int:
    """Show every change to production, newest first.

    Lists promotions, failovers and rollbacks with requester, approver, rows, reason and status.
    Exit status: 0 found, 1 there is none.
    """
    with open_workbench(load_settings()) as bench:
        with bench.database.engine.connect() as connection:
            changes = [one for one in reversed(all_promotions(connection)) if task is None or task in one.tasks]
            stored = list({one.plan_hash: one for one in all_plans(connection)}.values()) if show_plans else []
        applied = {one.plan_hash: one for one in changes}
        waits = {one.plan_hash: awaited(bench, one) for one in stored if one.plan_hash not in applied}
    stored = [one for one in stored if task is None or task in one.plan.tasks.split(",")]
    if as_json:
        print_json([_plan_facts(one, applied, waits) for one in stored] if show_plans else changes)
    elif show_plans:
        click.echo(_plans_text(stored, applied, waits) if stored else "no plan is stored")
    else:
        click.echo("\n".join(line for one in changes for line in _change_lines(one)) or "production was never changed")
    return 0 if (stored if show_plans else changes) else 1


@click.command()
@click.argument("conversation", metavar="CONVERSATION_ID")
@json_option
def blame(conversation: str, as_json: bool) -> int:
    """Explain why a conversation has its actor.

    Shows the change that set it, the requester, the decision, the benchmark, and every call of the champion.
    Exit status: 0 explained, 1 no change made by bench explains it.
    """
    with open_workbench(load_settings()) as bench:
        found = blame_conversation(bench.database, bench.production, bench.production.conversation_key(conversation))
    if as_json:
        print_json(found)
    else:
        click.echo("\n".join(safe(line) for line in _blame_lines(found)))
    return 0 if found.by_us else 1


def _change_lines(one: Promotion) -> Iterator[str]:
    about = f"{one.kind.value} {one.promotion_id}  {one.applied_at:%Y-%m-%d %H:%M} UTC  {one.status.value}"
    undone = f" by {one.undone_by}: {one.undone_because}" if one.undone_by else ""
    yield safe(f"{about}{undone}")
    approved = f", approved by {one.approved_by}" if one.approved_by else ""
    run = f", Dagster run {one.dagster_run_id}" if one.dagster_run_id else ""
    undoes = f"undoes {one.undoes}, " if one.undoes else ""
    yield safe(f"   {undoes}requested by {signer(one.requested_by, one.account)}{approved}{run}")
    yield f"   plan {one.plan_hash[:12]}, terms {one.terms_hash[:12]}"
    for row in one.rows:
        yield safe(f"   {_row_text(row)}")


def _row_text(row: PromotionRow) -> str:
    change = f"{row.old_actor or 'none'} → {row.new_actor or 'none'}"
    text = f"{row.conversation_id} {row.conversation}: {change if row.changed else f'left alone ({change})'}"
    evidence = f" [benchmark {row.benchmark_id}, evidence {row.evidence_hash[:12]}]" if row.evidence_hash else ""
    return f"{text}  {row.reason}{evidence}"


def _plan_facts(one: StoredPlan, applied: dict[str, Promotion], waits: dict[str, str]) -> dict[str, object]:
    known = applied.get(one.plan_hash)
    return {
        "hash": one.plan_hash,
        "made_at": one.made_at,
        "requested_by": one.requested_by,
        "account": one.account,
        "plan": one.plan,
        "promotion_id": known.promotion_id if known else None,
        "awaits": waits.get(one.plan_hash) or None,
    }


def _plans_text(stored: Sequence[StoredPlan], applied: dict[str, Promotion], waits: dict[str, str]) -> str:
    rows = [
        (one.plan_hash[:12], one.plan.kind.value, one.plan.tasks, f"{one.made_at:%Y-%m-%d %H:%M}", one.signer,
         len(one.plan.changes), _plan_status(one, applied, waits))
        for one in stored
    ]  # fmt: skip
    return table(("plan", "kind", "tasks", "made (UTC)", "by", "rows", "status"), rows)


def _plan_status(one: StoredPlan, applied: dict[str, Promotion], waits: dict[str, str]) -> str:
    if known := applied.get(one.plan_hash):
        return f"{known.kind.value} {known.promotion_id}"
    if not one.plan.changes:
        return "changes nothing"
    return f"waits: {waits[one.plan_hash]}" if waits[one.plan_hash] else "not applied"


def _blame_lines(found: Blame) -> Iterator[str]:
    who = found.conversation
    yield f"{who.conversation_id} {who.name}: {who.actor_name or 'no actor'} (actor {who.actor_id})"
    if found.change is None:
        yield "   bench never changed it"
        return
    if not found.by_us:
        yield "   not set by bench, whose last change set another actor:"
    yield from (f"   {line}" for line in _change_lines(found.change))
    if found.origin is not None and found.origin is not found.change:
        yield f"   the actor was first set by {found.origin.kind.value} {found.origin.promotion_id}"
    if found.grounds is not None:
        yield from _grounds_lines(found.grounds)
    if found.validation is not None:
        outcome = "passed" if found.validation.passed else f"failed: {'; '.join(found.validation.details['reasons'])}"
        yield f"   validation of {found.validation.validated_at:%Y-%m-%d %H:%M} UTC {outcome}"


def _grounds_lines(grounds: Grounds) -> Iterator[str]:
    run, result, decision = grounds.benchmark, grounds.result, grounds.decision
    if decision is not None:
        yield f"   decision {decision.decision_id}: {decision.kind.value.upper()} {decision.reason}"
    yield (
        f"   benchmark {run.benchmark_id} of {run.started_at:%Y-%m-%d %H:%M} UTC: suite {run.suite_version} "
        f"({run.suite_hash[:12]}), prompt {run.prompt_hash[:12]} ({run.prompt_source}), reader {run.reader_version}"
    )
    if result is not None:
        right = f"{result.cases_correct}/{result.cases} cases correct"
        yield (
            f"   {result.model} {result.digest or ''}: {right}, mean {duration(result.avg_latency_ms)} "
            f"(n={result.valid_calls} calls)"
        )
    yield from (f"   {line}" for line in _sample_table(grounds.samples).splitlines())


def _sample_table(samples: Sequence[Sample]) -> str:
    rows = [
        (s.case_id, f"{s.repeat} again" if s.take > 1 else s.repeat, s.expected, s.verdict or "–", s.outcome.value,
         duration(s.latency_ns / 1e6 if s.latency_ns else None))
        for s in samples
    ]  # fmt: skip
    return table(("case", "pass", "expected", "verdict", "outcome", "latency"), rows)
