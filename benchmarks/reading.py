"""The processor time that reading 10,000 replies takes: `python -m benchmarks.reading`. Exits with 1 above 2 seconds.

The replies are short ones, long ones of 4 kB, ones with thinking in every form, and hostile ones of up to 100,000
characters; each is read under the contract that it suits worst or best, in turn. No model is called.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from itertools import cycle, islice

from bench_pipeline.domain.models.reply import Reply
from bench_pipeline.domain.tasks.readers.contracts import Contract, FinalLine, JsonVerdict, LeadingTag, Pattern
from bench_pipeline.domain.tasks.readers.thinking import THINKING_FORMS
from bench_pipeline.domain.tasks.suite import ExpectedScores, TestCase
from bench_pipeline.domain.tasks.verdict import judge

REPLIES = 10_000
LIMIT_S = 2.0
CONTRACTS: tuple[Contract, ...] = (
    LeadingTag(),
    FinalLine(),
    JsonVerdict(fields={"reason": "string"}, optional=("reason",)),
    Pattern(pattern=r"(?:(?!Verdict:).*\n)*Verdict: (?P<verdict>\w+)\.?"),
)
CASE = TestCase(
    id="CASE_1",
    type="PASS",
    difficulty="easy",
    posting_id=1,
    summary="A summary.",
    expected_verdict="PASS",
    expected_scores=ExpectedScores(accuracy=10, completeness=10, formatting=10),
    reasoning="All facts agree.",
)
_REASON = "The summary names the job and the employer, “Getränke Müller”, and the facts agree. "
_LONG = _REASON * (4096 // len(_REASON))
SHORT = (f"[PASS] {_REASON}", f"{_REASON}\nFAIL", '{"verdict": "PASS", "reason": "fine"}', f"{_REASON}\nVerdict: PASS")
LONG = (f"[FAIL] {_LONG}", f"{_LONG}\nPASS", f'{{"verdict": "FAIL", "reason": "{_LONG}"}}', f"{_LONG}\nVerdict: FAIL")
THINKING = tuple(
    f"{form.opening[0]}{_LONG[:1000]}{form.closing[0]}{reply}" for form in THINKING_FORMS for reply in SHORT
)
HOSTILE = tuple(
    (piece * size)[:size]
    for size in (1_000, 10_000, 100_000)
    for piece in (
        "[",
        "[PASS] so fail ",
        "<think>",
        "</think>",
        "not a\n",
        "FAIL ",
        "verdict is ",
        "\n",
        '{"a":',
        "~~a",
        "''",
    )
)
SHARES: dict[str, tuple[tuple[str, ...], int]] = {
    "short": (SHORT, 6_000),
    "long": (LONG, 2_500),
    "thinking": (THINKING, 1_400),
    "hostile": (HOSTILE, 100),
}


def main() -> int:
    """Read, print the seconds of each kind and of all, and return the exit status."""
    total = 0.0
    for kind, (texts, number) in SHARES.items():
        seconds = _seconds(lambda texts=texts, number=number: _read(texts, number))  # type: ignore[misc]
        print(f"{kind:<10} {number:>6} replies {seconds:>7.2f} s")
        total += seconds
    print(f"{'all':<10} {REPLIES:>6} replies {total:>7.2f} s, limit {LIMIT_S:.0f} s")
    return int(total > LIMIT_S)


def _read(texts: tuple[str, ...], number: int) -> None:
    for count, text in enumerate(islice(cycle(texts), number)):
        judge(CONTRACTS[(count + count // len(texts)) % len(CONTRACTS)], CASE, Reply(text, elapsed_ns=1))


def _seconds(work: Callable[[], None]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    sys.exit(main())
