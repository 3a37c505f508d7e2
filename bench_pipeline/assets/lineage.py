"""Passes identity from stage to stage: the benchmark or plan in the metadata of the upstream materialization."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from bench_pipeline.assets.trigger_tags import BENCHMARK, PLAN

_PAGE = 100
_TAGS = {"benchmark_id": BENCHMARK, "plan_hash": PLAN}


def handed_on(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext, key: dg.AssetKey, name: str) -> str:
    """Return the metadata value `name` of the materialization of `key` that this run follows.

    That is the latest one of this run, else what the run is tagged with, else the asset's latest. Fails the step when
    there is none.
    """
    named = context.run.tags.get(_TAGS.get(name, ""))
    latest = None
    begun_at = _begun_at(context)
    for record in _newest_first(context.instance, key):
        value = _value(record, name)
        if value is None:
            continue
        if record.event_log_entry.run_id == context.run.run_id:
            return value
        latest = latest or value
        if record.timestamp < begun_at:
            break  # older than this run, so none of its own can follow
    if named is not None:
        return named
    if latest is None:
        raise dg.Failure(
            f"{key.to_user_string()} has no {name.replace('_', ' ')} yet; materialize it first", allow_retries=False
        )
    return latest


def _begun_at(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> float:
    record = context.instance.get_run_record_by_id(context.run.run_id)
    return record.create_timestamp.timestamp() if record is not None else 0.0


def _newest_first(instance: dg.DagsterInstance, key: dg.AssetKey) -> Iterator[dg.EventLogRecord]:
    cursor = None
    while True:
        page = instance.fetch_materializations(key, limit=_PAGE, cursor=cursor)
        yield from page.records
        if not page.has_more:
            return
        cursor = page.cursor


def _value(record: dg.EventLogRecord, name: str) -> str | None:
    materialization = record.asset_materialization
    value = materialization.metadata.get(name) if materialization is not None else None
    return str(value.value) if value is not None else None
