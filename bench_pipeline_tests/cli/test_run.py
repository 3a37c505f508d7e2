"""`bench run`: the live tree that users know, its options, and its exit status."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bench_pipeline.benchmark.events import Event, SampleTaken
from bench_pipeline_tests.fakes.faults import Fault
from bench_pipeline_tests.fakes.ollama_state import FakeModel
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.models import BROKEN, WRONG
from bench_pipeline_tests.kit.shell import Typed
from bench_pipeline_tests.kit.tasks import CASES, SERVED, suite_value
from bench_pipeline_tests.kit.text import is_calm, only, today
from bench_pipeline_tests.kit.world import World

pytestmark = ONE_ENGINE


def without_figures(text: str) -> str:
    """Replace what differs between two runs: times, ratios, scores, ids, the server's port."""
    text = re.sub(r"\d+ ms|\d+\.\d\d s", "TIME", text)
    text = re.sub(r"\d+(?:\.\d+)?(?= to|, n=| \(9)", "RATIO", text)
    text = re.sub(r"(?i)(score:? )\d+", r"\1N", text)
    return re.sub(r"grading-\d{8}T\d{6}Z-\w{4}", "ID", re.sub(r"127\.0\.0\.1:\d+", "HOST", text))


TREE = """\
🏁 grading: starting ID, 5 models × 4 cases

[1/5] fast
  ├─ PASS_001: ✅ PASS (TIME)
  ├─ PASS_002: ✅ PASS (TIME)
  ├─ FAIL_001: ✅ FAIL (TIME)
  └─ FAIL_002: ✅ FAIL (TIME)
  Result: 4/4 ✅ | Avg: TIME | Score: N

[2/5] slow
  ├─ PASS_001: ✅ PASS (TIME)
  ├─ PASS_002: ✅ PASS (TIME)
  ├─ FAIL_001: ✅ FAIL (TIME)
  └─ FAIL_002: ✅ FAIL (TIME)
  Result: 4/4 ✅ | Avg: TIME | Score: N

[3/5] wrong
  ├─ PASS_001: ✅ PASS (TIME)
  ├─ PASS_002: ✅ PASS (TIME)
  ├─ FAIL_001: ✅ FAIL (TIME)
  └─ FAIL_002: ❌ PASS (TIME): said PASS, gold is FAIL
  Result: 3/4 ❌ | Avg: TIME

[4/5] silent
  ├─ PASS_001: ⚠️  no verdict: empty reply
  ├─ PASS_002: ⚠️  no verdict: empty reply
  ├─ FAIL_001: ⚠️  no verdict: empty reply
  └─ FAIL_002: ⚠️  no verdict: empty reply
  Result: 0/4 ❌ | Avg: –

[5/5] broken
  Result: 0/4 ❌ | Avg: – | server_error: broken:3b: http://HOST answered 500: model runner has unexpectedly stopped

📊 Final rankings:
🥇 Champion: fast  TIME (n=4), score N, 1.00 GB
🥈 Runner-up: slow  TIME (n=4), score N, 4.00 GB
⚠️  Did not qualify:
"""


def test_the_live_tree_has_the_shape_that_users_know(typed: Typed) -> None:
    done = typed("run", "--task", "grading")
    assert (done.returncode, done.stderr) == (0, "")
    shown = without_figures(done.stdout)
    assert shown.startswith(TREE)
    rest = shown.removeprefix(TREE).splitlines()
    assert [line.split(":")[0].strip() for line in rest[:3]] == ["wrong", "silent", "broken"]
    assert rest[3:5] == ["⏭️  Not run:", "   ticket.py: its actor_type is 'script', not 'ai_model'"]
    assert rest[-1] == f"📄 Report: reports/grading/{today()}-ID.md"


def test_the_report_that_is_named_is_there(typed: Typed, world: World) -> None:
    done = typed("run", "--task", "grading", "--models", "fast")
    path = world.folder / done.stdout.splitlines()[-1].removeprefix("📄 Report: ")
    assert "Champion: fast, 4/4 correct" in path.read_text(encoding="utf-8")


def test_without_a_champion_the_exit_status_is_1_and_it_says_why(typed: Typed, world: World) -> None:
    for conversation in SERVED:
        world.give(conversation, WRONG)
    done = typed("run", "--task", "grading", "--models", "wrong")
    assert (done.returncode, done.stderr) == (1, "")
    assert "   none: no model was correct in every case" in done.stdout
    assert "   wrong: disqualified, 3/4 correct: " in done.stdout


