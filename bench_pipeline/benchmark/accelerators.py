"""Whether the servers of a benchmark have a GPU: found out once per server, before the first model is measured.

What a model's own placement means is in domain/measuring/validity.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from bench_pipeline.benchmark.events import OnEvent, ServerOnCpu
from bench_pipeline.benchmark.hardware import Server, hardware_of, server_of
from bench_pipeline.benchmark.preparation import PreparedTask
from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.errors import RuntimeFailure
from bench_pipeline.domain.measuring.validity import ValidityRule
from bench_pipeline.domain.models.actor import Candidate, Exclusion
from bench_pipeline.domain.models.model_ref import ModelRef
from bench_pipeline.domain.models.server_address import parse_ollama_host
from bench_pipeline.storage.benchmarks import model_runs
from bench_pipeline.storage.database import Database
from bench_pipeline.storage.samples import exclude_samples


def surveyed(
    bench: Workbench, prepared: PreparedTask, candidates: Sequence[Candidate], on_event: OnEvent
) -> list[Candidate]:
    """Ask each server whether it has a GPU, which loads a model if none is loaded; announce one without.

    With `placement: gpu`, the candidates of a server without one are excluded.
    """
    if prepared.protocol.placement == "any":
        return list(candidates)
    accelerated: dict[Server, bool | None] = {}
    for candidate in candidates:
        ref = candidate.ref
        if not candidate.eligible or ref is None or server_of(ref) in accelerated:
            continue
        alike = [one for one in candidates if one.eligible and one.ref and server_of(one.ref) == server_of(ref)]
        found = accelerated[server_of(ref)] = _accelerated(bench, prepared, ref, alike)
        if found is False:
            on_event(ServerOnCpu(ref.base_url or parse_ollama_host(bench.settings.ollama_host).url))
    return [_placed(candidate, prepared, accelerated) for candidate in candidates]


def _accelerated(bench: Workbench, prepared: PreparedTask, first: ModelRef, alike: Sequence[Candidate]) -> bool | None:
    """Return whether the server of these candidates has a GPU; None if it does not tell."""
    others = [one for one in alike if one.ref != first]
    smallest = min(others, key=_size).ref if others else None
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
        with_gpu = {server_of(run.ref) for run in runs if run.vram_bytes}
        for run in runs:
            if run.vram_bytes == 0 and server_of(run.ref) in with_gpu:
                exclude_samples(connection, run.model_run_id, ValidityRule.NOT_ON_GPU)


def _placed(candidate: Candidate, prepared: PreparedTask, accelerated: dict[Server, bool | None]) -> Candidate:
    ref = candidate.ref
    if not candidate.eligible or ref is None or accelerated.get(server_of(ref)) is not False:
        return candidate
    if prepared.protocol.placement != "gpu":
        return candidate
    detail = "its Ollama server runs models on the CPU; set BENCH_PLACEMENT=auto to measure them there"
    return replace(candidate, exclusion=Exclusion.PROTOCOL, detail=detail)
