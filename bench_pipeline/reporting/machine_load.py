"""What disturbed a benchmark, as values for both forms of the report: repeated calls, and what else ran.

The rules are in domain/measuring/disturbance.py and pass_load.py.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from bench_pipeline.benchmark.ranking import RankedBenchmark
from bench_pipeline.domain.measuring.disturbance import Disturbance, disturbances
from bench_pipeline.domain.measuring.pass_load import PassLoad
from bench_pipeline.domain.measuring.sample import Sample


def machine_load(ranked: RankedBenchmark) -> dict[str, Any]:
    """Return this module's part of the report, by the report's names."""
    cores = int(ranked.benchmark.hardware.get("cores") or 1)
    loads = [(model, load) for model in ranked.runs for load in ranked.loads.get(model, ())]
    return {
        "disturbed_calls": disturbed_calls(ranked),
        "pass_loads": [_load(model, load, cores) for model, load in loads],
        "other_programs": [text for model, load in loads for text in _other_programs(model, load, cores)],
    }


def disturbed_calls(ranked: RankedBenchmark) -> list[dict[str, Any]]:
    """Return the disturbed calls of every model, in the order of the scoreboard, each model's worst first."""
    return [
        disturbed_call(result.model, one)
        for result in ranked.scoreboard.results
        for one in disturbances(ranked.samples.get(result.model, ()))
    ]


def disturbed_call(model: str, one: Disturbance) -> dict[str, Any]:
    """Return a disturbed call as a row: `ranks` is `first`, `repetition`, or None if neither latency ranks."""
    return {
        "model": model,
        "case_id": one.first.case_id,
        "pass": one.first.repeat,
        "latency_ms": _ms(one.first),
        "ratio": one.ratio,
        "repeated": one.again is not None,
        "again_ms": _ms(one.again),
        "ranks": None if one.ranking is None else "first" if one.ranking is one.first else "repetition",
    }


def _ms(sample: Sample | None) -> float | None:
    return None if sample is None or sample.latency_ns is None else sample.latency_ns / 1e6


def _load(model: str, load: PassLoad, cores: int) -> dict[str, Any]:
    others = None if load.gpu_others is None else [asdict(one) for one in load.gpu_others]
    return {
        "model": model,
        "pass": load.repeat,
        "cores": cores,
        "other_cores": load.other_cores,
        "gpu_others": others,
    }


def _other_programs(model: str, load: PassLoad, cores: int) -> list[str]:
    """Return what slowed the model in this pass, as sentences; empty if it was little."""
    if not load.is_noticed(cores):
        return []
    where = f"in pass {load.repeat} of {model}"
    return [
        f"Other programs kept {load.other_cores:.1f} of {cores} core{'s' * (cores != 1)} busy {where}.",
        *(
            f"{one.process} used {one.busy:.0%} of GPU {one.gpu} {where}."
            for one in load.gpu_others or ()
            if one.busy is not None
        ),
    ]
