"""Bad input gets one clear line, without a stack and without a password, and the exit status that says whose fault."""

from __future__ import annotations

import os
import re

import pytest
from sqlalchemy import text

from bench_pipeline.storage.locks import BENCHMARK
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.shell import Typed
from bench_pipeline_tests.kit.tasks import suite_value, write_task
from bench_pipeline_tests.kit.world import World

pytestmark = ONE_ENGINE
KNOWN = "there is no task 'typo' in testcases; known tasks: grading"


def complaint(typed: Typed, *arguments: str) -> tuple[int, str]:
    """The exit status and the one line; nothing else may stand on either stream."""
    done = typed(*arguments)
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--task", "typo"),
        ("plan", "--task", "typo"),
        ("promote", "--task", "typo"),
        ("validate", "--task", "typo"),
        ("history", "--task", "typo"),
    ],
    ids=" ".join,
)
def test_an_unknown_task_names_the_known_ones(typed: Typed, arguments: tuple[str, ...]) -> None:
    assert complaint(typed, *arguments) == (2, f"bench: {KNOWN}\n")


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("run", "--task", "grading", "--models", " , "), 2, "--models: contains no model names; write one name per"),
        (("run", "--task", "grading", "--models", "absent"), 1, "absent:latest is not installed on the Ollama server"),
        (("run", "--task", "grading", "--models", "ticket.py"), 1, "its actor_type is 'script', not 'ai_model'"),
        (("run", "--task", "grading", "--models-file", "empty.txt"), 2, "empty.txt: contains no model names"),
        (("run", "--task", "grading", "--models-file", "image.png"), 2, "image.png: cannot be read as UTF-8 text"),
        (("plan", "--task", "grading"), 2, "grading was never benchmarked here; run `bench run --task grading` first"),
        (("promote", "--task", "grading"), 2, "grading was never benchmarked here"),
        (("validate", "--task", "grading"), 2, "task grading has no promotion; run `bench promote"),
        (("rollback",), 2, "there is no promotion to undo"),
        (("rollback", "7"), 2, "there is no promotion 7 to undo; `bench log` lists the changes"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)  # fmt: skip
def test_an_error_is_one_line_that_says_what_to_do(
    typed: Typed, world: World, arguments: tuple[str, ...], status: int, says: str
) -> None:
    (world.folder / "empty.txt").write_text("# nobody\n", encoding="utf-8")
    (world.folder / "image.png").write_bytes(b"\x89PNG\xff\xfe\n")
    code, line = complaint(typed, *arguments)
    assert (code, line.count("\n")) == (status, 1)
    assert line.startswith("bench: ")
    assert says in line


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("run",), "Missing option '--task'"),
        (("run", "--task", "grading", "--models", "a", "--models-file", __file__), "either --models or --models-file"),
        (("run", "--task", "grading", "--models-file", "absent.txt"), "'absent.txt' does not exist"),
        (("run", "--task", "grading", "--test-cases", "absent.json"), "'absent.json' does not exist"),
        (("run", "--task", "grading", "--batch-size", "0"), "--batch-size"),
        (("run", "--task", "grading", "--repeats", "none"), "--repeats"),
        (("cases", "check", "absent.json"), "'absent.json' does not exist"),
        (("rollback", "last"), "'last' is not a valid integer"),
        (("frobnicate",), "No such command 'frobnicate'"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else None,
)
def test_a_slip_of_typing_shows_the_usage(typed: Typed, arguments: tuple[str, ...], says: str) -> None:
    code, words = complaint(typed, *arguments)
    assert code == 2
    assert words.startswith("Usage: bench")
    assert says in words


@pytest.mark.parametrize(
    "arguments", [("run", "--task", "grading"), ("models",), ("docs",), ("history", "--task", "x")]
)
@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://app:s3cret@127.0.0.1:1/jobs", "127.0.0.1:1/jobs cannot be used: "),
        ("postgresql+psycopg2://127.0.0.1:1/jobs?user=app&password=s3cret", "cannot be used: "),
        ("mysql://app:s3cret@127.0.0.1/jobs", "mysql is not supported; use SQLite or PostgreSQL"),
        ("postgresql://app:s3cret@127.0.0.1:port/jobs", "must be a database address"),
        ("s3cret", "must be a database address"),
    ],
    ids=["nobody answers", "password as a parameter", "another engine", "bad port", "no address"],
)
def test_a_database_that_cannot_be_used_is_one_line_without_its_password(
    typed: Typed, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], url: str, says: str
) -> None:
    monkeypatch.setenv("BENCH_DATABASE_URL", url)
    code, line = complaint(typed, *arguments)
    assert (code, line.count("\n")) == (2, 1)
    assert line.startswith("bench: BENCH_DATABASE_URL: ")
    assert says in line
    assert "s3cret" not in line


@pytest.mark.parametrize(
    ("name", "value"), [("BENCH_BATCH_SIZE", "many"), ("BENCH_MIN_GAIN", "2"), ("BENCH_RESUME_HOURS", "-1")]
)
def test_a_setting_that_is_wrong_is_named(typed: Typed, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    code, line = complaint(typed, "models")
    assert (code, line.count("\n")) == (2, 1)
    assert line.startswith(f"bench: {name}: ")


def test_a_schema_that_lacks_a_column_names_it(typed: Typed, world: World) -> None:
    world.change(text("ALTER TABLE actors RENAME COLUMN enabled TO active"))
    code, line = complaint(typed, "models")
    assert code == 2
    assert "lacks column actors.enabled; " in line
    assert "BENCH_PRODUCTION_NAMES" in line


def test_a_suite_that_is_not_sound_is_refused_before_a_model_is_asked(typed: Typed, world: World) -> None:
    suite = suite_value()
    suite["test_cases"][0]["reasoning"] = "[TBD]"
    write_task(world.folder / "testcases", suite)
    code, line = complaint(typed, "run", "--task", "grading")
    assert code == 2
    assert "suite.json: case PASS_001: reasoning: is empty or a placeholder; write the real text" in line
    assert world.server.log == []


def test_promote_with_an_unsound_suite_changes_nothing_for_it_could_not_be_validated(
    typed: Typed, world: World
) -> None:
    world.ranked("fast", "slow")
    before = world.snapshot()
    write_task(world.folder / "testcases", suite_value() | {"test_cases": []})
    code, line = complaint(typed, "promote", "--task", "grading")
    assert (code, "there are no cases" in line) == (2, True)
    assert world.snapshot() == before


def test_without_a_server_the_run_fails_and_says_how_to_start_one(typed: Typed, world: World) -> None:
    world.server.__exit__()
    code, line = complaint(typed, "run", "--task", "grading", "--models", "fast")
    assert code == 1
    assert "start it (ollama serve)" in line


def test_a_second_run_is_refused_while_one_measures(typed: Typed, world: World) -> None:
    with world.database.exclusive(BENCHMARK):
        code, line = complaint(typed, "run", "--task", "grading", "--models", "fast")
    assert (code, line.count("\n")) == (1, 1)
    assert re.search(rf"another process holds the benchmark lock: process {os.getpid()} on .*, since 20.* UTC; ", line)
