"""What the demo sets for itself, what it refuses at once, and what it says at its end.

Real models run in `make demo`.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest
from pydantic import SecretStr

from bench_pipeline.benchmark.task_folders import read_task, task_names
from bench_pipeline.cli.demo import FINAL_PASSES, TASKS, demo_settings, next_steps, run_jobs
from bench_pipeline.cli.live_tree import LiveTree
from bench_pipeline.cli.main import COMMANDS
from bench_pipeline.demo.home import dagster_home
from bench_pipeline.demo.sample_database import make_sample_database
from bench_pipeline.domain.errors import GateFailed
from bench_pipeline.domain.promoting.final import LOOKS
from bench_pipeline.settings import Settings
from bench_pipeline.storage.database import open_database
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.models import FINAL_PASSES as BOUND
from bench_pipeline_tests.kit.shell import Shell, Typed
from bench_pipeline_tests.kit.tasks import GRADE_A, GRADE_B
from bench_pipeline_tests.kit.world import World


def test_a_job_that_fails_is_one_line_with_the_step_and_its_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Dagster's own log of it, with its stack, stays in the run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    url = f"sqlite:///{tmp_path / 'bench.db'}"
    settings = Settings(database_url=SecretStr(url), cache_dir=tmp_path / "no-weights")
    database = open_database(url)
    make_sample_database(database, settings)
    database.close()
    with pytest.raises(GateFailed) as failed:
        run_jobs(settings, dagster_home(), ["grading"], False, LiveTree(write=lambda _: None))
    assert str(failed.value).startswith("eligible_models_models_are_eligible failed: None of 8 actors is eligible (")
    assert "\n" not in str(failed.value)
    assert capfd.readouterr() == ("", "")


@ONE_ENGINE
@pytest.mark.parametrize(
    ("arguments", "home", "says"),
    [
        (("--tasks", "grading,typo"), None, "there is no task 'typo' in testcases; known tasks: grading"),
        (("--tasks", "grading"), "relative", "DAGSTER_HOME=relative: must be an absolute path"),
        (("--tasks", "grading"), "/absent", "DAGSTER_HOME=/absent: does not exist"),
    ],
)
def test_what_is_wrong_is_refused_before_a_model_is_downloaded(
    typed: Typed, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], home: str | None, says: str
) -> None:
    if home is not None:
        monkeypatch.setenv("DAGSTER_HOME", home)
    done = typed("demo", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"bench: {says}")


@ONE_ENGINE
def test_the_server_is_not_started_without_a_home(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "~/dagster")
    done = typed("ui", "--port", str(20_000 + os.getpid() % 10_000))
    assert done.returncode == 2
    assert done.stderr.startswith("bench: DAGSTER_HOME=~/dagster: must be an absolute path; write DAGSTER_HOME=/")


def commands_in(lines: list[str]) -> list[list[str]]:
    """Return the words of every command of the closing lines, from `bench` on."""
    return [shlex.split(match[0]) for line in lines if (match := re.search(r"\bbench .*", line.split("\n")[0]))]


@ONE_ENGINE
def test_a_job_hands_on_what_a_change_saves(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    world.was_called(GRADE_A, 30)
    settings = world.settings.model_copy(update={"final_passes": BOUND})
    done = run_jobs(settings, dagster_home(), ["grading"], False, LiveTree(write=lambda _: None))["grading"]
    assert "min a month less" in done.impacts[str(GRADE_A)]
    assert "30 calls in the last 30 days" in done.impacts[str(GRADE_A)]
    assert str(GRADE_B) not in done.impacts  # production keeps no calls of it


def test_its_final_ends_early_at_a_look() -> None:
    assert FINAL_PASSES in LOOKS
    assert demo_settings(Settings()).final_passes == FINAL_PASSES < Settings().final_passes


@pytest.mark.parametrize("passes", [0, 20, 40])
def test_the_length_that_a_user_set_for_the_final_stays(monkeypatch: pytest.MonkeyPatch, passes: int) -> None:
    monkeypatch.setenv("BENCH_FINAL_PASSES", str(passes))
    assert demo_settings(Settings()).final_passes == passes


def test_it_uses_its_own_database_whatever_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DATABASE_URL", "postgresql+psycopg2://team@db/production")
    monkeypatch.setenv("BENCH_PROMOTER_URL", "postgresql+psycopg2://promoter@db/production")
    settings = demo_settings(Settings())
    assert settings.database_url.get_secret_value() == "sqlite:///.bench/bench.db"
    assert settings.promoter_url is None


def test_every_task_of_it_serves_a_conversation() -> None:
    settings = Settings()
    assert set(TASKS) <= set(task_names(settings))
    assert all(read_task(settings, task).conversations for task in TASKS)


def test_its_closing_lines_are_commands_about_the_last_task_and_its_conversation() -> None:
    lines = next_steps("desk", 3334, elsewhere=False)
    commands = commands_in(lines)
    assert [words[1] for words in commands] == ["blame", "log", "history", "ui"]
    assert all(words[1] in COMMANDS for words in commands)
    assert [words[2:] for words in commands] == [["3334"], [], ["--task", "desk"], []]
    assert all(asset in lines[-1] for asset in ("desk/scoreboard", "desk/promotion_plan", "desk/report"))


def test_its_closing_lines_name_its_database_if_another_one_is_set() -> None:
    lines = next_steps("desk", 3334, elsewhere=True)
    assert len(commands_in(lines)) == 4
    assert all("   BENCH_DATABASE_URL=sqlite:///.bench/bench.db bench " in line for line in lines[2:])


@ONE_ENGINE
@pytest.mark.parametrize("tasks", ["", " , "])
def test_a_demo_of_no_task_is_refused(shell: Shell, tasks: str) -> None:
    done = shell.bench("demo", "--tasks", tasks)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--tasks: name at least one task, such as --tasks desk" in done.stderr
