"""How old a scoreboard may be before Dagster calls it stale: it follows the schedule. The schedule is in jobs.py."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import islice, pairwise

import dagster as dg
from croniter import croniter

from bench_pipeline.settings import Settings

RUN_TIME = timedelta(days=1)
"""How long a benchmark may run; the scoreboard is renewed at its end."""
GRACE = timedelta(days=3)
"""For attempts that are repeated, and a person who looks."""
_START = datetime(2024, 1, 1)
_TICKS = 500


def scoreboard_freshness(settings: Settings) -> dg.FreshnessPolicy | None:
    """Return the policy: a warning when the schedule's longest interval is over by a day, a failure three days later.

    None for a schedule that is not a cron expression, which `monthly_schedule` refuses.
    """
    if not croniter.is_valid(settings.schedule):
        return None
    warn = longest_interval(settings.schedule) + RUN_TIME
    return dg.FreshnessPolicy.time_window(fail_window=warn + GRACE, warn_window=warn)


def longest_interval(cron: str) -> timedelta:
    """Return the longest time between two of the next ticks of a cron expression; 31 days for a monthly one."""
    ticks = islice(croniter(cron, _START).all_next(datetime), _TICKS)
    return max(later - earlier for earlier, later in pairwise(ticks))
