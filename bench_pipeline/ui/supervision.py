"""Child processes that are kept alive: one that dies is started again, later each time, until it is given up.

Which processes these are is in server.py. Nothing here knows Dagster.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from bench_pipeline.domain.errors import GateFailed

GRACE_S = 20.0
"""How long a process may take to end after an interrupt."""
_PAUSES_S = (0.5, 2.0, 5.0, 15.0, 30.0)
"""Before each new start; after one more death the process is given up."""
_STABLE_S = 120.0
"""A process that lived so long has recovered: the next death counts as its first."""
_LOOK_S = 2.0
_PR_SET_PDEATHSIG = 1


@dataclass
class Service:
    """One process to keep alive. `is_broken` finds one that lives and yet cannot do its work."""

    name: str
    command: Sequence[str]
    is_broken: Callable[[int], bool] = lambda _: False
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    deaths: int = field(default=0, init=False)
    starts_at: float = field(default=0.0, init=False)
    looked_at: float = field(default=0.0, init=False)


class Supervisor:
    """Starts services, each in a process group of its own, and ends all of them, with their children, in the end.

    A group outlives its first process: the run that a dead code server has started goes on, and ends with the rest.
    Ctrl-C reaches each group once, from here. `tell` is given one line for each death.
    """

    def __init__(self, environment: Mapping[str, str], tell: Callable[[str], None]) -> None:
        self._environment = dict(environment)
        self._tell = tell
        self._services: list[Service] = []
        self._groups: list[int] = []

    def start(self, *services: Service) -> None:
        """Start services and keep them alive from now on."""
        for service in services:
            self._services.append(service)
            self._start(service)

    def check_first_start(self) -> None:
        """Raise `GateFailed` when a service has ended. Before everything runs this is a fault that would recur."""
        for service in self._services:
            if service.process is not None and (status := service.process.poll()) is not None:
                raise GateFailed(
                    f"the {service.name} ended with status {status} before it was ready; its messages are above"
                )

    def keep_alive(self) -> None:
        """Start again what died. Raises `GateFailed` when a service dies too often."""
        self._forget_ended_groups()
        now = time.monotonic()
        for service in self._services:
            if service.process is None:
                if now >= service.starts_at:
                    self._start(service)
            elif (status := service.process.poll()) is not None:
                self._bury(service, status, now)
            elif now >= service.looked_at + _LOOK_S:
                service.looked_at = now
                if service.is_broken(service.process.pid):
                    service.process.kill()

    def stop(self) -> None:
        """Interrupt every group, wait for its end, and kill what is left after `GRACE_S`."""
        for group in self._groups:
            _signal(group, signal.SIGINT)
        ends_at = time.monotonic() + GRACE_S
        for service in self._services:
            if service.process is not None:
                with suppress(subprocess.TimeoutExpired):
                    service.process.wait(max(0.0, ends_at - time.monotonic()))
        while any(_lives(group) for group in self._groups) and time.monotonic() < ends_at:
            time.sleep(0.1)
        for group in self._groups:
            _signal(group, signal.SIGKILL if sys.platform != "win32" else signal.SIGTERM)
        for service in self._services:
            if service.process is not None:
                service.process.wait()

    def _start(self, service: Service) -> None:
        service.process = subprocess.Popen(  # noqa: S603 - our own commands
            service.command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )
        service.starts_at = service.looked_at = time.monotonic()
        self._groups.append(service.process.pid)

    def _forget_ended_groups(self) -> None:
        """Their numbers may be given to others."""
        self._groups = [group for group in self._groups if _lives(group)]

    def _bury(self, service: Service, status: int, now: float) -> None:
        service.process = None
        service.deaths = 1 if now - service.starts_at > _STABLE_S else service.deaths + 1
        if service.deaths > len(_PAUSES_S):
            raise GateFailed(
                f"the {service.name} ended {service.deaths} times in a row, at last with status {status}; its messages "
                "are above"
            )
        pause_s = _PAUSES_S[service.deaths - 1]
        service.starts_at = now + pause_s
        self._tell(f"the {service.name} ended with status {status}; it is started again in {pause_s:g} s")


def _end_with_parent() -> None:
    """Have the system end a child whose supervisor was killed, so that nothing holds the port of the next one."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _signal(group: int, number: int) -> None:
    with suppress(OSError):
        if sys.platform == "win32":
            os.kill(group, signal.SIGTERM)
        else:
            os.killpg(group, number)


def _lives(group: int) -> bool:
    if sys.platform == "win32":
        return False
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
