"""What a server is doing now, as far as it tells. Reading a server's own form of it is in the runtimes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Activity:
    """A look at a server. `requests` are those that it answers or holds in its queue; None if it does not tell.

    `uses` has a mark for each loaded model that differs from that of an earlier look once the model was used.
    """

    requests: int | None = None
    uses: Mapping[str, str] = field(default_factory=dict)

    def used_since(self, earlier: Activity) -> list[str]:
        """Return the models that were loaded or used between an earlier look and this one, by name."""
        return sorted(name for name, mark in self.uses.items() if earlier.uses.get(name) != mark)
