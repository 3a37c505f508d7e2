"""`bench doctor --daemon`: the check that notices, from outside Dagster, that Dagster is dead.

It has to work when everything else does not: without web server, without daemon, and without our database.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

import click
from sqlalchemy.exc import DBAPIError

from bench_pipeline.cli.doctor_database import Line
from bench_pipeline.cli.output import print_json, safe
from bench_pipeline.domain.alerts.alert import Alert
from bench_pipeline.domain.alerts.messages import Messages
from bench_pipeline.domain.errors import BenchError, InputError
from bench_pipeline.operation.alerting.known_secrets import known_secrets
from bench_pipeline.operation.alerting.receivers import Receiver, receivers
from bench_pipeline.operation.alerting.sending import keep, send
from bench_pipeline.settings import Settings
from bench_pipeline.storage.database import open_database

_NOTE = "bench_told_daemon_silent"


def doctor_daemon(settings: Settings, tells: bool, as_json: bool) -> int:
    """Show the signs of life, with `tells` send an alert when one is missing, and return the exit status."""
    from bench_pipeline.automation.daemon_health import existing_home, signs_of_life

    messages, now = Messages(known_secrets(settings)), datetime.now(UTC)
    home = None
    try:
        home = existing_home()
        signs = signs_of_life(home)
    except InputError as error:
        said = messages.plain(str(error), 500)
        _say(_tell(settings, messages.daemon_silent(said, now), home) if tells else [])
        raise InputError(said) from None
    lines = [_line(sign.what, sign.ok, messages.plain(sign.text)) for sign in signs]
    silent = "; ".join(f"{sign.what} {sign.text}" for sign in signs if not sign.ok)
    if as_json:
        print_json(lines)
    else:
        for line in lines:
            click.echo(safe(f"{'✅' if line.ok else '❌'} {line.what}: {line.text}"))
    _say(_tell(settings, messages.daemon_silent(silent, now), home) if silent and tells else [])
    return 1 if silent else 0


def _line(what: str, ok: bool, text: str) -> Line:
    return Line(what, ok, text, remedy=text.partition("; ")[2] or None)


def _say(lines: Sequence[str]) -> None:
    for line in lines:
        click.echo(safe(line), err=True)


def _tell(settings: Settings, alert: Alert, home: Path | None) -> list[str]:
    """Send the alert, once a day; return lines about what failed."""
    to = receivers(settings)
    if not to:
        return ["BENCH_ALERT_URLS is not set: nobody is told"]
    try:
        with closing(open_database(settings.database_url.get_secret_value(), schema=settings.own_schema)) as database:
            keep(database, [alert], settings.ui_url, alert.at)
            return [f"not sent: {failure}" for failure in send(database, to, alert.at).failures]
    except (BenchError, DBAPIError):
        return _tell_directly(settings, alert, to, home)


def _tell_directly(settings: Settings, alert: Alert, to: Sequence[Receiver], home: Path | None) -> list[str]:
    """Send without our database; a file in Dagster's home then remembers the day."""
    note = home / _NOTE if home else None
    with suppress(OSError):
        if note and note.read_text(encoding="utf-8") == alert.day:
            return []
    refusals = [
        f"not sent: {one.name} {why}" for one in to if (why := one.deliver(alert.title, alert.body(settings.ui_url)))
    ]
    if note and len(refusals) < len(to):
        with suppress(OSError):
            note.write_text(alert.day, encoding="utf-8")
    return refusals
