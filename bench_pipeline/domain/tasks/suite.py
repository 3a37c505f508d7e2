"""Suites of test cases with gold labels, and the checks that a suite must pass before it is used.

Whether a suite fits a task's contract is checked in verdict.py.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench_pipeline.domain.errors import Fault, FileRefused
from bench_pipeline.domain.hashing import content_hash
from bench_pipeline.domain.strict_json import JsonRefused, strict_json
from bench_pipeline.domain.tasks.gold import ClassName, Gold

# Only unmistakable placeholders: a real posting may say [m/w/d], or "salary TBD".
_BRACKETED = r"\[(TBD|TODO|TBA|FIXME|INSERT[^\]]*|PLACEHOLDER[^\]]*)\]|\blorem ipsum\b"
_PLACEHOLDER_IN_SOURCE = re.compile(_BRACKETED, re.IGNORECASE)
_PLACEHOLDER = re.compile(_BRACKETED + r"|\b(TBD|FIXME)\b", re.IGNORECASE)
_ONLY_DOTS = re.compile(r"[.…\s]+")


class ExpectedScores(BaseModel):
    """The scores that a person gave, 0 to 10 each."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    accuracy: float = Field(ge=0, le=10)
    completeness: float = Field(ge=0, le=10)
    formatting: float = Field(ge=0, le=10)


class Provenance(BaseModel):
    """The origin of a case, and who checked its label."""

    model_config = ConfigDict(extra="allow", frozen=True)

    source: str = Field(min_length=1)
    run: str | None = None
    interaction: int | str | None = None
    checked_by: str | None = None


class TestCase(BaseModel):
    """One gold-labelled input."""

    __test__ = False  # otherwise pytest collects it as a test
    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(min_length=1, max_length=100, pattern=r"^[\w.\-]+$")
    type: ClassName
    difficulty: str = Field(min_length=1)
    posting_id: int | str
    summary: str = Field(min_length=1)
    expected_verdict: ClassName
    expected_scores: ExpectedScores
    reasoning: str = Field(min_length=1)
    posting: str | None = None
    input: str | None = None
    expected_output: dict[str, Any] | str | None = None
    provenance: Provenance | None = None
    twin_of: str | None = None

    @property
    def prompt_fields(self) -> dict[str, str]:
        """The fields for a prompt template: posting, summary, input, posting_id."""
        fields = {"summary": self.summary, "posting_id": str(self.posting_id)}
        optional = {"posting": self.posting, "input": self.input}
        return fields | {name: text for name, text in optional.items() if text is not None}


