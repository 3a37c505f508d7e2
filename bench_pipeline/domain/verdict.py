"""How a reply becomes a verdict. A reader keeps to the contract of its task: what is not clearly a verdict is none."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from bench_pipeline.domain.errors import Fault
from bench_pipeline.domain.reading import JsonRefused, strict_json
from bench_pipeline.domain.sample import Outcome, Reply
from bench_pipeline.domain.suite import Gold, Suite, TestCase

READER_VERSION = "1"
MAX_REPLY_CHARS = 100_000


class LeadingTag(BaseModel):
    """The reply begins with `[PASS]` or `[FAIL]`; reasoning follows."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    reader: Literal["leading_tag"] = "leading_tag"


class JsonFields(BaseModel):
    """The reply is one JSON object with exactly these fields, each a string, or null where nothing is stated.

    The verdict is PASS when every field has a value and FAIL when one is null; it is correct only if
    every value equals the gold.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    reader: Literal["json_fields"] = "json_fields"
    fields: tuple[str, ...] = Field(min_length=1)


class LineRule(BaseModel):
    """One kind of line in a template: a regular expression for the whole line, and how often it stands."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    pattern: str = Field(min_length=1)
    min: int = Field(default=1, ge=0)
    max: int = Field(default=1, ge=1)

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"no regular expression: {error}") from None
        return pattern


class Template(BaseModel):
    """The reply's non-empty lines follow these rules in order; named groups must equal the gold.

    The verdict is PASS when every group has a value and FAIL when one holds the `missing` words.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    reader: Literal["template"] = "template"
    lines: tuple[LineRule, ...] = Field(min_length=1)
    missing: str = "not stated"
    max_words: int | None = Field(default=None, ge=1)

    @property
    def fields(self) -> tuple[str, ...]:
        """The named groups of all lines, in order."""
        return tuple(name for line in self.lines for name in re.compile(line.pattern).groupindex)


Contract = Annotated[LeadingTag | JsonFields | Template, Field(discriminator="reader")]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a reply is worth: its outcome, the verdict that was read, and the reason when it is not correct."""

    outcome: Outcome
    verdict: Gold | None = None
    reason: str | None = None


class NoVerdict(Exception):
    """No verdict of the contract can be read; the message says why."""


def judge(contract: Contract, case: TestCase, reply: Reply) -> Judgement:
    """Compare a reply with the gold of its case. Never raises: what cannot be read is `invalid`."""
    try:
        text = _readable_text(reply)
        verdict, mismatches = _read(contract, case, text)
    except NoVerdict as reason:
        return Judgement(Outcome.INVALID, None, str(reason))
    if verdict is not case.expected_verdict:
        mismatches = [f"said {verdict}, gold is {case.expected_verdict}", *mismatches]
    if mismatches:
        return Judgement(Outcome.WRONG, verdict, "; ".join(mismatches))
    return Judgement(Outcome.CORRECT, verdict)


def contract_faults(contract: Contract, suite: Suite, file: str) -> list[Fault]:
    """Return why the suite's gold cannot be compared under `contract`."""
    if isinstance(contract, LeadingTag):
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
    gold = case.expected_output if isinstance(case.expected_output, dict) else {}
    return [field for field in fields if field not in gold]


def _readable_text(reply: Reply) -> str:
    if not reply.complete:
        raise NoVerdict("incomplete: the runtime never said that the reply was finished")
    if reply.done_reason == "length":
        raise NoVerdict("cut off: the reply reached num_predict or the end of the context")
    if reply.done_reason != "stop":
        raise NoVerdict(f"the runtime ended the reply with {reply.done_reason[:40]!r}")
    if len(reply.text) > MAX_REPLY_CHARS:
        raise NoVerdict(f"longer than {MAX_REPLY_CHARS} characters")
    text = _without_thinking(visible(reply.text)).strip()
    if not text:
        raise NoVerdict("empty reply" + (", only thinking" if reply.thinking or reply.text.strip() else ""))
    return text


def visible(text: str) -> str:
    """Return `text` in NFKC without zero-width, bidi and other invisible characters; line breaks stay."""
    normal = unicodedata.normalize("NFKC", text.replace("\r\n", "\n").replace("\r", "\n"))
    return "".join(c for c in normal if c in "\n\t" or unicodedata.category(c) not in ("Cf", "Cc", "Cs", "Co"))


_THINKING = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>", re.IGNORECASE | re.DOTALL)
_THINKING_TAG = re.compile(r"</?think(?:ing)?>", re.IGNORECASE)


