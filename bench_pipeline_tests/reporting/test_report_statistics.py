"""What a report says of how sure its figures are, and of the calls that do not count."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from bench_pipeline.domain.measuring.racing import StopReason
from bench_pipeline.domain.measuring.sample import Sample
from bench_pipeline.domain.measuring.validity import MEANING, ValidityRule
from bench_pipeline.domain.tasks.outcome import Outcome
from bench_pipeline.reporting.report import render_report, render_report_json
from bench_pipeline_tests.reporting.examples import GOLD, hostile_samples, passes, ranked_of, right_samples
from bench_pipeline_tests.reporting.test_report import section

CASE = next(iter(GOLD))


# Statistics


def test_an_invalid_run_is_called_that_before_anything_else() -> None:
    ranked = ranked_of({"a": right_samples(100)}, invalid="the anchor's latency changed by +12.0%")
    said = "This run is invalid: the anchor's latency changed by +12.0%; it must not be used for a decision."
    assert render_report(ranked).splitlines()[2] == said
    assert render_report_json(ranked)["invalid"] == "the anchor's latency changed by +12.0%"


def test_the_bounds_count_cases_whatever_the_repeats() -> None:
    once, thrice = ranked_of({"a": passes([100])}), ranked_of({"a": passes([100, 100, 100])}, repeats=3)
    (of_once,), (of_thrice,) = (render_report_json(ranked)["statistics"] for ranked in (once, thrice))
    assert (of_once["valid_calls"], of_thrice["valid_calls"]) == (4, 12)
    assert of_once["wilson_lower"] == of_thrice["wilson_lower"] == pytest.approx(0.510, abs=1e-3)
    assert of_once["exact_lower"] == of_thrice["exact_lower"] == pytest.approx(0.473, abs=1e-3)


@pytest.mark.parametrize(("repeats", "indicative"), [(15, True), (16, False)])
def test_a_p90_of_fewer_than_64_valid_calls_is_indicative(repeats: int, indicative: bool) -> None:
    ranked = ranked_of({"a": passes([100] * repeats)}, repeats=repeats)
    assert render_report_json(ranked)["statistics"][0]["p90_is_indicative"] is indicative
    assert ("103 (indicative)" in section(render_report(ranked), "Statistics")) is indicative


def test_main_and_final_passes_are_told_apart() -> None:
    ranked = ranked_of({"a": passes([100] * 3), "b": passes([200] * 3)}, repeats=1, final_passes={"a": 2, "b": 2})
    statistics = section(render_report(ranked), "Statistics")
    assert "| a | 12 | 102 | 102 | 103 (indicative) | 0.0% (excellent) | 1 + 2 |" in statistics


def test_variation_has_its_word() -> None:
    ranked = ranked_of({"a": passes([100, 160])}, repeats=2)
    assert render_report_json(ranked)["statistics"][0]["steadiness"] == "unstable"


def test_pass_hat_and_flaky_cases_are_told_of_a_model_that_does_not_qualify_too() -> None:
    second = [
        replace(sample, outcome=Outcome.WRONG) if sample.case_id == CASE else sample
        for sample in passes([100], first=2)
    ]
    ranked = ranked_of({"a": passes([100, 100]), "b": [*passes([100]), *second]}, repeats=2)
    assert render_report_json(ranked)["repeats"] == [
        {"model": "a", "pass_hat": [1.0, 1.0], "flaky": []},
        {"model": "b", "pass_hat": [0.875, 0.75], "flaky": [CASE]},
    ]
    assert f"| b | 87.5% | 75.0% | 2 | {CASE} |" in section(render_report(ranked), "Statistics")


def test_one_pass_says_nothing_of_repeats() -> None:
    ranked = ranked_of({"a": right_samples(100)})
    assert render_report_json(ranked)["repeats"] == []
    assert "Flaky" not in render_report(ranked)


# Comparisons


def test_the_champion_is_compared_with_runner_up_and_every_incumbent_that_was_measured() -> None:
    ranked = ranked_of(
        {name: passes([ms, 1.1 * ms]) for name, ms in (("a", 100), ("b", 200), ("c", 400), ("d", 800))},
        repeats=2,
        incumbents=frozenset({"c", "never measured"}),
    )
    found = render_report_json(ranked)["comparisons"]
    assert [(line["champion"], line["other"], line["roles"]) for line in found] == [
        ("a", "b", ["runner-up"]),
        ("a", "c", ["incumbent"]),
    ]
    assert [line["ratio"] for line in found] == [pytest.approx(0.504, abs=1e-3), pytest.approx(0.253, abs=1e-3)]
    assert all(line["low"] <= line["ratio"] <= line["high"] and line["pairs"] == 2 for line in found)
    comparisons = section(render_report(ranked), "Comparisons")
    assert "| a | c | incumbent | 0.253 | 0.251 to 0.254 | 2 main | 0.253 (n=4) | – |" in comparisons


def test_one_pass_of_each_gives_a_comparison_by_case_and_no_interval() -> None:
    (line,) = render_report_json(ranked_of({"a": right_samples(100), "b": right_samples(200)}))["comparisons"]
    assert (line["pairs"], line["ratio"], line["low"], line["cases"]) == (0, None, None, 4)
    assert line["ratio_by_case"] == pytest.approx(0.504, abs=1e-3)


def test_the_cases_in_which_the_champion_takes_longer_are_named_with_how_much() -> None:
    slow_once = [replace(one, latency_ns=3 * one.latency_ns) if one.case_id == CASE else one for one in passes([100])]
    ranked = ranked_of({"a": slow_once, "b": right_samples(200)})
    (line,) = render_report_json(ranked)["comparisons"]
    (slower,) = line["slower_cases"]
    assert (slower["case_id"], slower["ratio"]) == (CASE, pytest.approx(1.5, abs=0.01))
    assert f"| {CASE} (50.0% slower) |" in section(render_report(ranked), "Comparisons")


def test_an_incumbent_that_does_not_qualify_is_compared_and_called_that() -> None:
    ranked = ranked_of({"a": right_samples(100), "b": hostile_samples("wrong")}, incumbents=frozenset({"b"}))
    assert "| a | b | incumbent, disqualified |" in section(render_report(ranked), "Comparisons")


def test_two_who_met_in_a_final_are_compared_by_its_passes_and_its_cost_is_stated() -> None:
    ranked = ranked_of({"a": passes([100, 300, 300]), "b": passes([200, 400, 401])}, final_passes={"a": 2, "b": 2})
    (line,) = render_report_json(ranked)["comparisons"]
    assert (line["passes"], line["pairs"], line["roles"]) == ("final", 2, ["runner-up", "finalist"])
    assert line["ratio"] == pytest.approx(0.75, abs=1e-2)
    comparisons = section(render_report(ranked), "Comparisons")
    cost = "a (2 passes, 8 calls, 0.0 min), b (2 passes, 8 calls, 0.0 min)"
    assert f"In the final, pass by pass in random order: {cost}." in comparisons


def test_a_report_imports_no_scipy_stats() -> None:
    script = (
        "import sys; from bench_pipeline.reporting.report import render_report; "
        "from bench_pipeline_tests.reporting.examples import ranked_example; "
        "render_report(ranked_example()); sys.exit('scipy.stats' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_a_tie_is_stated_with_what_decided_it() -> None:
    ranked = ranked_of({"a": right_samples(100), "b": right_samples(100)}, incumbents=frozenset({"b"}))
    assert render_report_json(ranked)["ties"] == [{"ahead": "b", "behind": "a", "ahead_by": "incumbent"}]
    rankings = section(render_report(ranked), "Final rankings")
    assert "- b and a are tied: their means are not separated. b is listed first (incumbent)." in rankings


def test_without_a_champion_nobody_is_compared() -> None:
    report = render_report(ranked_of({"a": hostile_samples("wrong")}))
    assert "There is no model to compare the champion with." in section(report, "Comparisons")


# A race


def test_outpaced_models_have_a_list_of_their_own_with_the_cases_that_they_saw() -> None:
    ranked = ranked_of(
        {"a": right_samples(100), "b": right_samples(200), "c": right_samples(400)[:3]},
        stopped={"c": StopReason.OUTPACED},
    )
    report = render_report(ranked)
    assert "| c | 3/4 | 401 (n=3) |" in section(report, "Outpaced")
    assert "c" not in section(report, "Did not qualify").split()
    assert [line["model"] for line in render_report_json(ranked)["outpaced"]] == ["c"]


def test_a_model_that_a_race_stopped_at_a_failure_says_how_many_cases_it_saw() -> None:
    failed = [replace(sample, outcome=Outcome.WRONG) for sample in right_samples(100)[:1]]
    ranked = ranked_of({"a": failed}, stopped={"a": StopReason.FAILED})
    assert "**a**: disqualified, 0/4 correct, 1 of 4 cases asked" in section(render_report(ranked), "Did not qualify")


# What does not rank


def excluded(sample: Sample, rule: ValidityRule) -> Sample:
    return replace(sample, exclusion=rule.value)


def test_latencies_that_do_not_rank_are_counted_by_model_and_rule_in_words() -> None:
    first, second, third, fourth = right_samples(100)
    ranked = ranked_of(
        {
            "a": right_samples(100),
            "b": [
                excluded(first, ValidityRule.CONTENTION),
                excluded(second, ValidityRule.CONTENTION),
                excluded(third, ValidityRule.CACHED_PROMPT),
                replace(fourth, attempts=("busy: 503", "busy: 503")),
            ],
        }
    )
    assert render_report_json(ranked)["unranked_latencies"] == [
        {"model": "b", "calls": 4, "excluded": {"cached_prompt": 1, "contention": 2}, "errors": 0, "failed_attempts": 2}
    ]
    told = section(render_report(ranked), "Latencies that do not rank")
    assert "| b | 4 | cached_prompt 1, contention 2 | 0 | 2 |" in told
    assert f"- contention: {MEANING[ValidityRule.CONTENTION]}" in told
    assert "cut_off" not in told


def test_when_every_latency_ranks_there_is_no_such_section() -> None:
    assert "## Latencies that do not rank" not in render_report(ranked_of({"a": right_samples(100)}))


def test_every_rule_has_its_words() -> None:
    assert set(MEANING) == set(ValidityRule)


# Where a model was


def test_memory_and_context_are_those_that_were_really_allocated() -> None:
    ranked = ranked_of({"a": right_samples(100)})
    assert "| ollama 0.17.1 | 1.50 | 1.50 | 4096 |" in section(render_report(ranked), "Protocol and identities")
    (identity,) = render_report_json(ranked)["identities"]
    assert (identity["context_length"], identity["longest_context_length"]) == (4096, 32768)
