"""Distributes the models of a benchmark over its hosts: whichever is free takes the next model.

Each named host has a thread, and one model at a time; models on other servers run before, one after another. What is
done in a turn is in runner.py, and which hosts may make it was decided in hardware.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Condition, Thread

from sqlalchemy import Connection

from bench_pipeline.benchmark.events import Event, HostStopped, OnEvent, OnHost
from bench_pipeline.benchmark.model_run import HostLost, ModelMeasurement
from bench_pipeline.storage.locks import HeldLock

Host = str | None
"""The name of a host; None for a server without a name."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What is to be done for a model on one of the hosts. The one where it began keeps it while that host answers."""

    hosts: tuple[str, ...]
    make: Callable[[ModelMeasurement], None]
    began_on: Host = None


class Dispatcher:
    """Makes turns, as many at once as there are hosts. Events are told in the thread that calls `run`.

    `measurement` returns what measures on a host, given where it tells its events and the lock that it checks.
    """

    def __init__(
        self, measurement: Callable[[Host, OnEvent, HeldLock], ModelMeasurement], on_event: OnEvent, lock: HeldLock
    ) -> None:
        self._make_measurement = measurement
        self._measurements: dict[Host, ModelMeasurement] = {}
        self._on_event = on_event
        self._lock = _StoppableLock(lock)
        self._told: SimpleQueue[Event | _Ended] | None = None  # None while the caller's own thread measures
        self._changed = Condition()
        self._waiting: list[Turn] = []
        self._in_flight: list[Turn] = []
        self._lost: dict[str, str] = {}

    def on(self, host: Host) -> ModelMeasurement:
        """Return what measures on this host."""
        if host not in self._measurements:
            tell = self._on_event if host is None else lambda event: self._tell(OnHost(host, event))
            self._measurements[host] = self._make_measurement(host, tell, self._lock)
        return self._measurements[host]

    def answering(self, hosts: Sequence[str]) -> list[str]:
        """Return those of the hosts that were not lost."""
        return [host for host in hosts if host not in self._lost]

    def why_lost(self, hosts: Sequence[str]) -> str:
        """Return in words why none of these hosts can make a turn."""
        return "; ".join(f"{host}: {self._lost[host]}" for host in hosts if host in self._lost)

    def lose(self, lost: HostLost) -> None:
        """Use this host no more."""
        self._lost[lost.host] = lost.why
        self._tell(HostStopped(lost.host, lost.why))

    def run(self, turns: Sequence[Turn]) -> list[Turn]:
        """Make every turn; return those for which no host is left. Raises whatever a turn raises."""
        for turn in turns:
            if not turn.hosts:
                turn.make(self.on(None))
        self._waiting = [turn for turn in turns if turn.hosts]
        hosts = self.answering(list(dict.fromkeys(host for turn in self._waiting for host in turn.hosts)))
        for host in hosts:
            self.on(host)
        if len(hosts) == 1:
            self._work(hosts[0])
        elif hosts:
            self._work_on_all(hosts)
        return self._waiting

    def _work_on_all(self, hosts: Sequence[str]) -> None:
        told: SimpleQueue[Event | _Ended] = SimpleQueue()
        self._told = told
        try:
            for host in hosts:
                # A thread that waits for a reply must not keep an interrupted program alive.
                Thread(target=self._work_and_tell, args=(host, told), name=f"host {host}", daemon=True).start()
            working = len(hosts)
            while working:
                match told.get():
                    case _Ended(error=None):
                        working -= 1
                    case _Ended(error=BaseException() as error):
                        raise error
                    case event:
                        self._on_event(event)  # type: ignore[arg-type]
        except BaseException:
            self._lock.stop()
            with self._changed:
                self._changed.notify_all()
            raise
        finally:
            self._told = None

    def _work_and_tell(self, host: str, told: SimpleQueue[Event | _Ended]) -> None:
        try:
            self._work(host)
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            told.put(_Ended(error))
        else:
            told.put(_Ended())

    def _work(self, host: str) -> None:
        while (turn := self._next(host)) is not None:
            try:
                turn.make(self.on(host))
            except HostLost as lost:
                self.lose(lost)
                with self._changed:
                    self._waiting.insert(0, turn)
            finally:
                with self._changed:
                    self._in_flight.remove(turn)
                    self._changed.notify_all()

    def _next(self, host: str) -> Turn | None:
        """Return the host's next turn, None when no more can come: first what fewest hosts can make, then in order.

        A turn that another host makes may still come, because that host may be lost.
        """
        with self._changed:
            while host not in self._lost and not self._lock.stopped:
                possible = [turn for turn in self._waiting if host in self._hosts(turn)]
                if possible:
                    turn = min(possible, key=lambda one: len(self._hosts(one)))
                    self._waiting.remove(turn)
                    self._in_flight.append(turn)
                    return turn
                if not any(host in turn.hosts for turn in self._in_flight):
                    return None
                self._changed.wait()
        return None

    def _hosts(self, turn: Turn) -> list[str]:
        hosts = self.answering(turn.hosts)
        return [turn.began_on] if turn.began_on in hosts else hosts

    def _tell(self, event: Event) -> None:
        if self._told is None:
            self._on_event(event)
        else:
            self._told.put(event)


@dataclass(frozen=True, slots=True)
class _Ended:
    """A host's thread has ended, by an error unless it is None."""

    error: BaseException | None = None


class _Stopped(Exception):
    """The benchmark ends: a thread makes no further call and stores nothing."""


class _StoppableLock:
    """The benchmark's lock, which its threads also lose when the benchmark is interrupted or one of them fails."""

    def __init__(self, lock: HeldLock) -> None:
        self._lock = lock
        self.stopped = False

    def stop(self) -> None:
        """Let every thread end before its next call."""
        self.stopped = True

    def check(self) -> None:
        """See `HeldLock`."""
        self._check_stopped()
        self._lock.check()

    def claim(self, connection: Connection, benchmark_id: str) -> bool:
        """See `HeldLock`."""
        return self._lock.claim(connection, benchmark_id)

    def check_claim(self, connection: Connection, benchmark_id: str) -> None:
        """See `HeldLock`."""
        self._check_stopped()
        self._lock.check_claim(connection, benchmark_id)

    def _check_stopped(self) -> None:
        if self.stopped:
            raise _Stopped
