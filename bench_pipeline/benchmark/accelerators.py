"""The accelerators of a benchmark: which of them it locks, and whether the servers have a GPU.

The latter is found out once per server, before the first model is measured.
What a model's own placement means is in domain/measuring/validity.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from operator import itemgetter

from bench_pipeline.benchmark.events import OnEvent, ServerOnCpu
from bench_pipeline.benchmark.hardware import Server, hardware_of, server_of
from bench_pipeline.benchmark.preparation import PreparedTask
from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.errors import RuntimeFailure
from bench_pipeline.domain.measuring.validity import ValidityRule
from bench_pipeline.domain.models.actor import Candidate, Exclusion, HostLeftOut
from bench_pipeline.domain.models.model_ref import ModelRef
from bench_pipeline.storage.benchmarks import model_runs
from bench_pipeline.storage.database import Database
from bench_pipeline.storage.locks import BENCHMARK, LockPurpose, this_host
from bench_pipeline.storage.samples import exclude_samples

_ON_CPU = "its models run on the CPU, and those of another host on a GPU"


def lock_of(bench: Workbench, candidates: Sequence[Candidate]) -> LockPurpose:
    """Return the lock of a benchmark of these candidates: one place per server, wherever the benchmark runs.

    A named host has an accelerator of its own. Any other server may share that of its machine with others, so the
    machine is a place too.
    """
    here = this_host()
    places: set[str] = set()
    for place in (place for candidate in candidates if candidate.eligible for place in candidate.places):
        address = bench.runtimes.address_of(place)
        if address is not None:
            places.add(address.place(here))
        if not bench.runtimes.is_named(place):
            places.add(address.machine(here) if address else here)
    return BENCHMARK.at(places)


def surveyed(
    bench: Workbench, prepared: PreparedTask, candidates: Sequence[Candidate], on_event: OnEvent
) -> list[Candidate]:
    """Ask each server whether it has a GPU, which loads a model if none is loaded; announce one without.

    With `placement: gpu`, the candidates of a server without one are excluded. A model that several hosts have is not
    measured on one that uses its CPU if another has a GPU.
    """
    if prepared.protocol.placement == "any":
        return list(candidates)
    accelerated: dict[Server, bool | None] = {}
    eligible = [candidate for candidate in candidates if candidate.eligible]
    for place in (place for candidate in eligible for place in candidate.places):
        if server_of(place) in accelerated:
            continue
        found = accelerated[server_of(place)] = _accelerated(bench, prepared, place, eligible)
        address = bench.runtimes.address_of(place)
        if found is False and address is not None:
            on_event(ServerOnCpu(address.url))
    return [_placed(candidate, prepared, accelerated) for candidate in candidates]


def _accelerated(bench: Workbench, prepared: PreparedTask, first: ModelRef, all_: Sequence[Candidate]) -> bool | None:
    """Return whether the server of this model has a GPU; None if it does not tell."""
    alike = [(_size(one), place) for one in all_ for place in one.places if server_of(place) == server_of(first)]
    others = [(size, place) for size, place in alike if place != first]
    smallest = min(others, key=itemgetter(0))[1] if others else None
    has_gpu = "gpu" in hardware_of(bench, first)
    protocol = prepared.protocol
    with suppress(RuntimeFailure):  # the model's own run tells of it
        return bench.runtimes.of(first).survey(first, smallest, protocol, has_gpu)
    return None


def _size(candidate: Candidate) -> int:
    return (candidate.identity.size_bytes if candidate.identity else None) or 0


def exclude_those_on_cpu(database: Database, benchmark_id: str) -> None:
    """Exclude the latencies of models on the CPU whose server has put another model of this benchmark onto a GPU.

    The survey cannot find a GPU that is full or fails for a moment.
    """
    with database.writing() as connection:
        runs = model_runs(connection, benchmark_id)
        with_gpu = {server_of(run.place) for run in runs if run.vram_bytes}
        for run in runs:
            if run.vram_bytes == 0 and server_of(run.place) in with_gpu:
                exclude_samples(connection, run.model_run_id, ValidityRule.NOT_ON_GPU)


def _placed(candidate: Candidate, prepared: PreparedTask, accelerated: dict[Server, bool | None]) -> Candidate:
    on_cpu = [accelerated.get(server_of(place)) is False for place in candidate.places]
    if not candidate.eligible or not any(on_cpu):
        return candidate
    if not all(on_cpu):
        slow = zip(candidate.hosts, on_cpu, strict=True)
        return candidate.without([HostLeftOut(one.host, _ON_CPU) for one, is_slow in slow if is_slow])
    if prepared.protocol.placement != "gpu":
        return candidate
    detail = "its Ollama server runs models on the CPU; set BENCH_PLACEMENT=auto to measure them there"
    return replace(candidate, exclusion=Exclusion.PROTOCOL, detail=detail)
