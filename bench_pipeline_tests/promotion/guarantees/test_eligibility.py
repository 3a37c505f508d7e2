"""G4: only an actor that is still what was measured is promoted, on evidence that still says so."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Delete, Update, and_, delete, insert, literal, select, update

from bench_pipeline.domain.promoting.facts import Observed
from bench_pipeline.domain.promoting.refusal import PlanRefused
from bench_pipeline.promotion.observation import observe
from bench_pipeline.storage import tables
from bench_pipeline_tests.kit.engines import ONLY_POSTGRESQL
from bench_pipeline_tests.kit.models import FAST, SLOW
from bench_pipeline_tests.kit.production import actors
from bench_pipeline_tests.kit.tasks import GRADE_A, GRADE_B, REGRADE, task_value
from bench_pipeline_tests.kit.world import World
from bench_pipeline_tests.promotion.guarantees.hands import (
    apply_stored,
    applying,
    bench_of,
    halt_after,
    halting,
    operator,
    plan_of_one,
    refusal,
    state,
    until,
    waiting,
)

Change = Callable[[World], object]


def actor(**values: object) -> Change:
    return lambda world: world.set_actor(FAST, **values)


def row_of_history(**values: object) -> Change:
    history = tables.benchmark_history
    return lambda world: world.change(update(history).where(history.c.actor_id == FAST).values(values))


def benchmark(**values: object) -> Change:
    return lambda world: world.change(update(tables.benchmark_runs).values(values))


# One sample of the champion, behind the back of its history.
_RUN, _SAMPLE = tables.benchmark_model_runs.c, tables.benchmark_samples.c
_MINE = select(_RUN.model_run_id).where(_RUN.actor_id == FAST).scalar_subquery()
ITS_SAMPLE = and_(_SAMPLE.model_run_id == _MINE, _SAMPLE.case_id == "FAIL_002")


def outcome(name: str) -> Change:
    return lambda world: world.change(update(tables.benchmark_samples).where(ITS_SAMPLE).values(outcome=name))


def one_more(name: str) -> Change:
    """The case was asked twice, and came out right only once."""
    other = {"sample_id": 10_000, "repeat": 100, "outcome": name}
    columns = [column for column in tables.benchmark_samples.columns if column.name not in other]
    copied = select(*columns, *(literal(value) for value in other.values())).where(
        ITS_SAMPLE, tables.benchmark_samples.c.repeat == 1
    )
    names = [*(column.name for column in columns), *other]
    return lambda world: world.change(insert(tables.benchmark_samples).from_select(names, copied))


def a_sample_gone(world: World) -> None:
    world.change(delete(tables.benchmark_samples).where(ITS_SAMPLE))


def measured(days_ago: float) -> Change:
    runs = tables.benchmark_model_runs
    then = datetime.now(UTC) - timedelta(days=days_ago)
    return lambda world: world.change(update(runs).where(runs.c.actor_id == FAST).values(started_at=then))


def a_case_more(world: World) -> None:
    suite = world.prepared().suite.model_dump(mode="json")
    suite["test_cases"].append(suite["test_cases"][0] | {"id": "PASS_003"})
    benchmark(suite=suite)(world)


def history_without_it(world: World) -> None:
    world.change(delete(tables.benchmark_history).where(tables.benchmark_history.c.actor_id == FAST))


# What the database holds: changed before the plan's world is looked at, or between the look and the locks. What the
# look itself compares, the whole scoreboard, it refuses as such; the locks tell what of it is wrong.
FLIPS: list[tuple[str, Change, str, str]] = [
    ("disabled", actor(enabled=False), "actor_disabled", "actor_disabled"),
    ("enabled is not said", actor(enabled=None), "actor_disabled", "actor_disabled"),
    ("of another type", actor(actor_type="script"), "actor_type", "actor_type"),
    ("of no type", actor(actor_type=None), "actor_type", "actor_type"),
    ("deleted", lambda world: world.remove_actor(FAST), "actor_gone", "actor_gone"),
    ("called by another path", actor(execution_path="ollama:slow:7b"), "actor_moved", "actor_moved"),
    ("called by no model's path", actor(execution_path="run.py"), "actor_moved", "actor_moved"),
    ("called by no path", actor(execution_path=None), "actor_moved", "actor_moved"),
    ("not in this run", history_without_it, "evidence_changed", "evidence_gone"),
    ("of another standing", row_of_history(standing="inconclusive"), "evidence_changed", "not_qualified"),
    ("not 100 % correct", row_of_history(correctness_score=99.9), "not_qualified", "not_qualified"),
    ("a case not correct", row_of_history(cases_correct=3), "evidence_changed", "not_qualified"),
    ("a case not scored", row_of_history(cases=3, cases_correct=3), "evidence_changed", "not_qualified"),
    ("a case more in the suite", a_case_more, "not_qualified", "not_qualified"),
    ("a wrong sample", outcome("wrong"), "not_qualified", "not_qualified"),
    ("an invalid sample", outcome("invalid"), "not_qualified", "not_qualified"),
    ("an errored sample", outcome("error"), "not_qualified", "not_qualified"),
    ("a case once wrong", one_more("wrong"), "not_qualified", "not_qualified"),
    ("a case once invalid", one_more("invalid"), "not_qualified", "not_qualified"),
    ("a sample gone", a_sample_gone, "not_qualified", "not_qualified"),
    ("evidence too old", measured(days_ago=35.01), "evidence_old", "evidence_old"),
    ("benchmark invalid", benchmark(invalid="the anchor drifted"), "evidence_changed", "evidence_invalid"),
    ("benchmark ranked anew", benchmark(evidence_hash="0" * 64), "evidence_changed", "evidence_changed"),
    ("benchmark of another task", benchmark(task_type="extraction"), "evidence_gone", "evidence_gone"),
    (
        "conversation not among the benchmark's",
        benchmark(task=task_value() | {"conversations": [GRADE_A, REGRADE]}),
        "not_listed",
        "not_listed",
    ),
]
FOUND_BEFORE = [pytest.param(change, reason, id=name) for name, change, reason, _ in FLIPS]
FOUND_UNDER_THE_LOCK = [pytest.param(change, reason, id=name) for name, change, _, reason in FLIPS]


@pytest.mark.parametrize(("change", "reason"), FOUND_BEFORE)
def test_g4_an_actor_is_refused_when_one_thing_is_not_as_measured(world: World, change: Change, reason: str) -> None:
    plan = plan_of_one(world)
    change(world)
    assert refusal(world, plan).reason == reason


@pytest.mark.parametrize(("change", "reason"), FOUND_UNDER_THE_LOCK)
def test_g4_an_actor_is_refused_when_one_thing_changes_just_before_the_locks(
    world: World, change: Change, reason: str
) -> None:
    plan = plan_of_one(world)
    assert refusal(world, plan, before=lambda: change(world)).reason == reason


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda _: None, id="nothing"),
        pytest.param(measured(days_ago=34.99), id="evidence still young"),
        pytest.param(lambda world: world.set_actor(SLOW, enabled=False), id="the old actor is disabled"),
        pytest.param(lambda world: world.remove_actor(SLOW), id="the old actor is deleted"),
        pytest.param(actor(actor_name="swift"), id="another name"),
    ],
)
def test_g4_an_actor_that_is_still_what_was_measured_is_promoted(world: World, change: Change) -> None:
    plan = plan_of_one(world)
    change(world)
    apply_stored(world, plan)
    assert world.holds() == [FAST] * 3


# What the runtime says


def model(**values: object) -> Change:
    def change(world: World) -> None:
        for name, value in values.items():
            setattr(world.server.models["fast:1b"], name, value)

    return change


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(model(digest="sha256:fb"), id="another digest"),
        pytest.param(model(quantization="Q2_K"), id="another quantization"),
        pytest.param(model(template="{{ .System }}"), id="another template"),
        pytest.param(model(parameters=("temperature 1",)), id="other options"),
        pytest.param(model(context=2048), id="another context"),
        pytest.param(lambda world: setattr(world.server, "version", "0.34.0"), id="another version"),
    ],
)
def test_g4_an_actor_is_refused_when_its_runtime_says_that_it_is_another_model(world: World, change: Change) -> None:
    plan = plan_of_one(world)
    change(world)
    refused = refusal(world, plan)
    assert refused.reason == "identity_changed"
    assert f"now it is fast:1b {world.server.models['fast:1b'].digest} on ollama {world.server.version}" in str(refused)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        pytest.param(lambda world: world.server.models.pop("fast:1b"), "not installed", id="not installed"),
        pytest.param(lambda world: world.server.broken.add("/api/show"), "answered 500", id="broken"),
        pytest.param(lambda world: world.server.__exit__(), "no Ollama server", id="down"),
    ],
)
def test_g4_an_actor_is_refused_when_its_runtime_does_not_say_which_model_it_is(
    world: World, change: Change, why: str
) -> None:
    plan = plan_of_one(world)
    change(world)
    refused = refusal(world, plan)
    assert refused.reason == "identity_unknown"
    assert why in str(refused)


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        pytest.param(lambda _: [], "actor_moved", id="nothing was seen"),
        pytest.param(lambda seen: [replace(seen, actor_id=SLOW)], "actor_moved", id="another was seen"),
        pytest.param(lambda seen: [replace(seen, execution_path="ollama:slow:7b")], "actor_moved", id="another path"),
        pytest.param(lambda seen: [replace(seen, identity_hash="0" * 64)], "identity_changed", id="another identity"),
    ],
)
def test_g4_what_was_seen_is_compared_once_more_under_the_locks(
    world: World, lie: Callable[[Observed], list[Observed]], reason: str
) -> None:
    plan = plan_of_one(world)
    before = state(world)
    with bench_of(world) as bench:
        (seen,) = observe(bench, plan)
        with pytest.raises(PlanRefused) as refused:
            bench.writer.apply(plan.hash, "the tests", None, lie(seen))
    assert (refused.value.reason, state(world)) == (reason, before)


# Who changes the actor at the same moment


Edit = Update | Delete
MINE = actors.c.actor_id == FAST
DISABLE = update(actors).where(MINE).values(enabled=False)
EDITS = [
    pytest.param(DISABLE, "actor_disabled", id="disabled"),
    pytest.param(update(actors).where(MINE).values(actor_type="script"), "actor_type", id="another type"),
    pytest.param(update(actors).where(MINE).values(execution_path="run.py"), "actor_moved", id="another path"),
    pytest.param(delete(actors).where(MINE), "actor_gone", id="deleted"),
]


@pytest.mark.parametrize(("edit", "reason"), EDITS)
def test_g4_a_promotion_waits_for_an_open_edit_of_its_actor_and_then_refuses(
    world: World, edit: Edit, reason: str
) -> None:
    plan = plan_of_one(world)
    with operator(world) as connection:
        connection.execute(edit)
        with applying(world, plan) as outcome:
            connection.commit()
            after = state(world)
            with pytest.raises(PlanRefused) as refused:
                outcome.result()
    assert (refused.value.reason, state(world)) == (reason, after)


@pytest.mark.parametrize(("edit", "reason"), EDITS)
def test_g4_a_promotion_waits_for_an_open_edit_of_its_actor_and_goes_on_when_it_is_taken_back(
    world: World, edit: Edit, reason: str
) -> None:
    plan = plan_of_one(world)
    with operator(world) as connection:
        connection.execute(edit)
        with applying(world, plan) as outcome:
            connection.rollback()
            assert outcome.result() is not None
    assert world.holds() == [FAST] * 3


@ONLY_POSTGRESQL
def test_g4_an_actor_cannot_be_disabled_while_it_is_being_promoted(world: World) -> None:
    plan = plan_of_one(world)
    halt_after(world, GRADE_B)  # the actor is locked once the first row is written
    with halting(world) as release, applying(world, plan) as outcome, ThreadPoolExecutor(1) as pool:
        disabled = pool.submit(world.change, DISABLE)
        until(lambda: waiting(world, "postgres"))
        assert not disabled.done()
        release()
        assert outcome.result() is not None
        disabled.result()
    assert world.holds() == [FAST] * 3
