"""The hardware that a model runs on: that of its server, not of the caller.

It is part of the evidence key, so latencies of two machines never rank together. An API tells nothing about a server's
hardware. For a server on this machine it is looked up; for another one BENCH_SERVER_HARDWARE states it, else its host
stands for it.
"""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from bench_pipeline.benchmark.machine import System
from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.hashing import content_hash
from bench_pipeline.domain.models.actor import Candidate, Exclusion
from bench_pipeline.domain.models.model_ref import ModelRef, RuntimeKind
from bench_pipeline.domain.models.server_address import is_this_machine, parse_ollama_host

Hardware = Mapping[str, str | int]
Server = tuple[RuntimeKind, str | None]


def hardware_of(bench: Workbench, model: ModelRef) -> Hardware:
    """Return the hardware of the machine that runs `model`, as text and numbers; memory in GiB."""
    if model.runtime is RuntimeKind.LLAMA_CPP:
        return this_machine(bench.system)
    url = urlsplit(model.base_url or parse_ollama_host(bench.settings.ollama_host).url)
    host = (url.hostname or "").lower()
    stated = {name.lower(): text for name, text in bench.settings.server_hardware.items()}
    for name in (f"{host}:{url.port}", host):
        if name in stated:
            return {"server": stated[name]}
    return this_machine(bench.system) if is_this_machine(host) else {"server": f"unknown, host {host}"}


def this_machine(system: System) -> Hardware:
    """Return processor, cores, memory (GiB), operating system and, where the driver tells, GPUs of this machine."""
    found: dict[str, str | int] = {
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
        "memory_gib": _memory_gib(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    with suppress(Exception):  # a driver may raise anything; without it the GPUs are not part of the evidence
        if gpus := system.gpus():
            found["gpu"] = ", ".join(gpus)
    return found


def common_hardware(bench: Workbench, candidates: Sequence[Candidate], incumbents: Collection[str]) -> Hardware:
    """Return the hardware of a benchmark: that of the incumbents, else of most candidates; of ties the first.

    Without an eligible candidate it is this machine.
    """
    by_server = hardware_by_server(bench, candidates)
    running = [candidate for candidate in candidates if candidate.eligible and candidate.ref is not None]
    used = [candidate for candidate in running if candidate.name in incumbents] or running
    found = [by_server[server_of(candidate.ref)] for candidate in used if candidate.ref is not None]
    if not found:
        return this_machine(bench.system)
    most_common = Counter(map(content_hash, found)).most_common(1)[0][0]
    return next(hardware for hardware in found if content_hash(hardware) == most_common)


def comparable(bench: Workbench, candidates: Sequence[Candidate], hardware: Hardware) -> list[Candidate]:
    """Exclude the candidates that run on other hardware: their latencies cannot be compared."""
    by_server = hardware_by_server(bench, candidates)
    return [_on(by_server, candidate, hardware) for candidate in candidates]


def hardware_by_server(bench: Workbench, candidates: Sequence[Candidate]) -> dict[Server, Hardware]:
    """Return the hardware of the servers of the eligible candidates; each is looked up once."""
    refs = {server_of(one.ref): one.ref for one in candidates if one.eligible and one.ref is not None}
    return {server: hardware_of(bench, ref) for server, ref in refs.items()}


def server_of(model: ModelRef) -> Server:
    """Return what tells the servers of models apart."""
    return model.runtime, model.base_url


def _on(by_server: Mapping[Server, Hardware], candidate: Candidate, hardware: Hardware) -> Candidate:
    if not candidate.eligible or candidate.ref is None:
        return candidate
    own = by_server[server_of(candidate.ref)]
    if own == hardware:
        return candidate
    detail = (
        f"it runs on {_in_words(own)}, the others on {_in_words(hardware)}; measure it on its own, or state in "
        "BENCH_SERVER_HARDWARE that the two are equal"
    )
    return replace(candidate, exclusion=Exclusion.OTHER_HARDWARE, detail=detail)


def _in_words(hardware: Hardware) -> str:
    if "server" in hardware:
        return str(hardware["server"])
    gpu = f", {hardware['gpu']}" if "gpu" in hardware else ""
    return f"this machine ({hardware['processor']}, {hardware['cores']} cores{gpu})"


@cache
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _memory_gib() -> int:
    import psutil

    return round(psutil.virtual_memory().total / 2**30)