class Suite(BaseModel):
    """The versioned set of test cases of one task."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    task_type: str = Field(min_length=1, max_length=60, pattern=r"^[a-z][a-z0-9_]*$")
    version: str = Field(min_length=1)
    created: str = Field(min_length=4)
    test_cases: tuple[TestCase, ...]

    @property
    def hash(self) -> str:
        """SHA-256 of the content, independent of white space, key order and creation date."""
        # Suites without twins keep the hash from before twins were introduced.
        no_twins = {number: {"twin_of"} for number, case in enumerate(self.test_cases) if case.twin_of is None}
        return content_hash(self.model_dump(mode="json", exclude={"created": True, "test_cases": no_twins}))

    def with_postings(self, texts: Mapping[str, str]) -> Suite:
        """Return the suite with missing postings taken from `texts`, which is keyed by posting id as text."""
        cases = tuple(
            case
            if case.posting is not None or str(case.posting_id) not in texts
            else case.model_copy(update={"posting": texts[str(case.posting_id)]})
            for case in self.test_cases
        )
        return self.model_copy(update={"test_cases": cases})


def parse_suite(raw: bytes, file: str) -> Suite:
    """Read a `suite.json`. Raises `FileRefused` with all faults of the file."""
    try:
        value = strict_json(raw)
    except JsonRefused as error:
        raise FileRefused([Fault(file, "document", str(error), "write one JSON object")]) from None
    if not isinstance(value, dict):
        raise FileRefused([Fault(file, "document", "is not an object", "write one JSON object")])
    try:
        suite = Suite.model_validate(value)
    except ValidationError as error:
        faults = [_schema_fault(file, value, dict(entry)) for entry in error.errors()]
        raise FileRefused(faults + _raw_faults(file, value)) from None
    if faults := list(_content_faults(file, suite)):
        raise FileRefused(faults)
    return suite


def _schema_fault(file: str, value: dict[str, Any], entry: dict[str, Any]) -> Fault:
    location = entry["loc"]
    case_id = None
    if len(location) > 1 and location[0] == "test_cases":
        case = value["test_cases"][location[1]]
        case_id = str(case["id"]) if isinstance(case, dict) and "id" in case else f"number {location[1] + 1}"
        location = location[2:]
        value = case
    field = ".".join(_path_in_file(value, location)) or "document"
    return Fault(file, field, entry["msg"].lower(), _remedy(entry["type"], field), case_id)


def _path_in_file(value: object, location: tuple[int | str, ...]) -> Iterable[str]:
    """Leave out the names of tried types, which pydantic adds to a location."""
    for part in location:
        if isinstance(value, dict) and isinstance(part, str):
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int):
            value = value[part]
        else:
            return
        yield str(part)


def _remedy(kind: str, field: str) -> str:
    if kind == "missing":
        return f"add {field!r}"
    if kind == "extra_forbidden":
        return f"remove {field!r}, or correct its spelling"
    return "correct the value"


def _raw_faults(file: str, value: dict[str, Any]) -> list[Fault]:
    """Return the faults that show despite a wrong schema, so that all are reported at once."""
    cases = value.get("test_cases")
    rows = [case for case in cases if isinstance(case, dict)] if isinstance(cases, list) else []
    ids = Counter(case["id"] for case in rows if isinstance(case.get("id"), str))
    return list(_duplicate_faults(file, ids))


def _content_faults(file: str, suite: Suite) -> Iterable[Fault]:
    cases = suite.test_cases
    if not cases:
        yield Fault(file, "test_cases", "there are no cases", "add gold-labelled cases of both classes")
        return
    yield from _duplicate_faults(file, Counter(case.id for case in cases))
    classes = {case.expected_verdict for case in cases}
    if len(classes) == 1:
        only = classes.pop()
        other = (
            f"should {Gold.FAIL if only == Gold.PASS else Gold.PASS}" if only in tuple(Gold) else "are of other classes"
        )
        yield Fault(
            file,
            "expected_verdict",
            f"every case is {only}",
            f"add cases that {other}: a model that always says {only} would qualify",
        )
    for case in cases:
        yield from _case_faults(file, case)
    yield from _twin_faults(file, cases)


def _duplicate_faults(file: str, ids: Counter[str]) -> Iterable[Fault]:
    for case_id, count in ids.items():
        if count > 1:
            yield Fault(file, "id", f"occurs {count} times", "give every case its own id", case_id)


def _case_faults(file: str, case: TestCase) -> Iterable[Fault]:
    if case.expected_verdict.upper() in tuple(Gold) and case.expected_verdict not in tuple(Gold):
        remedy = f"write {case.expected_verdict.upper()}"
        yield Fault(file, "expected_verdict", f"is {case.expected_verdict!r}", remedy, case.id)
    if case.type != case.expected_verdict:
        yield Fault(
            file,
            "expected_verdict",
            f"{case.expected_verdict} contradicts type {case.type}",
            "make both the same",
            case.id,
        )
    for field, text in _gold_texts(case):
        placeholder = _PLACEHOLDER_IN_SOURCE if field in ("posting", "input") else _PLACEHOLDER
        if not text.strip() or _ONLY_DOTS.fullmatch(text) or placeholder.search(text):
            yield Fault(file, field, "is empty or a placeholder", "write the real text", case.id)


def _twin_faults(file: str, cases: tuple[TestCase, ...]) -> Iterable[Fault]:
    """Check that a twin refers to a clean case of its suite and has the same gold."""
    by_id = {case.id: case for case in cases}
    for case in cases:
        if case.twin_of is None:
            continue
        clean = by_id.get(case.twin_of)
        if clean is None:
            yield Fault(file, "twin_of", f"there is no case {case.twin_of!r}", "give the clean case's id", case.id)
        elif clean.twin_of is not None:
            yield Fault(file, "twin_of", f"{clean.id} is a twin itself", "give the clean case's id", case.id)
        elif clean.expected_verdict != case.expected_verdict:
            problem = f"{case.expected_verdict} contradicts {clean.expected_verdict} of {clean.id}"
            yield Fault(file, "expected_verdict", problem, "give the twin the gold of its clean case", case.id)


def _gold_texts(case: TestCase) -> Iterable[tuple[str, str]]:
    """Return the texts that must be real; a summary with gold FAIL may contain placeholders on purpose."""
    yield "reasoning", case.reasoning
    yield "difficulty", case.difficulty
    if case.expected_verdict != Gold.FAIL or not case.summary.strip() or _ONLY_DOTS.fullmatch(case.summary):
        yield "summary", case.summary
    for field, text in (("posting", case.posting), ("input", case.input)):
        if text is not None:
            yield field, text
    for field, value in _flat(case.expected_output):
        yield f"expected_output{field}", value


def _flat(value: object, path: str = "") -> Iterable[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _flat(item, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _flat(item, f"{path}[{index}]")
