"""`bench ui`: the options of the server. The processes are in ui/server.py."""

from __future__ import annotations

from pathlib import Path

import click

from bench_pipeline.cli.output import json_option, print_json
from bench_pipeline.ui.server import serve, who_reaches

_WORKSPACE = Path("workspace.yaml")


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), default=3000, show_default=True, help="The port to listen on.")
@click.option(
    "-w",
    "--workspace",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The workspace file to serve. Default: workspace.yaml if it is in this folder, else the installed package.",
)
@json_option
def ui(host: str, port: int, workspace: Path | None, as_json: bool) -> int:
    """Start Dagster's web server and daemon.

    Uses the Dagster instance of DAGSTER_HOME, or of .dagster in this folder when the variable is not set. The
    server has no login: anyone who reaches the address can start runs, which promote. Pages of other sites are refused.
    A process of Dagster that dies is started again. Stopping it also stops a run in progress; what it has measured is
    stored.

    Exit status: 0 stopped by Ctrl-C or SIGTERM, 1 a process ended before it was ready, or again and again.
    """

    def ready(url: str, served: str) -> None:
        reach = who_reaches(host)
        if as_json:
            print_json({"url": url, "serves": served, "login": False, "reached_by": reach})
        else:
            click.echo(f"Dagster on {url} serves {served}; Ctrl-C stops it")
            click.echo(f"It has no login. Runs, and with them promotions, can be started by {reach}.")

    def tell(line: str) -> None:
        click.echo(f"bench: {line}", err=True)

    if workspace is None and _WORKSPACE.exists():
        workspace = _WORKSPACE
    serve(host, port, workspace, ready, tell)
    return 0
