"""What this operating system and the GPU's driver tell about processes, through psutil and, if installed, NVML.

The rules of what counts are in machine.py.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from typing import Any

import psutil

from bench_pipeline.domain.measuring.pass_load import GpuUse

_BUSY = ("user", "nice", "system", "irq", "softirq")
_NAME_CHARS = 60
_DRIVER = Path("/proc/driver/nvidia/gpus")


class OperatingSystem:
    """The machine that this program runs on; implements `machine.System`."""

    def now_s(self) -> float:
        """Return a monotonic time in seconds."""
        return time.monotonic()

    def busy_s(self) -> float:
        """Return the CPU time that all processes together have used, seconds."""
        times = psutil.cpu_times()
        return float(sum(getattr(times, name, 0.0) for name in _BUSY))

    def used_s(self, pids: Collection[int]) -> float:
        """Return the CPU time of these processes, of this one, and of their descendants, seconds.

        The time of a child that ended is counted by its parent. Raises `psutil.Error` if one of `pids` is gone.
        """
        used = 0.0
        for process in self._family(pids):
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                used += times.user + times.system + times.children_user + times.children_system
        return used

    def family(self, pids: Collection[int]) -> set[int]:
        """Return these processes, this one, and their descendants."""
        return {process.pid for process in self._family(pids)}

    def _family(self, pids: Collection[int]) -> set[psutil.Process]:
        found: set[psutil.Process] = set()
        for root in (psutil.Process(), *map(psutil.Process, pids)):
            if root not in found:
                found |= {root, *root.children(recursive=True)}
        return found

    def listening_on(self, port: int) -> set[int]:
        """Return the processes that accept connections on this port; without privileges only those of this account."""
        own = psutil.Process()
        if _listens(own.net_connections("tcp"), port):
            return {own.pid}
        return {one.pid for one in psutil.net_connections("tcp") if one.pid is not None and _listens([one], port)}

    def named(self, name: str) -> set[int]:
        """Return the processes of this name."""
        return {process.pid for process in psutil.process_iter(["name"]) if process.info["name"] == name}

    def gpu_use(self, own: Collection[int], during_s: float) -> tuple[GpuUse, ...] | None:
        """Return the other processes on NVIDIA's GPUs; None without the package or the driver.

        A process that is not visible here, as in a container, is left out: it may be the runtime's own.
        """
        with _nvml() as nvml:
            return None if nvml is None else tuple(_gpu_use(nvml, own, during_s))

    def gpus(self) -> tuple[str, ...]:
        """Return the names of NVIDIA's GPUs with their memory in GiB; without the package, only the driver's names."""
        with _nvml() as nvml:
            if nvml is not None:
                return tuple(_gpu_name(nvml, number) for number in range(nvml.nvmlDeviceGetCount()))
        lines = (line for file in sorted(_DRIVER.glob("*/information")) for line in file.read_text().splitlines())
        return tuple(line.partition(":")[2].strip() for line in lines if line.startswith("Model:"))


@contextmanager
def _nvml() -> Iterator[Any]:
    """Open NVIDIA's library; None without the package or the driver."""
    try:
        import pynvml
    except ImportError:
        yield None
        return
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield None
        return
    try:
        yield pynvml
    finally:
        pynvml.nvmlShutdown()


def _gpu_name(nvml: Any, number: int) -> str:  # noqa: ANN401 - an optional module
    handle = nvml.nvmlDeviceGetHandleByIndex(number)
    name = nvml.nvmlDeviceGetName(handle)
    memory_gib = round(nvml.nvmlDeviceGetMemoryInfo(handle).total / 2**30)
    return f"{name.decode() if isinstance(name, bytes) else name} {memory_gib} GiB"


def _listens(connections: Collection[Any], port: int) -> bool:
    return any(one.status == psutil.CONN_LISTEN and one.laddr and one.laddr.port == port for one in connections)


def _gpu_use(nvml: Any, own: Collection[int], during_s: float) -> Iterator[GpuUse]:  # noqa: ANN401 - an optional module
    since_us = int((time.time() - during_s) * 1e6)
    for gpu in range(nvml.nvmlDeviceGetCount()):
        handle = nvml.nvmlDeviceGetHandleByIndex(gpu)
        memory = {one.pid: one.usedGpuMemory for one in _told(nvml, "nvmlDeviceGetComputeRunningProcesses", handle)}
        shares: dict[int, list[float]] = {}
        for sample in _told(nvml, "nvmlDeviceGetProcessUtilization", handle, since_us):
            shares.setdefault(sample.pid, []).append(sample.smUtil / 100)
        for pid in sorted(memory.keys() | shares.keys()):
            if pid not in own and psutil.pid_exists(pid):
                busy = sum(shares[pid]) / len(shares[pid]) if pid in shares else None
                yield GpuUse(gpu, _name(pid), memory.get(pid), busy)


def _told(nvml: Any, question: str, *arguments: object) -> list[Any]:  # noqa: ANN401 - an optional module
    """Return the driver's answer; empty if this GPU does not support the question or has nothing to tell."""
    try:
        return list(getattr(nvml, question)(*arguments))
    except nvml.NVMLError:
        return []


def _name(pid: int) -> str:
    try:
        return PurePath(psutil.Process(pid).name()).name[:_NAME_CHARS]
    except psutil.Error:
        return f"process {pid}"