def test_json_is_all_there_is_on_standard_output(typed: Typed) -> None:
    done = typed("run", "--task", "grading", "--json")
    value = json.loads(done.stdout)
    assert [line["model"] for line in value["rankings"]] == ["fast", "slow"]
    assert {line["model"] for line in value["disqualified"]} == {"wrong", "silent"}
    assert Path(value["report"]).is_file()
    assert "[1/5] fast" in done.stderr


# Options


def test_named_models_are_run_in_the_order_of_their_names_and_then_the_incumbent(typed: Typed, world: World) -> None:
    typed("run", "--task", "grading", "--models", " wrong , fast:1b ,wrong")
    assert [model for model, case in world.calls() if case == "PASS_001"] == ["wrong:3b", "fast:1b", "slow:7b"]


def test_a_file_of_models_has_one_name_a_line_and_comments(typed: Typed, world: World) -> None:
    (world.folder / "models.txt").write_text("\ufeff# ours\n\nwrong  # is cheap\r\nfast\n", encoding="utf-8")
    done = typed("run", "--task", "grading", "--models-file", "models.txt")
    assert done.returncode == 0
    assert [model for model, case in world.calls() if case == "PASS_001"] == ["wrong:3b", "fast:1b", "slow:7b"]


def test_another_suite_can_be_given(typed: Typed, world: World) -> None:
    suite = suite_value() | {"version": "2.0.0", "test_cases": suite_value()["test_cases"][1:3]}
    (world.folder / "other.json").write_text(json.dumps(suite), encoding="utf-8")
    typed("run", "--task", "grading", "--models", "slow", "--test-cases", "other.json")
    assert world.calls() == [("slow:7b", "PASS_002"), ("slow:7b", "FAIL_001")]
    assert world.rows("benchmark_runs", "suite_version") == [("2.0.0",)]


def test_batch_size_and_repeats_are_terms_of_the_protocol(typed: Typed, world: World) -> None:
    done = typed("run", "--task", "grading", "--models", "slow", "--batch-size", "3", "--repeats", "2")
    (protocol,) = only(world.rows("benchmark_runs", "protocol"))
    assert (protocol["batch_size"], protocol["repeats"]) == (3, 2)
    assert world.calls() == [("slow:7b", case) for case in CASES] * 2
    assert "├─ PASS_001 #2: ✅ PASS" in done.stdout
    assert done.stdout.count("└─") == 1


def test_the_settings_give_the_terms_that_are_not_typed(
    typed: Typed, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_BATCH_SIZE", "2")
    monkeypatch.setenv("BENCH_REPEATS", "3")
    typed("run", "--task", "grading", "--models", "fast", "--repeats", "1")
    (protocol,) = only(world.rows("benchmark_runs", "protocol"))
    assert (protocol["batch_size"], protocol["repeats"]) == (2, 1)


def test_the_report_is_also_written_where_it_is_wanted(typed: Typed, world: World) -> None:
    done = typed("run", "--task", "grading", "--models", "fast", "--output", "out/report.md")
    assert done.stdout.endswith("📄 Report: out/report.md\n")
    (kept,) = (world.folder / "reports" / "grading").iterdir()
    assert (world.folder / "out" / "report.md").read_bytes() == kept.read_bytes()


def test_what_was_measured_under_the_same_evidence_is_not_measured_again_with_reuse(typed: Typed, world: World) -> None:
    world.remove_actor(BROKEN)
    for conversation in SERVED:
        world.give(conversation, None)
    typed("run", "--task", "grading")
    before = len(world.server.log)
    done = typed("run", "--task", "grading", "--reuse")
    assert (done.returncode, world.calls(since=before)) == (0, [])
    assert "🥇 Champion: fast" in done.stdout
    assert "   ticket.py: its actor_type is" in done.stdout


@pytest.mark.parametrize(
    ("options", "verb", "calls"), [((), "continuing", 4), (("--fresh",), "starting", 2 + 4)], ids=["resume", "fresh"]
)
def test_an_interrupted_run_goes_on_unless_a_fresh_one_is_asked_for(
    typed: Typed, world: World, options: tuple[str, ...], verb: str, calls: int
) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, SampleTaken) and event.sample.case_id == "PASS_002":
            raise InterruptedError

    with pytest.raises(InterruptedError):
        world.run("slow", on_event=stop)
    done = typed("run", "--task", "grading", "--models", "slow", *options)
    assert f"grading: {verb}" in done.stdout
    assert ("(2 of 4 calls already made)" in done.stdout) is (verb == "continuing")
    assert len(world.calls()) == calls


