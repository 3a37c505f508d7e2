"""A benchmark as JUnit XML, read back by a parser."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from junitparser import Error, Failure, JUnitXml, Skipped

from bench_pipeline.benchmark.ranking import RankedBenchmark
from bench_pipeline.domain.measuring.racing import StopReason
from bench_pipeline.domain.measuring.regression import BenchmarkChange, ModelChange, Regression, RegressionKind
from bench_pipeline.domain.tasks.outcome import Outcome
from bench_pipeline.reporting.junit import junit_of, junit_of_failure
from bench_pipeline_tests.reporting.examples import GOLD, HOSTILE, ranked_example, ranked_of, right_samples


def read(text: str) -> JUnitXml:
    return JUnitXml.fromstring(text)


def outcomes(document: JUnitXml) -> dict[str, list[type]]:
    """The kind of each test's result, by suite; `type(None)` for one that passed."""
    return {suite.name: [type(test.result[0] if test.result else None) for test in suite] for suite in document}


def test_each_model_is_a_suite_with_a_test_per_case() -> None:
    document = read(junit_of(ranked_example(hostile="evil"), None))

    assert outcomes(document) == {
        "grading: qwen2.5-coder:0.5b": [type(None)] * 4,
        "grading: hf.co/User/Model-GGUF:Q4_K_M": [type(None)] * 4,
        "grading: evil": [type(None), type(None), Failure, Failure],
        "grading: llama3.1:8b": [Error] * 4,
    }
    assert (document.tests, document.failures, document.errors) == (16, 2, 4)


def test_a_failed_test_shows_what_was_expected_and_what_was_said() -> None:
    ranked = ranked_example(hostile="evil")
    ranked.samples["evil"] = [replace(one, reply_text="[PASS] it names a job") for one in ranked.samples["evil"]]  # type: ignore[index]

    (suite,) = [suite for suite in read(junit_of(ranked, None)) if suite.name == "grading: evil"]

    failed = next(test for test in suite if test.result)
    assert (failed.name, failed.classname) == ("GRADE_FAIL_001", "grading.evil")
    assert failed.result[0].type == "wrong"
    assert failed.result[0].text.splitlines() == [
        "expected: FAIL", "actual: PASS", "pass: 1", "reply: [PASS] it names a job",
    ]  # fmt: skip


def test_times_are_the_mean_seconds_of_a_call() -> None:
    samples = [*right_samples(100), *(replace(one, repeat=2) for one in right_samples(300))]

    (suite,) = read(junit_of(ranked_of({"m": samples}, repeats=2), None))

    assert [test.time for test in suite] == pytest.approx([0.200, 0.201, 0.202, 0.203])
    assert suite.time == pytest.approx(0.806)


def test_a_case_that_a_race_left_out_is_skipped() -> None:
    ranked = ranked_of({"m": right_samples(100)[:1]}, stopped={"m": StopReason.OUTPACED})

    assert outcomes(read(junit_of(ranked, None))) == {"grading: m": [type(None), Skipped, Skipped, Skipped]}


def test_an_error_that_another_pass_made_good_for_is_no_failure() -> None:
    first = [replace(right_samples(100)[0], outcome=Outcome.ERROR, latency_ns=None), *right_samples(100)[1:]]
    second = [replace(one, repeat=2) for one in right_samples(100)]
    ranked = ranked_of({"m": [*first, *second]}, repeats=2)
    tolerant = replace(ranked, scoreboard=ranked_of({"m": right_samples(100)}).scoreboard)

    assert outcomes(read(junit_of(tolerant, None)))["grading: m"] == [type(None)] * 4


def change_of(ranked: RankedBenchmark, *regressions: Regression) -> BenchmarkChange:
    models = tuple(ModelChange(one.model, one, one) for one in ranked.scoreboard.results)
    return BenchmarkChange("earlier", "now", None, models, (), (), regressions)


def test_a_comparison_is_a_suite_with_a_test_per_model() -> None:
    ranked = ranked_of({"m": right_samples(100), "n": right_samples(200)})
    change = change_of(ranked, Regression(RegressionKind.SLOWER, "n", "takes twice as long"))

    *_, compared = read(junit_of(ranked, change))

    assert compared.name == "grading: compared with earlier"
    assert {test.name: [one.message for one in test.result] for test in compared} == {
        "the benchmark is valid": [],
        "m": [],
        "n": ["takes twice as long"],
    }


def test_a_run_that_failed_has_an_error_and_the_calls_that_it_made() -> None:
    document = read(junit_of_failure("grading", "the server was lost", {"m": right_samples(100)[:2]}))

    assert outcomes(document) == {"grading": [Error], "grading: m": [type(None)] * 2}
    (ended,) = next(iter(document))
    assert ended.result[0].message == "the server was lost"


FOREIGN = st.text(st.characters(codec=None, categories=None), max_size=40)


@given(name=FOREIGN, said=FOREIGN)
def test_whatever_a_model_says_the_file_is_xml_and_holds_it(name: str, said: str) -> None:
    samples = [
        replace(one, outcome=Outcome.WRONG, verdict=said, reason=said, reply_text=f"{said}]]>&<end")
        for one in right_samples(100)
    ]

    (suite,) = read(junit_of(ranked_of({f"{name}.": samples}), None))

    assert [type(test.result[0]) for test in suite] == [Failure] * len(GOLD)
    assert all(test.result[0].text.endswith("]]>&<end") for test in suite)


def test_a_reply_is_cut_and_a_hostile_name_kept() -> None:
    samples = [replace(one, outcome=Outcome.WRONG, reply_text="x" * 10**6) for one in right_samples(100)]

    text = junit_of(ranked_of({HOSTILE: samples}), None)

    assert len(text) < 20_000
    assert [suite.name for suite in read(text)] == [f"grading: {HOSTILE}"]
