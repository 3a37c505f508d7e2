"""Judging a reply: it is read by the contract of its task and compared with the gold.

Anything that is not clearly a verdict is invalid. The readers are in `readers/`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from bench_pipeline.domain.errors import Fault
from bench_pipeline.domain.models.reply import Reply
from bench_pipeline.domain.tasks.gold import Gold
from bench_pipeline.domain.tasks.outcome import Outcome
from bench_pipeline.domain.tasks.readers.answer import normal_answer, written_answer
from bench_pipeline.domain.tasks.readers.contracts import (
    Contract,
    FinalLine,
    JsonFields,
    JsonVerdict,
    LeadingTag,
    Pattern,
    Template,
    classes_of,
)
from bench_pipeline.domain.tasks.readers.lines import (
    begins_with_pattern,
    begins_with_tag,
    holds_verdict_line,
    read_final_line,
    read_leading_tag,
    read_pattern,
)
from bench_pipeline.domain.tasks.readers.structured import (
    Values,
    begins_with_json,
    begins_with_template,
    read_json_fields,
    read_json_verdict,
    read_template,
)
from bench_pipeline.domain.tasks.readers.text import NoVerdict, comparable
from bench_pipeline.domain.tasks.readers.thinking import unknown_form, unknown_reason
from bench_pipeline.domain.tasks.suite import Suite, TestCase

READER_VERSION = "3"  # part of the evidence: raise it whenever some reply may be read differently


@dataclass(frozen=True, slots=True)
class Judgement:
    """The judgement of a reply: its outcome, the verdict that was read, and the reason if it is not correct."""

    outcome: Outcome
    verdict: str | None = None
    reason: str | None = None


def judge(contract: Contract, case: TestCase, reply: Reply) -> Judgement:
    """Compare a reply with the gold of its case. Never raises: an unreadable reply is `invalid`."""
    try:
        verdict, mismatches = _read(contract, case, reply)
    except NoVerdict as reason:
        return Judgement(Outcome.INVALID, None, str(reason))
    if verdict != case.expected_verdict:
        mismatches = [f"said {verdict}, gold is {case.expected_verdict}", *mismatches]
    if mismatches:
        return Judgement(Outcome.WRONG, verdict, "; ".join(mismatches))
    return Judgement(Outcome.CORRECT, verdict)


_LEAST_CASES = 2


def contract_faults(contract: Contract, suite: Suite, file: str) -> list[Fault]:
    """Return why the suite's gold cannot be compared under `contract`."""
    return [*_class_faults(classes_of(contract), suite, file), *_value_faults(contract, suite, file)]


def _class_faults(classes: tuple[str, ...], suite: Suite, file: str) -> Iterable[Fault]:
    """Check that the suite has the classes of the contract, and if they are not PASS and FAIL, two cases of each."""
    counts = Counter(case.expected_verdict for case in suite.test_cases)
    for case in suite.test_cases:
        if case.expected_verdict not in classes:
            problem = f"{case.expected_verdict!r} is not a class of the task"
            yield Fault(file, "expected_verdict", problem, f"write {' or '.join(classes)}", case.id)
    if set(classes) != set(Gold):
        for name in classes:
            if counts[name] < _LEAST_CASES:
                remedy = f"add cases of {name} until there are {_LEAST_CASES}, or remove it from labels"
                found = "is 1 case" if counts[name] == 1 else f"are {counts[name]} cases"
                yield Fault(file, "expected_verdict", f"there {found} of {name}", remedy)


def _value_faults(contract: Contract, suite: Suite, file: str) -> Iterable[Fault]:
    if not isinstance(contract, JsonFields | Template):
        return
    for case in suite.test_cases:
        if missing := _missing_gold(contract.fields, case):
            remedy = f"give the gold for {', '.join(contract.fields)} (null where nothing is stated)"
            yield Fault(file, "expected_output", f"lacks {', '.join(missing)}", remedy, case.id)


def _missing_gold(fields: Iterable[str], case: TestCase) -> list[str]:
    gold = _gold_values(case)
    return [field for field in fields if field not in gold]


def _gold_values(case: TestCase) -> Mapping[str, object]:
    return case.expected_output if isinstance(case.expected_output, dict) else {}


def _read(contract: Contract, case: TestCase, reply: Reply) -> tuple[str, list[str]]:
    """Return the verdict and, for replies with values, one text per value that differs from the gold."""
    answer = _answer(contract, reply)
    try:
        return _read_answer(contract, case, answer)
    except NoVerdict:
        if (tag := unknown_form(answer)) is not None:
            raise NoVerdict(unknown_reason(tag)) from None
        raise


def _answer(contract: Contract, reply: Reply) -> str:
    match contract:
        case LeadingTag():
            return normal_answer(reply, partial(begins_with_tag, contract))
        case FinalLine():
            return normal_answer(reply, partial(holds_verdict_line, contract))
        case Pattern():
            return normal_answer(reply, partial(begins_with_pattern, contract), contract.pattern)
        case Template():
            form = "\n".join(line.pattern for line in contract.lines)
            return normal_answer(reply, partial(begins_with_template, contract), form)
        case JsonVerdict() | JsonFields():
            return written_answer(reply, begins_with_json)


def _read_answer(contract: Contract, case: TestCase, answer: str) -> tuple[str, list[str]]:
    match contract:
        case LeadingTag():
            return read_leading_tag(contract, answer), []
        case FinalLine():
            return read_final_line(contract, answer), []
        case Pattern():
            return read_pattern(contract, answer), []
        case JsonVerdict():
            return read_json_verdict(contract, answer), []
        case JsonFields():
            return _compared(read_json_fields(contract, answer), case)
        case Template():
            return _compared(read_template(contract, answer), case, contract.missing)


def _compared(values: Values, case: TestCase, missing: str | None = None) -> tuple[str, list[str]]:
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
