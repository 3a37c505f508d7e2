"""Dagster's runs as the triggers ask for them, for what is tested without Dagster."""

from __future__ import annotations

from bench_pipeline.operation.runs import RunState, SeenRun


class FakeRuns:
    """Each claim of any trigger has its run, in one of these states; later claims have none."""

    def __init__(self, *states: RunState) -> None:
        self._states = states

    def of_claim(self, _trigger_id: int, claim: int) -> SeenRun | None:
        return SeenRun("0f1e2d3c", self._states[claim - 1], "why") if claim <= len(self._states) else None

    def active(self, _run_id: str) -> bool:
        return False
