"""The sample models: five actors that differ in one property each, and a script."""

from __future__ import annotations

from bench_pipeline_tests.fakes.faults import Fault
from bench_pipeline_tests.fakes.ollama_state import FakeModel
from bench_pipeline_tests.kit.tasks import CASES

FAST, SLOW, WRONG, SILENT, BROKEN, SCRIPT = range(1, 7)
ACTORS = {FAST: "fast", SLOW: "slow", WRONG: "wrong", SILENT: "silent", BROKEN: "broken"}
LATENCY_OF_FAST_MS = 5.0  # far enough from 0 that a busy machine does not change it by a multiple
LATENCY_OF_SLOW_MS = 40.0  # far enough from that of `fast` that a busy machine does not exchange them
FINAL_PASSES = 20
"""The bound on a final that is to decide: it ends at its first look, or soon after where the machine stumbles."""
RANKED_LATENCIES_MS = {"wrong": 1, "fast": 5, "slow": 2000}
"""What `World.ranked` ranks in place of the measured latencies, which depend on how busy the machine is."""
_RIGHT = {CASES["FAIL_001"]: "[FAIL] no job is named", CASES["FAIL_002"]: "[FAIL] another job"}
_WRONG_IN_ONE = {CASES["FAIL_001"]: "[FAIL] no job is named"}


def fake_models() -> dict[str, FakeModel]:
    """The models as a server has them."""
    return {
        "fast:1b": FakeModel(
            digest="sha256:fa", size_bytes=1_000_000_000, answers=_RIGHT, latency_ms=LATENCY_OF_FAST_MS
        ),
        "slow:7b": FakeModel(digest="sha256:51", answers=_RIGHT, latency_ms=LATENCY_OF_SLOW_MS),
        "wrong:3b": FakeModel(digest="sha256:aa", answers=_WRONG_IN_ONE),
        "silent:3b": FakeModel(digest="sha256:5e", answers=_RIGHT, fault=Fault.EMPTY_CONTENT),
        "broken:3b": FakeModel(digest="sha256:b0", answers=_RIGHT, fault=Fault.SERVER_ERROR),
    }
