"""The progress of several hosts at once: whose line it is stands first."""

from __future__ import annotations

from bench_pipeline.benchmark.events import (
    BenchmarkStarted,
    Event,
    FinalOmitted,
    FinalPass,
    HostSkipped,
    HostStopped,
    ModelStarted,
    OnHost,
    SampleTaken,
)
from bench_pipeline.cli.live_tree import LiveTree
from bench_pipeline.domain.measuring.sample import Sample
from bench_pipeline.domain.tasks.outcome import Outcome


def lines_of(*events: Event) -> list[str]:
    written: list[str] = []
    tree = LiveTree(write=written.append)
    for event in events:
        tree(event)
    return written


def right(case_id: str) -> Sample:
    return Sample(
        case_id=case_id,
        repeat=1,
        batch=1,
        outcome=Outcome.CORRECT,
        expected="PASS",
        verdict="PASS",
        latency_ns=10**9,
        elapsed_ns=10**9,
    )


def test_mixed_lines_of_two_hosts_begin_with_their_host() -> None:
    assert lines_of(
        BenchmarkStarted("grading-1", "grading", ("a", "b"), cases=2, repeats=1, resumed=False),
        OnHost("gpu1", ModelStarted("a", 1, 2, 2, 0)),
        OnHost("gpu2", ModelStarted("b", 2, 2, 2, 0)),
        OnHost("gpu2", SampleTaken("b", right("PASS_001"))),
        OnHost("gpu1", SampleTaken("a", right("PASS_001"))),
        OnHost("gpu2", SampleTaken("b", right("PASS_002"))),
        OnHost("gpu2", FinalPass(1, ("a", "b"))),
    ) == [
        "🏁 grading: starting grading-1, 2 models × 2 cases",
        "gpu1 │ [1/2] a",
        "gpu2 │ [2/2] b",
        "gpu2 │   ├─ PASS_001: ✅ PASS (1.00 s)",
        "gpu1 │   ├─ PASS_001: ✅ PASS (1.00 s)",
        "gpu2 │   └─ PASS_002: ✅ PASS (1.00 s)",
        "gpu2 │ ⚔️  final, pass 1: a then b",
    ]


def test_what_becomes_of_a_host_is_told_with_the_reason() -> None:
    assert lines_of(HostSkipped("gpu2", "it differs"), HostStopped("gpu1", "it is gone"), FinalOmitted("apart")) == [
        "⏭️  host gpu2 is left out: it differs",
        "🔌 host gpu1 was lost: it is gone",
        "⚔️  no final: apart",
    ]
