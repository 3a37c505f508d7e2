"""Whether a benchmark must wait for production now, in words: quiet hours, production's own calls, the servers' queues.

What is not known does not count as use. The rules of the hours are in domain/triggers/quiet_hours.py; how each server
tells what it does is in runtimes/.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta

from sqlalchemy.exc import DBAPIError

from bench_pipeline.benchmark.hardware import server_of
from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.errors import InputError, RuntimeFailure
from bench_pipeline.domain.models.model_ref import ModelRef, UnknownExecutionPath, parse_execution_path
from bench_pipeline.domain.triggers.quiet_hours import parse_quiet_hours, zone_named
from bench_pipeline.runtimes.activity import Activity
from bench_pipeline.runtimes.base import Runtime
from bench_pipeline.settings import Settings

RECENTLY = timedelta(minutes=1)
PAUSE_S = 1.0
"""The time between two looks at a server that only tells when its models were used."""
_LOOK_LIMIT_S = 2.0
_Servers = Mapping[str, Runtime]


def must_wait(bench: Workbench, now: datetime) -> str | None:
    """Return why a benchmark must wait now, or None. Raises `InputError` for a time zone that does not exist."""
    if (quiet := quiet_hours(bench.settings, now)) or not bench.settings.heed_production:
        return quiet
    return _recent_calls(bench, now) or _busy_server(bench)


def quiet_hours(settings: Settings, now: datetime) -> str | None:
    """Return until when quiet hours last, or None outside of them. Raises `InputError` as `must_wait` does."""
    if settings.quiet_hours is None:
        return None
    zone = zone_named(settings.schedule_timezone)
    end = parse_quiet_hours(settings.quiet_hours).end(now.astimezone(zone))
    if end is None:
        return None
    return f"quiet hours last until {end:%a %H:%M}, {settings.schedule_timezone} (BENCH_QUIET_HOURS)"


def _recent_calls(bench: Workbench, now: datetime) -> str | None:
    if bench.application is None:
        return None
    try:
        with bench.database.engine.connect() as connection:
            calls = bench.application.model_calls(connection, now - RECENTLY, now)
    except (InputError, DBAPIError):  # such as no right to read the table
        return None
    return f"production called its models {_times(calls)} in the last minute" if calls else None


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _busy_server(bench: Workbench) -> str | None:
    """Look at every server that an enabled model is on; where only marks of use are told, look twice."""
    servers = _servers(bench)
    first = _looks(servers)
    for name, seen in first.items():
        if seen.requests:
            return f"the server at {name} has {seen.requests} request{'s' if seen.requests > 1 else ''} to answer"
    marked = {name: servers[name] for name, seen in first.items() if seen.uses}
    if not marked:
        return None
    time.sleep(PAUSE_S)
    for name, seen in _looks(marked).items():
        if used := seen.used_since(first[name]):
            return f"the server at {name} is in use: {', '.join(used)} was called just now"
    return None


def _servers(bench: Workbench) -> _Servers:
    """Return the servers of the enabled models by their addresses, without those that may not be asked."""
    places = {server_of(place): place for ref in _models(bench) for place in bench.runtimes.places(ref)}
    found: dict[str, Runtime] = {}
    for place in places.values():
        address = bench.runtimes.address_of(place)
        if address is not None:
            with suppress(RuntimeFailure):
                found[address.url] = bench.runtimes.of(place)
    return found


def _models(bench: Workbench) -> list[ModelRef]:
    if bench.application is None:
        return []
    with bench.database.engine.connect() as connection:
        actors = bench.application.actors(connection, (), ())
    found = []
    for actor in actors:
        if actor.exclusion is None:
            try:
                found.append(parse_execution_path(actor.execution_path))
            except UnknownExecutionPath:
                continue
    return found


def _looks(servers: _Servers) -> dict[str, Activity]:
    """Ask all servers at once; one that does not answer tells nothing."""
    with ThreadPoolExecutor(max_workers=max(len(servers), 1)) as pool:
        return dict(zip(servers, pool.map(_look, servers.values()), strict=True))


def _look(runtime: Runtime) -> Activity:
    try:
        return runtime.activity(_LOOK_LIMIT_S)
    except RuntimeFailure:
        return Activity()
