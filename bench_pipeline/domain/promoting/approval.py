"""Approvals and freezes, and whether a plan has the approval that its terms require. Reads no clock."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bench_pipeline.domain.promoting.plan import ApprovalMode, PlanTerms
from bench_pipeline.domain.promoting.refusal import PlanRefused


@dataclass(frozen=True, slots=True)
class Approval:
    """Who approved a plan, and when. `account` is the name that the client gave; it counts for nothing."""

    approved_by: str
    account: str | None
    approved_at: datetime


@dataclass(frozen=True, slots=True)
class Freeze:
    """The latest answer to whether promotions are stopped. `account` is the name that the client gave."""

    frozen: bool
    reason: str
    set_by: str
    account: str | None
    set_at: datetime

    @property
    def signer(self) -> str:
        """Who set it, in words."""
        return signer(self.set_by, self.account)


def approver(
    terms: PlanTerms, given: Sequence[Approval], requesters: Collection[str], plan_hash: str, now: datetime
) -> str | None:
    """Return the approver, None when no approval is required. `given` is latest first.

    Raises `PlanRefused` without an approval, when only requesters approved, and when the approval is too old or lies
    in the future.
    """
    if terms.approval is ApprovalMode.AUTO:
        return None
    short = plan_hash[:12]
    if not given:
        raise PlanRefused("approval_missing", {"short": short})
    counted = [one for one in given if not terms.second_person or one.approved_by not in requesters]
    if not counted:
        raise PlanRefused("approval_own", {"approved_by": given[0].approved_by, "short": short})
    last = counted[0]
    check_not_ahead("the approval", last.approved_at, now)
    if last.approved_at < now - timedelta(hours=terms.approval_hours):
        facts = {"approved_by": last.approved_by, "approved_at": moment_text(last.approved_at)}
        raise PlanRefused("approval_expired", facts | {"approval_hours": terms.approval_hours, "short": short})
    return last.approved_by


def check_not_ahead(what: str, moment: datetime, now: datetime) -> None:
    """Raise `PlanRefused` for a moment that has not come yet."""
    if moment > now:
        raise PlanRefused("in_future", {"what": what, "at": moment_text(moment)})


def signer(login: str, account: str | None) -> str:
    """Return who signed a row: the login, and the account that the client named where it differs."""
    return login if account in (None, "", login) else f"{login} (account {account})"


def dagster_for(user: str | None) -> str:
    """Return the requester of a run of Dagster, which a person may have started in its UI."""
    return f"dagster ({user})" if user else "dagster"


def moment_text(moment: datetime) -> str:
    """Return a moment in UTC, to the second."""
    return moment.astimezone(UTC).isoformat(timespec="seconds")