def _without_thinking(text: str) -> str:
    tags = _THINKING_TAG.findall(text)
    # Looked at first: the search for blocks takes quadratic time where an open one has no end.
    closed = not tags or tags[-1].startswith("</")
    rest = _THINKING.sub("", text) if closed else text
    if _THINKING_TAG.search(rest):
        raise NoVerdict("a thinking tag is not closed or not opened")
    return rest


def _read(contract: Contract, case: TestCase, text: str) -> tuple[Gold, list[str]]:
    match contract:
        case LeadingTag():
            return _read_leading_tag(text), []
        case JsonFields():
            values = _read_json_fields(contract, text)
        case Template():
            values = _read_template(contract, text)
    gold = case.expected_output if isinstance(case.expected_output, dict) else {}
    verdict = Gold.FAIL if None in values.values() else Gold.PASS
    return verdict, _mismatches(values, gold, getattr(contract, "missing", None))


_EMPHASIS = re.compile(r"[*_`#>~]+")
# ASCII, because the Turkish letters of [FAİL] and [FAıL] are equal to I when case is ignored.
_TAG = re.compile(r"\[\s*(PASS|FAIL)\s*\]", re.IGNORECASE | re.ASCII)
_CONDITION = re.compile(r"[\s,;:/|-]*\b(if|unless|when|or|provided|assuming|only|except)\b", re.IGNORECASE)


def _read_leading_tag(text: str) -> Gold:
    plain = _EMPHASIS.sub("", text).lstrip()
    found = _TAG.match(plain)
    if not found:
        raise NoVerdict("does not begin with [PASS] or [FAIL]")
    verdict = Gold(found.group(1).upper())
    rest = plain[found.end() :]
    if any(Gold(tag.upper()) is not verdict for tag in _TAG.findall(rest)):
        raise NoVerdict("holds both verdicts")
    if _CONDITION.match(rest):
        raise NoVerdict("the verdict has a condition")
    return verdict


def _without_fence(text: str) -> str:
    first, line_break, rest = text.partition("\n")
    fenced = line_break and first.strip().lower() in ("```", "```json") and rest.endswith("```")
    return rest.removesuffix("```") if fenced else text


def _read_json_fields(contract: JsonFields, text: str) -> dict[str, str | None]:
    try:
        value = strict_json(_without_fence(text), MAX_REPLY_CHARS)
    except JsonRefused as error:
        raise NoVerdict(str(error)) from None
    if not isinstance(value, dict) or value.keys() != set(contract.fields):
        raise NoVerdict(f"is no object with exactly {', '.join(contract.fields)}")
    if odd := [name for name, item in value.items() if not (item is None or isinstance(item, str))]:
        raise NoVerdict(f"{odd[0]} is neither text nor null")
    return value


def _read_template(contract: Template, text: str) -> dict[str, str | None]:
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if contract.max_words and (words := len(text.split())) > contract.max_words:
        raise NoVerdict(f"has {words} words, more than {contract.max_words}")
    values: dict[str, str | None] = dict.fromkeys(contract.fields)  # an optional line may be absent
    position = 0
    for rule in contract.lines:
        count = 0
        while count < rule.max and position < len(lines):
            match = re.fullmatch(rule.pattern, lines[position])
            if not match:
                break
            values |= match.groupdict()
            position, count = position + 1, count + 1
        if count < rule.min:
            raise NoVerdict(f"line {position + 1} does not follow {rule.pattern!r}")
    if position < len(lines):
        raise NoVerdict(f"line {position + 1} is not part of the template")
    missing = comparable(contract.missing)
    return {k: None if v is None or comparable(v) == missing else v for k, v in values.items()}


def _mismatches(values: Mapping[str, str | None], gold: Mapping[str, object], missing: str | None) -> list[str]:
    faults = []
    for field, value in values.items():
        accepted = _accepted(gold.get(field), missing)
        if (None if value is None else comparable(value)) not in accepted:
            faults.append(f"{field} differs from the gold")
    return faults


def _accepted(gold: object, missing: str | None) -> set[str | None]:
    """Return the accepted values in comparable form; a gold that equals the `missing` words means None."""
    variants = gold if isinstance(gold, list) else [gold]
    nothing = comparable(missing) if missing is not None else None
    texts = {None if item is None else comparable(str(item)) for item in variants}
    return {None if text == nothing else text for text in texts}


def comparable(text: str) -> str:
    """Return `text` in NFKC, casefolded, white space collapsed, without surrounding quotes and final full stop."""
    folded = " ".join(visible(text).casefold().split())
    return folded.strip("\"'“”„’").removesuffix(".").strip()
