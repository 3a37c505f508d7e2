"""`bench cases import` as a person types it, from production's calls to a suite that is measured."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from bench_pipeline.demo.sample_database import make_sample_database
from bench_pipeline.settings import Settings
from bench_pipeline.storage.database import open_database
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.production import interactions
from bench_pipeline_tests.kit.shell import Shell, Typed
from bench_pipeline_tests.kit.tasks import CASES, EXTRACT, TEMPLATE
from bench_pipeline_tests.kit.text import is_calm
from bench_pipeline_tests.kit.world import World

BUNDLED = Path(__file__).parents[2] / "testcases"
SCORES = {"accuracy": 9, "completeness": 9, "formatting": 9}


def called(world: World, *calls: tuple[str, str]) -> None:
    """Let production have made these calls, newest first: input and output."""
    world.set_template(EXTRACT, TEMPLATE.replace("{posting}", "a post"))
    row = {"conversation_id": EXTRACT, "actor_id": 2, "latency_ms": 9.0}
    rows = [row | {"input": given, "output": output} for given, output in reversed(calls)]
    world.change(*[insert(interactions).values(row) for row in rows])


def label(suite: Path, **verdicts: str) -> None:
    """Do what a person does: check these drafts, and leave the others."""
    value = json.loads(suite.read_text(encoding="utf-8"))
    for case in value["test_cases"]:
        if verdict := verdicts.get(case["id"]):
            del case["draft"]
            case.pop("observed_output", None)
            gold = {"type": verdict, "expected_verdict": verdict, "expected_scores": SCORES}
            case.update(gold, difficulty="easy", reasoning="read by a person", summary=case["summary"] or "a case")
            case["provenance"]["checked_by"] = "a person"
    suite.write_text(json.dumps(value), encoding="utf-8")


def test_a_conversation_is_imported_labelled_checked_and_only_its_checked_cases_are_measured(
    world: World, typed: Typed
) -> None:
    called(world, *((text, f"[{name[:4]}] as observed") for name, text in CASES.items()))
    done = typed("cases", "import", str(EXTRACT), "--yes")
    assert done.returncode == 0, done.stderr
    assert "4 drafts." in done.stdout
    assert "bench cases check testcases/extract" in done.stdout

    folder = world.folder / "testcases" / "extract"
    unlabelled = typed("cases", "check", str(folder))
    assert unlabelled.returncode == 2
    assert "all 4 cases are drafts" in unlabelled.stdout
    assert unlabelled.stdout.count(" needs type, difficulty, expected_verdict, expected_scores, reasoning") == 4

    label(folder / "suite.json", DRAFT_001="PASS", DRAFT_002="PASS", DRAFT_003="FAIL")
    checked = typed("cases", "check", str(folder))
    assert checked.returncode == 0, checked.stdout
    assert "3 cases (1 FAIL, 2 PASS, 3 easy), 1 draft, " in checked.stdout
    assert "   draft DRAFT_004 needs type, " in checked.stdout

    run = typed("run", "--task", "extract", "--models", "fast")
    assert run.returncode == 0, run.stderr
    assert {case for _, case in world.calls()} == {"PASS_001", "PASS_002", "FAIL_001"}


@ONE_ENGINE
def test_a_conversation_of_the_sample_database_is_imported_and_labelled(shell: Shell, typed: Typed) -> None:
    url = f"sqlite:///{shell.folder / 'sample.db'}"
    database = open_database(url)
    make_sample_database(database, Settings.model_construct(testcases_dir=BUNDLED))
    database.close()
    done = shell.bench("cases", "import", "3336", "--task", "mine", "--yes", BENCH_DATABASE_URL=url)
    assert done.returncode == 0, done.stderr
    suite = shell.folder / "testcases" / "mine" / "suite.json"
    drafts: list[dict[str, Any]] = json.loads(suite.read_text(encoding="utf-8"))["test_cases"]
    label(suite, **{draft["id"]: draft["observed_output"][1:5] for draft in drafts})
    checked = typed("cases", "check", str(suite.parent))
    assert checked.returncode == 0, checked.stdout
    assert "7 cases (" in checked.stdout


@ONE_ENGINE
def test_what_was_masked_is_shown_and_the_folder_is_written_only_after_a_yes(
    world: World, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    called(world, ("Ask Dr. Jane Smith, jane@acme.com.", "[PASS]"), ("Ms Smith \x1b[31mcalled.", "[FAIL]"))
    folder = world.folder / "testcases" / "extract"
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    declined = typed("cases", "import", str(EXTRACT))
    assert (declined.returncode, folder.exists()) == (1, False)
    assert is_calm(declined.stdout)
    rows = [line.split() for line in declined.stdout.splitlines() if line.startswith(("name", "e-mail"))]
    assert [(row[0], row[-2], row[-1]) for row in rows] == [
        ("name", "1", "DRAFT_001"),
        ("e-mail", "1", "DRAFT_001"),
        ("name", "1", "DRAFT_002"),
    ]
    assert "jane@acme.com" in declined.stdout
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert typed("cases", "import", str(EXTRACT)).returncode == 0
    written = "".join(file.read_text(encoding="utf-8") for file in folder.iterdir())
    assert [word for word in ("Jane", "jane", "Smith", "acme") if word in written] == []


@ONE_ENGINE
def test_the_json_tells_what_was_masked_without_the_original_values(world: World, typed: Typed) -> None:
    called(world, ("Ask Dr. Jane Smith.", "[PASS]"))
    done = typed("cases", "import", str(EXTRACT), "--yes", "--json")
    value = json.loads(done.stdout)
    assert (value["folder"], value["drafts"]) == ("testcases/extract", ["DRAFT_001"])
    assert [(one["kind"], one["times"], one["cases"]) for one in value["replaced"]] == [("name", 1, ["DRAFT_001"])]
    assert [word for word in ("Jane", "Smith") if word in done.stdout + done.stderr] == []


@ONE_ENGINE
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((str(EXTRACT), "--json"), "--json asks no questions; add --yes"),
        ((str(EXTRACT), "--yes", "--region", "GB,XX"), "unknown region XX; use two-letter codes"),
        ((str(EXTRACT), "--yes", "--task", "../up"), "'../up' cannot be the name of a task"),
        ((str(EXTRACT), "--yes", "--task", "grading"), "grading exists and is not overwritten"),
        (("99", "--yes"), "conversation 99 does not exist"),
        ((str(EXTRACT), "--yes", "--limit", "0"), "'--limit'"),
        (("abc",), "'abc' is not an id of a conversation"),
    ],
)
def test_what_cannot_be_imported_is_refused_in_one_line_and_nothing_is_written(
    world: World, typed: Typed, arguments: tuple[str, ...], message: str
) -> None:
    called(world, ("A job.", "[PASS]"))
    before = sorted((world.folder / "testcases").rglob("*"))
    done = typed("cases", "import", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert sorted((world.folder / "testcases").rglob("*")) == before


@ONE_ENGINE
def test_cases_check_gives_the_drafts_as_json(world: World, typed: Typed) -> None:
    called(world, ("A job.", "[PASS]"))
    typed("cases", "import", str(EXTRACT), "--yes")
    (checked,) = json.loads(typed("cases", "check", "testcases/extract", "--json").stdout)
    needs = ["type", "difficulty", "expected_verdict", "expected_scores", "reasoning"]
    assert (checked["sound"], checked["drafts"]) == (False, [{"id": "DRAFT_001", "needs": needs}])


@ONE_ENGINE
def test_a_draft_with_all_its_fields_is_called_complete(world: World, typed: Typed) -> None:
    called(world, *((text, f"[{name[:4]}]") for name, text in CASES.items()))
    typed("cases", "import", str(EXTRACT), "--yes")
    suite = world.folder / "testcases" / "extract" / "suite.json"
    label(suite, DRAFT_001="PASS", DRAFT_002="PASS", DRAFT_003="FAIL", DRAFT_004="FAIL")
    value = json.loads(suite.read_text(encoding="utf-8"))
    value["test_cases"][0]["draft"] = True
    suite.write_text(json.dumps(value), encoding="utf-8")
    shown = typed("cases", "check", "testcases/extract").stdout
    assert '   draft DRAFT_001 is complete; remove "draft" once it is checked' in shown
