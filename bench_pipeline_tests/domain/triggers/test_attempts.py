"""The life of a trigger: what holds after any sequence of ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from bench_pipeline.domain.triggers import attempts
from bench_pipeline.domain.triggers.trigger import Cause, Trigger, TriggerState

NOW = datetime(2026, 12, 1, 3, tzinfo=UTC)
Step = Callable[[Trigger, datetime, float], Trigger]


def waiting(cause: Cause = Cause.NEW_MODEL) -> Trigger:
    return Trigger(
        trigger_id=1, task="grading", cause=cause, subject="fast", evidence="e", why="new", models=("fast",), terms={},
        state=TriggerState.WAITING, attempts=0, lost=0, claims=0, due_at=NOW, note=None, dagster_run_id=None,
        benchmark_id=None, noticed_at=NOW, changed_at=NOW,
    )  # fmt: skip


ENDS: dict[str, Step] = {
    "done": lambda trigger, now, _: attempts.done(trigger, now),
    "failed": lambda trigger, now, chance: attempts.failed(trigger, "why", now, chance),
    "lost": lambda trigger, now, chance: attempts.lost(trigger, "killed", now, chance),
    "cancelled": lambda trigger, now, _: attempts.cancelled(trigger, now),
}
LOOKS: dict[str, Step] = {
    "found": lambda trigger, now, _: attempts.found_again(trigger, "still there", now),
    "gone": lambda trigger, now, _: attempts.withdrawn(trigger, now),
    "retried": lambda trigger, now, _: attempts.retried(trigger, now),
}
WORD = st.tuples(st.sampled_from([*ENDS, *LOOKS]), st.floats(0, 1), st.integers(0, 10**5))


def life(words: Sequence[tuple[str, float, int]]) -> list[tuple[Trigger, datetime]]:
    """Every state of a trigger that is launched whenever it is due, with the moment it came about."""
    trigger, now = waiting(), NOW
    states = [(trigger, now)]
    for word, chance, seconds in words:
        now += timedelta(seconds=seconds)
        if word in LOOKS:
            trigger = LOOKS[word](trigger, now, chance)
        elif trigger.state is TriggerState.WAITING and trigger.due_at <= now:
            launched = attempts.launched(trigger, now)
            states.append((launched, now))
            trigger = ENDS[word](launched, now, chance)
        states.append((trigger, now))
    return states


@given(st.lists(WORD, max_size=40))
def test_the_attempts_never_exceed_their_limit_and_what_waits_has_some_left(
    words: list[tuple[str, float, int]],
) -> None:
    for trigger, _ in life(words):
        assert trigger.attempts <= attempts.MAX_ATTEMPTS
        assert trigger.lost <= attempts.MAX_LOST
        if trigger.state is TriggerState.WAITING:
            assert trigger.attempts < attempts.MAX_ATTEMPTS


@given(st.lists(WORD, max_size=40))
def test_what_is_done_is_never_run_again(words: list[tuple[str, float, int]]) -> None:
    states = [trigger.state for trigger, _ in life(words)]
    if TriggerState.DONE in states:
        assert set(states[states.index(TriggerState.DONE) :]) == {TriggerState.DONE}


@given(st.integers(0, attempts.MAX_ATTEMPTS - 2), st.floats(0, 1))
def test_after_a_failure_the_next_attempt_is_later_and_within_six_hours(before: int, chance: float) -> None:
    trigger = waiting()
    for _ in range(before):
        trigger = attempts.failed(trigger, "why", NOW, chance)

    pause = attempts.failed(trigger, "why", NOW, chance).due_at - NOW

    assert timedelta(minutes=3) < pause <= attempts.LONGEST_PAUSE


def test_the_pauses_grow_fourfold_from_five_minutes() -> None:
    minutes = [attempts.pause_after(number, 0.0) / timedelta(minutes=1) for number in (1, 2, 3, 4, 9)]
    assert minutes == [5, 20, 80, 320, 360]


def test_lost_runs_count_only_when_they_come_again_and_again() -> None:
    trigger = waiting()
    for _ in range(attempts.MAX_LOST):
        trigger = attempts.lost(trigger, "its run was killed", NOW, 0.0)
        assert (trigger.attempts, trigger.due_at) == (0, NOW)

    trigger = attempts.lost(trigger, "its run was killed", NOW, 0.0)

    assert (trigger.attempts, trigger.note) == (1, "its run was killed, 4 times in a row")


def test_a_person_takes_up_what_was_given_up_but_nothing_else() -> None:
    given_up = attempts.cancelled(attempts.launched(waiting(), NOW), NOW)
    later = NOW + timedelta(hours=1)

    again = attempts.retried(given_up, later)

    assert (again.state, again.attempts, again.due_at) == (TriggerState.WAITING, 0, later)
    done = attempts.done(given_up, NOW)
    assert attempts.retried(done, later) is done


def test_what_a_person_must_do_is_open_again_when_it_is_found_again() -> None:
    gone = attempts.withdrawn(waiting(Cause.MODEL_GONE), NOW)
    assert attempts.found_again(gone, "gone again", NOW).state is TriggerState.OPEN
