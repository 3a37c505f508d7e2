"""`bench` in a child process that stops itself at a point: a statement, a commit, a file, a call to a model.

The program has no hooks for this. The child listens to SQLAlchemy's events and Python's audit events, and wraps the
few functions that raise none. At its point it stops (SIGSTOP); the parent decides what follows.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any, NoReturn

from sqlalchemy import Engine, event
from sqlalchemy.engine.default import DefaultDialect

from bench_pipeline.cli.main import main
from bench_pipeline.promotion.plan_application import apply_plan
from bench_pipeline.promotion.reconciliation import write_open_documents
from bench_pipeline.promotion.rollback import undo
from bench_pipeline.promotion.validation import validate_promotion
from bench_pipeline.runtimes.deadline import TotalTimeoutTransport
from bench_pipeline_tests.campaigns.template_world import Copy
from bench_pipeline_tests.kit.shell import shell_in

PHASES = ("plan", "apply", "commit", "documents", "validation", "rollback")
COMMIT = "commit"
# The first of these that is being run, wherever it was called from, tells the phase; without one it is the plan.
_FUNCTIONS: Mapping[CodeType, str] = {
    undo.__code__: "rollback",
    write_open_documents.__code__: "documents",
    validate_promotion.__code__: "validation",
    apply_plan.__code__: "apply",
}
_FILE_EVENTS = ("open", "os.rename", "os.link", "os.remove", "os.mkdir")
_CHANGES = re.compile(r"INSERT|UPDATE|DELETE|benchmark_apply|commit|call|fsync|tmp|mkdir")
_LIMIT_S = 60
_POINTS, _OUTPUT = "points.jsonl", "output.txt"


@dataclass(frozen=True)
class Point:
    """Where a run was: its phase, and what it was about to do or had just done."""

    phase: str
    what: str

    @property
    def changes(self) -> bool:
        """Whether something is written or committed there, or a model is called."""
        return _CHANGES.search(self.what) is not None


@dataclass
class Run:
    """A `bench` command in a child. `status` is None until it ended, negative when a signal ended it."""

    pid: int
    folder: Path
    status: int | None = None

    def wait(self) -> bool:
        """Wait until it ends or stops itself; return whether it stopped."""
        if self.status is not None:
            return False
        _, status = os.waitpid(self.pid, os.WUNTRACED)
        if os.WIFSTOPPED(status):
            return True
        self.status = os.waitstatus_to_exitcode(status)
        return False

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it where it is, stopped or running, if it did not end before."""
        if not self.has_ended:
            self.send(signal.SIGKILL)
            self.wait()

    @property
    def has_ended(self) -> bool:
        """Whether it ended by now."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = os.waitstatus_to_exitcode(status) if pid else None
        return self.status is not None

    @property
    def points(self) -> list[Point]:
        """The points that it came by."""
        lines = (self.folder / _POINTS).read_text(encoding="utf-8").splitlines()
        return [Point(*json.loads(line)) for line in lines]

    @property
    def output(self) -> str:
        """What it printed."""
        return (self.folder / _OUTPUT).read_text(encoding="utf-8")


def start(world: Copy, ollama: str, *arguments: str, stop_at: int | None = None) -> Run:
    """Start `bench` with these arguments in a world; it stops before the point number `stop_at`, counted from 0."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _be_bench(world, ollama, arguments, stop_at)
    return Run(pid, world.folder)


def _be_bench(world: Copy, ollama: str, arguments: Sequence[str], stop_at: int | None) -> NoReturn:
    status = 70
    try:
        signal.alarm(_LIMIT_S)
        _settle_in(world, ollama, arguments)
        _listen(_Points(world.folder / _POINTS, stop_at), world.production)
        main()
    except SystemExit as ended:
        status = int(ended.code or 0)
    except BaseException:  # noqa: BLE001 - nothing may return into the campaign
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _settle_in(world: Copy, ollama: str, arguments: Sequence[str]) -> None:
    os.chdir(world.folder)
    output = os.open(_OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BENCH_", "OLLAMA_"))}
    settings = shell_in(world.folder, world.url, ollama, world.promoter_url).settings
    os.environ.clear()
    os.environ.update({**kept, **settings})
    sys.argv = ["bench", *arguments]


class _Points:
    """Counts the points, writes each down, and stops the process at one."""

    def __init__(self, log: Path, stop_at: int | None) -> None:
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        self._stop_at = stop_at
        self._count = 0

    def reach(self, what: str, commits: bool = False) -> None:
        phase = _phase()
        if commits and phase == "apply":
            phase = COMMIT
        os.write(self._log, (json.dumps([phase, what]) + "\n").encode())
        if self._count == self._stop_at:
            os.kill(os.getpid(), signal.SIGSTOP)
        self._count += 1


def _phase() -> str:
    frame, running = sys._getframe(), set()
    while frame := frame.f_back:  # type: ignore[assignment]
        running.add(frame.f_code)
    return next((phase for code, phase in _FUNCTIONS.items() if code in running), "plan")


def _listen(points: _Points, production: Path) -> None:
    def before(_c: object, _cursor: object, statement: str, *_: object) -> None:
        points.reach(f"before {_short(statement)}")

    def after(_c: object, _cursor: object, statement: str, *_: object) -> None:
        points.reach(f"after {_short(statement)}")

    def audit(name: str, arguments: tuple[Any, ...]) -> None:
        if name in _FILE_EVENTS and (path := _inside(production, arguments[0])) is not None:
            points.reach(f"{name} {path}")

    event.listen(Engine, "before_cursor_execute", before)
    event.listen(Engine, "after_cursor_execute", after)
    _surround(DefaultDialect, "do_commit", points, "commit", commits=True)
    _surround(os, "fsync", points, "fsync")
    _surround(TotalTimeoutTransport, "handle_request", points, "call")
    sys.addaudithook(audit)


def _short(statement: str) -> str:
    return " ".join(statement.split())[:80]


def _inside(production: Path, path: object) -> Path | None:
    if not isinstance(path, str | bytes | os.PathLike):
        return None
    absolute = Path(os.fsdecode(path)).absolute()
    return absolute.relative_to(production) if absolute.is_relative_to(production) else None


def _surround(owner: Any, name: str, points: _Points, what: str, commits: bool = False) -> None:  # noqa: ANN401
    inner: Callable[..., Any] = getattr(owner, name)

    def outer(*arguments: Any) -> Any:  # noqa: ANN401 - whatever the function takes and gives
        points.reach(f"before {what}", commits)
        found = inner(*arguments)
        points.reach(f"after {what}", commits)
        return found

    setattr(owner, name, outer)
