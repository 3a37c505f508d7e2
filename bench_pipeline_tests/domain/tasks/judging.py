"""A case and a judgement in one line each, for the tests of readers."""

from __future__ import annotations

from typing import Any

from bench_pipeline.domain.models.reply import Reply
from bench_pipeline.domain.tasks.gold import Gold
from bench_pipeline.domain.tasks.readers.contracts import Contract, LeadingTag
from bench_pipeline.domain.tasks.suite import TestCase
from bench_pipeline.domain.tasks.verdict import Judgement, judge

PASS, FAIL = Gold.PASS, Gold.FAIL
TAG = LeadingTag()


def case_of(gold: str = PASS, expected_output: object = None) -> TestCase:
    return TestCase.model_validate(
        {
            "id": "CASE_1",
            "type": gold,
            "difficulty": "easy",
            "posting_id": 1,
            "summary": "A summary.",
            "expected_verdict": gold,
            "expected_scores": {"accuracy": 1, "completeness": 1, "formatting": 1},
            "reasoning": "A reason.",
            "expected_output": expected_output,
        }
    )


def judged(text: str, contract: Contract = TAG, case: TestCase | None = None, **reply: Any) -> Judgement:  # noqa: ANN401
    return judge(contract, case or case_of(), Reply(text, elapsed_ns=1, **reply))


def verdict_of(text: str, contract: Contract = TAG) -> str | None:
    return judged(text, contract).verdict


def reason_of(text: str, contract: Contract) -> str:
    return judged(text, contract).reason or ""


def widened(text: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)
