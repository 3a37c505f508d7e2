"""`bench decide`: prints decisions and replays. The rules are in domain/promoting/."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import click

from bench_pipeline.benchmark.workbench import open_workbench
from bench_pipeline.cli.completion import task_names
from bench_pipeline.cli.output import json_option, print_json, safe, table
from bench_pipeline.cli.production import benchmark_option
from bench_pipeline.domain.promoting.impact import Impact
from bench_pipeline.promotion.delivery import chosen_benchmarks, plan_from
from bench_pipeline.promotion.plan import DecidedRow, impacts
from bench_pipeline.promotion.replay import Replay, replay
from bench_pipeline.settings import load_settings
from bench_pipeline.storage.decisions import StoredDecision, decisions_of


@click.command()
@click.option("--task", shell_complete=task_names, help="Show the decisions about this task's conversations.")
@benchmark_option
@click.option(
    "--replay",
    "decision_id",
    type=click.IntRange(1, 10**9),
    metavar="ID",
    help="Recompute a stored decision from its stored input.",
)
@json_option
def decide(task: str | None, benchmark_ids: tuple[str, ...], decision_id: int | None, as_json: bool) -> int:
    """Show each decision with its evidence, or recompute a stored one.

    The benchmark is chosen as in `bench plan`. Decisions are stored by `bench promote` and by Dagster; this command
    stores nothing.

    \b
    Examples:
      bench decide --task grading
      bench decide --replay 7

    Exit status: 0 shown, or the replay agrees; 1 the replay differs.
    """
    if decision_id is not None and task is None:
        with open_workbench(load_settings()) as bench:
            return _show_replay(replay(bench.database, decision_id), as_json)
    if task is None or decision_id is not None:
        raise click.UsageError("give either --task or --replay")
    with open_workbench(load_settings()) as bench:
        made = plan_from(bench, chosen_benchmarks(bench, [task], benchmark_ids).ranked)
        saved = impacts(bench, made, datetime.now(UTC))
        benchmark_id = made.plan.evidence[0].benchmark_id
        with bench.database.engine.connect() as connection:
            stored = decisions_of(connection, benchmark_id)
    ids = {(one.conversation_id, one.input_hash): one.decision_id for one in stored}
    shown = [
        _Shown(one, saved.get(number := one.row.conversation_id), ids.get((number, one.input.input_hash)))
        for one in made.decided
    ]
    if as_json:
        facts = {"decisions": [_facts(one) for one in shown], "stored": [_stored_facts(one) for one in stored]}
        print_json({"benchmark_id": benchmark_id} | facts)
    else:
        click.echo("\n".join(safe(line) for one in shown for line in _lines(one)))
        click.echo(f"\n{_stored_text(benchmark_id, stored)}")
    return 0


_RULES = {
    1: "policy version 1: ratio of latencies case by case, cases as the sample",
    2: "policy version 2: ratio of mean latencies, passes of the final as the sample",
}


@dataclass(frozen=True, slots=True)
class _Shown:
    """A decision with its estimated impact and the last id under which it is stored."""

    decided: DecidedRow
    impact: Impact | None
    decision_id: int | None


def _facts(one: _Shown) -> dict[str, object]:
    row, decision = one.decided.row, one.decided.decision
    return {
        "conversation_id": row.conversation_id,
        "conversation": row.conversation,
        "decision": decision.kind,
        "reason": decision.reason,
        "incumbent": row.old_actor,
        "challenger": row.new_actor,
        "runner_up": row.runner_up,
        "gain": decision.gain,
        "comparison": decision.comparison,
        "policy": one.decided.input.policy,
        "input_hash": one.decided.input.input_hash,
        "impact": one.impact,
        "decision_id": one.decision_id,
    }


def _lines(one: _Shown) -> Iterator[str]:
    row = one.decided.row
    actor = f"{row.old_actor or 'none'} → {row.new_actor}" if row.changes else row.old_actor or "none"
    stored = f"`bench decide --replay {one.decision_id}`" if one.decision_id else "not stored yet"
    yield f"{row.conversation_id} {row.conversation}: {one.decided.decision.kind.value.upper()} {actor}"
    yield f"   {row.reason}"
    yield from [f"   {one.impact}"] if one.impact else []
    yield f"   input {one.decided.input.input_hash[:12]}, {stored}"


def _stored_facts(one: StoredDecision) -> dict[str, object]:
    names = ("decision_id", "conversation_id", "reason", "input_hash", "decided_at")
    return {name: getattr(one, name) for name in names} | {"decision": one.kind}


def _stored_text(benchmark_id: str, stored: Sequence[StoredDecision]) -> str:
    if not stored:
        return f"no decision from benchmark {benchmark_id} is stored yet"
    rows = [
        (one.decision_id, f"{one.decided_at:%Y-%m-%d %H:%M}", one.conversation_id, one.kind.value.upper(),
         one.input_hash[:12])
        for one in stored
    ]  # fmt: skip
    header = ("id", "stored (UTC)", "conversation", "decision", "input")
    return f"stored decisions from benchmark {benchmark_id}:\n{table(header, rows)}"


def _show_replay(made: Replay, as_json: bool) -> int:
    stored, again = made.stored, made.again
    if as_json:
        then = {"decision": stored.kind, "reason": stored.reason}
        now = {"decision": again.kind, "reason": again.reason}
        about = {name: getattr(stored, name) for name in ("decision_id", "benchmark_id", "conversation_id")}
        print_json(
            about
            | {
                "input_hash": stored.input_hash,
                "policy_version": made.policy_version,
                "stored": then,
                "again": now,
                "same": made.same,
            }
        )
    else:
        of = f"conversation {stored.conversation_id}, benchmark {stored.benchmark_id}"
        click.echo(safe(f"decision {stored.decision_id} of {stored.decided_at:%Y-%m-%d %H:%M} UTC: {of}"))
        click.echo(safe(f"   stored  {stored.kind.value.upper()}: {stored.reason}"))
        click.echo(safe(f"   again   {again.kind.value.upper()}: {again.reason}"))
        click.echo(f"   rule    {_RULES[made.policy_version]}")
        click.echo("✅ the same" if made.same else "❌ this version of the program decides differently")
    return 0 if made.same else 1
