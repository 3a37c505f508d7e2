"""For how long replies are kept: a number of days, months or years. Removing them is in benchmark/pruning.py."""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import datetime, timedelta

from bench_pipeline.domain.errors import InputError

_FORM = re.compile(r"([1-9][0-9]{0,4})([dmy])")
_UNITS = {"d": "day", "m": "month", "y": "year"}


@dataclass(frozen=True, slots=True)
class Keep:
    """A duration of at least one day; `unit` is `d` for days, `m` for months of the calendar, `y` for years."""

    number: int
    unit: str

    def __str__(self) -> str:
        """Return it in words, such as `24 months`."""
        return f"{self.number} {_UNITS[self.unit]}{'' if self.number == 1 else 's'}"

    def before(self, now: datetime) -> datetime:
        """Return the moment this long before `now`; a day that its month does not have becomes the month's last.

        Raises `InputError` when that is before the year 1.
        """
        try:
            return now - timedelta(days=self.number) if self.unit == "d" else self._months_before(now)
        except (OverflowError, ValueError):
            raise InputError(
                f"--keep {self.number}{self.unit}: is too long; give at most a few hundred years"
            ) from None

    def _months_before(self, now: datetime) -> datetime:
        months = now.year * 12 + now.month - 1 - self.number * (12 if self.unit == "y" else 1)
        year, month = divmod(months, 12)
        return now.replace(year=year, month=month + 1, day=min(now.day, monthrange(year, month + 1)[1]))


def parse_keep(text: str) -> Keep:
    """Read a duration such as `90d`, `24m` or `2y`. Raises `InputError`."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise InputError(
            f"--keep {text[:40]!r}: is not a duration of at least a day; write days, months or years as 90d, 24m or 2y"
        )
    return Keep(int(found[1]), found[2])
