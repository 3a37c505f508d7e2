"""The pipeline over a small world, for the guarantees that Dagster has to keep as well."""

from __future__ import annotations

from bench_pipeline_tests.assets.conftest import pipeline

__all__ = ["pipeline"]
