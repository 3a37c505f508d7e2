"""The sensor `alerts`: it finds failed runs, checks and ticks of Dagster, and sends them with all other alerts."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._utils.error import SerializableErrorInfo
from sqlalchemy import text

from bench_pipeline.assets.workbench_resource import workbench_resource
from bench_pipeline.automation.alerts import SENSOR, alerting_automation, from_dagster
from bench_pipeline.domain.alerts.alert import Alert, AlertCause
from bench_pipeline.domain.alerts.messages import Messages
from bench_pipeline.settings import load_settings
from bench_pipeline_tests.fakes.receivers import WebHook, web_hook
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.world import World

ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
CANARY = "c4n4ry"
LOCATION = "bench_pipeline.definitions"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def lasting(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance with storage, without which there are no ticks."""
    home = tmp_path / "dagster"
    home.mkdir()
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        yield instance


def fails(instance: dg.DagsterInstance, error: Exception, name: str = "doomed") -> str:
    """Run a job whose one step raises this error; return the run's id."""

    @dg.op
    def step() -> None:
        raise error

    @dg.job(name=name)
    def doomed() -> None:
        step()

    return doomed.execute_in_process(instance=instance, raise_on_error=False, run_config=QUIET).run_id


def checked(instance: dg.DagsterInstance, **outcomes: tuple[dg.AssetCheckSeverity, bool, str]) -> str:
    """Materialize an asset with these checks: severity, whether it passed, and description of each; return the run."""

    @dg.asset(key=["grading", "scoreboard"])
    def scoreboard() -> None:
        """Nothing."""

    def check(name: str, severity: dg.AssetCheckSeverity, passed: bool, description: str) -> dg.AssetChecksDefinition:
        @dg.asset_check(asset=scoreboard, name=name)
        def evaluated() -> dg.AssetCheckResult:
            return dg.AssetCheckResult(passed=passed, severity=severity, description=description)

        return evaluated

    checks = [check(name, *outcome) for name, outcome in outcomes.items()]
    return dg.materialize([scoreboard, *checks], instance=instance, run_config=QUIET).run_id


def tick_fails(instance: dg.DagsterInstance, message: str, at: datetime, name: str = "new_models") -> InstigatorState:
    """Store what the daemon stores when a tick of a running sensor fails."""
    location = ManagedGrpcPythonEnvCodeLocationOrigin(LoadableTargetOrigin(module_name=LOCATION), LOCATION)
    origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(location, "__repository__"), name)
    state = InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.RUNNING, SensorInstigatorData())
    if instance.get_instigator_state(state.instigator_origin_id, state.selector_id) is None:
        instance.add_instigator_state(state)
    inner = SerializableErrorInfo(f"bench_pipeline.domain.errors.InputError: {message}\n", [], "InputError")
    outer = SerializableErrorInfo("SensorExecutionError: Error occurred\n", [], "SensorExecutionError", inner)
    instance.create_tick(
        TickData(
            instigator_origin_id=state.instigator_origin_id,
            instigator_name=name,
            instigator_type=InstigatorType.SENSOR,
            status=TickStatus.FAILURE,
            timestamp=at.timestamp(),
            error=outer,
            selector_id=state.selector_id,
        )
    )
    return state


def found(instance: dg.DagsterInstance, back: timedelta = timedelta(hours=1)) -> list[Alert]:
    now = datetime.now(UTC)
    return from_dagster(instance, Messages(), now - back, now + timedelta(minutes=1))[0]


def test_a_failed_run_is_told_with_its_reason_and_its_page(instance: dg.DagsterInstance) -> None:
    run_id = fails(instance, dg.Failure("the server is *down*\nsecond line", allow_retries=False))

    (alert,) = found(instance)

    assert (alert.cause, alert.subject, alert.path) == (AlertCause.RUN_FAILED, "doomed", f"/runs/{run_id}")
    assert "step: the server is ·down·" in alert.happened
    assert alert.at <= datetime.now(UTC)


