"""`bench ui`: the options of the server. The processes are started in ui/server.py."""

from __future__ import annotations

from pathlib import Path

import click

from bench_pipeline.cli.output import json_option, print_json
from bench_pipeline.ui.server import serve

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

    Uses the Dagster instance of DAGSTER_HOME, or of .dagster in this folder when the variable is not set. There
    is no login: anyone who reaches the address can start runs. Stopping it also stops a run in progress; what it has
    measured is stored.

    Exit status: 0 stopped by Ctrl-C or SIGTERM, 1 the web server or the daemon ended unexpectedly.
    """

    def ready(url: str, served: str) -> None:
        if as_json:
            print_json({"url": url, "serves": served})
        else:
            click.echo(f"Dagster on {url} serves {served}; Ctrl-C stops it")

    if workspace is None and _WORKSPACE.exists():
        workspace = _WORKSPACE
    serve(host, port, workspace, ready)
    return 0
