"""Dagster's web server with our guard before it and with who clicked in its runs.

It runs as its own process, `python -m bench_pipeline.ui.webserver`, and takes the options of `dagster-webserver`, also
in a deployment. Building the server in another process would need its workspace context, which only private modules of
Dagster create. server.py starts and stops it here. What is refused is in guard.py.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import dagster_webserver.app
from dagster_webserver.cli import dagster_webserver as command_line
from dagster_webserver.webserver import DagsterWebserver
from starlette.middleware import Middleware

from bench_pipeline.settings import load_settings
from bench_pipeline.ui.clicks import name_users, proxy_user
from bench_pipeline.ui.guard import Guard


class Webserver(DagsterWebserver[Any, Any]):
    """Dagster's web server behind the guard. Its own hooks are all that is used."""

    def build_middleware(self) -> list[Middleware]:
        """Return our guard, then Dagster's own."""
        guard = Middleware(Guard, names=load_settings().own_ui_names, prefix=self._app_path_prefix)
        return [guard, *super().build_middleware()]

    def build_graphql_schema(self) -> Any:  # noqa: ANN401 - a library without types
        """Return Dagster's schema, in which every run that is started has the tag of its user."""
        schema = super().build_graphql_schema()
        header = load_settings().proxy_user_header
        name_users(schema.graphql_schema.mutation_type, proxy_user(header) if header else None)
        return schema


def main(arguments: Sequence[str]) -> None:
    """Serve until a signal ends it."""
    # Dagster's command has no option for another class; a test fails if it ignores this one.
    dagster_webserver.app.DagsterWebserver = Webserver  # type: ignore[attr-defined]
    # The address of a request is that of the proxy which sent it, not one that a header claims.
    os.environ["FORWARDED_ALLOW_IPS"] = ""
    command_line.main(list(arguments), prog_name="dagster-webserver")


if __name__ == "__main__":
    main(sys.argv[1:])