def test_a_run_that_failed_before_the_last_look_is_not_read_again(instance: dg.DagsterInstance) -> None:
    fails(instance, ValueError("no"))
    now = datetime.now(UTC)

    assert len(from_dagster(instance, Messages(), now - timedelta(seconds=30), now)[0]) == 1
    assert from_dagster(instance, Messages(), now + timedelta(seconds=1), now)[0] == []


def test_many_failed_runs_are_read_in_several_looks(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench_pipeline.automation.alerts._RUNS", 2)
    for number in range(5):
        fails(instance, ValueError("no"), f"job_{number}")
    now = datetime.now(UTC)

    since, seen = now - timedelta(hours=1), set()
    for _ in range(4):
        alerts, since = from_dagster(instance, Messages(), since, now)
        seen |= {one.subject for one in alerts}

    assert seen == {f"job_{number}" for number in range(5)}


def test_the_reason_of_a_defect_is_its_own_message(instance: dg.DagsterInstance) -> None:
    fails(instance, ValueError("no such thing"))

    assert "step: ValueError: no such thing" in found(instance)[0].happened


def test_a_failed_check_is_told_and_the_warnings_of_a_task_together(instance: dg.DagsterInstance) -> None:
    run_id = checked(
        instance,
        two_qualify=(ERROR, False, "one model qualifies"),
        measured=(ERROR, True, "fair"),
        runner_up=(WARN, False, "there is none"),
        near_margin=(WARN, False, "it saves 5.1 %"),
    )

    failed, warned = found(instance)

    assert failed.title == "Failed: check two_qualify of grading/scoreboard"
    assert failed.happened == "one model qualifies."
    assert failed.path == "/assets/grading/scoreboard?view=checks&checkDetail=two_qualify"
    assert warned.title == "2 warnings about grading"
    assert "runner_up of grading/scoreboard: there is none" in warned.happened
    assert "near_margin of grading/scoreboard: it saves 5.1 %" in warned.happened
    assert warned.path == f"/runs/{run_id}"


def test_one_warning_leads_to_its_check(instance: dg.DagsterInstance) -> None:
    checked(instance, runner_up=(WARN, False, "there is none"))

    (warned,) = found(instance)

    assert warned.title == "Warning: check runner_up of grading/scoreboard"
    assert warned.path == "/assets/grading/scoreboard?view=checks&checkDetail=runner_up"


def test_a_failed_tick_is_told_with_its_cause_and_its_page(lasting: dg.DagsterInstance) -> None:
    at = datetime.now(UTC).replace(microsecond=0)
    tick_fails(lasting, "the models cannot be listed", at)
    tick_fails(lasting, "long ago", at - timedelta(hours=2))

    (alert,) = found(lasting)

    assert (alert.cause, alert.subject, alert.at) == (AlertCause.TICK_FAILED, "new_models", at)
    assert "InputError: the models cannot be listed" in alert.happened
    assert alert.path == "/locations/bench_pipeline.definitions/sensors/new_models"


# The sensor


@pytest.fixture
def hook() -> Iterator[WebHook]:
    with web_hook() as hook:
        yield hook


@pytest.fixture
def settled(world: World, hook: WebHook, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world of which the environment tells, with a canary in every secret."""
    monkeypatch.chdir(world.folder)
    for name, value in {
        "BENCH_DATABASE_URL": world.url,
        "BENCH_PROMOTER_URL": f"postgresql://promoter:{CANARY}-p%40@127.0.0.1/db",
        "BENCH_OPENAI_API_KEY": f"sk-{CANARY}-key",
        "BENCH_ALERT_URLS": hook.address(f"{CANARY}-token"),
        "BENCH_UI_URL": "https://dagster.example.org",
        "BENCH_TESTCASES_DIR": str(world.folder / "testcases"),
        "DAGSTER_PG_PASSWORD": f"{CANARY}-d/\\",
    }.items():
        monkeypatch.setenv(name, value)
    return world


def tick(instance: dg.DagsterInstance, cursor: str | None = None) -> dg.SensorResult:
    """Evaluate the sensor once, as the daemon does."""
    (sensor,) = alerting_automation(load_settings())
    resources = {"workbench": workbench_resource(load_settings())}
    result = sensor(dg.build_sensor_context(instance=instance, cursor=cursor, resources=resources))
    assert isinstance(result, dg.SensorResult)
    return result


def reason(result: dg.SensorResult) -> str:
    skipped = result.skip_reason
    return str(skipped.skip_message if isinstance(skipped, dg.SkipReason) else skipped)


@ONE_ENGINE
def test_a_tick_tells_of_production_and_of_dagster_and_the_next_one_does_not_repeat_it(
    settled: World, instance: dg.DagsterInstance, hook: WebHook
) -> None:
    settled.promoted()
    run_id = fails(instance, ValueError("no"))

    first = tick(instance)
    fails(instance, ValueError("again"))  # the same job on the same day
    second = tick(instance, first.cursor)

    assert hook.titles == ["Promotion 1 changed production: grading", "A run of doomed failed"]
    assert f"Look: https://dagster.example.org/runs/{run_id}" in hook.bodies[1]["message"]
    assert reason(first) == "2 new, 2 sent, 0 waiting"
    assert reason(second) == "0 new, 0 sent, 0 waiting"


@ONE_ENGINE
def test_a_tick_without_receivers_keeps_the_alerts_and_says_that_nobody_is_told(
    settled: World, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BENCH_ALERT_URLS")
    settled.promoted()

    assert reason(tick(instance)) == "1 new, 0 sent, 1 waiting; BENCH_ALERT_URLS is not set, so nobody is told"


@ONE_ENGINE
def test_no_secret_is_received_logged_or_stored(
    settled: World,
    lasting: dg.DagsterInstance,
    hook: WebHook,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Errors of every kind quote every secret, and the first attempt to send fails."""
    secrets = [f"{CANARY}-p@", f"{CANARY}-p%40", f"sk-{CANARY}-key", f"{CANARY}-token", f"{CANARY}-d/\\"]
    said = " and ".join([*secrets, f"{hook.address(f'{CANARY}-token')}", f"http://u:{CANARY}-unknown@gpu:1"])
    logging.disable(logging.CRITICAL)  # these failures are the tests' own
    fails(lasting, ValueError(said))
    checked(lasting, two_qualify=(ERROR, False, said))
    tick_fails(lasting, said, datetime.now(UTC))
    logging.disable(logging.NOTSET)
    capfd.readouterr()
    caplog.clear()
    caplog.set_level(logging.DEBUG)

    hook.status = 500
    first = tick(lasting)
    with settled.database.engine.connect() as connection:
        stored = str(connection.execute(text("SELECT * FROM benchmark_alerts")).all())
    hook.status = 200
    second = tick(lasting, first.cursor)

    assert len(hook.bodies) == 2  # the first pauses
    everything = f"{hook.bodies}{stored}{first}{second}{caplog.text}{''.join(capfd.readouterr())}"
    assert "refused it with status 500" in stored
    assert "(hidden)" in everything
    assert CANARY not in everything


@ONE_ENGINE
def test_a_database_that_cannot_be_opened_fails_the_tick_and_is_told_later(
    settled: World, lasting: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, hook: WebHook
) -> None:
    monkeypatch.setenv("BENCH_DATABASE_URL", "mysql://h/db")
    with pytest.raises(dg.Failure, match="is not supported"):
        tick(lasting)

    state = tick_fails(lasting, "no database", datetime.now(UTC), SENSOR)
    monkeypatch.setenv("BENCH_DATABASE_URL", settled.url)
    tick(lasting)

    assert state.name == SENSOR
    assert hook.titles == ["A tick of alerts failed"]
