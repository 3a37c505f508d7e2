"""Whether a benchmark must wait, because production uses the accelerator."""

from __future__ import annotations

from datetime import datetime

from bench_pipeline.benchmark.workbench import Workbench


def must_wait(bench: Workbench, now: datetime) -> str | None:  # noqa: ARG001
    """Return why a benchmark must wait now, in words; None when it need not."""
    return None
