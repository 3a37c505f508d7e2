"""Judging a reply: it is read by the contract of its task and compared with the gold.

Anything that is not clearly a verdict is invalid. The readers are in `readers/`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bench_pipeline.domain.errors import Fault
from bench_pipeline.domain.models.reply import Reply
from bench_pipeline.domain.tasks.gold import Gold
from bench_pipeline.domain.tasks.outcome import Outcome
from bench_pipeline.domain.tasks.readers.contracts import (
    Contract,
    FinalLine,
    JsonFields,
    JsonVerdict,
    LeadingTag,
    Pattern,
    Template,
)
from bench_pipeline.domain.tasks.readers.lines import read_final_line, read_leading_tag, read_pattern
from bench_pipeline.domain.tasks.readers.structured import Values, read_json_fields, read_json_verdict, read_template
from bench_pipeline.domain.tasks.readers.text import (
    NoVerdict,
    comparable,
    normal_text,
    written_text,
)
from bench_pipeline.domain.tasks.suite import Suite, TestCase

READER_VERSION = "2"  # part of the evidence: raise it whenever some reply may be read differently


@dataclass(frozen=True, slots=True)
class Judgement:
    """The judgement of a reply: its outcome, the verdict that was read, and the reason if it is not correct."""

    outcome: Outcome
    verdict: Gold | None = None
    reason: str | None = None


def judge(contract: Contract, case: TestCase, reply: Reply) -> Judgement:
    """Compare a reply with the gold of its case. Never raises: an unreadable reply is `invalid`."""
    try:
        verdict, mismatches = _read(contract, case, reply)
    except NoVerdict as reason:
        return Judgement(Outcome.INVALID, None, str(reason))
    if verdict is not case.expected_verdict:
        mismatches = [f"said {verdict}, gold is {case.expected_verdict}", *mismatches]
    if mismatches:
        return Judgement(Outcome.WRONG, verdict, "; ".join(mismatches))
    return Judgement(Outcome.CORRECT, verdict)


def contract_faults(contract: Contract, suite: Suite, file: str) -> list[Fault]:
    """Return why the suite's gold cannot be compared under `contract`."""
    if not isinstance(contract, JsonFields | Template):
        return []
    return [
        Fault(
            file,
            "expected_output",
            f"lacks {', '.join(missing)}",
            f"give the gold for {', '.join(contract.fields)} (null where nothing is stated)",
            case.id,
        )
        for case in suite.test_cases
        if (missing := _missing_gold(contract.fields, case))
    ]


def _missing_gold(fields: Iterable[str], case: TestCase) -> list[str]:
    gold = _gold_values(case)
    return [field for field in fields if field not in gold]


def _gold_values(case: TestCase) -> Mapping[str, object]:
    return case.expected_output if isinstance(case.expected_output, dict) else {}


def _read(contract: Contract, case: TestCase, reply: Reply) -> tuple[Gold, list[str]]:
    """Return the verdict and, for replies with values, one text per value that differs from the gold."""
    match contract:
        case LeadingTag():
            return read_leading_tag(normal_text(reply)), []
        case FinalLine():
            return read_final_line(normal_text(reply)), []
        case Pattern():
            return read_pattern(contract, normal_text(reply)), []
        case JsonVerdict():
            return read_json_verdict(contract, written_text(reply)), []
        case JsonFields():
            return _compared(read_json_fields(contract, written_text(reply)), case)
        case Template():
            return _compared(read_template(contract, normal_text(reply)), case, contract.missing)


def _compared(values: Values, case: TestCase, missing: str | None = None) -> tuple[Gold, list[str]]:
    verdict = Gold.FAIL if None in values.values() else Gold.PASS
    gold = _gold_values(case)
    faults = [
        f"{field} differs from the gold"
        for field, value in values.items()
        if (None if value is None else comparable(value)) not in _accepted(gold.get(field), missing)
    ]
    return verdict, faults


def _accepted(gold: object, missing: str | None) -> set[str | None]:
    """Return the accepted values in comparable form; a gold equal to the `missing` words means None."""
    variants = gold if isinstance(gold, list) else [gold]
    nothing = comparable(missing) if missing is not None else None
    texts = {None if item is None else comparable(str(item)) for item in variants}
    return {None if text == nothing else text for text in texts}
