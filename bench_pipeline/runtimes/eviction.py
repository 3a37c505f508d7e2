"""Unloading every model but one before it is loaded, for servers that hold several.

Which models are loaded, and how one is unloaded, is each runtime's own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from bench_pipeline.domain.errors import FailureKind, RuntimeFailure

EVICTION_LIMIT_S = 60.0
_FIRST_PAUSE_S = 0.01
_LONGEST_PAUSE_S = 0.25


class Eviction:
    """The unloading of other models at the server at `address`. A model that stayed once is not waited for again."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._staying: set[str] = set()

    def run(
        self, model: str, others: Callable[[], Sequence[str]], release: Callable[[str, float], None], limit_s: float
    ) -> None:
        """Release the `others` of `model` and wait until they are gone, for `EVICTION_LIMIT_S` seconds at most.

        `release` is called with a name and the seconds that are left. Raises `RuntimeFailure`: `unsupported` when a
        model stays, because asking again would only wait again.
        """
        ends = time.monotonic() + min(limit_s, EVICTION_LIMIT_S)
        loaded = others()
        for name in loaded:
            release(name, max(ends - time.monotonic(), 0.0))
        pause_s = _FIRST_PAUSE_S
        while loaded and (loaded := others()):
            if time.monotonic() >= ends or self._staying.issuperset(loaded):
                self._staying.update(loaded)
                raise RuntimeFailure(
                    FailureKind.UNSUPPORTED,
                    f"{model}: {', '.join(loaded)} remains loaded at {self._address}; stop the program that uses it",
                )
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        self._staying.clear()
