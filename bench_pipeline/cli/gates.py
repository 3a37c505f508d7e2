"""`bench approve`, `freeze` and `thaw`: what a person says before a promotion."""

from __future__ import annotations

import click

from bench_pipeline.benchmark.workbench import account, open_workbench
from bench_pipeline.cli.output import json_option, print_json, safe
from bench_pipeline.cli.production_text import plan_text
from bench_pipeline.promotion.gates import approve as approve_plan
from bench_pipeline.promotion.gates import set_freeze
from bench_pipeline.settings import load_settings


@click.command()
@click.argument("plan_hash", metavar="PLAN")
@json_option
def approve(plan_hash: str, as_json: bool) -> int:
    """Agree to the stored plan PLAN, the beginning of its hash.

    The approval is for exactly this plan and expires after BENCH_APPROVAL_HOURS. With BENCH_SECOND_PERSON nobody
    approves a plan that they asked for.

    Exit status: 0 approved, 1 it needs none or is your own.
    """
    with open_workbench(load_settings()) as bench:
        stored = approve_plan(bench.database, plan_hash, account())
    if as_json:
        print_json({"plan": stored.plan, "hash": stored.plan_hash, "approved_by": account()})
    else:
        click.echo(plan_text(stored.plan))
        click.echo(f"✅ approved by {safe(account())}; bench promote --plan {stored.plan_hash[:12]} applies it")
    return 0


@click.command()
@click.option("--reason", required=True, help="Why; whoever is refused reads it.")
@json_option
def freeze(reason: str, as_json: bool) -> int:
    """Stop all promotions, from now to `bench thaw`.

    Benchmarks go on, and so does the undoing of a promotion. Once this command has ended no promotion and no failover
    is applied any more, not even one that had begun.

    Exit status: 0.
    """
    return _set(True, reason, as_json)


@click.command()
@click.option("--reason", default="", help="Why; it is kept.")
@json_option
def thaw(reason: str, as_json: bool) -> int:
    """Let promotions go on.

    Exit status: 0.
    """
    return _set(False, reason, as_json)


def _set(frozen: bool, reason: str, as_json: bool) -> int:
    with open_workbench(load_settings()) as bench:
        said = set_freeze(bench.database, frozen, reason, account())
    if as_json:
        print_json(said)
    else:
        click.echo("🧊 promotions are frozen; bench thaw ends that" if frozen else "💧 promotions may go on")
    return 0
