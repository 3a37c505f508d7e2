"""`bench db prune` and `uninstall`. What they remove: benchmark/pruning.py, storage/writers/uninstallation.py."""

from __future__ import annotations

import sys
from contextlib import closing
from datetime import UTC, datetime

import click

from bench_pipeline.benchmark.pruning import Prunable, prunable
from bench_pipeline.benchmark.pruning import prune as remove
from bench_pipeline.cli.output import json_option, print_json, safe
from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.measuring.retention import parse_keep
from bench_pipeline.settings import load_settings
from bench_pipeline.storage.database import open_database
from bench_pipeline.storage.writers.installation import Roles
from bench_pipeline.storage.writers.uninstallation import Installed, look_at_installation
from bench_pipeline.storage.writers.uninstallation import uninstall as remove_installation

yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


@click.command()
@click.option("--keep", required=True, metavar="DURATION", help="Keep replies no older than this: 90d, 24m or 2y.")
@click.option("--dry-run", is_flag=True, help="Only show what would be removed.")
@yes_option
@json_option
def prune(keep: str, dry_run: bool, yes: bool, as_json: bool) -> int:
    """Remove old replies of models, and their thinking.

    Decisions, figures, verdicts, outcomes, reasons and the audit stay. So do the replies of the benchmarks on which
    production rests, whatever their age. Removed replies cannot be judged again by `bench rescore`.

    \b
    Examples:
      bench db prune --keep 24m --dry-run
      bench db prune --keep 24m --yes

    Exit status: 0 removed, or nothing to remove, 1 you declined, or a benchmark is running.
    """
    duration = parse_keep(keep)
    settings = load_settings()
    now = datetime.now(UTC)
    with closing(open_database(settings.database_url.get_secret_value())) as database:
        found = prunable(database, duration, now, settings.resume_hours)
        if not as_json:
            click.echo(_text(found))
        if found.benchmark_ids and not dry_run:
            if not confirmed("Remove them?", yes, as_json):
                return 1
            remove(database, found, now)
    removed = bool(found.benchmark_ids) and not dry_run
    if as_json:
        print_json({"removed": removed, "found": found})
    elif removed:
        click.echo("🧹 removed")
    return 0


@click.command()
@click.option("--keep-history", is_flag=True, help="Keep the table benchmark_history with all its rows.")
@yes_option
@json_option
def uninstall(keep_history: bool, yes: bool, as_json: bool) -> int:
    """Remove what bench made in the database.

    Drops bench's tables with all measurements, decisions and the audit; on PostgreSQL also its functions, the rights of
    its two roles, and the roles unless something else depends on them. Your application's tables stay as they are, and
    so does a benchmark_history with rows from other programs. Run this as the owner (BENCH_OWNER_URL), after benchmarks
    and Dagster have been stopped.

    Exit status: 0 removed, or nothing was installed, 1 you declined, 2 this login lacks the rights.
    """
    settings = load_settings()
    url = (settings.owner_url or settings.database_url).get_secret_value()
    variable = "BENCH_OWNER_URL" if settings.owner_url else "BENCH_DATABASE_URL"
    roles = Roles(settings.recorder_role, settings.promoter_role)
    found = look_at_installation(url, variable, roles, settings.own_schema)
    if not as_json:
        click.echo(_installed_text(found, keep_history))
    if found.anything and not confirmed("Remove all of it?", yes, as_json):
        return 1
    gone = remove_installation(url, variable, roles, keep_history, settings.own_schema) if found.anything else None
    if as_json:
        print_json({"found": found, "removed": gone})
    elif gone is not None:
        kept = [f"kept: the role {safe(role)}: {safe(why)}" for role, why in gone.roles_kept]
        click.echo("\n".join(["🧹 removed", *kept]))
    return 0


def _installed_text(found: Installed, keep_history: bool) -> str:
    if not found.anything:
        return "nothing of bench is installed here"
    stays = keep_history or found.rows_of_others > 0
    parts = [f"{len(found.tables) - (stays and found.history_rows is not None)} tables"]
    parts += [f"{len(found.functions)} functions"] if found.functions else []
    parts += [f"the roles {' and '.join(map(safe, found.roles))}"] if found.roles else []
    lines = [f"to be removed: {', '.join(parts)}"]
    if found.history_rows is not None:
        others = f", {found.rows_of_others:,} of them from other programs" if found.rows_of_others else ""
        rows = f"benchmark_history with {found.history_rows:,} rows{others}"
        lines.append(f"kept: {rows}" if stays else f"among them {rows}; --keep-history keeps it")
    return "\n".join(lines)


def confirmed(question: str, yes: bool, as_json: bool) -> bool:
    """Return whether the user agrees. Raises `InputError` without a terminal to ask on."""
    if yes:
        return True
    if as_json or not sys.stdin.isatty():
        raise InputError("this needs an answer at a terminal; add --yes to agree")
    return click.confirm(question)


def _text(found: Prunable) -> str:
    of = f"from before {found.before:%Y-%m-%d %H:%M} UTC"
    lines = [
        f"replies {of}: {len(found.benchmark_ids)} benchmarks, {found.calls:,} calls, "
        f"{found.characters / 1e6:,.1f} million characters"
    ]
    if found.kept:
        lines.append(f"kept: the replies of {len(found.kept)} benchmarks that production or a later benchmark rests on")
    return "\n".join(lines)
