"""The CI jobs of docs/how-to/ci.md: they are YAML, are safe against forks, and do what they say when they are typed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from junitparser import JUnitXml

from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.shell import PLAIN_PROTOCOL
from bench_pipeline_tests.kit.world import World

GUIDE = Path(__file__).parents[1] / "docs" / "how-to" / "ci.md"
GITHUB, GITLAB = (
    yaml.safe_load(body)
    for body in re.findall(r"^```yaml\n(.*?)^```$", GUIDE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
)
CALLED = '#!/bin/sh\nprintf "%s\\n" "$0" "$@" >> "$HOME/called"\n'


def github_script(job: str) -> str:
    steps = [step["run"] for step in GITHUB["jobs"][job]["steps"] if "run" in step]
    return "\n".join(steps).replace("${{ github.event.pull_request.number }}", "7")


def gitlab_script(job: str) -> str:
    return "\n".join(GITLAB[job]["script"])


def database_of(job: dict[str, Any]) -> str:
    found = job.get("variables", {}) | {k: v for step in job.get("steps", ()) for k, v in step.get("env", {}).items()}
    return str(found["BENCH_DATABASE_URL"])


SERVICES = {"GitHub": (github_script, GITHUB["jobs"]), "GitLab": (gitlab_script, GITLAB)}


@ONE_ENGINE
@pytest.mark.parametrize("service", SERVICES)
def test_the_jobs_measure_a_pull_request_against_the_main_branch_and_post_the_comment(
    world: World, tmp_path: Path, service: str
) -> None:
    script, jobs = SERVICES[service]
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("gh", "curl"):
        (programs / name).write_text(CALLED)
        (programs / name).chmod(0o755)

    def run(job: str) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("BENCH_", "OLLAMA_"))}
        own = {
            "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(tmp_path),
            "TASK": "grading",
            "MODELS": "fast:1b,slow:7b",
            "BENCH_OLLAMA_HOST": world.server.url,
            "BENCH_MIN_GAIN": "0.9",  # so that a busy machine does not look slower
            "COMMENT_TOKEN": "t0ken",
            "CI_API_V4_URL": "https://gitlab.example/api/v4",
            "CI_PROJECT_ID": "1",
            "CI_MERGE_REQUEST_IID": "7",
        }
        if job != "comment":
            own["BENCH_DATABASE_URL"] = database_of(jobs[job])
        return subprocess.run(
            ["bash", "-e", "-c", script(job)],
            cwd=world.folder,
            env=environment | PLAIN_PROTOCOL | own,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    baseline = run("baseline")
    assert baseline.returncode == 0, baseline.stderr
    same = run("measure")
    assert (same.returncode, "✅ no regression" in same.stdout) == (0, True), same.stdout + same.stderr

    world.server.models["fast:1b"].answers = {}  # what a changed prompt may do
    worse = run("measure")
    assert worse.returncode == 1, worse.stderr
    assert "**got wrong**: `FAIL_002`" in (world.folder / "comment.md").read_text("utf-8")
    assert JUnitXml.fromfile(str(world.folder / "out.xml")).failures == 3

    posted = run("comment")
    assert posted.returncode == 0, posted.stderr
    called = (tmp_path / "called").read_text("utf-8").splitlines()
    assert any("comment.md" in word for word in called)
    assert any(word == "7" or "merge_requests/7/notes" in word for word in called)


@pytest.mark.parametrize("service", SERVICES)
def test_no_job_on_the_runner_runs_for_a_fork_or_holds_a_secret(service: str) -> None:
    script, jobs = SERVICES[service]
    guards = {
        "GitHub": "github.event.pull_request.head.repo.full_name == github.repository",
        "GitLab": "$CI_MERGE_REQUEST_SOURCE_PROJECT_ID == $CI_PROJECT_ID",
    }

    assert guards[service] in yaml.safe_dump(jobs["measure"], width=1000)
    for job in ("baseline", "measure"):
        text = yaml.safe_dump(jobs[job]) + script(job)
        assert "secrets." not in text
        assert "TOKEN" not in text
        assert database_of(jobs[job]).startswith("sqlite:///")


def test_only_the_job_that_posts_the_comment_may_write_and_it_is_not_on_the_runner() -> None:
    assert GITHUB["permissions"] == {"contents": "read"}
    assert {name: job.get("permissions") for name, job in GITHUB["jobs"].items()} == {
        "baseline": None, "measure": None, "comment": {"pull-requests": "write"},
    }  # fmt: skip
    assert GITHUB["jobs"]["comment"]["runs-on"] == "ubuntu-latest"
    assert "pull_request_target" not in GITHUB[True]  # what YAML makes of the key `on`
