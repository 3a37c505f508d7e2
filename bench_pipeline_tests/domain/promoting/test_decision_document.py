"""The rules of a decision have the same numbers and outcomes in the code and in its document."""

from __future__ import annotations

import re
from pathlib import Path

from bench_pipeline.domain.promoting.decision import DecisionKind, decide

DOCUMENT = Path(__file__).parents[3] / "docs" / "concepts" / "promotion.md"
_OUTCOME = re.compile("|".join(kind.value for kind in DecisionKind))


def rules_of_the_code() -> list[tuple[int, list[str]]]:
    """Number and outcomes of each rule in the docstring, such as `3. The run is invalid: invalid.`"""
    rules = re.findall(r"^ +(\d+)\. (.+)$", decide.__doc__ or "", re.MULTILINE)
    return [(int(number), _OUTCOME.findall(text.rpartition(":")[2])) for number, text in rules]


def rules_of_the_document() -> list[tuple[int, list[str]]]:
    """Number and outcomes of each line of the table, such as `| 3 | the run is invalid | `invalid` |`"""
    lines = re.findall(r"^\| (\d+) \| .+ \| (.+) \|$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    return [(int(number), re.findall(r"`(\w+)`", decision)) for number, decision in lines]


def test_the_document_lists_the_rules_of_the_code() -> None:
    assert rules_of_the_document() == rules_of_the_code()
    assert [number for number, _ in rules_of_the_code()] == list(range(1, 16))
