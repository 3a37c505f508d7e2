"""`bench db`: installs on PostgreSQL, and rehearses a promotion. The statements are in storage/writers/.

Removal is in db_retention.py, the proposal of names in db_map.py.
"""

from __future__ import annotations

import sys
from contextlib import closing

import click

from bench_pipeline.benchmark.conversations import existing_conversations
from bench_pipeline.benchmark.task_folders import read_task, task_folders
from bench_pipeline.cli.db_map import map_
from bench_pipeline.cli.db_retention import prune, uninstall
from bench_pipeline.cli.output import json_option, print_json, safe
from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.mapping.names import Names
from bench_pipeline.settings import Settings, load_settings
from bench_pipeline.storage.database import Database, look_into, open_database, without_tables
from bench_pipeline.storage.production import Production, open_production
from bench_pipeline.storage.schema import SCHEMA_VERSION, version_of
from bench_pipeline.storage.writers.installation import Roles, install, refuse_missing_right, script
from bench_pipeline.storage.writers.rehearsal import Rehearsal, prepare_rehearsal, rehearse


@click.group()
def db() -> None:
    """Prepare the database, rehearse, remove old replies, or uninstall."""


for _command in (map_, prune, uninstall):
    db.add_command(_command)


@db.command("install")
@click.option("--sql", "only_show", is_flag=True, help="Print all statements instead; changes nothing.")
@click.option(
    "--rehearse/--no-rehearse",
    "wanted",
    default=None,
    help="Rehearse a promotion afterwards, as `bench db rehearse` does.  [default: ask on a terminal, else do not]",
)
@json_option
def install_(only_show: bool, wanted: bool | None, as_json: bool) -> int:
    """Create bench's tables, the function that promotes, and two roles.

    The recorder role reads production's tables and writes bench's own; the promoter role can only call that function.
    Run this as the owner of production's tables (BENCH_OWNER_URL), after every update and whenever
    BENCH_PRODUCTION_NAMES changes. Passwords for the roles come from BENCH_RECORDER_PASSWORD and
    BENCH_PROMOTER_PASSWORD; the server only receives their verifiers. With --sql nothing is created; the
    printed script creates or migrates bench's tables as well.

    A database in which an installation would be useless or unsafe is refused, with the statement that repairs it.

    Exit status: 0 installed or printed, 1 the rehearsal failed, 2 this login lacks the rights, or it is refused.
    """
    settings = load_settings()
    roles = _roles(settings)
    url, variable = _owner(settings)
    with closing(look_into(url, variable, settings.own_schema)) as seen:
        refuse_missing_right(seen, *_mapping(settings))
    if only_show:
        return _show(_script(settings, roles), roles, as_json)
    with closing(open_database(url, variable, settings.own_schema)) as database:
        production = open_production(database, *_mapping(settings))
        install(database, production, roles, _passwords(settings))
        if as_json:
            done = {"installed": True, "recorder": roles.recorder, "promoter": roles.promoter, "sql": []}
            print_json({**done, "rehearsal": _rehearsed(settings, database, production) if wanted else None})
        else:
            click.echo(f"✅ {database.name}: tables, function and the roles {roles.recorder} and {roles.promoter}")
            click.echo(f"👉 BENCH_DATABASE_URL logs in as {roles.recorder}, BENCH_PROMOTER_URL as {roles.promoter}")
            _rehearse_at_the_end(settings, database, production, wanted)
    return 0


def _script(settings: Settings, roles: Roles) -> list[str]:
    url, variable = _owner(settings)
    with closing(without_tables(url, variable, settings.own_schema)) as database:
        return script(database, open_production(database, *_mapping(settings)), roles)


def _show(statements: list[str], roles: Roles, as_json: bool) -> int:
    if as_json:
        done = {"installed": False, "recorder": roles.recorder, "promoter": roles.promoter, "sql": statements}
        print_json({**done, "rehearsal": None})
    else:
        click.echo(";\n\n".join(statements) + ";")
    return 0


def _mapping(settings: Settings) -> tuple[Names, tuple[str, ...]]:
    """Return the names of production and the types of actors that are models, as `open_production` takes them."""
    return settings.production_names, settings.model_actor_types


