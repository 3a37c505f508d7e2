"""What can go wrong, told for the reader: what, where and what to do.

Holds the exceptions that cross floors. The command line turns `InputError` into exit status 2 and
`GateFailed` into 1; every other exception is a defect of this program.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class BenchError(Exception):
    """An error that is written for its reader; its text is one clear line or a short list."""


class InputError(BenchError):
    """Something given is wrong: a file, a setting, a name. The text says which and how to mend it."""


class GateFailed(BenchError):
    """Everything worked and the answer is no: nothing qualified, a validation failed, a plan is stale."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault in a file that a person wrote."""

    file: str
    field: str
    problem: str
    remedy: str
    case_id: str | None = None

    def __str__(self) -> str:
        where = f"{self.file}: case {self.case_id}" if self.case_id else self.file
        return f"{where}: {self.field}: {self.problem}; {self.remedy}"


class FileRefused(InputError):
    """A file was read and refused; `faults` names every reason at once."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in faults))


class FailureKind(StrEnum):
    """Why a runtime gave no complete reply. Stored with the sample."""

    UNAVAILABLE = "unavailable"
    NOT_FOUND = "not_found"
    BUSY = "busy"
    SERVER_ERROR = "server_error"
    DEADLINE = "deadline"
    CONNECTION_LOST = "connection_lost"
    BAD_RESPONSE = "bad_response"
    UNSUPPORTED = "unsupported"


class RuntimeFailure(BenchError):
    """The runtime could not do what was asked. Never the model's fault, so never a wrong answer."""

    def __init__(self, kind: FailureKind, message: str) -> None:
        self.kind = kind
        super().__init__(message)
