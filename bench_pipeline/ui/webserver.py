"""Dagster's web server with our middleware, which every request passes before it reaches Dagster.

It runs as its own process, `python -m bench_pipeline.ui.webserver`, and takes the options of `dagster-webserver`.
Building the server in another process would need its workspace context, which only private modules of Dagster create.
server.py starts and stops it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import dagster_webserver.app
from dagster_webserver.cli import dagster_webserver as command_line
from dagster_webserver.webserver import DagsterWebserver
from starlette.middleware import Middleware

MIDDLEWARE: list[Middleware] = []
"""Outermost first. Middleware that guards something is added only here."""


class Webserver(DagsterWebserver[Any, Any]):
    """Dagster's web server behind `MIDDLEWARE`."""

    def build_middleware(self) -> list[Middleware]:
        """Return our middleware, then Dagster's own."""
        return [*MIDDLEWARE, *super().build_middleware()]


def main(arguments: Sequence[str]) -> None:
    """Serve until a signal ends it."""
    # Dagster's command has no option for another class; a test fails if it ignores this one.
    dagster_webserver.app.DagsterWebserver = Webserver  # type: ignore[attr-defined]
    command_line.main(list(arguments), prog_name="dagster-webserver")


if __name__ == "__main__":
    main(sys.argv[1:])
