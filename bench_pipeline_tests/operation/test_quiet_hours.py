"""What a benchmark waits for: quiet hours, production's calls, and a server that is in use."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr
from sqlalchemy import insert, text, update

from bench_pipeline.domain.errors import InputError
from bench_pipeline.operation import quiet_hours
from bench_pipeline.operation.quiet_hours import must_wait
from bench_pipeline.settings import Settings
from bench_pipeline_tests.fakes.ollama_server import FakeOllama
from bench_pipeline_tests.fakes.recorded_server import Recorded, RecordedServer, silent_port
from bench_pipeline_tests.kit.engines import ONE_ENGINE, ONLY_POSTGRESQL
from bench_pipeline_tests.kit.models import FAST, SCRIPT, SLOW, fake_models
from bench_pipeline_tests.kit.production import actors, interactions
from bench_pipeline_tests.kit.shell import Typed
from bench_pipeline_tests.kit.tasks import GRADE_A
from bench_pipeline_tests.kit.world import World
from bench_pipeline_tests.runtimes.test_openai_servers import SAID

MONDAY_NOON = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _without_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quiet_hours, "PAUSE_S", 0.0)


# Quiet hours


@ONE_ENGINE
def test_quiet_hours_say_until_when_they_last_in_the_zone_of_the_schedule(world: World) -> None:
    world.configure(quiet_hours="mon-fri 08:00-18:00", schedule_timezone="America/New_York")

    assert must_wait(world.bench, MONDAY_NOON) is None
    assert must_wait(world.bench, MONDAY_NOON + timedelta(hours=1)) == (
        "quiet hours last until Mon 18:00, America/New_York (BENCH_QUIET_HOURS)"
    )


@ONE_ENGINE
def test_a_time_zone_that_does_not_exist_is_refused(world: World) -> None:
    world.configure(quiet_hours="08:00-18:00", schedule_timezone="Mars/Olympus")
    with pytest.raises(InputError, match="BENCH_SCHEDULE_TIMEZONE: 'Mars/Olympus' is not a time zone"):
        must_wait(world.bench, MONDAY_NOON)


def test_unreadable_quiet_hours_are_refused_with_the_settings() -> None:
    with pytest.raises(ValueError, match="'always' has no times; write days and times, such as mon-fri 08:00-18:00"):
        Settings(quiet_hours="always")


@ONE_ENGINE
def test_a_benchmark_that_a_person_starts_in_quiet_hours_runs_and_tells(
    typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_QUIET_HOURS", "mon-sat 00:00-24:00; sun 00:00-23:59; sun 00:00-24:00")
    assert "BENCH_QUIET_HOURS: the quiet hours cover the whole week" in typed("run", "--task", "grading").stderr

    now = datetime.now(UTC)
    begin, end = now - timedelta(hours=2), now + timedelta(hours=2)
    monkeypatch.setenv("BENCH_QUIET_HOURS", f"{begin:%H:%M}-{end:%H:%M}")
    done = typed("run", "--task", "grading", "--models", "fast", "--json")

    assert done.returncode == 0
    assert f"quiet hours last until {end:%a %H:%M}, UTC" in done.stderr
    assert "this benchmark starts all the same" in done.stderr


# Production's own calls


def called(world: World, actor_id: int, seconds_ago: float) -> None:
    at = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    call = {"conversation_id": GRADE_A, "actor_id": actor_id, "latency_ms": 2000.0, "created_at": at}
    world.change(insert(interactions).values(call))


def test_calls_of_the_last_minute_are_waited_for(world: World) -> None:
    called(world, SLOW, 3600)
    called(world, SCRIPT, 1)
    assert must_wait(world.bench, datetime.now(UTC)) is None

    called(world, FAST, 20)
    called(world, SLOW, 1)

    assert must_wait(world.bench, datetime.now(UTC)) == "production called its models 2 times in the last minute"


@ONLY_POSTGRESQL
def test_calls_that_may_not_be_read_are_not_waited_for(world: World) -> None:
    called(world, SLOW, 1)
    world.change(text("REVOKE SELECT ON interactions FROM bench_recorder"))
    assert must_wait(world.bench, datetime.now(UTC)) is None


@ONE_ENGINE
def test_where_production_is_not_to_be_heeded_only_quiet_hours_count(world: World) -> None:
    called(world, SLOW, 1)
    world.configure(heed_production=False)
    assert must_wait(world.bench, datetime.now(UTC)) is None

    world.configure(quiet_hours="mon-fri 08:00-18:00")
    assert must_wait(world.bench, MONDAY_NOON) is not None


# The servers


def resident(expires_at: str) -> Recorded:
    return Recorded({"models": [{"name": "slow:7b", "model": "slow:7b", "expires_at": expires_at}]})


FIRST, LATER = "2026-11-30T12:05:00.1+01:00", "2026-11-30T12:05:01.4+01:00"


@ONE_ENGINE
def test_every_named_host_of_a_model_is_looked_at(world: World) -> None:
    with FakeOllama(fake_models()) as idle, FakeOllama(fake_models()) as used:
        world.configure(ollama_hosts=SecretStr(f"gpu1={idle.url},gpu2={used.url}"))
        used.refusals["/api/ps"] = [resident(FIRST), resident(LATER)]

        found = must_wait(world.bench, MONDAY_NOON)

    assert found == f"the server at {used.url} is in use: slow:7b was called just now"


@pytest.mark.parametrize(
    ("looks", "why"),
    [
        ([resident(FIRST), resident(LATER)], "is in use: slow:7b was called just now"),
        ([Recorded({"models": []}), resident(FIRST)], None),  # it is idle at the first look
        ([resident(FIRST), resident(FIRST)], None),
        ([resident(FIRST), Recorded({"models": None})], None),
        ([resident(FIRST), Recorded("no JSON")], None),
        ([Recorded({"error": "down"}, 500), resident(LATER)], None),
        ([Recorded({"models": [{"name": "old:1b"}]}), resident(LATER)], None),  # an old server tells no moment
    ],
    ids=["used", "nothing loaded", "loaded and idle", "unloaded meanwhile", "garbled", "failing", "old"],
)
@ONE_ENGINE
def test_an_ollama_server_is_in_use_when_the_end_of_a_loaded_model_moves(
    world: World, looks: list[Recorded], why: str | None
) -> None:
    world.server.refusals["/api/ps"] = looks

    found = must_wait(world.bench, MONDAY_NOON)

    assert found == (why and f"the server at {world.server.url} {why}")


VLLM_METRICS = """# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="a {b} c"} %s
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="m"} %s
vllm:num_requests_waiting_by_reason{reason="capacity"} 9.0
"""
SLOTS = [{"id": 0, "is_processing": False}, {"id": 1, "is_processing": True, "prompt": "secret"}]
TGI_METRICS = "tgi_queue_size 2\ntgi_batch_current_size 1\n"
SGLANG_METRICS = 'sglang:num_running_reqs{model_name="m"} 3.0\nsglang:num_queue_reqs{model_name="m"} 0.0\n'


@pytest.mark.parametrize(
    ("kind", "route", "answer", "requests"),
    [
        ("vLLM", "/metrics", VLLM_METRICS % ("1.0", "4.0"), "5 requests"),
        ("vLLM", "/metrics", VLLM_METRICS % ("0.0", "0.0"), None),
        ("vLLM", "/metrics", VLLM_METRICS % ("NaN", "+Inf"), None),
        ("vLLM", "/metrics", "", None),
        ("vLLM", "/elsewhere", "", None),
        ("SGLang", "/metrics", SGLANG_METRICS, "3 requests"),
        ("TGI", "/metrics", TGI_METRICS, "3 requests"),
        ("llama.cpp's server", "/slots", Recorded(SLOTS), "1 request"),
        ("llama.cpp's server", "/slots", Recorded(SLOTS[:1]), None),
        ("llama.cpp's server", "/slots", Recorded({"error": {"code": 501, "message": "no slots"}}, 501), None),
        ("llama.cpp's server", "/slots", {"error": "no list"}, None),
        ("llama.cpp's server in router mode", "/slots", Recorded(SLOTS), None),
        ("llama-swap", "/slots", Recorded(SLOTS), None),
        ("LM Studio", "/metrics", VLLM_METRICS % ("1.0", "0.0"), None),
    ],
)
@ONE_ENGINE
def test_an_openai_compatible_server_is_in_use_when_it_tells_of_requests(
    world: World, kind: str, route: str, answer: object, requests: str | None
) -> None:
    with RecordedServer({"/v1/models": {"data": [SAID[kind]]}, route: answer}) as server:
        world.add_actor(20, "m", f"openai:{server.url}/v1#m")

        found = must_wait(world.bench, MONDAY_NOON)

        assert found == (requests and f"the server at {server.url}/v1 has {requests} to answer")


@ONE_ENGINE
def test_the_v1_of_an_ollama_server_is_looked_at_like_the_server_itself(world: World) -> None:
    answers = {"/v1/models": {"data": [SAID["Ollama's /v1"]]}, "/api/ps": [resident(FIRST), resident(LATER)]}
    with RecordedServer(answers) as server:
        world.add_actor(20, "m", f"openai:{server.url}/v1#m")
        assert must_wait(world.bench, MONDAY_NOON) == (
            f"the server at {server.url}/v1 is in use: slow:7b was called just now"
        )


@ONE_ENGINE
def test_dead_silent_and_forbidden_servers_and_unknown_paths_are_not_in_use(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quiet_hours, "_LOOK_LIMIT_S", 0.05)
    with ExitStack() as opened:
        silent = opened.enter_context(silent_port())
        world.add_actor(20, "silent server", f"openai:http://127.0.0.1:{silent}/v1#m")
        world.add_actor(21, "dead server", "ollama:m@http://127.0.0.1:9")
        world.add_actor(22, "forbidden", "openai:http://elsewhere.example/v1#m")
        world.add_actor(23, "unknown", "telnet:there")
        assert must_wait(world.bench, MONDAY_NOON) is None


@ONE_ENGINE
def test_a_server_of_disabled_models_only_is_not_looked_at(world: World) -> None:
    world.change(update(actors).values(enabled=False))
    world.server.log.clear()

    assert must_wait(world.bench, MONDAY_NOON) is None
    assert world.server.requests("/api/ps") == []
