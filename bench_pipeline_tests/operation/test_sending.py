"""Alerts are sent once for a cause, a subject and a day, and again until a receiver accepts them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest
from pydantic import SecretStr

from bench_pipeline.domain.alerts.alert import Alert, AlertCause
from bench_pipeline.operation.alerting.receivers import receivers
from bench_pipeline.operation.alerting.sending import Sent, keep, pause_after, send, waiting
from bench_pipeline.settings import Settings
from bench_pipeline.storage.alerts import recent_alerts
from bench_pipeline_tests.fakes.receivers import WebHook, web_hook
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.world import World

NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
UI = "https://dagster.example.org/base"


def alert(subject: str = "one", cause: AlertCause = AlertCause.PROMOTED, at: datetime = NOON) -> Alert:
    return Alert(cause, subject, f"about {subject}", "this", "that", "nothing", at, "/runs/1")


@pytest.fixture
def hook() -> Iterator[WebHook]:
    with web_hook() as hook:
        yield hook


def told(world: World, *hooks: WebHook, now: datetime = NOON) -> Sent:
    """One pass of a sender."""
    urls = SecretStr(" ".join(hook.address() for hook in hooks))
    return send(world.database, receivers(Settings.model_construct(alert_urls=urls)), now)


def test_an_alert_is_kept_and_sent_once_however_often_it_is_found(world: World, hook: WebHook) -> None:
    for minute in range(3):
        keep(world.database, [alert(), alert("two")], UI, NOON + minute * MINUTE)
        told(world, hook, now=NOON + minute * MINUTE)

    assert sorted(hook.titles) == ["about one", "about two"]
    assert hook.bodies[0]["message"].splitlines() == [
        "What happened: this",
        "What it means: that",
        "What to do: nothing",
        f"Look: {UI}/runs/1",
    ]


@ONE_ENGINE
def test_a_state_that_lasts_is_told_again_the_next_day(world: World, hook: WebHook) -> None:
    for now in (NOON, NOON + timedelta(days=1)):
        keep(world.database, [alert(at=now)], None, now)
        told(world, hook, now=now)

    assert hook.titles == ["about one"] * 2


def test_what_no_receiver_accepts_is_kept_and_sent_later(world: World, hook: WebHook) -> None:
    keep(world.database, [alert(), alert("two")], None, NOON)
    hook.status = 503

    assert told(world, hook).failures == ("about one: receiver 1 (json) refused it with status 503",)
    assert len(waiting(world.database, NOON)) == 2
    assert len(hook.requests) == 1  # a receiver that is down is not asked for every alert
    hook.status = 200
    told(world, hook)
    assert hook.titles == ["about two"]  # the first pauses
    told(world, hook, now=NOON + MINUTE)
    assert hook.titles == ["about two", "about one"]
    assert waiting(world.database, NOON) == []


@ONE_ENGINE
def test_pauses_grow_to_an_hour_and_after_a_day_an_alert_is_given_up(world: World, hook: WebHook) -> None:
    assert [pause_after(n) // MINUTE for n in (0, 1, 2, 5, 6, 50)] == [1, 2, 4, 32, 60, 60]
    keep(world.database, [alert()], None, NOON)
    told(world, hook, now=NOON + timedelta(days=1))

    assert hook.requests == []


@ONE_ENGINE
def test_one_receiver_that_accepts_is_enough_and_the_failure_of_the_other_is_kept(world: World, hook: WebHook) -> None:
    keep(world.database, [alert()], None, NOON)
    with web_hook() as other:
        other.status = 500
        told(world, other, hook)
        told(world, other, hook, now=NOON + timedelta(hours=2))

    assert hook.titles == ["about one"]
    with world.database.engine.connect() as connection:
        (stored,) = recent_alerts(connection, NOON - MINUTE)
    assert stored.sent_at is not None
    assert stored.failure == "receiver 1 (json) refused it with status 500"


def test_two_senders_at_once_send_an_alert_once(world: World, hook: WebHook) -> None:
    """The first is held within its delivery until the second has ended its pass."""
    keep(world.database, [alert()], None, NOON)
    hook.meeting = Barrier(2)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(told, world, hook)
        while not hook.requests:  # the first has taken it
            pass
        second = told(world, hook)
        hook.meeting.wait(20)

    assert second == Sent((), ())
    assert first.result().accepted == ("about one",)
    assert hook.titles == ["about one"]


def test_two_senders_that_saw_the_same_rows_send_each_once(world: World, hook: WebHook) -> None:
    keep(world.database, [alert(str(number)) for number in range(6)], None, NOON)
    start = Barrier(2)

    def sender() -> Sent:
        start.wait(20)
        return told(world, hook)

    with ThreadPoolExecutor(2) as pool:
        done = [one.result() for one in [pool.submit(sender), pool.submit(sender)]]

    assert sorted(title for one in done for title in one.accepted) == [f"about {number}" for number in range(6)]
    assert sorted(hook.titles) == [f"about {number}" for number in range(6)]


@ONE_ENGINE
def test_a_sender_that_died_leaves_its_alert_to_the_next(
    world: World, hook: WebHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(world.database, [alert()], None, NOON)

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("bench_pipeline.operation.alerting.receivers.Receiver.deliver", dies)
        with pytest.raises(KeyboardInterrupt):
            told(world, hook)
    told(world, hook, now=NOON + MINUTE)
    assert hook.titles == []
    told(world, hook, now=NOON + 6 * MINUTE)
    assert hook.titles == ["about one"]


@ONE_ENGINE
def test_alerts_older_than_ninety_days_are_removed(world: World) -> None:
    keep(world.database, [alert(at=NOON)], None, NOON)
    keep(world.database, [], None, NOON + timedelta(days=91))

    with world.database.engine.connect() as connection:
        assert recent_alerts(connection, NOON - MINUTE) == []
