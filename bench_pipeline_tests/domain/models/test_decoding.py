"""How a reply is asked for: what a task may state, and what production calls it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from bench_pipeline.domain.models.decoding import DecodingOptions

SCHEMA = {"type": "object"}


@pytest.mark.parametrize(
    ("stated", "think"),
    [(False, "off"), (True, "on"), ("off", "off"), ("low", "low"), ("high", "high"), ("default", "default")],
)
def test_yaml_reads_on_and_off_as_booleans(stated: object, think: str) -> None:
    assert DecodingOptions.model_validate({"think": stated}).think == think


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        pytest.param({"options": {"temperature": 1}}, r"temperature \(write temperature\)", id="a field again"),
        pytest.param({"options": {"max_tokens": 5}}, r"max_tokens \(write num_predict\)", id="a field by another name"),
        pytest.param({"options": {"think": True}}, r"think \(write think\)", id="thinking among the options"),
        pytest.param({"json_schema": SCHEMA, "format": "json"}, "exclude each other", id="two formats"),
        pytest.param({"grammar": "x", "format": "json"}, "exclude each other", id="grammar and JSON"),
        pytest.param({"format": "xml"}, "format", id="unknown format"),
        pytest.param({"raw": True}, "raw needs endpoint: generate", id="raw chat"),
        pytest.param({"keep_alive": "0"}, "unloads the model after every call", id="unloaded after each call"),
        pytest.param({"keep_alive": "0m"}, "unloads the model after every call", id="unloaded after no minutes"),
        pytest.param({"keep_alive": "soon"}, "must be a duration", id="a word"),
        pytest.param({"think": "a lot"}, "think", id="unknown level"),
        pytest.param({"images": ["x"]}, "images", id="images"),
    ],
)
def test_what_contradicts_itself_is_refused(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        DecodingOptions(**fields)


def test_later_fields_at_their_default_are_not_stored_so_that_older_protocols_stay_equal() -> None:
    assert DecodingOptions().model_dump() == {
        "temperature": 0.0,
        "seed": 42,
        "num_ctx": 4096,
        "num_predict": 256,
        "json_schema": None,
    }


@pytest.mark.parametrize(
    "decoding",
    [
        DecodingOptions(),
        DecodingOptions(temperature=None, seed=None, options={"top_p": 0.9, "stop": ["x"]}, think="high"),
        DecodingOptions(endpoint="generate", raw=True, keep_alive="-1", grammar="root ::= x"),
    ],
)
def test_what_is_stored_reads_back_to_the_same(decoding: DecodingOptions) -> None:
    assert DecodingOptions.model_validate(decoding.model_dump(mode="json")) == decoding


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ({}, {}),
        ({"top_p": 0.9}, {"options": {"top_k": 1, "top_p": 0.9}}),
        ({"top_k": 7}, {"options": {"top_k": 7}}),
        ({"max_tokens": 5, "n_ctx": 512}, {"num_predict": 5, "num_ctx": 512}),
        ({"seed": None}, {}),
        ({"format": SCHEMA}, {"json_schema": SCHEMA, "format": None}),
        ({"reasoning_effort": "low"}, {"think": "low"}),
    ],
)
def test_options_of_production_set_fields_and_pass_on_the_rest(
    options: dict[str, object], changed: dict[str, Any]
) -> None:
    stated = DecodingOptions(options={"top_k": 1}, format="json", num_predict=64)
    expected = stated.model_dump() | {"format": "json", "options": {"top_k": 1}} | changed
    assert stated.with_options(options) == DecodingOptions.model_validate(expected)
