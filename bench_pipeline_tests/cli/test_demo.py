"""What the demo refuses at once, and how it tells that a job failed. Real models run in `make demo`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import SecretStr

from bench_pipeline.cli.demo import run_jobs
from bench_pipeline.cli.live_tree import LiveTree
from bench_pipeline.demo.home import dagster_home
from bench_pipeline.demo.sample_database import make_sample_database
from bench_pipeline.domain.errors import GateFailed
from bench_pipeline.settings import Settings
from bench_pipeline.storage.database import open_database
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.shell import Typed


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
    assert str(failed.value).startswith("grading__model_runs failed: no model can be measured for grading: ")
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
