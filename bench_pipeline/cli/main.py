"""The entry point: the table of commands. How an error becomes a line and an exit status is in failures.py.

Each command is in the module that the table names.
"""

from __future__ import annotations

import gc
import sys
from importlib import import_module
from importlib.metadata import version

import click

from bench_pipeline.cli.streams import lost_output, set_up_streams

# name: (module, first line of its help). A module is imported when its command is used, so `bench --help` stays fast.
COMMANDS = {
    "demo": ("demo", "Try everything on a sample database with real small models."),
    "run": ("run", "Measure models on a task, rank them and write the report."),
    "models": ("models", "Show which models are eligible, and why the others are not."),
    "cases": ("cases", "Check test cases, show what they ask, or import drafts of them."),
    "history": ("history", "Show a task's champions over time."),
    "rescore": ("rescore", "Re-judge stored replies with the current reader; calls no model."),
    "why": ("why", "Show the outcome of a model in every benchmark, newest first."),
    "plan": ("production", "Show what a benchmark would change in production."),
    "decide": ("decide", "Show each decision with its evidence, or recompute a stored one."),
    "promote": ("production", "Put the champion into production, validate, write the documents."),
    "approve": ("gates", "Approve the stored plan whose hash begins with PLAN."),
    "freeze": ("gates", "Stop all promotions until `bench thaw`."),
    "thaw": ("gates", "Allow promotions again."),
    "rollback": ("rollback", "Undo the last promotion, or the change PROMOTION_ID."),
    "failover": ("rollback", "Switch a conversation to its runner-up."),
    "validate": ("production", "Run the test cases again on the promoted champion."),
    "reconcile": ("production", "Complete what an interrupted run left open."),
    "log": ("audit", "Show every change to production, newest first."),
    "blame": ("audit", "Explain why a conversation has its actor."),
    "docs": ("production", "Write the workflow documents and the champion registry."),
    "db": ("db", "Prepare the database, rehearse, remove old replies, or uninstall."),
    "triggers": ("triggers", "Show what waits for a run, why, how often it failed, and when it is tried again."),
    "retry": ("triggers", "Take up again what was given up, and try now what waits for a later moment."),
    "ui": ("ui", "Start Dagster's web server and daemon."),
    "heal": ("heal", "End runs of Dagster whose process is dead."),
    "alerts": ("alerts", "Show the alerts of the last seven days, or send a test message."),
    "doctor": ("doctor", "Check database, runtimes, disk and versions."),
    "completion": ("completion", "Print a script that completes commands, options and tasks in your shell."),
}

EPILOG = """
\b
Start here:
  bench demo                                   everything once, on a sample database
  bench run --task grading --models a:1b,b:3b  two models on your Ollama server
  bench plan --task grading                    what would change, and why

Settings come from BENCH_... variables or .env; see docs/reference/settings.md.
Exit status: 0 done, 1 check failed or refused, 2 invalid input, 70 a defect of bench, 130 interrupted.
"""


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the commands in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import and return a command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"bench_pipeline.cli.{COMMANDS[cmd_name][0]}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands from the table, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(version("bench_pipeline"), prog_name="bench")
def bench() -> None:
    """Find, for every task, the fastest model that is always correct, and put it into production safely."""


def main() -> None:
    """Run the command line; an exception becomes one line and an exit status."""
    set_up_streams()
    gc.set_threshold(100_000)  # imported objects stay alive; searching them for cycles took 5 % of a command's time
    try:
        status = bench.main(prog_name="bench", standalone_mode=False)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the last resort of every command
        from bench_pipeline.cli.failures import asks_for_json, report

        status = report(error, asks_for_json(bench, sys.argv[1:]))
    if (lost := lost_output()) is not None:
        click.echo(f"bench: the output could not be written: {lost.strerror}", err=True)
        status = status or 1
    gc.freeze()  # otherwise the interpreter searches all modules for cycles on exit: 0.13 s per command
    sys.exit(status if isinstance(status, int) else 0)