# Reuse, race and final


def test_with_reuse_only_the_incumbent_is_measured_again_and_the_report_names_what_is_reused(
    typed: Typed, world: World
) -> None:
    typed("run", "--task", "grading", "--models", "fast,wrong")
    before = len(world.server.log)
    done = typed("run", "--task", "grading", "--models", "fast,wrong", "--reuse", "--json")
    assert {model for model, _ in world.calls(since=before)} == {"slow:7b"}
    report = json.loads(done.stdout)
    assert [line["model"] for line in report["rankings"]] == ["fast", "slow"]
    assert report["top_five"][0]["reused"] is not None


def test_with_reuse_nothing_runs_when_everything_is_known_and_nobody_is_an_incumbent(
    typed: Typed, world: World
) -> None:
    for conversation in SERVED:
        world.give(conversation, None)
    typed("run", "--task", "grading", "--models", "fast,wrong")
    typed("run", "--task", "grading", "--models", "wrong", "--repeats", "2")  # the latest, under other terms
    before = len(world.server.log)
    done = typed("run", "--task", "grading", "--models", "fast,wrong", "--reuse")
    assert (done.returncode, world.calls(since=before)) == (0, [])
    assert "🥇 Champion: fast" in done.stdout
    assert " (n=4), " in done.stdout


def test_a_race_makes_fewer_calls_for_the_same_champion(typed: Typed, world: World) -> None:
    done = typed("run", "--task", "grading", "--strategy", "race", "--repeats", "2")
    assert "🥇 Champion: fast" in done.stdout
    assert "(1 of 4 cases asked)" in done.stdout
    assert len(world.calls()) < 5 * 4 * 2


def test_among_all_without_names_is_invalid(typed: Typed) -> None:
    done = typed("run", "--task", "grading", "--among-all")
    assert (done.returncode, "--among-all needs --models" in done.stderr) == (2, True)


def test_the_final_is_told_pass_by_pass(typed: Typed, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_FINAL_PASSES", "2")
    done = typed("run", "--task", "grading", "--models", "fast")
    told = [line for line in done.stdout.splitlines() if line.startswith("⚔️") or line in ("  fast", "  slow")]
    passes = [line.partition(": ")[2].split(" then ") for line in told if line.startswith("⚔️")]
    assert [sorted(order) for order in passes] == [["fast", "slow"]] * 2
    assert [line.strip() for line in told if not line.startswith("⚔️")][:4] == [*passes[0], *passes[1]]


def test_every_retry_is_told(typed: Typed, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_RETRIES", "1")
    monkeypatch.setenv("BENCH_RETRY_PAUSE_S", "0")
    model = world.server.models["slow:7b"]
    model.fault, model.fault_on_calls = Fault.BUSY, {2}
    done = typed("run", "--task", "grading", "--models", "slow")
    assert "  ├─ PASS_001: 🔁 attempt 1 failed: busy: " in done.stdout
    assert "  Result: 4/4 ✅" in done.stdout


# Hostile words


def test_hostile_names_and_replies_do_not_drive_the_terminal(typed: Typed, world: World) -> None:
    hostile = "\x1b]0;owned\x07\x1b[2J\u202eevil\r\nbench: ok\x9b31m"
    world.server.models["fast:1b"].answers = {"Posting": f"{hostile} [PASS]"}
    world.server.models["slow:7b"].fault = Fault.ERROR_IN_STREAM
    world.server.models["other:1b"] = FakeModel()
    world.add_actor(20, f"actor {hostile}", "ollama:other:1b")
    world.add_actor(21, f"gone {hostile}", f"ollama:{hostile}")
    done = typed("run", "--task", "grading")
    assert "evil" in done.stdout
    assert is_calm(done.stdout.replace("\ufe0f", ""))  # the emoji's own selector
    refused = typed("run", "--task", "grading", "--models", f"gone {hostile}")
    assert refused.returncode == 1
    assert is_calm(refused.stderr)
    for command in (("models",), ("history", "--task", "grading")):
        assert is_calm(typed(*command).stdout.replace("\ufe0f", ""))
