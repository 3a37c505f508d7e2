"""How long to wait for a server that says "not yet". Retries after other failures are in loaded_model.py."""

from __future__ import annotations

from bench_pipeline.domain.errors import RuntimeFailure


class Patience:
    """A budget of `limit_s` seconds for the pauses that servers ask for."""

    def __init__(self, limit_s: float) -> None:
        self._left_s = limit_s

    def pause_for(self, failure: RuntimeFailure) -> float | None:
        """Return the seconds to pause, taken from the budget; None if none are asked for, or more than are left."""
        asked = failure.retry_after_s
        if asked is None or asked > self._left_s:
            return None
        self._left_s -= asked
        return asked
