"""Runs a child process on one input and collects its output, within a time limit and bounded memory.

Knows nothing about validation hooks; what they are asked and answer is in validation_hook.py.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MAX_OUT_BYTES = 1_000_000
MAX_ERROR_CHARS = 2_000
_CHUNK_BYTES = 65_536
_LOOK_S = 0.02  # how often to check whether the child ended; a grandchild may keep its pipes open
_REAP_S = 5.0


@dataclass(frozen=True, slots=True)
class ChildResult:
    """How a child ended, and its output.

    `status` is its exit status as in `subprocess`, or None if it was stopped: at the time limit, or because it was
    `overfull`, which means that it wrote more than `MAX_OUT_BYTES` to its standard output. `error_output` is the end
    of its standard error, at most `MAX_ERROR_CHARS` characters.
    """

    out: bytes
    error_output: str
    status: int | None
    overfull: bool
    duration_s: float


def run_child(command: Sequence[str], text: bytes, environment: Mapping[str, str], time_limit_s: float) -> ChildResult:
    """Run a command with `text` on its standard input, in its own session.

    After it ends or is stopped, the rest of its process group is killed. Raises `OSError` or `ValueError` when the
    command cannot be started.
    """
    began = time.monotonic()
    deadline = began + time_limit_s
    process = subprocess.Popen(  # noqa: S603 - the owner of the settings chose the command; no shell reads it
        command,
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        start_new_session=True,
    )
    with _Pipes(text) as pipes:
        try:
            pipes.take(process)
            while process.poll() is None and not pipes.overfull and (left := deadline - time.monotonic()) > 0:
                pipes.carry(min(left, _LOOK_S))
            status = process.returncode
        finally:
            _kill_group(process)
        while pipes.carry(0) and time.monotonic() < deadline:
            pass
        duration_s = time.monotonic() - began
        return ChildResult(bytes(pipes.out), pipes.error_output, status, pipes.overfull, duration_s)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):  # a child that became another user cannot be killed
        process.wait(_REAP_S)


@dataclass(slots=True)
class _Pipes:
    """The three pipes of a child. None waits for another, so a child that does not read or write blocks none."""

    unsent: bytes
    out: bytearray = field(default_factory=bytearray)
    _error: bytearray = field(default_factory=bytearray)
    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)

    def __enter__(self) -> _Pipes:
        return self

    def __exit__(self, *_: object) -> None:
        for key in list(self._selector.get_map().values()):
            self._close(key)
        self._selector.close()

    def take(self, process: subprocess.Popen[bytes]) -> None:
        """Register the pipes of a process that was just started."""
        for pipe, event, move in (
            (process.stdin, selectors.EVENT_WRITE, self._send),
            (process.stdout, selectors.EVENT_READ, self._hear),
            (process.stderr, selectors.EVENT_READ, self._hear_error),
        ):
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)
                self._selector.register(pipe, event, move)

    def carry(self, wait_s: float) -> bool:
        """Transfer what is ready now or within `wait_s`; False when nothing was."""
        ready = self._selector.select(wait_s)
        for key, _ in ready:
            move: Callable[[int], bool] = key.data
            if not move(key.fd):
                self._close(key)
        return bool(ready)

    @property
    def overfull(self) -> bool:
        """Whether the child wrote more than `MAX_OUT_BYTES` to its standard output."""
        return len(self.out) > MAX_OUT_BYTES

    @property
    def error_output(self) -> str:
        """The end of what the child wrote to its standard error."""
        return self._error.decode("utf-8", "replace")[-MAX_ERROR_CHARS:]

    def _close(self, key: selectors.SelectorKey) -> None:
        pipe: Any = key.fileobj
        self._selector.unregister(pipe)
        pipe.close()

    def _send(self, fd: int) -> bool:
        try:
            self.unsent = self.unsent[os.write(fd, self.unsent[:_CHUNK_BYTES]) :]
        except BrokenPipeError:  # a child may answer without reading the question
            return False
        return bool(self.unsent)

    def _hear(self, fd: int) -> bool:
        data = os.read(fd, min(_CHUNK_BYTES, MAX_OUT_BYTES + 1 - len(self.out)))
        self.out += data
        return bool(data)

    def _hear_error(self, fd: int) -> bool:
        data = os.read(fd, _CHUNK_BYTES)
        self._error = (self._error + data)[-4 * MAX_ERROR_CHARS :]
        return bool(data)
