"""The main job through Dagster's assets, from the cases to the documents, on both databases."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import ExitStack

import pytest
from sqlalchemy import update

from bench_pipeline.storage import locks
from bench_pipeline.storage.locks import BENCHMARK
from bench_pipeline.storage.tables import benchmark_runs
from bench_pipeline_tests.fakes.faults import Fault
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.models import ACTORS, BROKEN, FAST, SCRIPT, SLOW
from bench_pipeline_tests.kit.pipeline import Pipeline, checks_of, failures_of
from bench_pipeline_tests.kit.tasks import SERVED, task_value, write_task


def test_one_run_measures_all_models_and_promotes_the_fastest_that_is_always_correct(pipeline: Pipeline) -> None:
    pipeline.run()

    assert pipeline.world.holds() == [FAST] * 3
    assert pipeline.metadata("grading/scoreboard")["champion"] == "fast"
    assert pipeline.metadata("grading/scoreboard")["runner_up"] == "slow"


@ONE_ENGINE
def test_a_run_waits_for_another_benchmark_on_this_machine_and_logs_for_whom(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as another:
        another.enter_context(pipeline.world.database.exclusive(BENCHMARK))
        monkeypatch.setattr(locks, "sleep", lambda _: another.close())
        run = pipeline.run(assets=["grading/test_cases", "eligible_models", "grading/model_runs"])
    messages = [entry.user_message for entry in pipeline.instance.all_logs(run.run_id)]
    assert any(
        message.startswith("waiting: another process holds the benchmark lock: process ") for message in messages
    )
    assert "fast" in pipeline.partitions()


def test_the_scoreboard_tells_of_every_model_what_became_of_it(pipeline: Pipeline) -> None:
    pipeline.run()

    shown = pipeline.metadata("grading/scoreboard")
    assert {record.data["model"]: record.data["outcome"] for record in shown["table"].records} == {
        "fast": "champion",
        "slow": "runner_up",
        "wrong": "wrong",
        "silent": "invalid",
        "broken": "inconclusive",
        "ticket.py": "type",
    }
    assert "ticket.py: " in shown["not_ranked"]
    assert "fast: " not in shown["not_ranked"]


def test_the_plan_is_stored_with_its_decisions_and_tells_the_impact(pipeline: Pipeline) -> None:
    pipeline.world.was_called(SERVED[0], 7)

    pipeline.run()

    told = [record.data["impact"] for record in pipeline.metadata("grading/promotion_plan")["changes"].records]
    assert "7 calls in the last 30 days" in told[0]
    assert told[1:] == ["not known"] * 2
    assert pipeline.world.rows("benchmark_decisions", "conversation_id") == [(number,) for number in SERVED]


def test_every_model_has_its_own_partition_with_its_figures(pipeline: Pipeline) -> None:
    pipeline.run()

    assert pipeline.partitions() == set(ACTORS.values())
    fast = pipeline.metadata("grading/model_runs", "fast")
    assert fast["correctness_score"] == 100
    assert 0 < fast["median_ms"] <= fast["p90_ms"]
    assert (fast["valid_calls"], fast["excluded_calls"]) == (fast["calls"], 0)
    assert pipeline.metadata("grading/model_runs", "wrong")["failed_cases"] == "FAIL_002"
    assert pipeline.metadata("grading/model_runs", "broken")["standing"] == "inconclusive"
    assert fast["runtime"].startswith("ollama")
    assert pipeline.recorded() == Counter([None, *ACTORS.values()])  # `fast` and `slow` met in a final as well
    counts = pipeline.metadata("grading/model_runs")
    assert (counts["measured"], counts["reused"]) == (len(ACTORS), 0)


def test_a_broken_model_neither_fails_the_run_nor_goes_unseen(pipeline: Pipeline) -> None:
    checks = checks_of(pipeline.run())

    assert checks["every_model_was_measured"] is False
    assert checks["champion_exists"]


def test_the_checks_of_a_sound_benchmark_pass(pipeline: Pipeline) -> None:
    pipeline.world.remove_actor(BROKEN)

    checks = checks_of(pipeline.run())

    expected_warning = "suite_is_balanced"  # four cases are fewer than ten
    assert {name for name, passed in checks.items() if not passed} == {expected_warning}


def test_the_promotion_is_validated_and_documented(pipeline: Pipeline) -> None:
    pipeline.run()

    assert pipeline.metadata("grading/validation")["passed"] is True
    registry = json.loads((pipeline.world.folder / "production" / "champions.json").read_text(encoding="utf-8"))
    champions = {row["conversation_id"]: row["champion"]["actor_id"] for row in registry["champions"]}
    assert champions == dict.fromkeys(SERVED, FAST)
    (document,) = (pipeline.world.folder / "production" / "workflows").glob("3001*.md")
    assert "Grade A" in document.read_text(encoding="utf-8")


def test_the_report_is_shown_and_written(pipeline: Pipeline) -> None:
    pipeline.run()

    shown = pipeline.metadata("grading/report")
    (written,) = (pipeline.world.folder / "reports" / "grading").glob("*.md")
    assert "fast" in shown["report"]
    assert written.read_text(encoding="utf-8") == shown["report"]


@ONE_ENGINE
def test_a_second_run_promotes_nothing_twice_and_says_so(pipeline: Pipeline) -> None:
    pipeline.run()
    first, held = pipeline.metadata("grading/production_update"), pipeline.data_version("grading/production_update")

    pipeline.run(assets=["grading/production_update"])
    again = pipeline.metadata("grading/production_update")
    pipeline.run()

    assert (first["changed"], first["result"]) == (3, "3 of 3 conversations changed")
    assert (again["changed"], again["result"]) == (
        0,
        "nothing changed: the plan was applied by an earlier run (3 conversations)",
    )
    assert pipeline.metadata("grading/production_update")["changed"] == 0
    assert pipeline.data_version("grading/production_update") == held
    assert len(pipeline.world.rows("benchmark_promotions", "promotion_id")) == 1


@ONE_ENGINE
def test_nothing_is_measured_again_when_nothing_changed_and_that_is_asked_for(pipeline: Pipeline) -> None:
    pipeline.world.remove_actor(BROKEN)
    pipeline.run()
    before = len(pipeline.world.server.log)
    documents = {path: path.stat().st_mtime_ns for path in (pipeline.world.folder / "production").rglob("*.*")}

    pipeline.run(config={"only_if_changed": True})

    assert pipeline.world.calls(since=before) == []
    assert documents == {path: path.stat().st_mtime_ns for path in documents}


@ONE_ENGINE
def test_with_reuse_only_the_incumbent_and_what_failed_are_measured_again_and_all_are_ranked(
    pipeline: Pipeline,
) -> None:
    stages = ["eligible_models", "grading/test_cases", "grading/model_runs", "grading/scoreboard"]
    pipeline.run(assets=stages)
    before = len(pipeline.world.server.log)

    pipeline.run(assets=stages, config={"reuse": True})

    assert {model for model, _ in pipeline.world.calls(since=before)} == {"slow:7b"}
    board, runs = pipeline.metadata("grading/scoreboard"), pipeline.metadata("grading/model_runs")
    assert (board["champion"], board["reused"]) == ("fast", 3)
    assert (runs["measured"], runs["reused"]) == (2, 3)


@ONE_ENGINE
@pytest.mark.parametrize(("term", "says"), [("strategy", "strategy: input should be"), ("repeats", "repeats: ")])
def test_a_term_that_no_protocol_has_is_named(pipeline: Pipeline, term: str, says: str) -> None:
    wrong: dict[str, object] = {"strategy": "sprint", "repeats": 0}
    result = pipeline.run(config={term: wrong[term]}, fails=True)
    assert says in failures_of(result)


@ONE_ENGINE
def test_a_partition_measures_its_model_with_the_incumbent_and_ranks_it_among_the_others(pipeline: Pipeline) -> None:
    pipeline.world.set_actor(FAST, enabled=False)
    pipeline.run()
    pipeline.world.set_actor(FAST, enabled=True)
    pipeline.run(assets=["eligible_models"])
    before = len(pipeline.world.server.log)

    pipeline.run(partition="fast", assets=["grading/model_runs", "grading/scoreboard"])

    assert {model for model, _ in pipeline.world.calls(since=before)} == {"fast:1b", "slow:7b"}
    board = pipeline.metadata("grading/scoreboard")
    assert (board["champion"], board["runner_up"]) == ("fast", "slow")
    assert board["reused"] == len(ACTORS) - 3  # the two that were run, and the broken one has nothing to reuse


@ONE_ENGINE
def test_a_range_of_partitions_is_one_run_in_which_each_keeps_its_figures(pipeline: Pipeline) -> None:
    pipeline.run(assets=["eligible_models"])
    ordered = pipeline.instance.get_dynamic_partitions("models")
    span = {"dagster/asset_partition_range_start": ordered[0], "dagster/asset_partition_range_end": ordered[1]}

    pipeline.run(tags=span, assets=["grading/model_runs"])

    assert pipeline.recorded() == Counter(ordered[:2])
    assert pipeline.metadata("grading/model_runs", "fast")["avg_latency_ms"] > 0


@ONE_ENGINE
def test_the_scoreboard_shows_median_p90_and_the_valid_calls_of_every_model(pipeline: Pipeline) -> None:
    pipeline.run()

    rows = {record.data["model"]: record.data for record in pipeline.metadata("grading/scoreboard")["table"].records}
    assert 0 < rows["fast"]["median_ms"] <= rows["fast"]["p90_ms"]
    assert (rows["fast"]["valid_calls"], rows["broken"]["valid_calls"]) == (rows["fast"]["calls"], 0)


@ONE_ENGINE
def test_an_invalid_run_is_marked_and_its_check_fails(pipeline: Pipeline) -> None:
    pipeline.run(assets=["eligible_models", "grading/test_cases", "grading/model_runs"])
    pipeline.world.change(update(benchmark_runs).values(invalid="the machine drifted"))

    checks = checks_of(pipeline.run(assets=["grading/scoreboard", "grading/report"]))

    assert (checks["run_is_valid"], checks["champion_exists"]) == (False, True)
    assert pipeline.metadata("grading/scoreboard")["invalid"] == "the machine drifted"
    assert "This run is invalid: the machine drifted;" in pipeline.metadata("grading/report")["report"]


@ONE_ENGINE
def test_an_update_alone_checks_its_gate_itself(pipeline: Pipeline) -> None:
    pipeline.run(assets=["eligible_models", "grading/test_cases", "grading/model_runs", "grading/scoreboard"])
    pipeline.run(assets=["grading/promotion_plan"])
    pipeline.world.set_actor(FAST, enabled=False)

    result = pipeline.run(assets=["grading/production_update"], fails=True)

    assert pipeline.world.holds() == [SLOW] * 3
    assert "disabled" in failures_of(result)


@ONE_ENGINE
def test_a_failed_validation_undoes_the_promotion_and_the_check_says_so(pipeline: Pipeline) -> None:
    pipeline.run(assets=["eligible_models", "grading/test_cases", "grading/model_runs", "grading/scoreboard"])
    pipeline.run(assets=["grading/promotion_plan", "grading/production_update"])
    pipeline.world.server.models["fast:1b"].fault = Fault.EMPTY_CONTENT

    result = pipeline.run(assets=["grading/validation", "workflow_docs", "champion_registry"])

    assert checks_of(result)["validation_passed"] is False
    assert pipeline.world.holds() == [SLOW] * 3


@ONE_ENGINE
def test_a_task_that_serves_no_conversation_is_measured_and_reported_and_promotes_nothing(pipeline: Pipeline) -> None:
    write_task(pipeline.world.folder / "testcases", task=task_value(conversations=()))

    pipeline.run()

    assert pipeline.metadata("grading/scoreboard")["champion"] == "fast"
    assert pipeline.metadata("grading/production_update")["changed"] == 0
    assert pipeline.metadata("grading/validation")["validated"] == "no promotion waits for validation"
    assert pipeline.world.holds() == [SLOW] * 3


@ONE_ENGINE
def test_an_unsound_suite_stops_the_job_before_any_call(pipeline: Pipeline) -> None:
    assert pipeline.definitions.resolve_job_def("benchmark_grading")  # loaded while the suite was still sound
    suite = pipeline.world.folder / "testcases" / "grading" / "suite.json"
    suite.write_text(suite.read_text(encoding="utf-8").replace('"FAIL"', '"PASS"'), encoding="utf-8")

    pipeline.run(fails=True)

    assert pipeline.world.calls() == []
    assert pipeline.world.holds() == [SLOW] * 3


@ONE_ENGINE
def test_a_script_is_listed_with_the_reason_why_it_is_not_run(pipeline: Pipeline) -> None:
    pipeline.run(assets=["eligible_models"])

    rows = {record.data["model"]: record.data for record in pipeline.metadata("eligible_models")["table"].records}
    assert rows["ticket.py"]["reason"] == "type"
    assert pipeline.metadata("eligible_models")["eligible"] == len(ACTORS)
    assert pipeline.world.holds(3340) == [SCRIPT]


def test_the_job_reconcile_writes_the_documents_that_a_run_that_died_did_not(pipeline: Pipeline) -> None:
    pipeline.world.promoted()

    pipeline.run(job="reconcile")

    assert [done is None for (done,) in pipeline.world.rows("benchmark_intents", "done_at")] == [False]
    registry = json.loads((pipeline.world.folder / "production" / "champions.json").read_text(encoding="utf-8"))
    assert [row["champion"]["actor_id"] for row in registry["champions"]] == [FAST] * 3


@ONE_ENGINE
def test_the_next_run_validates_a_promotion_that_a_run_that_died_did_not(pipeline: Pipeline) -> None:
    pipeline.world.promoted()

    pipeline.run()

    assert pipeline.metadata("grading/validation")["validated"] == "promotion 1"
    assert [one.status for one in pipeline.world.promotions()] == ["validated"]


@ONE_ENGINE
def test_the_plan_is_shown_as_a_diff_and_as_json(pipeline: Pipeline) -> None:
    pipeline.run()

    shown = pipeline.metadata("grading/promotion_plan")
    assert "- actor_id 2 slow\n+ actor_id 1 fast" in shown["diff"]
    assert shown["plan"]["evidence"][0]["task"] == "grading"
    assert shown["approval"] == "auto"


@ONE_ENGINE
def test_a_chosen_partition_that_is_not_measured_says_why(pipeline: Pipeline) -> None:
    pipeline.run(assets=["eligible_models"])
    pipeline.world.set_actor(FAST, enabled=False)
    pipeline.world.remove_actor(BROKEN)
    ordered = pipeline.instance.get_dynamic_partitions("models")
    span = {"dagster/asset_partition_range_start": ordered[0], "dagster/asset_partition_range_end": ordered[-1]}

    pipeline.run(tags=span, assets=["grading/model_runs"])

    told = {name: pipeline.metadata("grading/model_runs", name) for name in ("fast", "broken", "slow")}
    assert (told["fast"]["standing"], told["fast"]["reason"]) == ("not measured", "it is not enabled")
    assert told["broken"]["reason"] == "the actor of this partition was deleted or renamed"
    assert told["slow"]["standing"] == "qualified"


@ONE_ENGINE
def test_the_partition_of_a_deleted_actor_alone_fails_the_run_with_the_reason(pipeline: Pipeline) -> None:
    pipeline.run(assets=["eligible_models"])
    pipeline.world.remove_actor(BROKEN)

    result = pipeline.run(partition="broken", assets=["grading/model_runs"], fails=True)
    pipeline.run(assets=["eligible_models"])

    assert "broken: the actor of this partition was deleted or renamed" in failures_of(result)
    shown = pipeline.metadata("eligible_models")
    assert (shown["partitions_without_actor"], shown["new_partitions"]) == ("broken", 0)
