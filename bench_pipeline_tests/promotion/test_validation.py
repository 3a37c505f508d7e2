"""After a promotion the known cases are run once more, and a champion that does not hold is taken back.

How fast it is beside what it replaced is in test_validation_session.py.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import pytest

from bench_pipeline.benchmark.ranking import latest_benchmark_id
from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.promoting.changes import Promotion
from bench_pipeline.promotion.validation import ValidationResult, validate_promotion
from bench_pipeline_tests.fakes.faults import Fault
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.models import FAST, SLOW, WRONG
from bench_pipeline_tests.kit.tasks import CASES, GRADE_B, SERVED
from bench_pipeline_tests.kit.text import only
from bench_pipeline_tests.kit.world import World


def validate(world: World, promotion: Promotion) -> ValidationResult:
    world.runtimes.close()  # a new process, which asks the server anew
    return validate_promotion(world.bench, promotion, "the tests", world.events.append)


def statuses(world: World) -> list[str]:
    return [one.status.value for one in world.promotions()]


def test_a_champion_that_is_still_right_and_no_slower_stays(world: World) -> None:
    result = validate(world, world.promoted())
    assert (result.passed, result.reasons, result.rollback) == (True, (), None)
    assert world.holds() == [FAST] * 3
    assert statuses(world) == ["validated"]
    passed, details = only(world.rows("benchmark_validations", "passed", "details"))
    assert passed is True
    assert [(one["model"], one["cases_correct"], one["cases"]) for one in details["champions"]] == [("fast", 4, 4)]


def test_validating_without_a_final_runs_every_case_on_the_champion_alone(world: World) -> None:
    promotion = world.promoted()
    before = len(world.server.log)
    validate(world, promotion)
    assert world.calls(since=before) == [("fast:1b", case) for case in CASES]


def test_a_validation_is_no_benchmark_and_makes_no_history(world: World) -> None:
    promotion = world.promoted()
    history = world.rows("benchmark_history", "benchmark_id", "model_name")
    validate(world, promotion)
    assert latest_benchmark_id(world.database, "grading") == promotion.rows[0].benchmark_id
    assert world.rows("benchmark_history", "benchmark_id", "model_name") == history
    assert sorted(purpose for (purpose,) in world.rows("benchmark_runs", "purpose")) == ["benchmark", "validation"]


def become(**changes: object) -> Callable[[World], None]:
    def change(world: World) -> None:
        for name, value in changes.items():
            setattr(world.server.models["fast:1b"], name, value)

    return change


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        pytest.param(become(answers={}), "got 2/4 cases right: FAIL_001: said PASS", id="wrong"),
        pytest.param(become(fault=Fault.EMPTY_CONTENT), "got 0/4 cases right: PASS_001: empty reply", id="silent"),
        pytest.param(become(fault=Fault.CUT_STREAM), "got 0/4 cases right", id="connection closed"),
        pytest.param(become(fault=Fault.LOADING_REFUSED), "got 0/4 cases right", id="does not load"),
        pytest.param(lambda w: w.server.__exit__(), "cannot be called: no Ollama server", id="server down"),
        pytest.param(lambda w: w.server.models.pop("fast:1b"), "cannot be called: fast:1b is not installed",
                     id="removed"),
        pytest.param(lambda w: w.set_actor(FAST, enabled=False), "cannot be called: it is not enabled", id="disabled"),
        pytest.param(lambda w: w.remove_actor(FAST), "cannot be called: the actor no longer exists", id="deleted"),
        pytest.param(become(size_bytes=9_000_000_000), "cannot be called: 9.0 GB, the limit is 8.0 GB", id="grown"),
    ],
)  # fmt: skip
def test_a_champion_that_does_not_hold_is_taken_back(world: World, changes: Callable[[World], None], says: str) -> None:
    promotion = world.promoted()
    changes(world)
    result = validate(world, promotion)
    assert result.passed is False
    assert says in "; ".join(result.reasons)
    assert world.holds() == [SLOW] * 3
    assert result.rollback is not None
    assert [row.conversation_id for row in result.rollback.restored] == list(SERVED)
    assert result.rollback.left == ()
    assert statuses(world) == ["rolled_back", "applied"]
    reason = str(world.promotions()[0].undone_because)
    assert reason.startswith("validation failed: ")
    assert says in reason
    passed, details = only(world.rows("benchmark_validations", "passed", "details"))
    assert (passed, details["reasons"]) == (False, list(result.reasons))


def test_a_champion_that_holds_more_memory_than_the_limit_is_taken_back(world: World) -> None:
    promotion = world.promoted()
    world.server.models["fast:1b"].memory_bytes = world.server.models["fast:1b"].vram_bytes = 9_000_000_000
    assert validate(world, promotion).reasons == ("fast uses 9.0 GB, the limit is 8.0 GB",)
    assert world.holds() == [SLOW] * 3


def test_a_failed_validation_leaves_a_conversation_that_somebody_changed_since(world: World) -> None:
    promotion = world.promoted()
    world.server.models["fast:1b"].answers = {}
    world.give(GRADE_B, WRONG)
    result = validate(world, promotion)
    assert result.rollback is not None
    assert [row.conversation_id for row in result.rollback.left] == [GRADE_B]
    assert world.holds() == [SLOW, WRONG, SLOW]


@ONE_ENGINE
def test_a_promotion_can_be_validated_again_and_taken_back_later(world: World) -> None:
    promotion = world.promoted()
    assert validate(world, promotion).passed
    world.server.models["fast:1b"].answers = {}
    assert not validate(world, promotion).passed
    assert world.holds() == [SLOW] * 3
    assert [passed for (passed,) in world.rows("benchmark_validations", "passed")] == [True, False]


# The team's own runner


def with_hook(world: World, answer: str) -> None:
    """A runner that keeps what it was asked and gives this answer."""
    runner = world.folder / "runner.py"
    runner.write_text(
        f"import sys\nopen({str(world.folder / 'asked.json')!r}, 'w').write(sys.stdin.read())\n{answer}\n"
    )
    hook = f"{sys.executable} {runner}"
    world.settings = world.settings.model_copy(update={"validation_hook": hook})


@ONE_ENGINE
def test_the_teams_own_runner_is_asked_after_the_suite_and_may_agree(world: World) -> None:
    with_hook(world, """print('{"passed": true, "seconds": 3}')""")
    promotion = world.promoted()
    assert validate(world, promotion).passed
    asked = json.loads((world.folder / "asked.json").read_text(encoding="utf-8"))
    assert (asked["promotion_id"], asked["plan_hash"]) == (1, promotion.plan_hash)
    assert [(one["conversation_id"], one["old_actor"], one["new_actor"]) for one in asked["conversations"]] == [
        (number, "slow", "fast") for number in SERVED
    ]
    (details,) = only(world.rows("benchmark_validations", "details"))
    assert details["hook"] == {"passed": True, "answered": True, "details": {"seconds": 3}}


@ONE_ENGINE
@pytest.mark.parametrize(
    ("answer", "says", "bar"),
    [
        pytest.param("""print('{"passed": false, "reasons": ["answers in French"]}')""", "answers in French",
                     "evidence", id="it says no"),
        pytest.param("sys.exit(3)", "3", "benchmark", id="it breaks"),
    ],
)  # fmt: skip
def test_a_runner_that_does_not_agree_undoes_the_promotion(world: World, answer: str, says: str, bar: str) -> None:
    with_hook(world, answer)
    result = validate(world, world.promoted())
    assert (result.passed, says in only(result.reasons)) == (False, True)
    assert world.holds() == [SLOW] * 3
    assert [one.bar for one in world.promotions()] == [None, bar]


@ONE_ENGINE
def test_the_runner_is_not_asked_when_the_suite_has_failed_already(world: World) -> None:
    with_hook(world, """print('{"passed": true}')""")
    promotion = world.promoted()
    world.server.models["fast:1b"].answers = {}
    assert not validate(world, promotion).passed
    assert not (world.folder / "asked.json").exists()


@ONE_ENGINE
def test_without_a_runner_that_can_be_started_nothing_is_promoted(world: World) -> None:
    world.settings = world.settings.model_copy(update={"validation_hook": "/no/such/runner"})
    with pytest.raises(InputError, match="/no/such/runner"):
        world.promoted()
    assert world.holds() == [SLOW] * 3
