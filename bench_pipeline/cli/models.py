"""`bench models`: prints who is eligible. The rules are in benchmark/eligibility.py and domain/models/."""

from __future__ import annotations

import click

from bench_pipeline.benchmark.eligibility import candidates
from bench_pipeline.benchmark.workbench import open_workbench
from bench_pipeline.cli.output import json_option, print_json, table
from bench_pipeline.domain.models.actor import Candidate
from bench_pipeline.settings import load_settings


@click.command()
@json_option
def models(as_json: bool) -> int:
    """Show which models are eligible, and why the others are not.

    One line per actor. The database is checked first (type, enabled, name), then the runtime (installed, size).
    Exit status: 0 at least one model is eligible, 1 none.
    """
    with open_workbench(load_settings()) as bench:
        found = candidates(bench)
    if as_json:
        print_json(found)
    else:
        click.echo(table(("", "actor", "model", "size", "family", "why not"), [_row(line) for line in found]))
        click.echo(f"\n{sum(line.eligible for line in found)} of {len(found)} actors are eligible")
    return 0 if any(line.eligible for line in found) else 1


def _row(line: Candidate) -> tuple[object, ...]:
    identity = line.identity
    size = f"{identity.size_bytes / 1e9:.2f} GB" if identity and identity.size_bytes else ""
    family = (identity.family or "") if identity else ""
    why = f"{line.exclusion}: {line.detail}" if line.exclusion else ""
    return "✅" if line.eligible else "⏭️ ", line.actor_id, line.name, size, family, why
