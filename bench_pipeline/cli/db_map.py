"""`bench db map`: proposes BENCH_PRODUCTION_NAMES. The guesses are made in domain/mapping/proposal.py."""

from __future__ import annotations

from functools import partial

import click

from bench_pipeline.cli.output import json_option, print_json, safe, table
from bench_pipeline.domain.mapping.proposal import Proposal, propose
from bench_pipeline.settings import load_settings
from bench_pipeline.storage.live_tables import live_tables, reading, values_of


@click.command("map")
@json_option
def map_(as_json: bool) -> int:
    """Propose BENCH_PRODUCTION_NAMES for the database.

    Looks at the tables, columns and foreign keys that BENCH_OWNER_URL's login sees, or BENCH_DATABASE_URL's without
    one, and at the few values of an actor's type and status. Writes nothing. Check the choices, then copy the last
    lines into .env.

    Exit status: 0 all required names were found, 1 some are missing.
    """
    settings = load_settings()
    url = settings.owner_url or settings.database_url
    with reading("BENCH_OWNER_URL" if settings.owner_url else "BENCH_DATABASE_URL", url.get_secret_value()) as engine:
        found = propose(live_tables(engine), partial(values_of, engine))
    if as_json:
        print_json({
            "names": found.names,
            "model_types": found.model_types,
            "choices": found.choices,
            "missing": found.missing,
            "unclear": found.unclear,
            "lines": found.lines,
        })  # fmt: skip
    else:
        click.echo(_text(found))
    return 1 if found.missing else 0


def _text(found: Proposal) -> str:
    parts = [table(("name", "yours", "why"), [(one.name, one.found, one.reason) for one in found.choices])]
    parts += [f"❓ {safe(one)}" for one in found.unclear]
    parts += [f"❌ {safe(one)} was not found; make a view that has it" for one in found.missing]
    return "\n".join([*parts, "", "👉 .env:" if not found.missing else "👉 .env, incomplete:", *found.lines])
