"""`bench alerts` and `bench doctor --daemon`, as a person and a timer type them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from dagster._daemon.types import DaemonHeartbeat

from bench_pipeline.demo.home import open_instance
from bench_pipeline.domain.alerts.messages import Messages
from bench_pipeline.operation.alerting.sending import keep
from bench_pipeline_tests.fakes.receivers import WebHook, web_hook
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.shell import Shell, Typed
from bench_pipeline_tests.kit.world import World

pytestmark = ONE_ENGINE


@pytest.fixture
def hook() -> Iterator[WebHook]:
    with web_hook() as hook:
        yield hook


@pytest.fixture
def told(typed: Typed, hook: WebHook, monkeypatch: pytest.MonkeyPatch) -> Typed:
    """The command line with a receiver."""
    monkeypatch.setenv("BENCH_ALERT_URLS", hook.address())
    return typed


# What was told


def test_nothing_was_told_at_first(told: Typed) -> None:
    done = told("alerts")

    assert (done.returncode, done.stdout) == (0, "no alerts in seven days\n")


def test_an_alert_that_waits_is_listed_and_ends_with_1(typed: Typed, world: World) -> None:
    keep(
        world.database, [Messages().run_failed("benchmark_all", "1", "no", datetime.now(UTC))], None, datetime.now(UTC)
    )

    done = typed("alerts")
    as_json = json.loads(typed("alerts", "--json").stdout)

    assert done.returncode == 1
    assert "A run of benchmark_all failed" in done.stdout
    assert "waits" in done.stdout
    assert "BENCH_ALERT_URLS is not set: nobody is told" in done.stderr
    assert [(one["cause"], one["sent_at"], one["given_up"]) for one in as_json] == [("run_failed", None, False)]


def test_a_test_message_tells_of_each_receiver_whether_it_accepted_it(
    told: Typed, hook: WebHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = told("alerts", "test")

    assert (done.returncode, done.stdout) == (0, "✅ receiver 1 (json) accepted it\n")
    assert hook.titles == ["Test message of bench"]

    hook.status = 401
    refused = told("alerts", "test", "--json")
    assert refused.returncode == 1
    assert json.loads(refused.stdout) == [
        {"receiver": "receiver 1 (json)", "accepted": False, "failure": "refused it with status 401"}
    ]

    hook.status = 200
    monkeypatch.setenv("BENCH_ALERT_URLS", f"{hook.address()} slack://s3cret")
    malformed = told("alerts", "test")
    assert malformed.returncode == 2
    assert "❌ receiver 2 (slack): its address is malformed" in malformed.stdout
    assert "s3cret" not in malformed.stdout + malformed.stderr


def test_a_test_without_receivers_is_refused(typed: Typed) -> None:
    done = typed("alerts", "test")

    assert done.returncode == 2
    assert "BENCH_ALERT_URLS: is not set" in done.stderr


# Whether the daemon is alive


@pytest.fixture
def home(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of Dagster on which nothing of Dagster runs."""
    folder = shell.folder / "home"
    folder.mkdir()
    (folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    monkeypatch.setenv("DAGSTER_HOME", str(folder))
    return folder


def beat(home: Path, age_s: float, silent: str = "") -> None:
    """Let every daemon have sent a heartbeat just now, or this long ago if it is the `silent` one."""
    with open_instance(home) as instance:
        for kind in instance.get_required_daemon_types():
            age = age_s if kind == silent else 0.0
            instance.add_daemon_heartbeat(DaemonHeartbeat(time.time() - age, kind, "1", []))


def test_a_daemon_that_beats_is_alive(told: Typed, home: Path, hook: WebHook) -> None:
    beat(home, 0.0)

    done = told("doctor", "--daemon", "--alert")

    assert done.returncode == 0
    assert "✅ daemon SENSOR: last heartbeat" in done.stdout
    assert hook.bodies == []


def test_a_silent_daemon_is_told_once_a_day_also_without_our_database(
    told: Typed, home: Path, hook: WebHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    beat(home, 700.0, silent="SENSOR")

    done = [told("doctor", "--daemon", "--alert") for _ in range(2)]

    assert [one.returncode for one in done] == [1, 1]
    assert "❌ daemon SENSOR: last heartbeat 12 min ago; restart dagster-daemon" in done[0].stdout
    assert hook.titles == ["Dagster's daemon is silent"]
    assert "daemon SENSOR last heartbeat 12 min ago" in hook.bodies[0]["message"]

    monkeypatch.setenv("BENCH_DATABASE_URL", "postgresql://u:p@127.0.0.1:1/db")
    for _ in range(2):
        told("doctor", "--daemon", "--alert")
    assert hook.titles == ["Dagster's daemon is silent"] * 2  # the database does not know of the first


def test_a_daemon_that_never_ran_is_silent_and_nobody_is_told_unless_that_is_asked_for(
    told: Typed, home: Path, hook: WebHook
) -> None:
    done = told("doctor", "--daemon", "--json")

    signs = {one["what"]: one for one in json.loads(done.stdout)}
    assert done.returncode == 1
    assert signs["daemon SENSOR"] == {
        "what": "daemon SENSOR", "ok": False, "text": "has never sent a heartbeat; start dagster-daemon",
        "needed": True, "remedy": "start dagster-daemon",
    }  # fmt: skip
    assert hook.bodies == []


@pytest.mark.parametrize("broken", ["no such home", "a damaged file", "a wrong configuration"])
def test_an_instance_that_cannot_be_read_is_told_as_such(
    told: Typed, home: Path, hook: WebHook, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    if broken == "no such home":
        monkeypatch.setenv("DAGSTER_HOME", "/no/such/home")
    elif broken == "a damaged file":
        beat(home, 0.0)
        for file in home.rglob("*.db"):
            file.write_bytes(b"no database at all" * 100)
    else:
        (home / "dagster.yaml").write_text("storage: {mysql: {mysql_url: 'mysql://u:s3cret@h/d'}}", encoding="utf-8")

    done = told("doctor", "--daemon", "--alert")

    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert hook.titles == ["Dagster's daemon is silent"]
    assert "s3cret" not in f"{done.stderr}{hook.bodies}"


def test_alert_needs_daemon(told: Typed) -> None:
    assert told("doctor", "--alert").returncode == 2


def test_a_folder_without_a_home_is_refused_and_none_is_created(told: Typed, shell: Shell) -> None:
    done = told("doctor", "--daemon")

    assert done.returncode == 2
    assert "DAGSTER_HOME: is not set" in done.stderr
    assert not (shell.folder / ".dagster").exists()
