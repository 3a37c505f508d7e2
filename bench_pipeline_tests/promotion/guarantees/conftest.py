"""A world that loses no time."""

from __future__ import annotations

import pytest

from bench_pipeline_tests.kit.world import World


@pytest.fixture
def hurried(request: pytest.FixtureRequest, world: World) -> None:
    """Let `slow` answer at once where what is ranked is set; a job of Dagster ranks what it measured."""
    if "pipeline" not in request.fixturenames:
        world.server.models["slow:7b"].latency_ms = 0
