"""The pipeline over a small world."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pytest

from bench_pipeline_tests.pipeline import Pipeline, open_pipeline, set_environment
from bench_pipeline_tests.world import World


@pytest.fixture
def pipeline(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    set_environment(world, monkeypatch)
    with dg.DagsterInstance.ephemeral() as instance:
        yield open_pipeline(world, instance)
