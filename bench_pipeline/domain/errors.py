"""The exceptions that cross packages; their messages say what is wrong, where, and what to do.

The command line turns `InputError` into exit status 2 and `GateFailed` into 1; every other exception is a defect of
this program. Exceptions that only one module raises and catches stay in that module.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class BenchError(Exception):
    """An error whose message is meant for the user: one clear line or a short list."""


class InputError(BenchError):
    """Invalid input: a file, a setting, a name. The message says which and how to correct it."""


class GateFailed(BenchError):
    """A check failed or a request was refused: nothing qualified, a validation failed, a plan is stale."""


class LockLost(BenchError):
    """A lock is not, or not surely, held any longer. What was measured is stored, and the work under it has to stop."""


class DatabaseBusy(BenchError):
    """Another session of the database holds what a statement needs, and did not release it in time."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault in a user's file."""

    file: str
    field: str
    problem: str
    remedy: str
    case_id: str | None = None

    def __str__(self) -> str:
        where = f"{self.file}: case {self.case_id}" if self.case_id else self.file
        return f"{where}: {self.field}: {self.problem}; {self.remedy}"


class FileRefused(InputError):
    """A file was read and refused; `faults` holds all reasons."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in faults))


class FailureKind(StrEnum):
    """Why a runtime returned no complete reply. Stored with the sample."""

    UNAVAILABLE = "unavailable"
    NOT_FOUND = "not_found"
    BUSY = "busy"
    SERVER_ERROR = "server_error"
    DEADLINE = "deadline"
    CONNECTION_LOST = "connection_lost"
    BAD_RESPONSE = "bad_response"
    UNSUPPORTED = "unsupported"


class RuntimeFailure(BenchError):
    """The runtime failed. Never the model's fault, so it never counts as a wrong answer.

    `retry_after_s` is the pause in seconds after which a server that says "not yet" is to be asked again: it loads its
    model, or limits how often it is asked. None for every other failure.
    """

    def __init__(self, kind: FailureKind, message: str, retry_after_s: float | None = None) -> None:
        self.kind = kind
        self.retry_after_s = retry_after_s
        super().__init__(message)
