"""`bench approve`, `freeze` and `thaw`: a person's decisions about promotions. The rules are in promotion/gates.py."""

from __future__ import annotations

from dataclasses import asdict

import click

from bench_pipeline.benchmark.workbench import account, open_workbench
from bench_pipeline.cli.output import json_option, print_json, safe
from bench_pipeline.cli.production_text import plan_text
from bench_pipeline.domain.promoting.approval import signer
from bench_pipeline.promotion.gates import approve as approve_plan
from bench_pipeline.promotion.gates import set_freeze
from bench_pipeline.settings import load_settings


@click.command()
@click.argument("plan_hash", metavar="PLAN")
@json_option
def approve(plan_hash: str, as_json: bool) -> int:
    """Approve the stored plan whose hash begins with PLAN.

    The approval covers exactly this plan and expires after BENCH_APPROVAL_HOURS. With BENCH_SECOND_PERSON requesters
    cannot approve their own plans. On PostgreSQL the approver is the login of BENCH_DATABASE_URL.

    Exit status: 0 approved, 1 the plan needs no approval or is your own.
    """
    with open_workbench(load_settings()) as bench:
        stored, given = approve_plan(bench.database, plan_hash, account())
    if as_json:
        print_json({"plan": stored.plan, "hash": stored.plan_hash} | asdict(given))
    else:
        click.echo(plan_text(stored.plan))
        by = safe(signer(given.approved_by, given.account))
        click.echo(f"✅ approved by {by}; bench promote --plan {stored.plan_hash[:12]} applies it")
    return 0


@click.command()
@click.option("--reason", required=True, help="Why; shown with every refusal.")
@json_option
def freeze(reason: str, as_json: bool) -> int:
    """Stop all promotions until `bench thaw`.

    Benchmarks continue, and promotions can be undone. Once this command has ended, no promotion or failover is
    applied, not even one that had started.

    Exit status: 0.
    """
    return _set(True, reason, as_json)


@click.command()
@click.option("--reason", default="", help="Why; stored.")
@json_option
def thaw(reason: str, as_json: bool) -> int:
    """Allow promotions again.

    Exit status: 0.
    """
    return _set(False, reason, as_json)


def _set(frozen: bool, reason: str, as_json: bool) -> int:
    with open_workbench(load_settings()) as bench:
        state = set_freeze(bench.database, frozen, reason, account())
    if as_json:
        print_json(state)
    else:
        click.echo(
            "🧊 promotions are frozen; bench thaw ends the freeze" if frozen else "💧 promotions are allowed again"
        )
    return 0
