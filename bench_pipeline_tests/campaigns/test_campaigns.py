"""The campaigns in small: a crash at every place, and a few races of each kind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench_pipeline_tests.campaigns.crashes import PLACES
from bench_pipeline_tests.campaigns.races import SCENARIOS
from bench_pipeline_tests.campaigns.stoppable_run import PHASES

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.postgres


def campaign(name: str, *options: str, results: Path) -> Any:  # noqa: ANN401 - a JSON value
    """Run one in a process of its own, which forks; it must find nothing."""
    command = [sys.executable, "-m", f"bench_pipeline_tests.campaigns.{name}", *options, "--json", str(results)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(results.read_text(encoding="utf-8"))


def test_a_promotion_that_is_killed_anywhere_is_whole_and_the_same_command_ends_it(tmp_path: Path) -> None:
    everywhere = [*(("SQLite", place) for place in PHASES), *(("PostgreSQL", place) for place in PLACES)]
    found = campaign("crashes", "--trials", str(len(everywhere)), results=tmp_path / "crashes.json")
    assert [(one["database"], one["blow"]["place"]) for one in found["trials"]] == everywhere
    assert [one for one in found["trials"] if one["violations"]] == []


def test_promoters_and_operators_who_race_lose_no_edit_and_promote_nothing_twice(tmp_path: Path) -> None:
    found = campaign("races", "--rounds", "24", results=tmp_path / "races.json")
    raced = {(one["database"], one["raced"]) for one in found["rounds"]}
    assert raced == {(database, scenario) for database in ("SQLite", "PostgreSQL") for scenario in SCENARIOS}
    assert [one for one in found["rounds"] if one["violations"]] == []
