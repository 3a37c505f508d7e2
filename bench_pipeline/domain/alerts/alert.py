"""An alert: one message about one cause. How each cause is worded is in messages.py."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum


class AlertCause(StrEnum):
    """What people are told of. Each has a section in docs/how-to/operate.md."""

    PROMOTED = "promoted"
    UNDONE = "undone"
    AWAITS_APPROVAL = "awaits_approval"
    INCONCLUSIVE = "inconclusive"
    NOTHING_QUALIFIES = "nothing_qualifies"
    TRIGGER_GIVEN_UP = "trigger_given_up"
    CHAMPION_GONE = "champion_gone"
    CHAMPION_SLOW = "champion_slow"
    RUN_FAILED = "run_failed"
    TICK_FAILED = "tick_failed"
    CHECK_FAILED = "check_failed"
    DAEMON_SILENT = "daemon_silent"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Alert:
    """One message.

    `subject` is what it is about; for a cause, a subject and a day there is one message. The day is that of `at`: the
    moment of an event, or now for a state that lasts. `path` is the page of Dagster's UI, from its root.
    """

    cause: AlertCause
    subject: str
    title: str
    happened: str
    means: str
    todo: str
    at: datetime
    path: str = ""

    @property
    def day(self) -> str:
        """The UTC day that it belongs to, as 2026-12-01."""
        return f"{self.at.astimezone(UTC):%Y-%m-%d}"

    def body(self, ui_url: str | None) -> str:
        """Return the message as plain text, with the address of its page if the UI's address is known."""
        lines = [f"What happened: {self.happened}", f"What it means: {self.means}", f"What to do: {self.todo}"]
        if self.path and ui_url:
            lines.append(f"Look: {ui_url.rstrip('/')}{self.path}")
        elif self.path:
            lines.append(f"Look in Dagster's UI at {self.path}")
        return "\n".join(lines)
