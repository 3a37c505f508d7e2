"""How a failure becomes one line, a JSON object and an exit status. What fails, and with which words, is below.

Every exception that a user can cause has a kind here; any other is a defect of the program.
"""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Literal

import click

from bench_pipeline.domain.errors import BenchError, DatabaseBusy, FileRefused, InputError, LockLost, RuntimeFailure

Kind = Literal["input", "usage", "refused", "unavailable", "interrupted", "internal"]

STATUSES: dict[Kind, int] = {
    "input": 2, "usage": 2, "refused": 1, "unavailable": 1, "interrupted": 130, "internal": 70,
}  # fmt: skip
"""The exit status of each kind of failure; `docs/reference/commands.md` describes them."""

_KINDS: dict[type[BenchError], Kind] = {
    InputError: "input", RuntimeFailure: "unavailable", DatabaseBusy: "unavailable", LockLost: "interrupted",
}  # fmt: skip
_PACKAGE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure as the user sees it. `facts` are further fields of its JSON object."""

    kind: Kind
    message: str
    facts: dict[str, object] = field(default_factory=dict)

    @property
    def status(self) -> int:
        """The exit status."""
        return STATUSES[self.kind]


def failure_of(error: BaseException) -> Failure:
    """Return the failure that an exception stands for; writes the traceback of a defect to a file."""
    match error:
        case click.ClickException():
            return Failure("usage", error.format_message())
        case KeyboardInterrupt() | click.Abort():  # which of the two arrives depends on the version of click
            return Failure(
                "interrupted", "interrupted; what was measured is stored, run the same command again to continue"
            )
        case FileRefused():
            return Failure("input", str(error), {"faults": [asdict(fault) for fault in error.faults]})
        case BenchError():
            return Failure(next((kind for of, kind in _KINDS.items() if isinstance(error, of)), "refused"), str(error))
        case FileNotFoundError(filename=None):  # of `os.getcwd`
            return Failure("input", "the working folder was deleted; change to a folder that exists")
        case UnicodeEncodeError(reason="surrogates not allowed"):  # how Python keeps such bytes; they may be a secret
            return Failure("input", "a word of the command line, a variable or a file name is not UTF-8 text")
        case OSError(filename=str() | bytes() as name):
            return Failure("input", f"{os.fsdecode(name)}: {error.strerror}; correct that, or choose another path")
    return _database_failure(error) or _defect(error)


def _database_failure(error: BaseException) -> Failure | None:
    from sqlalchemy.exc import DatabaseError, DBAPIError, OperationalError

    if not isinstance(error, DBAPIError):
        return None
    from bench_pipeline.storage.database_errors import driver_message

    if error.connection_invalidated:
        cause = f"the connection to the database was lost: {driver_message(error)}"
        return Failure("unavailable", f"{cause}; run the same command again to complete it")
    if isinstance(error, OperationalError) or type(error) is DatabaseError:  # SQLite's word for a damaged file
        cause = f"the database failed: {driver_message(error)}"
        return Failure("unavailable", f"{cause}; correct that, then run the same command again")
    return None


def _defect(error: BaseException) -> Failure:
    """Name the exception and its place, but not its message, which may contain a secret."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(_PACKAGE)]
    place = "".join(f" in {Path(one.filename).relative_to(_PACKAGE)}, line {one.lineno}" for one in ours[-1:])
    what = f"this is a defect of bench: {type(error).__name__}{place}"
    text = "".join(traceback.format_exception(error))
    try:
        handle, path = tempfile.mkstemp(prefix="bench-traceback-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError:
        click.echo(text, err=True)
        return Failure("internal", f"{what}; please report it with the traceback above")
    return Failure("internal", f"{what}; please report it with the traceback in {path}", {"traceback": path})


def report(error: BaseException, as_json: bool) -> int:
    """Show an exception on standard error, and with `as_json` as JSON on standard output; return the exit status."""
    from bench_pipeline.cli.output import print_json, safe

    failure = failure_of(error)
    if as_json:
        print_json({"error": {"kind": failure.kind, "message": failure.message, **failure.facts}})
    if isinstance(error, click.ClickException):
        error.show(sys.stderr)  # with the usage of the command
    else:
        click.echo("\n".join(safe(line) for line in f"bench: {failure.message}".splitlines()), err=True)
    return failure.status


def asks_for_json(group: click.Group, arguments: Sequence[str]) -> bool:
    """Return whether these arguments ask for JSON, even if they are wrong otherwise.

    `--json` counts where the command's own parser takes it for the flag: not after `--`, not as an option's value.
    """
    command: click.Command | None = group
    rest = list(takewhile(lambda word: word != "--", arguments))
    try:
        while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
            command = command.get_command(click.Context(command), rest.pop(0))
    except Exception:  # noqa: BLE001 - what failed may be the import of the command
        command = None
    if command is None or isinstance(command, click.Group):
        return "--json" in rest
    context = click.Context(command, resilient_parsing=True, ignore_unknown_options=True, allow_extra_args=True)
    options, _, _ = command.make_parser(context).parse_args(rest)
    return bool(options.get("as_json"))
