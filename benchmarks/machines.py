"""Machines that disturb: what noise does to the calls of a benchmark, in the order in which they are made.

Every machine returns factors by which calls take longer, one per call. Which model makes a call, it does not know.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

Floats = NDArray[np.float64]
Factors = Callable[[np.random.Generator, int, int, int], Floats]
"""From a generator and the numbers of trials, passes and cases to factors of that shape."""

CALLS_A_MINUTE = 60  # a call of one second
THROTTLE_CHANCE, THROTTLE_CALLS, THROTTLE_FACTOR = 0.01, 10, 1.6
SPIKE_FACTOR = 3.0
HICCUP_CHANCE, HICCUP_FACTOR = 0.02, 3.0
RHO = 0.9
DRIFT = 0.01
PARETO_SHAPE = 3.0
_SHORTEST = 0.05


@dataclass(frozen=True)
class Machine:
    """A machine: its name, its factors, and what the bars ask of it.

    `cv`: coefficient of variation of one call. `kind`: `steady` noise, noise in `stretches` of calls or in `minutes`,
    `drift`, a `spike` in one pass of one model, or `hiccups` that only the challenger has. `pass_sd`: standard
    deviation of the factor that a pass shares.
    """

    name: str
    factors: Factors
    cv: float = 0.15
    kind: str = "steady"
    pass_sd: float = 0.0


def _log_normal(cv: float) -> Factors:
    sigma = math.sqrt(math.log(1 + cv**2))
    return lambda rng, *shape: np.exp(rng.normal(0, sigma, shape))


def _student(rng: np.random.Generator, *shape: int) -> Floats:
    return np.maximum(1 + 0.15 * rng.standard_t(3, shape) / math.sqrt(3), _SHORTEST)


def _pareto(rng: np.random.Generator, *shape: int) -> Floats:
    mean, sd = 1 / (PARETO_SHAPE - 1), math.sqrt(PARETO_SHAPE / (PARETO_SHAPE - 2)) / (PARETO_SHAPE - 1)
    return np.maximum(1 + 0.15 * (rng.pareto(PARETO_SHAPE, shape) - mean) / sd, _SHORTEST)


def _by_pass(sd: float, cv: float) -> Factors:
    calls = _log_normal(cv)
    return lambda rng, *shape: calls(rng, *shape) * np.exp(rng.normal(0, sd, (*shape[:2], 1)))


def _autoregressive(rng: np.random.Generator, *shape: int) -> Floats:
    trials, passes, cases = shape
    shocks = rng.normal(0, 0.15 * math.sqrt(1 - RHO**2), (trials, passes * cases))
    shocks[:, 0] /= math.sqrt(1 - RHO**2)  # begin in the stationary state
    return np.exp(lfilter([1.0], [1.0, -RHO], shocks, axis=1)).reshape(shape)


def _throttled(cv: float) -> Factors:
    calls = _log_normal(cv)

    def factors(rng: np.random.Generator, *shape: int) -> Floats:
        trials, passes, cases = shape
        begins = rng.random((trials, passes * cases)) < THROTTLE_CHANCE
        slow = lfilter(np.ones(THROTTLE_CALLS), [1.0], begins.astype(float), axis=1) > 0
        return calls(rng, *shape) * np.where(slow, THROTTLE_FACTOR, 1.0).reshape(shape)

    return factors


def _slow_minutes(chance: float, factor: float) -> Factors:
    calls = _log_normal(0.15)

    def factors(rng: np.random.Generator, *shape: int) -> Floats:
        trials, passes, cases = shape
        minutes = -(-passes * cases // CALLS_A_MINUTE)
        slow = np.where(rng.random((trials, minutes)) < chance, factor, 1.0)
        by_call = np.repeat(slow, CALLS_A_MINUTE, axis=1)[:, : passes * cases]
        return calls(rng, *shape) * by_call.reshape(shape)

    return factors


def _drifting(rng: np.random.Generator, *shape: int) -> Floats:
    _, passes, cases = shape
    calls = np.arange(passes * cases) / cases
    return _log_normal(0.15)(rng, *shape) * (1 + DRIFT * calls).reshape(passes, cases)


MACHINES = (
    Machine("independent, CV 5%", _log_normal(0.05), cv=0.05),
    Machine("independent, CV 15%", _log_normal(0.15)),
    Machine("independent, CV 40%", _log_normal(0.40), cv=0.40),
    Machine("Student t, 3 degrees, CV 15%", _student),
    Machine("Pareto, shape 3, CV 15%", _pareto),
    Machine("pass SD 3%, CV 15%", _by_pass(0.03, 0.15), pass_sd=0.03),
    Machine("pass SD 5%, CV 5%", _by_pass(0.05, 0.05), cv=0.05, pass_sd=0.05),
    Machine("pass SD 5%, CV 15%", _by_pass(0.05, 0.15), pass_sd=0.05),
    Machine("AR(1), rho 0.9, SD 15%", _autoregressive, kind="stretches"),
    Machine("throttled, CV 5%", _throttled(0.05), cv=0.05, kind="stretches"),
    Machine("throttled, CV 15%", _throttled(0.15), kind="stretches"),
    Machine("half of the minutes 10% slower, CV 15%", _slow_minutes(0.5, 1.1), kind="minutes"),
    Machine("a tenth of the minutes 1.6 x, CV 15%", _slow_minutes(0.1, 1.6), kind="minutes"),
    Machine("drift 1% per pass, CV 15%", _drifting, kind="drift"),
    Machine("spike in one pass of one model, CV 15%", _log_normal(0.15), kind="spike"),
    Machine("1 call in 50 of the challenger 3 x, CV 15%", _log_normal(0.15), kind="hiccups"),
)
