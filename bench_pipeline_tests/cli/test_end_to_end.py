"""The whole way as a person types it: measure, look, promote, look, undo. A new process each, on both databases."""

from __future__ import annotations

import json
import shutil

import pytest

from bench_pipeline_tests.kit.models import FAST, SLOW
from bench_pipeline_tests.kit.shell import Shell
from bench_pipeline_tests.kit.tasks import SERVED
from bench_pipeline_tests.kit.text import is_calm
from bench_pipeline_tests.kit.world import World


def test_a_team_measures_promotes_validates_and_takes_back(world: World, shell: Shell, with_final: None) -> None:
    before = world.snapshot()

    run = shell.bench("run", "--task", "grading", "--models", "fast,slow,wrong")
    assert run.returncode == 0, run.stderr
    assert "🥇 Champion: fast" in run.stdout
    assert world.snapshot() == before

    plan = shell.bench("plan", "--task", "grading", "--json")
    assert plan.returncode == 0, plan.stderr
    assert [(row["conversation_id"], row["decision"]) for row in json.loads(plan.stdout)["rows"]] == [
        (number, "promote") for number in SERVED
    ]
    assert world.snapshot() == before

    promote = shell.bench("promote", "--task", "grading")
    assert promote.returncode == 0, promote.stderr
    assert "✅ promotion 1 applied" in promote.stdout
    assert "✅ validation passed: fast" in promote.stdout
    assert world.holds() == [FAST] * 3
    registry = json.loads((shell.folder / "production" / "champions.json").read_text(encoding="utf-8"))
    assert [row["conversation_id"] for row in registry["champions"]] == list(SERVED)

    docs = shell.bench("docs")
    assert (docs.returncode, docs.stdout) == (0, "📝 documents are up to date\n")

    again = shell.bench("plan", "--task", "grading")
    assert again.returncode == 1
    assert "fast is the champion already" in again.stdout

    rollback = shell.bench("rollback")
    assert rollback.returncode == 0, rollback.stderr
    assert "↩️  promotion 1 is undone by 2\n   3336 Grade A: fast → slow" in rollback.stdout.replace("↩ ", "↩️ ")
    assert world.snapshot() == before

    not_again = shell.bench("promote", "--task", "grading")
    assert not_again.returncode == 0, not_again.stderr
    assert "promotion 1 did this and was undone" in not_again.stdout
    assert "nothing to promote" in not_again.stdout
    assert world.holds() == [SLOW] * 3


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_in_an_empty_folder_with_a_fresh_database_models_are_measured_by_name(shell: Shell) -> None:
    shutil.rmtree(shell.folder / "testcases")
    empty = shell.folder / "empty"
    empty.mkdir()
    alone = Shell(empty, {name: text for name, text in shell.settings.items() if name != "BENCH_DATABASE_URL"})
    run = alone.bench("run", "--task", "grading", "--models", "fast:1b")
    assert run.returncode == 1, run.stderr  # it says [PASS] to all but the two cases it knows
    assert "  Result: 5/10 ❌" in run.stdout
    assert sorted(path.name for path in empty.iterdir()) == [".bench", "reports"]
    assert (empty / ".bench" / "bench.db").is_file()
    history = alone.bench("history", "--task", "grading", "--json")
    assert [(line["champion"], line["models"]) for line in json.loads(history.stdout)] == [(None, 1)]
    assert is_calm(run.stdout.replace("\ufe0f", ""))
