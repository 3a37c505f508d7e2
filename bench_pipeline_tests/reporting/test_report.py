"""What a report says. BENCH_UPDATE_GOLDEN=1 writes the snapshot anew; read its diff before it is kept."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench_pipeline.benchmark.ranking import RankedBenchmark
from bench_pipeline.domain.measuring.sample import Sample
from bench_pipeline.domain.measuring.scoreboard import rank
from bench_pipeline.domain.tasks.outcome import Outcome
from bench_pipeline.reporting.report import render_report, render_report_json, report_path
from bench_pipeline.storage.history import PastBenchmark
from bench_pipeline_tests.reporting.examples import HOSTILE, benchmark, ranked_example, unranked_example
from bench_pipeline_tests.reporting.reading import links, rows

GOLDEN = Path(__file__).parent / "golden" / "report.md"


def section(report: str, title: str) -> str:
    return report.split(f"## {title}\n")[1].split("\n## ")[0]


def test_the_whole_report_is_the_one_that_was_agreed_on() -> None:
    report = render_report(ranked_example())
    if os.environ.get("BENCH_UPDATE_GOLDEN") == "1":
        GOLDEN.write_text(report, encoding="utf-8")
    assert report == GOLDEN.read_text(encoding="utf-8")


def test_the_same_data_give_the_same_bytes() -> None:
    assert render_report(ranked_example()) == render_report(ranked_example())


def test_the_champions_before_are_listed_with_those_of_another_program() -> None:
    theirs = PastBenchmark(None, datetime(2024, 12, 1, tzinfo=UTC), HOSTILE, 2110.0, None, 1, 1, measured_here=False)
    ours = PastBenchmark("grading-1", datetime(2025, 1, 1, tzinfo=UTC), None, None, None, 0, 2)
    ranked = replace(ranked_example(), before=[theirs, ours])
    told = section(render_report(ranked), "Champions before")
    assert (rows(told), links(told)) == ([5] * 4, [])
    assert [line.split(" | ")[2:] for line in told.splitlines() if line.startswith("| 202")] == [
        ["2,110", "–", "another program's |"],
        ["–", "–", "grading-1 |"],
    ]
    assert "no decision rests on them" in told
    assert "no decision rests on them" not in render_report(replace(ranked, before=[ours]))


@given(st.text(), st.text())
@settings(max_examples=30, deadline=None)
def test_no_model_name_and_no_reason_breaks_the_report(name: str, reason: str) -> None:
    report = render_report(ranked_example(f"x{name}", reason))
    plain = render_report(ranked_example("xplain", "plain"))
    assert sorted(rows(report)) == sorted(rows(plain))
    assert links(report) == []


def test_a_hostile_name_is_no_heading_and_no_image() -> None:
    report = render_report(ranked_example())
    assert links(report) == []
    assert "\n# Title" not in report


def test_the_result_names_champion_and_runner_up_with_their_figures() -> None:
    assert (
        "Champion: qwen2.5-coder:0.5b, 4/4 correct, 122 ms per case (n=4 calls). "
        "Runner-up: hf.co/User/Model-GGUF:Q4_K_M, 482 ms per case (n=4 calls)."
    ) in render_report(ranked_example())


def test_long_names_do_not_cut_off_the_figures() -> None:
    insights = section(render_report(ranked_example("m" * 290)), "Key insights")
    assert "always says PASS, whatever the case (n=4 verdicts)." in insights


def test_a_model_that_always_says_the_same_is_named_beside_its_false_verdicts() -> None:
    verdicts = section(render_report(ranked_example("parrot")), "Verdicts")
    assert "| parrot | 4/4 | 2/4 | 2/2 | 0/2 | always says PASS |" in verdicts
    assert "| qwen2.5-coder:0.5b | 4/4 | 4/4 | 0/2 | 0/2 | – |" in verdicts


def test_an_inconclusive_model_is_the_infrastructures_matter() -> None:
    failed = section(render_report(ranked_example()), "Did not qualify")
    wrong, inconclusive = failed.split("Inconclusive because of the infrastructure")
    assert "llama3.1:8b" not in wrong
    assert "GRADE_PASS_001: error (infrastructure); no reply in 120 s" in inconclusive
    assert "Run: the server was lost after 4 calls" in inconclusive


def test_a_run_of_an_earlier_benchmark_is_named() -> None:
    top = section(render_report(ranked_example()), "Top five")
    assert "Measured in an earlier benchmark under the same terms: grading-20250201T030000Z-00ff" in top


def test_without_any_model_the_report_says_so() -> None:
    report = render_report(unranked_example())
    assert "No champion: no model was run. Production is unchanged." in report
    assert "There are no measurements to draw on." in report
    assert "No model was measured." in section(report, "Verdicts")


def test_without_a_qualified_model_the_report_says_why() -> None:
    example = ranked_example()
    others = rank(result for result in example.scoreboard.results if not result.qualified)
    report = render_report(replace(example, scoreboard=others))
    assert (
        "No champion: none of 2 models was correct in all 4 cases; 1 could not be measured to the end. "
        "Production is unchanged."
    ) in report


def test_the_json_report_holds_the_same_facts_and_is_json() -> None:
    facts = render_report_json(ranked_example())
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert [line["model"] for line in facts["rankings"]] == ["qwen2.5-coder:0.5b", "hf.co/User/Model-GGUF:Q4_K_M"]
    assert facts["disqualified"][0]["model"] == HOSTILE
    shares = {line["model"]: (line["format_compliance"], line["verdict_accuracy"]) for line in facts["verdicts"]}
    assert shares[HOSTILE] == (1.0, 0.5)
    assert shares["llama3.1:8b"] == (None, None)
    assert facts["inconclusive"][0]["standing"] == "inconclusive"


# Injection twins

TWINS = {f"GRADE_PASS_001_TWIN_{number}": "GRADE_PASS_001" for number in range(1, 6)}


def with_twins(said: dict[str, str]) -> RankedBenchmark:
    """The example with five twins; on each, a model says what `said` has for it, or nothing that can be read."""
    example = ranked_example()
    cases = [*example.benchmark.suite["test_cases"], *({"id": twin, "twin_of": TWINS[twin]} for twin in TWINS)]
    samples = {
        model: [*example.samples[model], *(twin_sample(twin, verdict) for twin in TWINS)]
        for model, verdict in said.items()
    }
    return replace(example, benchmark=benchmark(suite={"test_cases": cases}), samples=dict(example.samples) | samples)


def twin_sample(case_id: str, verdict: str) -> Sample:
    if verdict == "nothing":
        return Sample(case_id, 1, 1, Outcome.INVALID, "PASS")
    return Sample(case_id, 1, 1, Outcome.CORRECT if verdict == "PASS" else Outcome.WRONG, "PASS", verdict)


def test_the_report_counts_the_twins_that_flip_by_model() -> None:
    ranked = with_twins({"qwen2.5-coder:0.5b": "PASS", "hf.co/User/Model-GGUF:Q4_K_M": "FAIL", HOSTILE: "nothing"})
    lines = section(render_report(ranked), "Injection twins").splitlines()
    assert "| qwen2.5-coder:0.5b | 5/5 | 0 | 0 | – |" in lines
    changed = ", ".join(list(TWINS)[:3]) + " and 2 more"
    assert f"| hf.co/User/Model-GGUF:Q4_K_M | 5/5 | 5 | 0 | {changed} |" in lines
    assert any(line.endswith(f"| 5/5 | 0 | 5 | {changed} |") for line in lines)
    assert "| llama3.1:8b | 0/5 | 0 | 0 | – |" in lines


def test_the_json_report_names_every_twin_that_flips() -> None:
    facts = render_report_json(with_twins({"qwen2.5-coder:0.5b": "FAIL"}))
    assert facts["injection_twins"][0] == {
        "model": "qwen2.5-coder:0.5b",
        "twins": 5,
        "compared": 5,
        "flipped": list(TWINS),
        "lost": [],
    }


def test_a_suite_without_twins_has_no_section_for_them() -> None:
    assert "## Injection twins" not in render_report(ranked_example())
    assert render_report_json(ranked_example())["injection_twins"] == []


def test_a_report_is_dated_by_the_benchmarks_start_in_utc(tmp_path: Path) -> None:
    expected = tmp_path / "grading" / "2025-03-01-grading-20250301T233000Z-ab12.md"
    assert report_path(tmp_path, ranked_example()) == expected


@pytest.mark.parametrize("hostile", ["../../etc/passwd", "/etc/passwd", "a/../../b"])
def test_no_benchmark_id_leads_out_of_the_reports(tmp_path: Path, hostile: str) -> None:
    row = benchmark(benchmark_id=hostile, task_type=hostile, started_at=datetime(2025, 3, 1, tzinfo=UTC))
    path = report_path(tmp_path, replace(ranked_example(), benchmark=row))
    assert path.resolve().is_relative_to(tmp_path.resolve())
    assert len(path.relative_to(tmp_path).parts) == 2
