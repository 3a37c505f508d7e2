"""How often a model's reply has a readable verdict, and how often the verdict is right: always two separate numbers.

Counts samples; who qualifies is in scoreboard.py. A qualified model has 100 % in both, because `invalid` lowers the
first, a wrong verdict the second, and each of them disqualifies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bench_pipeline.domain.measuring.sample import Sample
from bench_pipeline.domain.tasks.gold import Gold
from bench_pipeline.domain.tasks.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Confusion:
    """How many cases of the class `gold` were said to be of the class `said`, of all that were read."""

    gold: str
    said: str
    count: int
    of: int


@dataclass(frozen=True, slots=True)
class VerdictQuality:
    """Counts over the samples of one model. `constant_verdict` is set if cases of several classes got the same one.

    False PASS and false FAIL are those of the two classes of that name; `confusions` has the pairs of all classes.
    """

    answered: int
    read: int
    right: int
    false_pass: int
    should_fail: int
    false_fail: int
    should_pass: int
    constant_verdict: str | None
    confusions: tuple[Confusion, ...]

    @property
    def format_compliance(self) -> float | None:
        """Return read / answered, 0 to 1; None without a reply: an infrastructure error is not a reply."""
        return self.read / self.answered if self.answered else None

    @property
    def verdict_accuracy(self) -> float | None:
        """Return right / read, 0 to 1; None when no verdict was read."""
        return self.right / self.read if self.read else None


def verdict_quality(samples: Sequence[Sample]) -> VerdictQuality:
    """Return the counts of these samples. Only the verdict counts here, not the values beside it."""
    answered = [sample for sample in samples if sample.outcome is not Outcome.ERROR]
    read = [sample for sample in answered if sample.verdict is not None]
    should_fail = [sample for sample in read if sample.expected == Gold.FAIL]
    should_pass = [sample for sample in read if sample.expected == Gold.PASS]
    said = {sample.verdict for sample in read}
    golds = Counter(sample.expected for sample in read)
    pairs = Counter((sample.expected, sample.verdict) for sample in read if sample.verdict != sample.expected)
    return VerdictQuality(
        answered=len(answered),
        read=len(read),
        right=sum(sample.verdict == sample.expected for sample in read),
        false_pass=sum(sample.verdict == Gold.PASS for sample in should_fail),
        should_fail=len(should_fail),
        false_fail=sum(sample.verdict == Gold.FAIL for sample in should_pass),
        should_pass=len(should_pass),
        constant_verdict=said.pop() if len(said) == 1 and len(golds) > 1 else None,
        confusions=tuple(
            Confusion(gold, str(verdict), count, golds[gold]) for (gold, verdict), count in sorted(pairs.items())
        ),
    )
