"""`bench cases import`: shows what was masked, writes the task's folder, and names the next steps.

What is read and masked is in benchmark/case_import.py.
"""

from __future__ import annotations

import click

from bench_pipeline.benchmark.case_import import MAX_CASES, ImportedTask, ImportTerms, import_cases
from bench_pipeline.benchmark.workbench import open_workbench
from bench_pipeline.cli.output import json_option, print_json, safe, table
from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.tasks.masking.contacts import DEFAULT_REGIONS
from bench_pipeline.domain.tasks.masking.mask import Replacement
from bench_pipeline.settings import load_settings

_SHOWN_CASES = 3


@click.command("import")
@click.argument("conversation", metavar="CONVERSATION_ID")
@click.option("--task", metavar="NAME", help="The new task's name; default: made of the conversation's name.")
@click.option(
    "--limit", type=click.IntRange(1, MAX_CASES), default=20, help="How many drafts to make at most; default 20."
)
@click.option(
    "--region",
    metavar="CODES",
    default=",".join(DEFAULT_REGIONS),
    help=f"Comma-separated regions of phone numbers without a country's code; default {','.join(DEFAULT_REGIONS)}.",
)
@click.option("--yes", is_flag=True, help="Write the folder without asking.")
@json_option
def import_(conversation: str, task: str | None, limit: int, region: str, yes: bool, as_json: bool) -> int:
    """Make a task with drafts of test cases from a conversation's prompt and its newest interactions.

    Names, addresses, phone numbers and the like are replaced before anything is written. What was replaced is shown,
    with the original values on the terminal only. A folder that exists is not overwritten.
    Exit status: 0 the folder was written, 1 you declined.
    """
    if as_json and not yes:
        raise InputError("--json asks no questions; add --yes")
    terms = ImportTerms(task, limit, tuple(region.split(",")))
    with open_workbench(load_settings()) as bench:
        imported = import_cases(bench, bench.production.conversation_key(conversation), terms)
    if not as_json:
        _show(imported)
        if not yes and not click.confirm(safe(f"\nWrite {imported.folder}?")):
            return 1
    imported.write()
    if as_json:
        print_json(_for_json(imported))
    else:
        click.echo(_next_steps(imported))
    return 0


def _show(imported: ImportedTask) -> None:
    if imported.replacements:
        header = ("kind", "original", "replaced by", "times", "cases")
        click.echo(table(header, [_row(one) for one in imported.replacements]))
    else:
        click.echo("No personal data was found.")
    count = len(imported.case_ids)
    click.echo(f"\n{count} draft{'s' * (count != 1)}. Masking can miss a value: read every case before you share it.")
    for note in imported.notes:
        click.echo(safe(f"Note: {note}"))


def _row(one: Replacement) -> tuple[object, ...]:
    more = len(one.cases) - _SHOWN_CASES
    cases = ", ".join(one.cases[:_SHOWN_CASES]) + (f" and {more} more" if more > 0 else "")
    return one.kind, one.original, one.surrogate, one.count, cases


def _for_json(imported: ImportedTask) -> dict[str, object]:
    """Leave out the original values: JSON is often kept."""
    return {
        "folder": imported.folder,
        "drafts": imported.case_ids,
        "replaced": [
            {"kind": one.kind, "surrogate": one.surrogate, "times": one.count, "cases": one.cases}
            for one in imported.replacements
        ],
        "notes": imported.notes,
    }


def _next_steps(imported: ImportedTask) -> str:
    suite = imported.folder / "suite.json"
    lines = (
        f"Wrote {imported.folder}. Next:",
        f"1. In {suite}, read each draft and set the fields that are null.",
        '2. Remove "draft" and "observed_output" from each case that you have checked, and set "checked_by".',
        f"3. bench cases check {imported.folder}",
    )
    return "\n".join(safe(line) for line in lines)
