"""The page of what waits: what needs a person first, bounded, and renewed only when something changed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import dagster as dg

from bench_pipeline.assets.metadata import TRIGGERS
from bench_pipeline.assets.triggers import report_triggers, triggers_page, unsettled
from bench_pipeline.domain.triggers.trigger import Cause, Finding, Trigger, TriggerState
from bench_pipeline.storage.triggers import insert_triggers, put
from bench_pipeline_tests.kit.daemon import tick
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.pipeline import Pipeline
from bench_pipeline_tests.kit.world import World

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
NEW = Finding("grading", Cause.NEW_MODEL, "fast is new", "fast", "sha256:fa", ("fast",))


def test_an_empty_page_says_that_nothing_waits() -> None:
    assert triggers_page([], NOW)["result"] == "nothing waits"


@ONE_ENGINE
def test_the_page_begins_with_what_needs_a_person_and_is_renewed_only_when_something_changed(world: World) -> None:
    with dg.DagsterInstance.ephemeral() as instance:

        def pages() -> list[dict[str, object]]:
            records = instance.fetch_materializations(TRIGGERS, limit=9).records
            found = [record.asset_materialization for record in records]
            return [{name: value.value for name, value in one.metadata.items()} for one in found if one is not None]

        store(world, NEW, Finding("grading", Cause.MODEL_GONE, "old is gone", "old"))
        report_triggers(instance, world.bench, NOW)
        report_triggers(instance, world.bench, NOW + timedelta(minutes=1))
        assert [page["result"] for page in pages()] == ["1 need a person; 1 waiting"]

        waiting = next(one for one in unsettled(world.bench) if one.cause is Cause.NEW_MODEL)
        given_up = replace(waiting, state=TriggerState.GIVEN_UP, attempts=5, note="the server is down")
        change(world, waiting, given_up)
        report_triggers(instance, world.bench, NOW)

        last = pages()[0]
        assert (len(pages()), last["result"]) == (2, "1 given up; 1 need a person")
        assert str(last["first"]).startswith("fast: the server is down; bench retry grading --subject 'fast'")

        change(world, given_up, replace(given_up, state=TriggerState.DONE))
        report_triggers(instance, world.bench, NOW)
        assert pages()[0]["result"] == "1 need a person"


@ONE_ENGINE
def test_a_tick_of_the_sensor_brings_the_page_up_to_date(pipeline: Pipeline) -> None:
    tick(pipeline)
    tick(pipeline)

    assert pipeline.metadata("triggers")["result"] == "nothing waits"
    assert len(pipeline.instance.fetch_materializations(TRIGGERS, limit=9).records) == 1


@ONE_ENGINE
def test_a_page_of_500_triggers_is_bounded(world: World) -> None:
    store(world, *(replace(NEW, subject=f"m{number}", why="it is new " * 100) for number in range(500)))

    shown = triggers_page(unsettled(world.bench), NOW)

    event = dg.AssetMaterialization(TRIGGERS, metadata=shown)
    assert len(dg.serialize_value(event)) < 32_000
    assert (shown["waiting"], shown["table_shows"]) == (500, "first 20 of 500; all: bench triggers")


def store(world: World, *findings: Finding) -> None:
    with world.database.writing() as connection:
        insert_triggers(connection, findings, NOW)


def change(world: World, old: Trigger, new: Trigger) -> None:
    with world.database.writing() as connection:
        assert put(connection, old, new)
