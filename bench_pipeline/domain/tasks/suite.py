"""Suites of test cases with gold labels, and the checks that a suite must pass before it is used.

A draft is a case that no person has checked yet; it is kept apart and never measured.
Whether a suite fits a task's contract is checked in verdict.py.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StrictBool,
    Tag,
    ValidationError,
    field_validator,
)

from bench_pipeline.domain.errors import Fault, FileRefused
from bench_pipeline.domain.hashing import content_hash
from bench_pipeline.domain.models.request import IMAGE_FIELDS, NO_IMAGES
from bench_pipeline.domain.strict_json import JsonRefused, strict_json
from bench_pipeline.domain.tasks.gold import ClassName, Gold

# Only unmistakable placeholders: a real posting may say [m/w/d], or "salary TBD".
_BRACKETED = r"\[(TBD|TODO|TBA|FIXME|INSERT[^\]]*|PLACEHOLDER[^\]]*)\]|\blorem ipsum\b"
_PLACEHOLDER_IN_SOURCE = re.compile(_BRACKETED, re.IGNORECASE)
_PLACEHOLDER = re.compile(_BRACKETED + r"|\b(TBD|FIXME)\b", re.IGNORECASE)
_ONLY_DOTS = re.compile(r"[.…\s]+")
TASK_NAME = r"^[a-z][a-z0-9_]*$"
FIELD_NAME = re.compile(r"[A-Za-z_]\w*")
CASE_FIELDS = ("posting", "summary", "posting_id", "input")
"""The fields of a prompt that every case may have; fields of its own must have other names."""


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


class _Input(BaseModel):
    """The input of a case: one text, or texts by the names of the prompt's fields."""

    input: str | dict[str, str] | None = None

    @field_validator("input", mode="before")
    @classmethod
    def _has_named_texts(cls, value: object) -> object:
        if isinstance(value, dict):
            for name, text in value.items():
                if fault := field_name_fault(name):
                    raise ValueError(fault)
                if not isinstance(text, str):
                    raise ValueError(f"the value of {name!r} must be a text")
        elif value is not None and not isinstance(value, str):
            raise ValueError("must be a text, or an object of texts")
        return value

    @property
    def input_fields(self) -> dict[str, str]:
        """The input as fields of a prompt."""
        if isinstance(self.input, dict):
            return self.input
        return {} if self.input is None else {"input": self.input}


def field_name_fault(name: str) -> str | None:
    """Return why `name` cannot be a field of its own of a case's input, or None."""
    if not FIELD_NAME.fullmatch(name):
        return f"the name {name!r} must consist of letters, digits and _, and must not begin with a digit"
    if name in CASE_FIELDS:
        return f"the name {name!r} is taken by a field that every case has"
    return None


class TestCase(_Input):
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
    expected_output: dict[str, Any] | str | None = None
    provenance: Provenance | None = None
    twin_of: str | None = None
    draft: StrictBool = Field(default=False, exclude=True)  # false equals absent, also in the hash

    @property
    def prompt_fields(self) -> dict[str, str]:
        """The fields for a prompt template: posting, summary, posting_id, and `input` or the fields of the input."""
        fields = {"summary": self.summary, "posting_id": str(self.posting_id)} | self.input_fields
        return fields if self.posting is None else fields | {"posting": self.posting}


