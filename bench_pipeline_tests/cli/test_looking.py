"""The commands that only look: `models`, `cases check`, `history`, `doctor`."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert

from bench_pipeline.storage.tables import benchmark_history
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.models import FAST
from bench_pipeline_tests.kit.shell import Typed
from bench_pipeline_tests.kit.tasks import GRADE_A, suite_value, task_value, write_task
from bench_pipeline_tests.kit.text import only
from bench_pipeline_tests.kit.world import World

pytestmark = ONE_ENGINE


# models


def test_models_shows_every_actor_eligible_or_with_its_reason(typed: Typed, world: World) -> None:
    world.add_actor(20, "away", "ollama:absent:7b")
    done = typed("models")
    lines = done.stdout.splitlines()[2:]
    assert done.returncode == 0
    assert [line.split()[:3] for line in lines[:5]] == [
        ["✅", str(number), name] for number, name in enumerate(["fast", "slow", "wrong", "silent", "broken"], start=1)
    ]
    assert "type: its actor_type is 'script', not 'ai_model'" in lines[5]
    assert "not_installed: absent:7b is not installed on the Ollama server" in lines[6]
    assert lines[-1] == "5 of 7 actors are eligible"


def test_models_says_no_when_nobody_is_eligible(typed: Typed, world: World) -> None:
    world.server.models.clear()
    done = typed("models")
    assert done.returncode == 1
    assert done.stdout.endswith("0 of 6 actors are eligible\n")


def test_models_gives_identity_and_reason_as_json(typed: Typed) -> None:
    lines = {line["name"]: line for line in json.loads(typed("models", "--json").stdout)}
    assert lines["fast"]["identity"]["digest"] == "sha256:fa"
    assert (lines["ticket.py"]["exclusion"], lines["fast"]["exclusion"]) == ("type", None)


# cases check


def broken(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - any value of a suite
    suite = suite_value()
    suite["test_cases"][0] |= changes
    return suite


def test_cases_check_says_that_a_suite_is_sound_and_what_is_in_it(typed: Typed) -> None:
    done = typed("cases", "check")
    assert done.returncode == 0
    assert "✅ testcases/grading: 4 cases (2 FAIL, 2 PASS, 4 easy), version 1.0.0, hash " in done.stdout


@pytest.mark.parametrize(
    ("suite", "faults"),
    [
        pytest.param(suite_value() | {"test_cases": []}, ["test_cases: there are no cases"], id="no cases"),
        pytest.param(
            suite_value() | {"test_cases": suite_value()["test_cases"][:2]}, ["every case is PASS"], id="one class"
        ),
        pytest.param(broken(id="PASS_002"), ["case PASS_002: id: occurs 2 times"], id="a duplicate id"),
        pytest.param(
            broken(expected_verdict="FAIL"), ["expected_verdict: FAIL contradicts type PASS"], id="a contradiction"
        ),
        pytest.param(broken(summary="..."), ["summary: is empty or a placeholder"], id="a placeholder"),
        pytest.param(
            broken(summary="[TBD]", reasoning="TBD", type="FAIL"),
            ["summary: is empty or a placeholder", "reasoning: is empty or a placeholder", "contradicts type FAIL"],
            id="three faults at once",
        ),
    ],
)
def test_cases_check_lists_every_fault_with_its_remedy(
    typed: Typed, world: World, suite: dict[str, Any], faults: list[str]
) -> None:
    write_task(world.folder / "testcases", suite)
    done = typed("cases", "check")
    assert done.returncode == 2
    first, *lines = done.stdout.splitlines()
    assert first == f"❌ testcases/grading: {len(faults)} fault{'s' * (len(faults) > 1)}"
    assert len(lines) == len(faults)
    assert all(any(fault in line and "; " in line for line in lines) for fault in faults)


def test_cases_check_reads_a_lone_file_and_gives_json(typed: Typed, world: World) -> None:
    sound, refused = world.folder / "sound.json", world.folder / "refused.json"
    sound.write_text(json.dumps(suite_value()), encoding="utf-8")
    refused.write_text("{", encoding="utf-8")
    done = typed("cases", "check", str(sound), str(refused), "--json")
    assert done.returncode == 2
    assert [(line["sound"], line["hash"] is None) for line in json.loads(done.stdout)] == [(True, False), (False, True)]


def test_cases_check_finds_what_task_yaml_and_suite_disagree_on(typed: Typed, world: World) -> None:
    write_task(world.folder / "testcases", suite_value("formatting"))
    done = typed("cases", "check")
    assert done.returncode == 2
    assert "task_type: is 'formatting'; write 'grading'" in done.stdout


def test_cases_check_and_plan_name_conversations_that_do_not_exist_or_have_two_tasks(
    typed: Typed, world: World
) -> None:
    world.ranked("fast", "slow")
    write_task(world.folder / "testcases", task=task_value(conversations=[GRADE_A, 9999]))
    write_task(
        world.folder / "testcases", task=task_value("other", [GRADE_A]), suite=suite_value("other"), name="other"
    )

    for command in ("cases check", "plan --task grading"):
        done = typed(*command.split())
        assert done.returncode == 2
        shown = done.stdout + done.stderr
        assert f"conversations: conversation {GRADE_A} is also in task other; remove it from all but one" in shown
        assert f"conversation 9999 does not exist in production; write `conversations: [{GRADE_A}]`" in shown


def test_cases_check_says_that_it_cannot_ask_production(
    typed: Typed, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_DATABASE_URL", "postgresql://app:s3cret@127.0.0.1:1/jobs")

    done = typed("cases", "check")

    assert done.returncode == 0
    assert "bench: the conversations of the tasks are not checked: BENCH_DATABASE_URL: " in done.stderr
    assert "s3cret" not in done.stderr


# history


def test_history_shows_champion_and_runner_up_of_every_benchmark_oldest_first(typed: Typed, world: World) -> None:
    world.ranked("slow")
    world.ranked("slow", "fast", "wrong")
    done = typed("history", "--task", "grading")
    assert done.returncode == 0
    first, second = done.stdout.splitlines()[2:4]
    assert [first.split()[i] for i in (2, 5, 6)] == ["slow", "none", "1/1"]
    assert [second.split()[i] for i in (2, 5, 6, 7)] == ["fast", "changed", "slow", "2/3"]
    assert "champion's latency, oldest first (n=2): █" in done.stdout


def test_history_as_json_is_what_the_table_shows(typed: Typed, world: World) -> None:
    world.ranked("slow", "fast", "wrong")
    line = only(json.loads(typed("history", "--task", "grading", "--json").stdout))
    assert (line["champion"], line["runner_up"], line["qualified"], line["models"]) == ("fast", "slow", 2, 3)


def test_champions_of_another_program_are_shown_and_decide_nothing(typed: Typed, world: World) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    legend = {"task_type": "grading", "model_name": "legend", "avg_latency_ms": 0.5, "benchmark_date": tomorrow}
    world.change(insert(benchmark_history).values(legend | {"correctness_score": 100.0, "rank": 1}))

    world.promoted()

    assert world.holds() == [FAST] * 3
    shown = typed("history", "--task", "grading").stdout
    assert only([line for line in shown.splitlines() if "legend" in line]).endswith("another program's")
    assert "no decision rests on them" in shown
    ours, theirs = json.loads(typed("history", "--task", "grading", "--json").stdout)
    assert (ours["champion"], ours["measured_here"]) == ("fast", True)
    assert (theirs["champion"], theirs["champion_latency_ms"], theirs["benchmark_id"], theirs["measured_here"]) == (
        "legend", 0.5, None, False
    )  # fmt: skip
    assert typed("history", "--task", "grading", "--model", "legend").returncode == 1


def test_history_tells_what_became_of_one_model(typed: Typed, world: World) -> None:
    world.ranked("wrong", "fast")
    line = only(json.loads(typed("history", "--task", "grading", "--model", "wrong", "--json").stdout))
    assert (line["standing"], line["cases_correct"], line["rank"]) == ("disqualified", 3, None)
    shown = typed("history", "--task", "grading", "--model", "wrong").stdout
    assert "disqualified  3/4" in shown
    assert "n=4 of 4" in shown


@pytest.mark.parametrize("options", [(), ("--model", "absent")])
def test_history_without_a_benchmark_says_how_to_make_one(typed: Typed, options: tuple[str, ...]) -> None:
    done = typed("history", "--task", "grading", *options)
    assert done.returncode == 1
    assert "`bench run --task grading` measures it" in done.stdout


# doctor


def findings(typed: Typed) -> tuple[int, dict[str, dict[str, Any]]]:
    done = typed("doctor", "--json")
    return done.returncode, {line["what"]: line for line in json.loads(done.stdout)}


def test_doctor_says_of_every_part_that_it_is_well(typed: Typed, world: World) -> None:
    done = typed("doctor")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"✅ runtime ollama: {world.server.url} answers, 5 models installed" in done.stdout
    for part in ("database", "production tables", "test cases", "a runtime", "disk for results", "versions"):
        assert f"✅ {part}: " in done.stdout


def no_server(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.server.__exit__()


def no_database(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DATABASE_URL", "postgresql://app:s3cret@127.0.0.1:1/jobs")


def no_file(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DATABASE_URL", f"sqlite:///{world.folder / 'fresh.db'}")


def no_actors(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    (world.folder / "empty.db").touch()
    monkeypatch.setenv("BENCH_DATABASE_URL", f"sqlite:///{world.folder / 'empty.db'}")


def no_suite(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    write_task(world.folder / "testcases", suite_value() | {"test_cases": []})


@pytest.mark.parametrize(
    ("breaks", "part", "says"),
    [
        (no_server, "a runtime", "start Ollama (ollama serve), or fetch weights"),
        (no_database, "database", "cannot be used: "),
        (no_file, "database", "fresh.db does not exist; set BENCH_DATABASE_URL to your production database"),
        (no_actors, "production tables", "lacks table actors"),
        (no_suite, "task grading", "there are no cases"),
    ],
)
def test_doctor_says_no_and_what_to_do_about_the_part_that_is_ill(
    typed: Typed,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    breaks: Callable[[World, pytest.MonkeyPatch], None],
    part: str,
    says: str,
) -> None:
    breaks(world, monkeypatch)
    status, found = findings(typed)
    assert status == 1
    assert found[part]["ok"] is False
    assert says in found[part]["text"]
    assert "s3cret" not in json.dumps(found)


def test_doctor_does_not_show_the_password_of_the_ollama_server(
    typed: Typed, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_OLLAMA_HOST", world.server.url.replace("//", "//app:s3cret@"))
    status, found = findings(typed)
    assert status == 0
    assert found["runtime ollama"]["text"] == f"{world.server.url} answers, 5 models installed"


def own_classes(*counts: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """A suite with as many cases of each of three classes, and its task."""
    suite, task = suite_value("kinds"), task_value("kinds", [])
    kinds = [(kind, number) for kind, count in zip("abc", counts, strict=True) for number in range(count)]
    case = suite["test_cases"][0]
    suite["test_cases"] = [case | {"id": f"{k}_{n}", "type": k, "expected_verdict": k} for k, n in kinds]
    return suite, task | {"verdict": {"reader": "final_line", "labels": {kind: [kind] for kind in "abc"}}}


def test_cases_check_counts_the_cases_of_every_class(typed: Typed, world: World) -> None:
    folder = write_task(world.folder / "testcases", *own_classes(2, 3, 2), "kinds")
    assert "7 cases (2 a, 3 b, 2 c, 7 easy)" in typed("cases", "check", str(folder)).stdout


def test_cases_check_names_a_class_with_too_few_cases(typed: Typed, world: World) -> None:
    folder = write_task(world.folder / "testcases", *own_classes(2, 2, 1), "kinds")
    done = typed("cases", "check", str(folder))
    assert done.returncode == 2
    assert "expected_verdict: there is 1 case of c; add cases of c until there are 2" in done.stdout
