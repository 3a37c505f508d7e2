"""What Dagster loads on one machine: both parts in one code location. In a deployment each has its own: locations/."""

from __future__ import annotations

import dagster as dg

from bench_pipeline.benchmark.events import OnEvent
from bench_pipeline.locations.building import Part, build_location
from bench_pipeline.settings import Settings, load_settings


def build_definitions(settings: Settings, *listeners: OnEvent) -> dg.Definitions:
    """Return all assets, checks, jobs, schedules and sensors for these settings, as `build_location` does."""
    return build_location(settings, list(Part), listeners)


defs = build_definitions(load_settings())
