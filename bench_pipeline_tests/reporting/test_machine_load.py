"""What a report says of disturbed calls, and of what else ran."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from bench_pipeline.benchmark.ranking import RankedBenchmark
from bench_pipeline.cli.live_tree import summary
from bench_pipeline.domain.measuring.disturbance import with_takes_settled
from bench_pipeline.domain.measuring.pass_load import GpuUse, PassLoad
from bench_pipeline.domain.measuring.sample import Sample
from bench_pipeline.domain.tasks.outcome import Outcome
from bench_pipeline.reporting.report import render_report, render_report_json
from bench_pipeline_tests.reporting.examples import HOSTILE, passes, ranked_of
from bench_pipeline_tests.reporting.test_report import section

CASE = "GRADE_PASS_002"


def slow_once() -> list[Sample]:
    """Three passes of a second; one call of the second took four."""
    samples = passes([1000] * 3)
    return [
        replace(one, latency_ns=4_000_000_000) if (one.case_id, one.repeat) == (CASE, 2) else one for one in samples
    ]


def repeated(**changes: object) -> list[Sample]:
    samples = slow_once()
    first = next(one for one in samples if (one.case_id, one.repeat) == (CASE, 2))
    again = replace(first, take=2, **{"latency_ns": 1_100_000_000} | changes)  # type: ignore[arg-type]
    return with_takes_settled([*samples, again])


def report_of(samples: Sequence[Sample], model: str = "a") -> RankedBenchmark:
    return ranked_of({model: samples}, repeats=3)


@pytest.mark.parametrize(
    ("samples", "again_ms", "ranks", "row"),
    [
        (repeated(), 1100, "repetition", "| a | GRADE_PASS_002 | 2 | 4,000 | 4.0 × | 1,100 | repetition |"),
        (
            repeated(latency_ns=5_000_000_000), 5000, "repetition",
            "| a | GRADE_PASS_002 | 2 | 4,000 | 4.0 × | 5,000 | repetition |",
        ),
        (
            repeated(latency_ns=None, outcome=Outcome.ERROR), None, "first",
            "| a | GRADE_PASS_002 | 2 | 4,000 | 4.0 × | – | first |",
        ),
        (slow_once(), None, "first", "| a | GRADE_PASS_002 | 2 | 4,000 | 4.0 × | not repeated | first |"),
    ],
    ids=["faster", "slower still", "failed", "not repeated"],
)  # fmt: skip
def test_a_disturbed_call_is_named_with_its_repetition_and_which_of_them_ranks(
    samples: list[Sample], again_ms: float | None, ranks: str, row: str
) -> None:
    ranked = report_of(samples)
    (line,) = render_report_json(ranked)["disturbed_calls"]
    assert (line["model"], line["case_id"], line["pass"]) == ("a", CASE, 2)
    assert (line["latency_ms"], line["ratio"]) == (4000, pytest.approx(4.0, rel=0.01))
    assert (line["again_ms"], line["ranks"]) == (again_ms, ranks)
    assert row in section(render_report(ranked), "Disturbed calls")


def test_the_rule_is_counted_among_those_that_exclude_a_latency() -> None:
    assert "| a | 13 | disturbed 1 | 0 | 0 |" in section(
        render_report(report_of(repeated())), "Latencies that do not rank"
    )


def test_a_benchmark_without_a_disturbed_call_has_no_such_section() -> None:
    text = render_report(report_of(passes([1000] * 3)))
    assert "Disturbed calls" not in text
    assert "What else ran" not in text


def test_a_foreign_name_does_nothing_in_these_sections() -> None:
    ranked = replace(report_of(repeated(), HOSTILE), loads={HOSTILE: [PassLoad(1, 1.9, (GpuUse(0, "<b>|", 1, 0.5),))]})
    text = render_report(ranked)
    for title in ("Disturbed calls", "What else ran"):
        assert not any(mark in section(text, title) for mark in ("<img", "<b>", "model[x]"))


# What else ran


@pytest.mark.parametrize(
    ("load", "says"),
    [
        (PassLoad(2, 1.9), ["Other programs kept 1.9 of 2 cores busy in pass 2 of a."]),
        (PassLoad(2, 0.2), []),
        (PassLoad(2, 0.21), ["Other programs kept 0.2 of 2 cores busy in pass 2 of a."]),
        (PassLoad(2, 0.0, ()), []),
        (PassLoad(2, 0.0, (GpuUse(0, "Xorg", 10**8, 0.02),)), []),
        (
            PassLoad(2, 0.1, (GpuUse(1, "game", 10**9, 0.8), GpuUse(1, "idle", 10**9, None))),
            ["Other programs kept 0.1 of 2 cores busy in pass 2 of a.", "game used 80% of GPU 1 in pass 2 of a."],
        ),
    ],
)
def test_a_pass_is_named_when_other_programs_used_more_than_a_tenth_of_the_machine(
    load: PassLoad, says: list[str]
) -> None:
    ranked = replace(report_of(passes([1000] * 3)), loads={"a": [load]})
    assert render_report_json(ranked)["other_programs"] == says
    text = render_report(ranked)
    assert all(f"- {line}" in section(text, "What else ran") for line in says)
    assert ("What else ran" in text) is bool(says)


def test_the_json_holds_the_load_of_every_pass() -> None:
    ranked = replace(report_of(passes([1000] * 3)), loads={"a": [PassLoad(1, 0.0), PassLoad(2, 0.05, ())]})
    assert render_report_json(ranked)["pass_loads"] == [
        {"model": "a", "pass": 1, "cores": 2, "other_cores": 0.0, "gpu_others": None},
        {"model": "a", "pass": 2, "cores": 2, "other_cores": 0.05, "gpu_others": []},
    ]


# The terminal


def test_the_terminal_names_the_same_calls_and_programs() -> None:
    ranked = replace(report_of(repeated()), loads={"a": [PassLoad(2, 1.9)]})
    lines = summary(ranked)
    found = lines.index("🐢 Disturbed calls:")
    assert lines[found + 1 : found + 3] == [
        "   a, GRADE_PASS_002, pass 2: 4.00 s, 4.0 × as long as expected; again 1.10 s; the repetition ranks",
        "   Other programs kept 1.9 of 2 cores busy in pass 2 of a.",
    ]


def test_the_terminal_says_nothing_of_a_quiet_benchmark() -> None:
    assert not any("Disturbed" in line or "Other programs" in line for line in summary(report_of(passes([1000] * 3))))
