"""Watches what else runs on the machine of a model while it makes a pass, where that machine is this one.

Our own processes and those of the runtime's server are not counted. Where the server is elsewhere or its processes
cannot be found, nothing is recorded. Nothing here ever fails a benchmark.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from bench_pipeline.domain.measuring.pass_load import GpuUse, PassLoad
from bench_pipeline.domain.models.model_ref import ModelRef, RuntimeKind
from bench_pipeline.domain.models.server_address import ServerAddress, is_this_machine

# The system counts CPU time in steps of 10 ms; below a second they are too coarse.
_SHORTEST_S = 1.0
_OLLAMA = "ollama"


class System(Protocol):
    """What the operating system tells; every method may raise any exception."""

    def now_s(self) -> float:
        """Return a monotonic time in seconds."""
        ...

    def busy_s(self) -> float:
        """Return the CPU time that all processes together have used, seconds."""
        ...

    def used_s(self, pids: Collection[int]) -> float:
        """Return the CPU time of these processes, of this one, and of their descendants, seconds."""
        ...

    def family(self, pids: Collection[int]) -> set[int]:
        """Return these processes, this one, and their descendants."""
        ...

    def listening_on(self, port: int) -> set[int]:
        """Return the processes that accept connections on this port, as far as the system tells."""
        ...

    def named(self, name: str) -> set[int]:
        """Return the processes of this name."""
        ...

    def gpus(self) -> tuple[str, ...]:
        """Return the names and memory of this machine's GPUs; empty if no driver tells."""
        ...

    def gpu_use(self, own: Collection[int], during_s: float) -> tuple[GpuUse, ...] | None:
        """Return the other processes on the GPUs during the last seconds; None if no driver tells."""
        ...


@dataclass(frozen=True, slots=True)
class _Begun:
    """A pass that is being watched: when it began, and how much CPU time was used until then."""

    at_s: float
    busy_s: float
    used_s: float
    server: frozenset[int]


class Machine:
    """Watches pass after pass. `address_of` returns the address of a model's server, None for one in this process."""

    def __init__(self, address_of: Callable[[ModelRef], ServerAddress | None], system: System) -> None:
        self._address_of = address_of
        self._system = system
        self._servers: dict[int, frozenset[int]] = {}  # by port of this machine
        self._begun: _Begun | None = None

    def begin(self, model: ModelRef) -> None:
        """Begin to watch a pass of this model."""
        self._begun = None
        with suppress(Exception):
            server = self._server_of(model)
            if server is not None:
                system = self._system
                self._begun = _Begun(system.now_s(), system.busy_s(), system.used_s(server), server)

    def end(self, repeat: int) -> PassLoad | None:
        """Return what else ran since the pass began; None if that is not known."""
        begun, self._begun = self._begun, None
        if begun is None:
            return None
        with suppress(Exception):
            system = self._system
            took_s = system.now_s() - begun.at_s
            if took_s < _SHORTEST_S:
                return None
            used_s = system.used_s(begun.server) - begun.used_s
            others_s = system.busy_s() - begun.busy_s - used_s
            return PassLoad(repeat, max(0.0, others_s / took_s), self._gpu_use(begun.server, took_s))
        self._servers.clear()  # the server may have been restarted
        return None

    def _gpu_use(self, server: Collection[int], took_s: float) -> tuple[GpuUse, ...] | None:
        with suppress(Exception):
            return self._system.gpu_use(self._system.family(server), took_s)
        return None

    def _server_of(self, model: ModelRef) -> frozenset[int] | None:
        """Return the processes of the server beside our own; None if it is not here or cannot be found."""
        address = self._address_of(model)
        if address is None:
            return frozenset()
        if not is_this_machine(address.host):
            return None
        if address.port not in self._servers:
            is_ollama = model.runtime is RuntimeKind.OLLAMA
            found = self._system.listening_on(address.port) or (self._system.named(_OLLAMA) if is_ollama else set())
            if not found:
                return None
            self._servers[address.port] = frozenset(found)
        return self._servers[address.port]
