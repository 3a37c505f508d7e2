"""The hardware of this machine. It is part of the evidence key, so latencies of two machines never rank together."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def hardware() -> dict[str, str | int]:
    """Return processor, cores, memory (GiB) and operating system of the machine that calls the models."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
        "memory_gib": _memory_gib(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _memory_gib() -> int:
    import psutil

    return round(psutil.virtual_memory().total / 2**30)
