"""The partitions: one per model. How a model's name becomes a valid key is in domain/models/partition.py."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import dagster as dg

from bench_pipeline.domain.models.actor import Candidate
from bench_pipeline.domain.models.partition import partition_key

models = dg.DynamicPartitionsDefinition(name="models")


@contextmanager
def single_run_backfill() -> Iterator[dg.BackfillPolicy]:
    """Yield the policy that makes a backfill of many models one run, so that model loads do not interleave."""
    with warnings.catch_warnings():
        # The parameter that takes it is in beta; a test of the job over a range of partitions watches it.
        warnings.filterwarnings("ignore", "Parameter `backfill_policy`", category=dg.BetaWarning)
        yield dg.BackfillPolicy.single_run()


def register_partitions(instance: dg.DagsterInstance, candidates: Sequence[Candidate]) -> list[str]:
    """Add a partition for every eligible model without one; return the new keys."""
    known = set(instance.get_dynamic_partitions(str(models.name)))
    new = [
        key for candidate in candidates if candidate.eligible and (key := partition_key(candidate.name)) not in known
    ]
    if new:
        instance.add_dynamic_partitions(str(models.name), new)
    return new


def partitions_without_actor(instance: dg.DagsterInstance, candidates: Sequence[Candidate]) -> list[str]:
    """Return the partitions whose actor is gone. They are kept: a model that comes back keeps its history."""
    present = {partition_key(candidate.name) for candidate in candidates}
    return sorted(set(instance.get_dynamic_partitions(str(models.name))) - present)
