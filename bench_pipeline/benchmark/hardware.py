"""The hardware that a model runs on: that of its server, not of the caller.

It is part of the evidence key, so latencies of two machines never rank together. An API tells nothing about a server's
hardware. For a server on this machine it is looked up; for another one BENCH_SERVER_HARDWARE states it, else its host
stands for it. Of named hosts, those with equal hardware and server version measure one benchmark together.
"""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from bench_pipeline.benchmark.machine import System
from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.hashing import content_hash
from bench_pipeline.domain.models.actor import Candidate, Exclusion, HostedModel, HostLeftOut
from bench_pipeline.domain.models.model_ref import ModelRef, RuntimeKind
from bench_pipeline.domain.models.server_address import ServerAddress, is_this_machine
from bench_pipeline.settings import Settings

Hardware = Mapping[str, str | int]
Server = tuple[RuntimeKind, str | None]


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What must be equal for latencies to rank together; `version` is that of Ollama on named hosts, if any run."""

    hardware: Hardware
    version: str | None = None

    def __str__(self) -> str:
        """The fingerprint in words."""
        return _in_words(self.hardware) + (f" with Ollama {self.version}" if self.version else "")


def hardware_of(bench: Workbench, model: ModelRef) -> Hardware:
    """Return the hardware of the machine that runs `model`, as text and numbers; memory in GiB."""
    address = bench.runtimes.address_of(model)
    if address is None:
        return this_machine(bench.system)
    if stated := stated_hardware(bench.settings, model.host, address):
        return {"server": stated}
    if is_this_machine(address.host):
        return this_machine(bench.system)
    return {"server": f"unknown, host {address.host}"}


def stated_hardware(settings: Settings, name: str | None, address: ServerAddress) -> str | None:
    """Return what BENCH_SERVER_HARDWARE says of a server: by its name, its host and port, or its host."""
    stated = {server.lower(): text for server, text in settings.server_hardware.items()}
    names = (name or "", f"{address.host}:{address.port}", address.host)
    return next((stated[one] for one in names if one in stated), None)


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


def common_fingerprint(bench: Workbench, candidates: Sequence[Candidate], incumbents: Collection[str]) -> Fingerprint:
    """Return the fingerprint of a benchmark: that of the incumbents, else of most candidates; of ties the first.

    A candidate counts on each host that has it. Without an eligible candidate it is this machine.
    """
    by_server = hardware_by_server(bench, candidates)
    running = [candidate for candidate in candidates if candidate.eligible and candidate.ref is not None]
    used = [candidate for candidate in running if candidate.name in incumbents] or running
    found = [by_server[server_of(place)] for candidate in used for place in candidate.places]
    if not found:
        return Fingerprint(this_machine(bench.system))
    hardware = {content_hash(one): one for one in found}[_most_common(map(content_hash, found))]
    versions = [
        hosted.identity.runtime_version
        for candidate in used
        for place, hosted in zip(candidate.places, candidate.hosts, strict=False)
        if by_server[server_of(place)] == hardware and hosted.identity.runtime_version
    ]
    return Fingerprint(hardware, _most_common(versions) if versions else None)


def common_hardware(bench: Workbench, candidates: Sequence[Candidate], incumbents: Collection[str]) -> Hardware:
    """Return the hardware of the common fingerprint."""
    return common_fingerprint(bench, candidates, incumbents).hardware


def comparable(bench: Workbench, candidates: Sequence[Candidate], fingerprint: Fingerprint) -> list[Candidate]:
    """Exclude the candidates without a server of this fingerprint: their latencies cannot be compared.

    The others are left on the hosts that agree with it and have the same weights as the first of these.
    """
    by_server = hardware_by_server(bench, candidates)
    return [_among_equals(by_server, candidate, fingerprint) for candidate in candidates]


def hardware_by_server(bench: Workbench, candidates: Sequence[Candidate]) -> dict[Server, Hardware]:
    """Return the hardware of the servers of the eligible candidates; each is looked up once.

    A model without a fixed host is also found by its own address, which stands for the first host that has it.
    """
    eligible = [one for one in candidates if one.eligible and one.ref is not None]
    places = {server_of(place): place for one in eligible for place in one.places}
    by_server = {server: hardware_of(bench, place) for server, place in places.items()}
    return {server_of(one.ref): by_server[server_of(one.places[0])] for one in eligible if one.ref} | by_server


def server_of(model: ModelRef) -> Server:
    """Return what tells the servers of models apart."""
    return model.runtime, model.base_url or model.host


def _most_common(values: Iterable[str]) -> str:
    return Counter(values).most_common(1)[0][0]


def _among_equals(by_server: Mapping[Server, Hardware], candidate: Candidate, fingerprint: Fingerprint) -> Candidate:
    if not candidate.eligible or candidate.ref is None:
        return candidate
    if not candidate.hosts:
        own = Fingerprint(by_server[server_of(candidate.ref)])
        return candidate if own.hardware == fingerprint.hardware else _excluded(candidate, "", own, fingerprint)
    prints = {
        one.host: Fingerprint(by_server[server_of(place)], one.identity.runtime_version)
        for place, one in zip(candidate.places, candidate.hosts, strict=True)
    }
    equal = [one for one in candidate.hosts if prints[one.host] == fingerprint]
    if not equal:
        first = candidate.hosts[0].host
        return _excluded(candidate, f"{first}: ", prints[first], fingerprint)
    return candidate.without(list(_left_out(candidate, equal, prints, fingerprint)))


def _left_out(
    candidate: Candidate, equal: Sequence[HostedModel], prints: Mapping[str, Fingerprint], fingerprint: Fingerprint
) -> Iterator[HostLeftOut]:
    for one in candidate.hosts:
        if one not in equal:
            yield HostLeftOut(one.host, f"it is {prints[one.host]}; this benchmark ranks models on {fingerprint}")
        elif one.identity != equal[0].identity:
            why = f"its {one.identity.name} is not that of {equal[0].host}; pull it again on both"
            yield HostLeftOut(one.host, why)


def _excluded(candidate: Candidate, where: str, own: Fingerprint, others: Fingerprint) -> Candidate:
    detail = f"it runs on {where}{own}, the others on {others}; "
    if own.hardware == others.hardware:
        detail += "install the same version of Ollama on both"
    else:
        detail += "measure it on its own, or state in BENCH_SERVER_HARDWARE that the two are equal"
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
