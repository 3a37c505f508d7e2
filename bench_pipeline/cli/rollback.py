"""`bench rollback` and `bench failover`: options and output. The changes themselves are made in promotion/."""

from __future__ import annotations

import click

from bench_pipeline.benchmark.workbench import account, open_workbench
from bench_pipeline.cli.completion import task_names
from bench_pipeline.cli.output import json_option, print_json
from bench_pipeline.cli.production_text import document_lines, promotion_text, rollback_text
from bench_pipeline.domain.promoting.plan import Bar
from bench_pipeline.promotion.failover import fail_over
from bench_pipeline.promotion.reconciliation import write_open_documents
from bench_pipeline.promotion.rollback import roll_back
from bench_pipeline.settings import load_settings


@click.command()
@click.argument("promotion_id", type=click.IntRange(1, 2**63 - 1), required=False)
@click.option("--task", shell_complete=task_names, help="Undo the last promotion of this task.")
@click.option("--reason", help="Why; stored with the change.  [default: the name of the requester]")
@click.option("--no-bar", is_flag=True, help="Let the next benchmark promote the same champion again.")
@json_option
def rollback(promotion_id: int | None, task: str | None, reason: str | None, no_bar: bool, as_json: bool) -> int:
    """Undo the last promotion, or the change PROMOTION_ID.

    Every conversation that still has the promoted actor gets its old actor back. Conversations that were changed in
    the meantime are left alone and listed. The undone champion is not promoted again until something in its evidence
    changes. A rollback is itself a change: `bench log` shows its id, and `bench rollback` with that id undoes it.

    Exit status: 0 all restored, 1 some were left alone, or it was already undone.
    """
    why = reason or f"requested by {account()}"
    bar = Bar.BENCHMARK if no_bar else Bar.EVIDENCE
    with open_workbench(load_settings()) as bench:
        undone = roll_back(bench, why, account(), promotion_id, task, bar)
        written, _ = write_open_documents(bench)
    if as_json:
        print_json({"rollback": undone, "documents": written})
    else:
        click.echo("\n".join([rollback_text(undone), *document_lines(written)]))
    return 1 if undone.left else 0


@click.command()
@click.argument("conversation", metavar="CONVERSATION_ID")
@json_option
def failover(conversation: str, as_json: bool) -> int:
    """Switch a conversation to its runner-up.

    For a champion that fails in production. Refused if the runner-up was measured too long ago, is disabled, or is no
    longer the measured model. `bench rollback` undoes it.

    Exit status: 0 done, 1 refused.
    """
    with open_workbench(load_settings()) as bench:
        made = fail_over(bench, bench.production.conversation_key(conversation), account())
        written, _ = write_open_documents(bench)
    if as_json:
        print_json({"promotion": made, "documents": written})
    else:
        click.echo(promotion_text(made))
        click.echo("\n".join(document_lines(written)))
    return 0
