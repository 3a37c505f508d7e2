"""The resource that every asset, check and sensor takes: it opens the workbench with the definitions' settings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

import dagster as dg

from bench_pipeline.benchmark.eligibility import candidates
from bench_pipeline.benchmark.events import LockAwaited, OnEvent
from bench_pipeline.benchmark.workbench import Workbench, open_workbench
from bench_pipeline.domain.errors import BenchError
from bench_pipeline.domain.models.actor import Candidate
from bench_pipeline.domain.promoting.approval import dagster_for
from bench_pipeline.operation.ghost_runs import mark
from bench_pipeline.promotion.delivery import DeliveryEvent, PlanApplied, PlanMade
from bench_pipeline.runtimes.registry import Runtimes
from bench_pipeline.settings import Settings
from bench_pipeline.storage.database import check_file

USER_TAG = "bench/user"
"""The tag of a run that the web server sets to the user whom the proxy before it names."""


class WorkbenchResource(dg.ConfigurableResource[Workbench]):
    """Opens the database, production and the runtimes according to the BENCH_… settings.

    It has no fields: settings come from the environment of the code location, so a password is never run config.
    """

    settings: ClassVar[Settings]
    listeners: ClassVar[tuple[OnEvent, ...]] = ()
    roster: ClassVar[dict[str, list[Candidate]]]
    looking: ClassVar[Runtimes]

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Write down which process executes the run, so that its death can be noticed."""
        if context.run is not None and context.instance is not None:
            mark(context.instance, context.run)

    @contextmanager
    def open(self) -> Iterator[Workbench]:
        """Yield an open workbench; a `BenchError` becomes a readable failure of the step.

        A benchmark waits for another one on this machine, because a scheduled run is not repeated.
        """
        with readable_failures(), open_workbench(self.settings, lock_wait_s=math.inf) as bench:
            yield bench

    @contextmanager
    def look(self) -> Iterator[Workbench]:
        """Yield an open workbench for a tick. It creates no database; its runtimes stay open until the next tick."""
        with readable_failures():
            check_file(self.settings.database_url.get_secret_value())
            with open_workbench(self.settings, runtimes=self.looking) as bench:
                yield bench

    def hear(self, event: DeliveryEvent) -> None:
        """Hand a benchmark's event to the listeners, and log what it waits for."""
        if isinstance(event, LockAwaited):
            dg.get_dagster_logger().info(f"waiting: {event.why}")
        if not isinstance(event, PlanMade | PlanApplied):
            for listener in self.listeners:
                listener(event)

    def requester(self, run: dg.DagsterRun) -> str:
        """Return who a run promotes for: Dagster, and who started it, where a proxy says so."""
        return dagster_for(run.tags.get(USER_TAG) if self.settings.proxy_user_header else None)

    def candidates(self, bench: Workbench, run_id: str) -> Sequence[Candidate]:
        """Return all actors; the runtimes are queried once per run, and waited for while they load."""
        if run_id not in self.roster:
            self.roster.clear()
            self.roster[run_id] = candidates(bench, patience_s=self.settings.load_time_limit_s)
        return self.roster[run_id]


def workbench_resource(settings: Settings, *listeners: OnEvent) -> WorkbenchResource:
    """Return the resource for these settings. The listeners also hear a benchmark's events; the demo prints them."""
    # Dagster recreates a resource from its fields for every step, so whatever must not be a field is on the class.
    members: dict[str, object] = {
        "settings": settings,
        "listeners": listeners,
        "roster": {},
        "looking": Runtimes(settings),
    }
    bound = type("Workbench", (WorkbenchResource,), members | {"__doc__": WorkbenchResource.__doc__})
    resource: WorkbenchResource = bound()
    return resource


@contextmanager
def readable_failures() -> Iterator[None]:
    """Turn our errors into a step failure that shows their text instead of a stack; a retry would not help."""
    try:
        yield
    except BenchError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