def _rehearse_at_the_end(settings: Settings, database: Database, production: Production, wanted: bool | None) -> None:
    if wanted is None and sys.stdin.isatty():
        rehearsal = _prepared(settings, database, production)
        wanted = click.confirm(safe(_question(rehearsal)))
    if wanted:
        click.echo(safe(_success(_rehearsed(settings, database, production))))
    else:
        click.echo("👉 nothing was rehearsed; `bench db rehearse` tries a promotion")


@db.command("rehearse")
@click.option("--yes", is_flag=True, help="Rehearse without asking.")
@json_option
def rehearse_(yes: bool, as_json: bool) -> int:
    """Make a promotion in a transaction that is rolled back.

    One conversation gets another enabled actor, by the same function as in a real promotion. Your triggers on
    conversations run; what they do outside the database is not rolled back, so you are asked first. Run this as the
    owner of production's tables (BENCH_OWNER_URL, else BENCH_DATABASE_URL).

    Exit status: 0 a promotion works, 1 it was refused or you declined, 2 it cannot be tried.
    """
    settings = load_settings()
    url, variable = _owner(settings)
    with closing(look_into(url, variable, settings.own_schema)) as seen, seen.engine.connect() as connection:
        if version_of(connection) != SCHEMA_VERSION:
            remedy = "run `bench db install`" if seen.engine.dialect.name == "postgresql" else "run `bench reconcile`"
            raise InputError(f"{variable}: {seen.name} lacks our tables in version {SCHEMA_VERSION}; {remedy} first")
    with closing(open_database(url, variable, settings.own_schema)) as database:
        production = open_production(database, *_mapping(settings))
        rehearsal = _prepared(settings, database, production)
        if not yes:
            if as_json or not sys.stdin.isatty():
                raise InputError(f"{_what_runs(rehearsal)}; add --yes to rehearse without a question")
            if not click.confirm(safe(_question(rehearsal))):
                return 1
        rehearse(database, production, rehearsal)
    if as_json:
        print_json(rehearsal)
    else:
        click.echo(safe(_success(rehearsal)))
    return 0


def _owner(settings: Settings) -> tuple[str, str]:
    """Return the owner's address and its variable."""
    if settings.owner_url is not None:
        return settings.owner_url.get_secret_value(), "BENCH_OWNER_URL"
    return settings.database_url.get_secret_value(), "BENCH_DATABASE_URL"


def _roles(settings: Settings) -> Roles:
    return Roles(settings.recorder_role, settings.promoter_role)


def _prepared(settings: Settings, database: Database, production: Production) -> Rehearsal:
    existing = existing_conversations(database, production)
    tasks = [existing.of(read_task(settings, name)) for name in task_folders(settings).valid]
    served = [number for task in tasks for number in task.conversations]
    return prepare_rehearsal(database, production, _roles(settings), served)


def _rehearsed(settings: Settings, database: Database, production: Production) -> Rehearsal:
    rehearsal = _prepared(settings, database, production)
    rehearse(database, production, rehearsal)
    return rehearsal


def _what_runs(rehearsal: Rehearsal) -> str:
    if not rehearsal.triggers:
        return "no trigger runs"
    return f"these triggers of conversations run: {', '.join(rehearsal.triggers)}"


def _question(rehearsal: Rehearsal) -> str:
    return (
        f"Give conversation {rehearsal.conversation_id} ({rehearsal.conversation}) actor {rehearsal.new_actor_id} "
        f"({rehearsal.new_actor}) in a transaction that is rolled back; {_what_runs(rehearsal)}. Continue?"
    )


def _success(rehearsal: Rehearsal) -> str:
    return (
        f"✅ a promotion works: conversation {rehearsal.conversation_id} ({rehearsal.conversation}) went from actor "
        f"{rehearsal.old_actor_id} ({rehearsal.old_actor}) to {rehearsal.new_actor_id} ({rehearsal.new_actor}), and "
        f"all of it was rolled back; {_what_runs(rehearsal)}"
    )


def _passwords(settings: Settings) -> dict[str, str]:
    given = {
        settings.recorder_role: settings.recorder_password,
        settings.promoter_role: settings.promoter_password,
    }
    return {role: password.get_secret_value() for role, password in given.items() if password is not None}
