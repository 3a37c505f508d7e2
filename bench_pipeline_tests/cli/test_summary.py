"""The final rankings as the terminal shows them."""

from __future__ import annotations

from bench_pipeline.cli.live_tree import summary
from bench_pipeline.domain.measuring.racing import StopReason
from bench_pipeline_tests.reporting.examples import hostile_samples, passes, ranked_of, right_samples


def test_the_leaders_are_compared_in_the_mean() -> None:
    ranked = ranked_of({"a": passes([100, 110]), "b": passes([200, 220])}, repeats=2)
    assert "   champion / runner-up, mean latency: 0.504 (95 % interval 0.501 to 0.506, n=2 passes)" in summary(ranked)


def test_a_lone_champion_is_compared_with_nobody() -> None:
    assert not any("mean latency" in line for line in summary(ranked_of({"a": right_samples(100)})))


def test_an_invalid_run_is_called_that_beside_the_rankings() -> None:
    ranked = ranked_of({"a": right_samples(100)}, invalid="the machine\x1b[2J drifted")
    assert "📊 Final rankings (invalid run: the machine [2J drifted):" in summary(ranked)


def test_outpaced_models_are_no_failures() -> None:
    ranked = ranked_of(
        {"a": right_samples(100), "b": right_samples(200), "c": right_samples(900)[:3], "d": hostile_samples("no")},
        stopped={"c": StopReason.OUTPACED},
    )
    lines = summary(ranked)
    outpaced = lines.index("🏃 Outpaced, stopped by the race:")
    assert lines[outpaced + 1] == "   c: 3 of 4 cases seen"
    failed = lines[lines.index("⚠️  Did not qualify:") + 1 : outpaced]
    assert [line.split(":")[0].strip() for line in failed] == ["d"]
