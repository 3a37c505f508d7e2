"""The comment on a pull request: what it says, and that no foreign text does more than show itself."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from bench_pipeline.benchmark.baseline import Baseline, change_since
from bench_pipeline.benchmark.ranking import RankedBenchmark
from bench_pipeline.domain.tasks.outcome import Outcome
from bench_pipeline.reporting.pull_request_comment import MAX_BYTES, comment_of, comment_of_failure
from bench_pipeline_tests.reporting.examples import GOLD, passes, ranked_of

CASE = "GRADE_FAIL_001"
_GITHUB = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def answered(said: str, latencies_ms: tuple[int, ...] = (100, 101, 102), model: str = "m") -> RankedBenchmark:
    """A benchmark in which the model said this about one case, wrongly."""
    samples = [
        replace(one, outcome=Outcome.WRONG, verdict=said, reason=f"said {said}, gold is FAIL", reply_text=said)
        if one.case_id == CASE
        else one
        for one in passes(latencies_ms)
    ]
    return ranked_of({model: samples}, repeats=len(latencies_ms))


def right(latencies_ms: tuple[int, ...] = (100, 101, 102), model: str = "m") -> RankedBenchmark:
    return ranked_of({model: passes(latencies_ms)}, repeats=len(latencies_ms))


def comment(before: RankedBenchmark, now: RankedBenchmark, champion: str = "m") -> str:
    return comment_of(now, change_since(Baseline(before, champion), now, 0.05))


def test_what_got_wrong_is_told_case_by_case() -> None:
    text = comment(right(), answered("PASS"))

    assert "### ❌ `grading`: 1 regression\n" in text
    assert "- ❌ `m`: `it qualified and does not any more: 3 of 4 cases correct`\n" in text
    assert "- Correct: 4/4 (qualified) → 3/4 (disqualified).\n" in text
    assert f"- **got wrong**: `{CASE}`: expected `FAIL`, said `PASS`; `said PASS, gold is FAIL`; reply `PASS`\n" in text


def test_what_got_right_is_told_too() -> None:
    text = comment(answered("PASS"), right())

    assert "### ✅ `grading`\n" in text
    assert f"- **got right**: `{CASE}`\n" in text


def test_a_latency_comes_with_its_interval_and_n() -> None:
    text = comment(right((100, 101, 102)), right((200, 202, 204)))

    (line,) = re.findall(r"^- Mean latency.*$", text, re.MULTILINE)
    assert line.startswith("- Mean latency: 102 ms → 204 ms, ")
    assert "times as long (95 % interval " in line
    assert line.endswith("n=3 passes).")
    assert "### ❌" in text


def test_one_pass_is_not_judged() -> None:
    text = comment(right((100,)), right((900,)))

    assert "n=4 cases). Not judged: one pass does not show how much passes vary" in text
    assert "### ✅" in text


HOSTILE = (
    "@octocat", "#1", "fixes owner/repo#1", "GH-1", "<img src=x onerror=alert(1)>", "![x](https://evil.example/x)",
    "[x](javascript:alert(1))", "https://evil.example", "``` `` `", "a|b\\|c", "# Title", "\n/merge\n", "</details>",
    "<!-- hidden", "\u202eevil\u2066", "**bold** _it_", "&lt;b&gt;", "- [ ] task", "-->", "\\`@octocat\\`",
)  # fmt: skip


@pytest.mark.parametrize("said", HOSTILE)
def test_no_foreign_text_does_more_than_show_itself(said: str) -> None:
    assert_inert(said)


@given(st.text(max_size=60))
def test_no_text_does_more_than_show_itself(said: str) -> None:
    assert_inert(said)


def assert_inert(said: str) -> None:
    """Every foreign text is in a code span: outside of them the comment has the words of a harmless one."""
    for text in (
        comment(right(model=said), answered(said, model=said), champion=said),
        comment_of_failure("grading", said),
    ):
        outside = [child for token in _GITHUB.parse(text) for child in token.children or ()]
        kinds = {child.type for child in outside}
        assert kinds <= {"text", "code_inline", "strong_open", "strong_close", "softbreak"}, kinds
        shown = "".join(child.content for child in outside if child.type == "text")
        assert re.sub(r"[\w .:;,→❌✅⚠️()/%=-]|grading", "", shown) == ""
        assert "@" not in shown
        assert not re.search(r"^\s*/", text, re.MULTILINE)


def test_a_comment_is_never_longer_than_a_server_takes() -> None:
    cases = {f"CASE_{number:05d}": "😀" * 400 for number in range(2000)}
    wrong = [
        replace(passes([100])[0], case_id=case, outcome=Outcome.WRONG, reason=said, reply_text=said)
        for case, said in cases.items()
    ]
    now = right()
    row = replace(now.benchmark, suite={"test_cases": [{"id": case} for case in (*GOLD, *cases)]})
    result = replace(answered("PASS").scoreboard.results[0], failures=tuple(
        replace(answered("PASS").scoreboard.results[0].failures[0], case_id=case) for case in cases
    ))  # fmt: skip
    board = replace(now.scoreboard, results=(result,))

    text = comment(right(), replace(now, benchmark=row, scoreboard=board, samples={"m": wrong}))

    assert MAX_BYTES * 0.9 < len(text.encode()) <= MAX_BYTES
    assert re.search(r"^\d+ more lines do not fit here; ", text, re.MULTILINE)
    assert text.count("`") % 2 == 0


def test_a_benchmark_that_failed_says_why() -> None:
    assert "### ⚠️ `grading`: the benchmark did not end\n\n- `the server was lost`\n" in comment_of_failure(
        "grading", "the server was lost"
    )
