"""Asking the runtimes who their models are: all servers at once, a server that fails no further.

Which answers exclude a model is in eligibility.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from threading import Event

from bench_pipeline.benchmark.patience import Patience
from bench_pipeline.domain.errors import FailureKind, RuntimeFailure
from bench_pipeline.domain.models.identity import ModelIdentity
from bench_pipeline.domain.models.model_ref import ModelRef
from bench_pipeline.runtimes.base import Runtime
from bench_pipeline.runtimes.registry import Runtimes

Described = ModelIdentity | RuntimeFailure
"""The identity of a model, or why its runtime does not tell it."""
# Failures of the server, not of one model: asking about the next one would only fail, or wait, again.
OF_THE_SERVER = (FailureKind.UNAVAILABLE, FailureKind.DEADLINE, FailureKind.CONNECTION_LOST, FailureKind.BUSY)


def identities(
    refs: Iterable[ModelRef], runtimes: Runtimes, patience_s: float, limit_s: float | None = None
) -> dict[ModelRef, Described]:
    """Return what the runtimes say about each model; two servers never wait for each other.

    Waits up to `patience_s` seconds for a server that says "not yet". After `limit_s` seconds the models of which a
    server has not told count as those of a silent one.
    """
    found: dict[ModelRef, Described] = {}
    servers: dict[int, tuple[Runtime, list[ModelRef]]] = {}
    for ref in dict.fromkeys(refs):
        try:
            runtime = runtimes.of(ref)
        except RuntimeFailure as failure:
            found[ref] = failure
        else:
            servers.setdefault(id(runtime), (runtime, []))[1].append(ref)
    interrupted = Event()
    pool = ThreadPoolExecutor(max_workers=max(len(servers), 1))
    try:
        told: list[dict[ModelRef, Described]] = [{} for _ in servers]
        asked = [
            pool.submit(_ask, runtime, models, answers, Patience(patience_s), interrupted.wait)
            for answers, (runtime, models) in zip(told, servers.values(), strict=True)
        ]
        wait_for(asked, limit_s)
        for done, answers, (_, models) in zip(asked, told, servers.values(), strict=True):
            if limit_s is None or done.done():
                done.result()  # raises what a defect raised
            found |= {model: answers.get(model) or _silent(model, limit_s) for model in models}
    finally:
        interrupted.set()  # nothing waits any more after Ctrl-C
        pool.shutdown(wait=limit_s is None, cancel_futures=True)
    return found


def _silent(model: ModelRef, limit_s: float | None) -> RuntimeFailure:
    where = model.base_url or f"of {model.runtime.value}"
    return RuntimeFailure(FailureKind.UNAVAILABLE, f"the server {where} did not tell of it within {limit_s:g} s")


def _ask(
    runtime: Runtime,
    models: Sequence[ModelRef],
    found: dict[ModelRef, Described],
    patience: Patience,
    wait: Callable[[float], bool],
) -> None:
    """Put what a server says about each of its models into `found`, as it is told."""
    down: RuntimeFailure | None = None
    for model in models:
        found[model] = answer = down or _of_model(runtime, model, patience, wait)
        if isinstance(answer, RuntimeFailure) and answer.kind in OF_THE_SERVER:
            down = answer


def _of_model(runtime: Runtime, model: ModelRef, patience: Patience, wait: Callable[[float], bool]) -> Described:
    while True:
        try:
            return runtime.describe(model)
        except RuntimeFailure as failure:
            pause_s = patience.pause_for(failure)
            if pause_s is None or wait(pause_s):
                return failure
