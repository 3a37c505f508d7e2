"""What else ran on the machine of a model during a pass. Watching it is in benchmark/machine.py."""

from __future__ import annotations

from dataclasses import dataclass

# Below a tenth of the machine's cores the system's own housekeeping is a part of every pass.
NOTICED_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class GpuUse:
    """Another process on a GPU, as the driver reports it; None where it does not.

    `busy` is the mean share of the GPU's time that the process used during the pass, 0 to 1.
    """

    gpu: int
    process: str
    memory_bytes: int | None = None
    busy: float | None = None


@dataclass(frozen=True, slots=True)
class PassLoad:
    """`other_cores` is the mean number of CPU cores that processes other than ours and the runtime's kept busy.

    `gpu_others` is None if no driver reports who uses the GPU.
    """

    repeat: int
    other_cores: float
    gpu_others: tuple[GpuUse, ...] | None = None

    def is_noticed(self, cores: int) -> bool:
        """Whether other programs used so much of a machine with this many cores that it may have slowed the model."""
        busy_gpu = any((one.busy or 0.0) > NOTICED_SHARE for one in self.gpu_others or ())
        return self.other_cores > NOTICED_SHARE * cores or busy_gpu
