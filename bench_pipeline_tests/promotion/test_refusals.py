"""Both databases refuse a plan for the same reasons with the same facts, and what a plan waits for agrees with them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from bench_pipeline import domain, storage
from bench_pipeline.domain.promoting.refusal import SENTENCES, PlanRefused
from bench_pipeline.promotion.gates import awaited
from bench_pipeline.storage.plans import plan_by_hash
from bench_pipeline_tests.kit.models import FAST, SLOW
from bench_pipeline_tests.kit.tasks import REGRADE
from bench_pipeline_tests.kit.world import World
from bench_pipeline_tests.promotion.benchmark_of_fast import (
    MOMENT,
    PLAN,
    SEEN,
    applied,
    of,
    reverse,
    store_benchmark,
    stored,
)
from bench_pipeline_tests.promotion.guarantees.hands import edit, hurry, operator, state
from bench_pipeline_tests.promotion.refused_evidence import TABLE
from bench_pipeline_tests.promotion.refused_plans import SetUp, frozen_by_cem

EVERY_WAY = [
    pytest.param(reason, set_up, id=f"{reason}-{number}") for number, (reason, set_up) in enumerate(TABLE, start=1)
]


@pytest.mark.parametrize(("reason", "set_up"), EVERY_WAY)
def test_both_databases_refuse_with_the_same_reason_and_facts(world: World, reason: str, set_up: SetUp) -> None:
    store_benchmark(world)
    attempt = set_up(world)
    before = state(world)

    with pytest.raises(PlanRefused) as refused:
        world.bench.writer.apply(attempt.plan_hash, "the tests", None, list(attempt.seen))

    assert (refused.value.reason, normal(refused.value.facts)) == (reason, attempt.facts)
    assert state(world) == before
    awaits = waits(world, attempt.plan_hash)
    assert awaits.startswith(said(refused.value)) if attempt.foreseen else not awaits


def normal(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts, with every moment that is written in UTC to the second replaced."""
    moment = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00")
    return {name: MOMENT if moment.fullmatch(str(value)) else value for name, value in facts.items()}


def waits(world: World, plan_hash: str) -> str:
    with world.database.engine.connect() as connection:
        plan = plan_by_hash(connection, plan_hash)
    return awaited(world.bench, plan) if plan else str(PlanRefused("plan_unknown", {"plan_hash": plan_hash}))


def said(refused: PlanRefused) -> str:
    """What `awaited` says of a refusal: an approval that can be given comes with its command and with by whom."""
    words = {
        "approval_missing": f"needs an approval: bench approve {refused.facts.get('short')}",
    }
    return words.get(refused.reason, str(refused))


def test_a_database_that_is_busy_too_long_refuses(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    store_benchmark(world)
    plan_hash = stored(world)
    hurry(world, monkeypatch)
    with operator(world) as connection:
        connection.execute(edit(REGRADE, SLOW))
        with pytest.raises(PlanRefused) as refused:
            world.bench.writer.apply(plan_hash, "the tests", None, list(SEEN))
        connection.rollback()
    assert (refused.value.reason, refused.value.facts.keys()) == ("busy", {"seconds", "blockers"})
    assert world.promoter_url is None or re.fullmatch(r" \(process \d+ of \w+, .*\)", refused.value.facts["blockers"])


def test_a_plan_that_nothing_forbids_is_applied_and_waits_for_nothing(world: World) -> None:
    store_benchmark(world)
    assert waits(world, stored(world)) == ""
    applied(world)
    assert world.holds() == [FAST] * 3
    assert waits(world, of(world).hash) == ""


def test_a_rollback_waits_for_nothing_in_a_freeze(world: World) -> None:
    store_benchmark(world)
    number = applied(world)
    frozen_by_cem(world)
    back = reverse(PLAN, number)
    assert waits(world, stored(world, back)) == ""
    applied(world, back)
    assert world.holds() == [SLOW] * 3


# Which reasons there are


_SQL = Path(storage.__file__).parent / "writers" / "apply.sql"
_RULES = [Path(domain.__file__).parent / "promoting" / name for name in ("rules.py", "approval.py", "facts.py")]
_RULES.append(Path(storage.__file__).parent / "writers" / "sqlite.py")
# A runtime did not answer, so nothing could be handed to a writer.
OUTSIDE_THE_WRITERS = {"identity_unknown"}
# Depends on time: see the test above.
BUSY = {"busy"}


def reasons_in(path: Path) -> set[str]:
    pattern = r"refuse\('(\w+)'\)" if path.suffix == ".sql" else r"(?:_refuse|PlanRefused)\(\s*\"(\w+)\""
    return set(re.findall(pattern, path.read_text(encoding="utf-8")))


def test_the_table_holds_every_reason_that_the_rules_and_the_function_name() -> None:
    named = {reason for reason, _ in TABLE}
    assert named | BUSY == reasons_in(_SQL) == set[str]().union(*map(reasons_in, _RULES))
    assert named | OUTSIDE_THE_WRITERS | BUSY == SENTENCES.keys()


def test_a_refusal_reads_as_a_sentence() -> None:
    refused = PlanRefused("actor_disabled", {"actor": "fast"})
    assert (refused.reason, str(refused)) == (
        "actor_disabled",
        "actor fast is disabled; nothing was changed, make a new plan",
    )
