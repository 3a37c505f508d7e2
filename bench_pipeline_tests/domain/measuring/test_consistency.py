"""How consistently a model is right when it is asked again."""

from __future__ import annotations

import pytest

from bench_pipeline.domain.measuring.consistency import pass_hat
from bench_pipeline.domain.measuring.sample import Sample
from bench_pipeline.domain.tasks.outcome import Outcome

RIGHT, WRONG, ERROR = Outcome.CORRECT, Outcome.WRONG, Outcome.ERROR


def samples(**outcomes: list[Outcome]) -> list[Sample]:
    return [
        Sample(case, repeat, 1, outcome, "PASS")
        for case, of_case in outcomes.items()
        for repeat, outcome in enumerate(of_case, start=1)
    ]


@pytest.mark.parametrize(
    ("taken", "expected"),
    [
        pytest.param(samples(), (), id="no call"),
        pytest.param(samples(a=[RIGHT, RIGHT], b=[RIGHT, RIGHT]), (1, 1), id="always right"),
        pytest.param(samples(a=[RIGHT, WRONG], b=[RIGHT, RIGHT]), (0.75, 0.5), id="one case is flaky"),
        pytest.param(samples(a=[RIGHT, RIGHT, WRONG]), (2 / 3, 1 / 3, 0), id="two of three"),
        pytest.param(samples(a=[RIGHT, ERROR], b=[RIGHT, RIGHT]), (1,), id="an error is no try"),
        pytest.param(samples(a=[ERROR], b=[RIGHT, WRONG]), (0.5, 0), id="a case without a try counts nowhere"),
    ],
)
def test_pass_hat_is_the_mean_over_the_cases(taken: list[Sample], expected: tuple[float, ...]) -> None:
    assert pass_hat(taken) == pytest.approx(expected)


def test_a_repetition_is_a_further_try() -> None:
    again = Sample("a", 1, 1, WRONG, "PASS", take=2)
    assert pass_hat([*samples(a=[RIGHT], b=[RIGHT]), again]) == pytest.approx((0.75,))