class DraftCase(_Input):
    """A case that no person has checked yet. `observed_output` is what production answered, not gold."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(min_length=1, max_length=100, pattern=r"^[\w.\-]+$")
    draft: Literal[True]
    type: str | None = None
    difficulty: str | None = None
    posting_id: int | str | None = None
    summary: str | None = None
    expected_verdict: str | None = None
    expected_scores: dict[str, Any] | None = None
    reasoning: str | None = None
    posting: str | None = None
    observed_output: str | None = None
    expected_output: dict[str, Any] | str | None = None
    provenance: Provenance | None = None
    twin_of: str | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        """The fields that a person has still to set."""
        required = [name for name, field in TestCase.model_fields.items() if field.is_required()]
        return tuple(name for name in required if getattr(self, name) in (None, "", {}))


class _SuiteHead(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    task_type: str = Field(min_length=1, max_length=60, pattern=TASK_NAME)
    version: str = Field(min_length=1)
    created: str = Field(min_length=4)


class Suite(_SuiteHead):
    """The versioned set of test cases of one task. Its drafts are not measured, stored or hashed."""

    test_cases: tuple[TestCase, ...]
    drafts: tuple[DraftCase, ...] = Field(default=(), exclude=True)

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


def _kind(value: object) -> str:
    draft = value.get("draft") if isinstance(value, dict) else getattr(value, "draft", None)
    return "draft" if draft is True else "case"


class _SuiteFile(_SuiteHead):
    """A suite as its file holds it: checked cases and drafts in one list."""

    test_cases: tuple[
        Annotated[Annotated[TestCase, Tag("case")] | Annotated[DraftCase, Tag("draft")], Discriminator(_kind)], ...
    ]

    def sorted_out(self) -> Suite:
        """Return the suite with the drafts apart."""
        return Suite(
            task_type=self.task_type,
            version=self.version,
            created=self.created,
            test_cases=tuple(case for case in self.test_cases if isinstance(case, TestCase)),
            drafts=tuple(case for case in self.test_cases if isinstance(case, DraftCase)),
        )


class OnlyDrafts(FileRefused):
    """A suite whose cases are all drafts; `drafts` holds them."""

    def __init__(self, file: str, drafts: tuple[DraftCase, ...]) -> None:
        self.drafts = drafts
        found = f"all {len(drafts)} cases are drafts" if len(drafts) > 1 else "the only case is a draft"
        remedy = 'set expected_verdict and the other fields of each, then remove "draft" and "observed_output"'
        super().__init__([Fault(file, "test_cases", found, remedy)])


def parse_suite(raw: bytes, file: str) -> Suite:
    """Read a `suite.json`. Raises `FileRefused` with all faults of the file, `OnlyDrafts` if no case is checked."""
    try:
        value = strict_json(raw)
    except JsonRefused as error:
        raise FileRefused([Fault(file, "document", str(error), "write one JSON object")]) from None
    if not isinstance(value, dict):
        raise FileRefused([Fault(file, "document", "is not an object", "write one JSON object")])
    try:
        suite = _SuiteFile.model_validate(value).sorted_out()
    except ValidationError as error:
        faults = [_schema_fault(file, value, dict(entry)) for entry in error.errors()]
        raise FileRefused(faults + _raw_faults(file, value)) from None
    if suite.drafts and not suite.test_cases:
        raise OnlyDrafts(file, suite.drafts)
    if faults := list(_content_faults(file, suite)):
        raise FileRefused(faults)
    return suite


def _schema_fault(file: str, value: dict[str, Any], entry: dict[str, Any]) -> Fault:
    location = entry["loc"]
    case_id = None
    # The location of a case's fault: test_cases, its index, the kind of case that was tried, the field.
    if len(location) > 1 and location[0] == "test_cases":
        case = value["test_cases"][location[1]]
        case_id = str(case["id"]) if isinstance(case, dict) and "id" in case else f"number {location[1] + 1}"
        location = location[3:]
        value = case
    field = ".".join(_path_in_file(value, location)) or "document"
    problem = NO_IMAGES if field.rpartition(".")[2] in IMAGE_FIELDS else entry["msg"].lower()
    return Fault(file, field, problem, _remedy(entry["type"], field), case_id)


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
    yield from _duplicate_faults(file, Counter([case.id for case in cases] + [draft.id for draft in suite.drafts]))
    if not cases:
        yield Fault(file, "test_cases", "there are no cases", "add gold-labelled cases of both classes")
        return
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
        placeholder = _PLACEHOLDER_IN_SOURCE if field.partition(".")[0] in ("posting", "input") else _PLACEHOLDER
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
    if case.posting is not None:
        yield "posting", case.posting
    for name, value in (("input", case.input), ("expected_output", case.expected_output)):
        for path, text in _flat(value):
            yield f"{name}{path}", text


def _flat(value: object, path: str = "") -> Iterable[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _flat(item, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _flat(item, f"{path}[{index}]")
