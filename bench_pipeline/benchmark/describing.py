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

    Waits up to `patience_s` seconds for a server that says "not yet". After `limit_s` seconds a server that has not
    told of all its models counts as silent.
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
        answers = [
            (pool.submit(_of_server, runtime, models, Patience(patience_s), interrupted.wait), models)
            for runtime, models in servers.values()
        ]
        wait_for([answer for answer, _ in answers], limit_s)
        for answer, models in answers:
            found |= answer.result() if limit_s is None or answer.done() else _silent(models, limit_s)
    finally:
        interrupted.set()  # nothing waits any more after Ctrl-C
        pool.shutdown(wait=limit_s is None, cancel_futures=True)
    return found


def _silent(models: Sequence[ModelRef], limit_s: float) -> dict[ModelRef, Described]:
    where = models[0].base_url or f"of {models[0].runtime.value}"
    why = f"the server {where} did not tell of its models within {limit_s:g} s"
    return dict.fromkeys(models, RuntimeFailure(FailureKind.UNAVAILABLE, why))


def _of_server(
    runtime: Runtime, models: Sequence[ModelRef], patience: Patience, wait: Callable[[float], bool]
) -> dict[ModelRef, Described]:
    found: dict[ModelRef, Described] = {}
    down: RuntimeFailure | None = None
    for model in models:
        found[model] = answer = down or _of_model(runtime, model, patience, wait)
        if isinstance(answer, RuntimeFailure) and answer.kind in OF_THE_SERVER:
            down = answer
    return found


def _of_model(runtime: Runtime, model: ModelRef, patience: Patience, wait: Callable[[float], bool]) -> Described:
    while True:
        try:
            return runtime.describe(model)
        except RuntimeFailure as failure:
            pause_s = patience.pause_for(failure)
            if pause_s is None or wait(pause_s):
                return failure
