"""`bench db`: installs on PostgreSQL. The statements are in storage/writers/installation.py.

Removal is in db_retention.py.
"""

from __future__ import annotations

import click

from bench_pipeline.cli.db_map import map_
from bench_pipeline.cli.db_retention import prune, uninstall
from bench_pipeline.cli.output import json_option, print_json
from bench_pipeline.settings import Settings, load_settings
from bench_pipeline.storage.database import Database, connect_to, open_database
from bench_pipeline.storage.own_schema import in_own_schema
from bench_pipeline.storage.production import open_production
from bench_pipeline.storage.writers.installation import Roles, install, script


@click.group()
def db() -> None:
    """Prepare the database, remove old replies, or uninstall."""


db.add_command(prune)
db.add_command(uninstall)


db.add_command(map_)


@db.command("install")
@click.option("--sql", "only_show", is_flag=True, help="Print all statements instead; changes nothing.")
@json_option
def install_(only_show: bool, as_json: bool) -> int:
    """Create bench's tables, the function that promotes, and two roles.

    The recorder role reads production's tables and writes bench's own; the promoter role can only call that function.
    Run this as the owner of production's tables (BENCH_OWNER_URL), after every update and whenever
    BENCH_PRODUCTION_NAMES changes. Passwords for the roles come from BENCH_RECORDER_PASSWORD and
    BENCH_PROMOTER_PASSWORD; the server only receives their verifiers. With --sql nothing is created; the
    printed script creates or migrates bench's tables as well.

    Exit status: 0 installed or printed, 2 this login lacks the rights.
    """
    settings = load_settings()
    owner = (settings.owner_url or settings.database_url).get_secret_value()
    variable = "BENCH_OWNER_URL" if settings.owner_url else "BENCH_DATABASE_URL"
    if only_show:
        database = Database(in_own_schema(connect_to(variable, owner), settings.own_schema))
    else:
        database = open_database(owner, variable, settings.own_schema)
    try:
        production = open_production(database, settings.production_names, settings.model_actor_types)
        roles = Roles(settings.recorder_role, settings.promoter_role)
        if only_show:
            shown = script(database, production, roles)
        else:
            install(database, production, roles, _passwords(settings))
            shown = []
    finally:
        database.close()
    if as_json:
        print_json({"installed": not only_show, "recorder": roles.recorder, "promoter": roles.promoter, "sql": shown})
    elif only_show:
        click.echo(";\n\n".join(shown) + ";")
    else:
        click.echo(f"✅ {database.name}: tables, function and the roles {roles.recorder} and {roles.promoter}")
        click.echo(f"👉 BENCH_DATABASE_URL logs in as {roles.recorder}, BENCH_PROMOTER_URL as {roles.promoter}")
    return 0


def _passwords(settings: Settings) -> dict[str, str]:
    given = {
        settings.recorder_role: settings.recorder_password,
        settings.promoter_role: settings.promoter_password,
    }
    return {role: password.get_secret_value() for role, password in given.items() if password is not None}
