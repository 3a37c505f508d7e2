"""Which calls of a model are disturbed, which of them are repeated, and which take ranks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import log1p, sqrt
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench_pipeline.domain.measuring.disturbance import (
    MIN_CALLS,
    Disturbance,
    disturbances,
    due,
    with_takes_settled,
)
from bench_pipeline.domain.measuring.sample import Sample
from bench_pipeline.domain.measuring.validity import ValidityRule
from bench_pipeline.domain.models.reply import ServerTimings
from bench_pipeline.domain.tasks.outcome import Outcome

Told = Callable[[float, float, int, int], ServerTimings]
"""What a runtime tells of a call: from its times for prompt and reply (ns), and their tokens."""
CACHED = 400


def durations(prompt_ns: float, reply_ns: float, prompt: int, reply: int) -> ServerTimings:
    return ServerTimings(
        prompt_ns=round(prompt_ns),
        generation_ns=round(reply_ns),
        prompt_tokens=prompt + CACHED,
        cached_prompt_tokens=CACHED,
        generated_tokens=reply,
    )


def durations_and_a_silent_cache(prompt_ns: float, reply_ns: float, prompt: int, reply: int) -> ServerTimings:
    return replace(durations(prompt_ns, reply_ns, prompt, reply), cached_prompt_tokens=None)


def counts(prompt_ns: float, reply_ns: float, prompt: int, reply: int) -> ServerTimings:
    return ServerTimings(prompt_tokens=prompt, generated_tokens=reply)


def nothing(prompt_ns: float, reply_ns: float, prompt: int, reply: int) -> ServerTimings:
    return ServerTimings()


EVERY_RUNTIME = pytest.mark.parametrize("told", [durations, durations_and_a_silent_cache, counts, nothing])


def calls(
    passes: int,
    told: Told = durations,
    cases: int = 10,
    slower: Callable[[int, int], float] = lambda *_: 1.0,
    seed: int = 1,
) -> list[Sample]:
    """Passes over cases of very different lengths; `slower` is the factor of a call, by case and pass from 1."""
    rng = Random(seed)  # noqa: S311 - a simulation, not a secret
    lengths = [(rng.randint(100, 1500), rng.randint(5, 200)) for _ in range(cases)]
    return [
        timed(told, case, in_pass, lengths[case - 1], slower(case, in_pass))
        for in_pass in range(1, passes + 1)
        for case in range(1, cases + 1)
    ]


def timed(told: Told, case: int, in_pass: int, lengths: tuple[int, int], factor: float) -> Sample:
    prompt, reply = lengths
    prompt_ns, reply_ns = prompt * 1e6 * factor, reply * 20e6 * factor
    return Sample(
        f"case{case:02d}",
        in_pass,
        1,
        Outcome.CORRECT,
        "PASS",
        "PASS",
        latency_ns=round(prompt_ns + reply_ns),
        timings=told(prompt_ns, reply_ns, prompt, reply),
    )


def named(samples: Sequence[Sample]) -> list[tuple[str, int]]:
    return [(one.first.case_id, one.first.repeat) for one in disturbances(samples)]


# What is disturbed


@EVERY_RUNTIME
def test_a_call_that_took_three_times_as_long_is_named_with_its_factor(told: Told) -> None:
    samples = calls(3, told, slower=lambda case, in_pass: 3.0 if (case, in_pass) == (4, 2) else 1.0)
    (found,) = disturbances(samples)
    assert (found.first.case_id, found.first.repeat) == ("case04", 2)
    assert found.ratio == pytest.approx(3.0, rel=0.05)


@EVERY_RUNTIME
@pytest.mark.parametrize("passes", [2, 3])
def test_a_whole_slow_pass_is_named_when_the_model_has_another_one(told: Told, passes: int) -> None:
    samples = calls(passes, told, slower=lambda _, in_pass: 3.0 if in_pass == 1 else 1.0)
    found = disturbances(samples)
    assert {(one.first.case_id, one.first.repeat) for one in found} == {(f"case{n:02d}", 1) for n in range(1, 11)}
    assert all(one.ratio == pytest.approx(3.0, rel=0.05) for one in found)


@pytest.mark.parametrize("told", [durations, durations_and_a_silent_cache, counts])
def test_in_a_single_pass_the_tokens_tell_the_slow_call_from_the_long_one(told: Told) -> None:
    samples = calls(1, told, slower=lambda case, _: 3.0 if case == 4 else 1.0)
    assert named(samples) == [("case04", 1)]


def test_a_single_pass_without_counts_has_nothing_to_compare() -> None:
    assert not disturbances(calls(1, nothing, slower=lambda case, _: 9.0 if case == 4 else 1.0))


@EVERY_RUNTIME
def test_a_call_that_was_faster_than_expected_is_not_disturbed(told: Told) -> None:
    assert not disturbances(calls(3, told, slower=lambda case, in_pass: 0.3 if (case, in_pass) == (4, 2) else 1.0))


def test_the_worst_call_comes_first() -> None:
    factors = {(1, 1): 2.0, (4, 2): 9.0, (7, 3): 4.0}
    samples = calls(3, slower=lambda case, in_pass: factors.get((case, in_pass), 1.0))
    assert named(samples) == [("case04", 2), ("case07", 3), ("case01", 1)]


@pytest.mark.parametrize(
    ("factor", "shortened", "disturbed"),
    [(1.4, 1, False), (1.6, 1, True), (3.0, 1, True), (3.0, 1000, False)],
    ids=["little", "half as long again", "much", "much, of a millisecond"],
)
def test_a_call_must_be_much_longer_both_as_a_share_and_in_time(factor: float, shortened: int, disturbed: bool) -> None:
    samples = calls(3, slower=lambda case, in_pass: (factor if (case, in_pass) == (4, 2) else 1.0) / shortened)
    assert bool(disturbances(samples)) is disturbed


@pytest.mark.parametrize("cases", [MIN_CALLS - 1, MIN_CALLS])
def test_the_spread_of_too_few_calls_is_not_known(cases: int) -> None:
    samples = calls(1, cases=cases, slower=lambda case, _: 5.0 if case == 4 else 1.0)
    assert bool(disturbances(samples)) is (cases == MIN_CALLS)


@pytest.mark.parametrize("rule", [ValidityRule.CONTENTION, ValidityRule.LOADED_IN_CALL, ValidityRule.IDENTITY_CHANGED])
def test_a_latency_that_another_rule_excludes_is_not_compared(rule: ValidityRule) -> None:
    samples = calls(3, slower=lambda case, in_pass: 5.0 if (case, in_pass) == (4, 2) else 1.0)
    assert not disturbances([replace(one, exclusion=rule) if one.case_id == "case04" else one for one in samples])


def test_an_incomplete_pass_is_not_the_reference() -> None:
    """Two calls that happened to be quick do not make all others slow."""
    samples = calls(3, slower=lambda _, in_pass: 0.5 if in_pass == 3 else 1.0)[:22]
    assert not disturbances(samples)


def test_calls_without_counts_are_not_compared_where_most_have_them() -> None:
    samples = calls(3, slower=lambda case, in_pass: 5.0 if (case, in_pass) == (4, 2) else 1.0)
    silent = [replace(one, timings=ServerTimings()) if one.case_id == "case04" else one for one in samples]
    assert not disturbances(silent)


@pytest.mark.parametrize("latency_ns", [None, 0])
def test_an_impossible_latency_is_not_compared(latency_ns: int | None) -> None:
    samples = calls(3)
    assert not disturbances([replace(samples[0], latency_ns=latency_ns), *samples[1:]])


counted = st.none() | st.integers(0, 2**62) | st.integers(0, 3)


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"), st.integers(1, 9), st.none() | st.integers(0, 2**62) | st.integers(0, 10**9),
            st.builds(ServerTimings, prompt_ns=counted, generation_ns=counted, prompt_tokens=counted,
                      cached_prompt_tokens=counted, generated_tokens=counted),
        ),
        max_size=27, unique_by=lambda one: one[:2],
    )
)  # fmt: skip
def test_whatever_a_runtime_tells_the_rule_names_only_calls_that_took_longer(
    told: list[tuple[str, int, int | None, ServerTimings]],
) -> None:
    samples = [
        Sample(case, in_pass, 1, Outcome.CORRECT, "PASS", "PASS", latency_ns=latency, timings=timings)
        for case, in_pass, latency, timings in told
    ]
    assert all((one.ratio or 0) > 1.5 for one in disturbances(samples))


@pytest.mark.parametrize("told", [durations, counts, nothing])
def test_passes_of_a_single_call_have_no_spread(told: Told) -> None:
    assert not disturbances(calls(12, told, cases=1, slower=lambda _, in_pass: 5.0 if in_pass == 4 else 1.0))


# It favours nobody


@EVERY_RUNTIME
@given(factor=st.floats(0.5, 1000), seed=st.integers(0, 50))
def test_a_constant_factor_on_all_calls_of_a_model_changes_nothing(told: Told, factor: float, seed: int) -> None:
    """A slow model is judged as a fast one, as long as its calls take seconds."""
    rng = Random(seed)  # noqa: S311 - a simulation, not a secret
    noise = {(case, in_pass): 10 * rng.choice([1.0, 1.1, 5.0]) for case in range(1, 11) for in_pass in range(1, 4)}
    plain = calls(3, told, slower=lambda *call: noise[call], seed=seed)
    scaled = calls(3, told, slower=lambda *call: factor * noise[call], seed=seed)
    assert set(named(scaled)) == set(named(plain))


@pytest.mark.parametrize("cv", [0.05, 0.15])
@pytest.mark.parametrize(
    ("told", "cases", "passes"),
    [(durations, 10, 1), (durations, 10, 3), (durations, 50, 1), (durations, 10, 23), (counts, 10, 3),
     (nothing, 10, 3), (nothing, 5, 10)],
)  # fmt: skip
def test_of_calls_that_vary_by_chance_fewer_than_one_in_a_thousand_is_named(
    told: Told, cases: int, passes: int, cv: float
) -> None:
    rng = Random(7)  # noqa: S311 - a simulation, not a secret
    spread = sqrt(log1p(cv * cv))
    runs = -(-8000 // (cases * passes))
    found = sum(
        len(disturbances(calls(passes, told, cases, lambda *_: rng.lognormvariate(0, spread), seed)))
        for seed in range(runs)
    )
    assert found < 0.001 * runs * cases * passes


# Which calls are repeated


def repetition(first: Sample, latency_ns: int | None = 10**9, **changes: object) -> Sample:
    return replace(first, take=2, latency_ns=latency_ns, **changes)  # type: ignore[arg-type]


def disturbed_calls(*disturbed: int) -> list[Sample]:
    """Two passes; these cases took longer in the first, the later ones more."""
    return calls(2, slower=lambda case, in_pass: 3.0 + case if in_pass == 1 and case in disturbed else 1.0)


def cases_of(found: Sequence[Disturbance]) -> list[str]:
    return [one.first.case_id for one in found]


def test_a_turn_repeats_the_worst_calls_up_to_its_limit() -> None:
    assert cases_of(due(disturbed_calls(1, 2, 3), limit=2)) == ["case03", "case02"]


def test_a_repeated_call_is_not_repeated_again_whatever_came_of_it() -> None:
    samples = disturbed_calls(1, 2)
    for again in (repetition(samples[1], 90 * 10**9), repetition(samples[1], None, outcome=Outcome.ERROR)):
        assert cases_of(due([*samples, again], limit=10)) == ["case01"]


def test_repetitions_before_an_interruption_count_towards_the_limit_of_the_turn() -> None:
    samples = disturbed_calls(1, 2, 3)
    assert cases_of(due([*samples, repetition(samples[2])], limit=2)) == ["case02"]


def test_repetitions_of_an_earlier_turn_do_not_count_towards_the_limit() -> None:
    samples = disturbed_calls(1, 2, 3)
    assert cases_of(due([*samples[:10], repetition(samples[2]), *samples[10:]], limit=2)) == ["case02", "case01"]


def test_what_is_judged_does_not_change_while_the_turn_is_repeated() -> None:
    samples = disturbed_calls(1, 2, 3)
    again = [repetition(samples[2]), repetition(samples[1])]
    after = with_takes_settled([*samples, *again])
    assert [(one.first.case_id, one.ratio) for one in disturbances(after)] == [
        (one.first.case_id, one.ratio) for one in disturbances(samples)
    ]


# Which take ranks


@pytest.mark.parametrize(
    ("changes", "exclusion"),
    [
        ({}, "disturbed"),
        ({"latency_ns": 10**12}, "disturbed"),
        ({"outcome": Outcome.WRONG, "verdict": "FAIL"}, "disturbed"),
        ({"exclusion": "contention"}, None),
        ({"outcome": Outcome.INVALID, "verdict": None, "latency_ns": None, "exclusion": "no_verdict"}, None),
        ({"outcome": Outcome.ERROR, "verdict": None, "latency_ns": None}, None),
    ],
    ids=["faster", "slower", "wrong", "excluded", "invalid", "error"],
)
@pytest.mark.parametrize("before", [None, "disturbed"])
def test_the_repetition_ranks_if_its_latency_is_valid_however_slow_it_is(
    changes: dict[str, object], exclusion: str | None, before: str | None
) -> None:
    first = replace(calls(1)[0], exclusion=before)
    again = replace(first, take=2, exclusion=None)
    settled, _ = with_takes_settled([first, replace(again, **changes)])  # type: ignore[arg-type]
    assert settled.exclusion == exclusion


def test_a_first_call_that_another_rule_excludes_keeps_that_rule() -> None:
    first = replace(calls(1)[0], exclusion=ValidityRule.IDENTITY_CHANGED)
    again = replace(first, take=2)
    assert with_takes_settled([first, again]) == [first, again]


def test_the_repetition_of_one_pass_leaves_the_other_passes_alone() -> None:
    samples = calls(2)
    settled = with_takes_settled([*samples, repetition(samples[0])])
    assert [(one.repeat, one.take) for one in settled if one.case_id == "case01" and one.ranks] == [(2, 1), (1, 2)]


def test_a_disturbed_call_says_which_of_its_takes_ranks() -> None:
    samples = disturbed_calls(4)
    assert disturbances(samples)[0].ranking == samples[3]
    again = repetition(samples[3])
    assert disturbances(with_takes_settled([*samples, again]))[0].ranking == again
