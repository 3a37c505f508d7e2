"""`bench alerts`: what people were told, what waits, and a test of the receivers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import click

from bench_pipeline.cli.output import json_option, print_json, safe, table
from bench_pipeline.domain.alerts.messages import Messages
from bench_pipeline.domain.errors import InputError
from bench_pipeline.operation.alerting.known_secrets import known_secrets
from bench_pipeline.operation.alerting.receivers import receivers
from bench_pipeline.operation.alerting.sending import GIVEN_UP_AFTER
from bench_pipeline.settings import Settings, load_settings
from bench_pipeline.storage.alerts import StoredAlert, recent_alerts
from bench_pipeline.storage.database import open_database

_SHOWN = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver did with the test message."""

    receiver: str
    accepted: bool
    failure: str | None


@click.command()
@click.argument("action", type=click.Choice(["test"]), required=False)
@json_option
def alerts(action: str | None, as_json: bool) -> int:
    """Show the alerts of the last seven days, or send a test message.

    `bench alerts test` sends a message to each receiver of BENCH_ALERT_URLS and tells which accepted it.

    Exit status: 0 all were accepted, 1 one waits or was refused, 2 no receiver is set or an address is malformed.
    """
    settings = load_settings()
    return _test(settings, as_json) if action else _list(settings, as_json)


def _list(settings: Settings, as_json: bool) -> int:
    now = datetime.now(UTC)
    database = open_database(settings.database_url.get_secret_value(), schema=settings.own_schema)
    try:
        with database.engine.connect() as connection:
            found = recent_alerts(connection, now - _SHOWN)
    finally:
        database.close()
    if as_json:
        print_json([_facts(one, now) for one in found])
    else:
        rows = [(f"{one.made_at:%Y-%m-%d %H:%M}", one.cause, one.title, _state(one, now)) for one in found]
        click.echo(table(("found (UTC)", "cause", "title", "state"), rows) if rows else "no alerts in seven days")
        if settings.alert_urls is None:
            click.echo("BENCH_ALERT_URLS is not set: nobody is told", err=True)
    return 0 if all(one.sent_at for one in found) else 1


def _facts(one: StoredAlert, now: datetime) -> dict[str, object]:
    return {
        "cause": one.cause,
        "subject": one.subject,
        "day": one.day,
        "title": one.title,
        "body": one.body,
        "made_at": one.made_at,
        "sent_at": one.sent_at,
        "attempts": one.attempts,
        "failure": one.failure,
        "given_up": one.sent_at is None and one.made_at <= now - GIVEN_UP_AFTER,
    }


def _state(one: StoredAlert, now: datetime) -> str:
    if one.sent_at is not None:
        return f"sent {one.sent_at:%H:%M}" + (f", but {one.failure}" if one.failure else "")
    state = "given up" if one.made_at <= now - GIVEN_UP_AFTER else "waits"
    return f"{state} after {one.attempts} attempts: {one.failure}" if one.failure else state


def _test(settings: Settings, as_json: bool) -> int:
    to = receivers(settings)
    if not to:
        raise InputError("BENCH_ALERT_URLS: is not set; write one or more addresses, such as mailto://… or json://…")
    message = Messages(known_secrets(settings)).test(datetime.now(UTC))
    answers = []
    for receiver in to:
        failure = receiver.deliver(message.title, message.body(settings.ui_url))
        answers.append(Answer(receiver.name, failure is None, failure))
    if as_json:
        print_json(answers)
    else:
        for one in answers:
            click.echo(safe(f"✅ {one.receiver} accepted it" if one.accepted else f"❌ {one.receiver}: {one.failure}"))
    if any(receiver.fault for receiver in to):
        return 2
    return 0 if all(one.accepted for one in answers) else 1
