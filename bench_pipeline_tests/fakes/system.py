"""A fake operating system: a clock, processes that use CPU time, listening ports and the use of a GPU."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from bench_pipeline.domain.measuring.pass_load import GpuUse

OURS, SERVER, RUNNER, OTHER = 1, 20, 21, 99


@dataclass
class FakeSystem:
    """Every look at the clock takes `step_s`, in which each process of `cores` keeps that many cores busy."""

    cores: dict[int, float] = field(default_factory=lambda: {OURS: 0.1})
    step_s: float = 10.0
    ports: dict[int, set[int]] = field(default_factory=dict)
    names: dict[str, set[int]] = field(default_factory=dict)
    children: dict[int, set[int]] = field(default_factory=lambda: {SERVER: {RUNNER}})
    gpu: tuple[GpuUse, ...] | None = None
    gpu_names: tuple[str, ...] = ()
    broken: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    gpu_asked: tuple[set[int], float] | None = None
    time_s: float = 0.0

    def _ask(self, question: str) -> None:
        self.asked.append(question)
        if question in self.broken:
            raise PermissionError(question)

    def now_s(self) -> float:
        self._ask("now")
        self.time_s += self.step_s
        return self.time_s

    def busy_s(self) -> float:
        self._ask("busy")
        return self.time_s * sum(self.cores.values())

    def used_s(self, pids: Collection[int]) -> float:
        self._ask("used")
        return self.time_s * sum(self.cores.get(pid, 0.0) for pid in self.family(pids))

    def family(self, pids: Collection[int]) -> set[int]:
        return {OURS, *pids}.union(*(self.children.get(pid, set()) for pid in pids))

    def listening_on(self, port: int) -> set[int]:
        self._ask("port")
        return self.ports.get(port, set())

    def named(self, name: str) -> set[int]:
        self._ask("name")
        return self.names.get(name, set())

    def gpus(self) -> tuple[str, ...]:
        self._ask("gpus")
        return self.gpu_names

    def gpu_use(self, own: Collection[int], during_s: float) -> tuple[GpuUse, ...] | None:
        self._ask("gpu")
        self.gpu_asked = set(own), during_s
        return self.gpu
