"""The contracts that a `task.yaml` may choose from: the format of a reply. The readers are in the sibling modules."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from bench_pipeline.domain.tasks.readers.labels import DEFAULT_LABELS, Labels, Vocabulary, vocabulary_of

_MAX_PATTERN_CHARS = 1000
VERDICT = "verdict"


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return pattern


Regex = Annotated[str, Field(min_length=1, max_length=_MAX_PATTERN_CHARS), AfterValidator(_compiles)]


class Labelled(BaseModel):
    """A contract whose replies say their class with a word of its `labels`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    labels: Labels = DEFAULT_LABELS

    @property
    def vocabulary(self) -> Vocabulary:
        """The labels, ready for reading."""
        return vocabulary_of(self.labels)

    @model_serializer(mode="wrap")
    def _dumped(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out default labels: the hash of such a contract is from before labels were introduced."""
        value: dict[str, Any] = dump(self)
        if self.labels == DEFAULT_LABELS:
            del value["labels"]
        return value


class LeadingTag(Labelled):
    """The reply starts with a word in square brackets, as `[PASS]`, followed by the reasoning."""

    reader: Literal["leading_tag"] = "leading_tag"


class FinalLine(Labelled):
    """The last non-empty line is only a word, with or without square brackets."""

    reader: Literal["final_line"] = "final_line"


class Pattern(Labelled):
    """The whole reply matches a regular expression whose group `verdict` is one of the words.

    The expression is matched against the reply in NFKC, without Markdown emphasis and surrounding white space.
    """

    reader: Literal["pattern"] = "pattern"
    labels: Labels = Field(default=DEFAULT_LABELS, validation_alias=AliasChoices("labels", "words"))
    pattern: Regex
    dotall: bool = Field(default=False, description="`.` matches line breaks too")

    @property
    def expression(self) -> re.Pattern[str]:
        """The pattern, compiled."""
        return re.compile(self.pattern, re.DOTALL if self.dotall else re.NOFLAG)

    @model_validator(mode="after")
    def _can_be_read(self) -> Pattern:
        if VERDICT not in re.compile(self.pattern).groupindex:
            raise ValueError(f"the pattern lacks the group (?P<{VERDICT}>…)")
        return self

    @model_serializer(mode="wrap")
    def _dumped(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Dump the labels under their former name, so that the hash of a stored contract stays."""
        value: dict[str, Any] = dump(self)
        return {"words" if name == "labels" else name: item for name, item in value.items()}


FieldType = Literal["string", "number", "integer", "boolean", "strings"]


class JsonVerdict(Labelled):
    """The reply is one JSON object with the verdict and the declared fields only, each of its type."""

    reader: Literal["json"] = "json"
    verdict_field: str = Field(default=VERDICT, min_length=1)
    fields: Mapping[str, FieldType] = {}
    optional: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _is_unambiguous(self) -> JsonVerdict:
        if self.verdict_field in self.fields:
            raise ValueError(f"{self.verdict_field!r} is the verdict and cannot be another field")
        if unknown := [name for name in self.optional if name not in self.fields]:
            raise ValueError(f"{unknown[0]!r} is optional but not among the fields")
        return self


class JsonFields(BaseModel):
    """The reply is one JSON object with exactly these fields, each a string, or null where nothing is stated.

    The verdict is PASS when every field has a value and FAIL when one is null; it is correct only if
    every value equals the gold.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    reader: Literal["json_fields"] = "json_fields"
    fields: tuple[str, ...] = Field(min_length=1)


class LineRule(BaseModel):
    """One kind of line in a template: a regular expression for the whole line, and how often it may occur."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    pattern: Regex
    min: int = Field(default=1, ge=0)
    max: int = Field(default=1, ge=1)


class Template(BaseModel):
    """The reply's non-empty lines follow these rules in order; named groups must equal the gold.

    The verdict is PASS when every group has a value and FAIL when one contains the `missing` words.
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


Contract = Annotated[
    LeadingTag | FinalLine | JsonVerdict | Pattern | JsonFields | Template, Field(discriminator="reader")
]


def classes_of(contract: Contract) -> tuple[str, ...]:
    """Return the classes that a reply can have under `contract`."""
    return tuple(contract.labels if isinstance(contract, Labelled) else DEFAULT_LABELS)
