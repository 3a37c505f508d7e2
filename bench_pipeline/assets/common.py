"""What all assets share: the resource that opens the workbench, the partitions, and readable metadata."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import dagster as dg

from bench_pipeline.benchmark.events import Event, OnEvent
from bench_pipeline.benchmark.workbench import Workbench, open_workbench
from bench_pipeline.domain.errors import BenchError
from bench_pipeline.domain.models.actor import Candidate
from bench_pipeline.domain.models.partition import partition_key
from bench_pipeline.settings import load_settings

ACCELERATOR_POOL = "accelerator"
OWNERS = ["team:llm-operations"]
REQUESTER = "dagster"
models = dg.DynamicPartitionsDefinition(name="models")


class WorkbenchResource:
    """Opens the workbench from the environment: nothing of it, least of all a password, is run config.

    `listener` hears a benchmark's events beside Dagster's log; the demo prints them.
    """

    def __init__(self, listener: OnEvent | None = None) -> None:
        self.listener = listener

    @contextmanager
    def open(self) -> Iterator[Workbench]:
        """Yield an open workbench; an error that is written for its reader becomes the step's failure."""
        with readable_failures(), open_workbench(load_settings()) as workbench:
            yield workbench

    def tell(self, event: Event) -> None:
        """Hand an event to the listener, if there is one."""
        if self.listener is not None:
            self.listener(event)


WorkbenchParam = dg.ResourceParam[WorkbenchResource]


def single_run_backfill() -> dg.BackfillPolicy:
    """Return the policy by which a backfill of many models is one run: loads and runs are not interleaved."""
    # The parameter that takes it is in beta; a test of the job over a range of partitions watches it.
    warnings.filterwarnings("ignore", "Parameter `backfill_policy`", category=dg.BetaWarning)
    return dg.BackfillPolicy.single_run()


@contextmanager
def readable_failures() -> Iterator[None]:
    """Turn our errors into a step failure that shows their text instead of a stack; a retry would not help."""
    try:
        yield
    except BenchError as error:
        raise dg.Failure(str(error), allow_retries=False) from error


def register_partitions(instance: dg.DagsterInstance, candidates: Sequence[Candidate]) -> list[str]:
    """Give every eligible model its partition; return the keys that are new."""
    known = set(instance.get_dynamic_partitions(str(models.name)))
    new = [
        key for candidate in candidates if candidate.eligible and (key := partition_key(candidate.name)) not in known
    ]
    if new:
        instance.add_dynamic_partitions(str(models.name), new)
    return new


def table(records: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> dg.TableMetadataValue:
    """Return rows as a table of the UI. `columns` maps each name to `string`, `int`, `float` or `bool`."""
    schema = dg.TableSchema([dg.TableColumn(name, kind) for name, kind in columns.items()])
    return dg.MetadataValue.table(
        [dg.TableRecord({name: record[name] for name in columns}) for record in records], schema
    )


def numbers(**values: float | None) -> dict[str, float]:
    """Return the values that are known: the UI plots numbers over time, and None is none."""
    return {name: value for name, value in values.items() if value is not None}
