"""Whether schedules and sensors run as soon as Dagster loads them. A person can turn each on or off in the UI."""

from __future__ import annotations

import os

from bench_pipeline.settings import Settings

_DEVELOPING = "DAGSTER_IS_DEV_CLI"  # set by dg dev


def runs_by_default(settings: Settings) -> bool:
    """Return BENCH_AUTOMATION; without it, whether this is a deployment."""
    if settings.automation is not None:
        return settings.automation == "on"
    return not os.environ.get(_DEVELOPING)
