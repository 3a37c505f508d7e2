"""A model that production counts on is gone: what is told, and that it leaves the ranking with its history kept."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from bench_pipeline.domain.triggers.trigger import Action, Cause, Finding
from bench_pipeline.operation.causes.model_gone import _Places, _remedy, find_model_gone
from bench_pipeline.storage.history import model_trend
from bench_pipeline_tests.kit.engines import ONE_ENGINE, ONLY_POSTGRESQL
from bench_pipeline_tests.kit.models import FAST, SLOW, WRONG
from bench_pipeline_tests.kit.shell import Typed
from bench_pipeline_tests.kit.tasks import EXTRACT, GRADE_A, GRADE_B
from bench_pipeline_tests.kit.world import World

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)


def found_in(world: World) -> list[Finding]:
    return find_model_gone(world.bench, "grading", world.candidates(), NOW)


def disabled(world: World) -> None:
    world.set_actor(FAST, enabled=False)


def removed(world: World) -> None:
    world.remove_actor(FAST)


def uninstalled(world: World) -> None:
    del world.server.models["fast:1b"]
    world.configure()  # another process, which has not listed the models yet


def another_type(world: World) -> None:
    world.set_actor(FAST, actor_type="script")


def another_path(world: World) -> None:
    world.set_actor(FAST, execution_path="scripts/fast.py")


GONE = {
    disabled: "it is not enabled",
    removed: "its row is gone from the table of actors",
    uninstalled: "fast:1b is not installed on the Ollama server at",
    another_type: "its actor_type is 'script'",
    another_path: "'scripts/fast.py' does not name a runtime",
}


@pytest.mark.parametrize(("goes", "why"), GONE.items(), ids=[one.__name__ for one in GONE])
def test_a_champion_that_is_gone_is_told_with_the_command_that_switches_to_the_runner_up(
    world: World, goes: Callable[[World], None], why: str
) -> None:
    world.promoted()
    assert found_in(world) == []

    goes(world)

    (finding,) = found_in(world)
    assert (finding.cause, finding.cause.action, finding.subject) == (Cause.MODEL_GONE, Action.TELL, "fast")
    served = "conversations 3336, 3337, 3339"
    assert finding.why.startswith(f"fast serves {served} and is the champion of {served}, but {why}")
    assert finding.why.endswith(
        "; switch to the runner-up: `bench failover 3336`, `bench failover 3337`, `bench failover 3339`"
    )


@ONE_ENGINE
def test_the_command_that_is_offered_works_and_ends_the_cause(world: World, typed: Typed) -> None:
    world.promoted()
    disabled(world)

    for command in found_in(world)[0].why.split("`")[1::2]:
        done = typed(*command.split()[1:])
        assert done.returncode == 0, done.stderr

    assert set(world.holds()) == {SLOW}
    assert found_in(world) == []


@ONE_ENGINE
def test_a_runner_up_that_is_gone_is_told_because_a_failover_would_be_refused(world: World) -> None:
    world.promoted()
    world.set_actor(SLOW, enabled=False)

    (finding,) = found_in(world)

    assert finding.subject == "slow"
    assert finding.why == (
        "slow is the runner-up of conversations 3336, 3337, 3339, but it is not enabled; a failover would be refused "
        "until `bench run --task grading` and a promotion name another one"
    )


@ONE_ENGINE
def test_without_a_runner_up_to_switch_to_the_others_are_to_be_measured(world: World) -> None:
    world.promoted()
    disabled(world)
    world.set_actor(SLOW, enabled=False)

    why = {finding.subject: finding.why for finding in found_in(world)}

    assert why.keys() == {"fast", "slow"}
    assert (
        "these conversations have no runner-up to switch to; restore the model, or measure the others with"
        in why["fast"]
    )
    assert "`bench run --task grading` and then `bench promote --task grading`" in why["fast"]


@ONE_ENGINE
def test_a_measured_model_that_serves_a_conversation_without_being_champion_is_told_too(world: World) -> None:
    world.ranked("fast", "slow")
    world.set_actor(SLOW, enabled=False)

    (finding,) = found_in(world)

    assert finding.why.startswith(
        "slow serves conversations 3336, 3337, 3339, but it is not enabled; these conversations have no"
    )


def never_counted(world: World) -> None:
    """Measured, and neither champion nor runner-up, nor in use."""
    world.ranked("wrong", "fast", "slow")
    world.set_actor(WRONG, enabled=False)


def never_measured(world: World) -> None:
    world.give(GRADE_A, WRONG)
    world.set_actor(WRONG, enabled=False)


def server_down(world: World) -> None:
    world.server.broken |= {"/api/tags", "/api/version"}
    world.configure()


def another_tasks_conversation(world: World) -> None:
    world.ranked("wrong", "slow")
    world.give(EXTRACT, WRONG)
    world.set_actor(WRONG, enabled=False)


def too_large_by_the_settings(world: World) -> None:
    world.configure(max_model_gb=0.5)


@pytest.mark.parametrize(
    "happens", [never_counted, never_measured, server_down, another_tasks_conversation, too_large_by_the_settings]
)
@ONE_ENGINE
def test_what_is_not_gone_or_not_counted_on_needs_nobody(world: World, happens: Callable[[World], None]) -> None:
    world.promoted()
    happens(world)
    assert found_in(world) == []


@ONE_ENGINE
def test_a_table_of_actors_that_shows_no_row_says_nothing(world: World) -> None:
    world.promoted()
    assert find_model_gone(world.bench, "grading", [], NOW) == []


@ONLY_POSTGRESQL
def test_an_actor_whose_row_a_policy_may_hide_is_unknown(world: World) -> None:
    world.promoted()
    world.change(
        text("ALTER TABLE actors ENABLE ROW LEVEL SECURITY"),
        text("CREATE POLICY without_fast ON actors USING (actor_name <> 'fast')"),
    )
    assert FAST not in {one.actor_id for one in world.candidates()}
    assert found_in(world) == []


@ONE_ENGINE
def test_the_cause_is_another_one_when_the_model_is_gone_otherwise_or_counts_elsewhere(world: World) -> None:
    world.promoted()
    disabled(world)
    (first,), (again,) = found_in(world), found_in(world)
    assert first.evidence == again.evidence

    world.give(GRADE_B, SLOW)
    (elsewhere,) = found_in(world)
    removed(world)
    (otherwise,) = found_in(world)

    assert len({first.evidence, elsewhere.evidence, otherwise.evidence}) == 3
    assert "`bench failover 3337`" not in elsewhere.why  # it holds its runner-up by now


@pytest.mark.parametrize("goes", [disabled, removed, uninstalled])
@ONE_ENGINE
def test_a_model_that_is_gone_leaves_the_ranking_and_keeps_its_history(
    world: World, goes: Callable[[World], None]
) -> None:
    before = world.ranked("fast", "slow")
    goes(world)

    alone = world.ranked_among("slow")
    everyone = world.ranked(*[one.name for one in world.candidates()])

    assert before.scoreboard.champion is not None
    assert before.scoreboard.champion.model == "fast"
    for ranked in (alone, everyone):
        assert ranked.scoreboard.of("fast") is None
        assert ranked.scoreboard.champion is not None
        assert ranked.scoreboard.champion.model == "slow"
    with world.database.engine.connect() as connection:
        assert [result.rank for result in model_trend(connection, "grading", "fast")] == [1]


@pytest.mark.parametrize(
    ("number", "typed"), [(3336, "3336"), ("a b's", "'a b'\"'\"'s'"), (-5, "-- -5"), ("$(rm)", "'$(rm)'")]
)
def test_an_id_is_written_as_a_shell_reads_it(number: int | str, typed: str) -> None:
    places = _Places(champion=[number])
    assert _remedy("grading", places, [number]) == f"switch to the runner-up: `bench failover {typed}`"
