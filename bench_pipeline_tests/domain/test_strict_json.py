"""JSON that people and models wrote: what is refused that Python's own reader accepts or dies of."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench_pipeline.domain.strict_json import JsonRefused, begins_like_json, strict_json

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)


@given(json_values)
def test_what_json_can_say_is_read_back_as_it_was(value: object) -> None:
    assert strict_json(json.dumps(value)) == value


@given(st.text(max_size=40) | st.text(alphabet='{}[]":,1eE-.\\nul ', max_size=40))
def test_every_text_is_read_or_refused_and_nothing_else(text: str) -> None:
    try:
        value = strict_json(text)
    except JsonRefused:
        return
    assert value == json.loads(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param('{"a": 1, "a": 1}', "key 'a' occurs twice", id="equal keys with equal values"),
        pytest.param('{"v": "PASS", "v": "FAIL"}', "key 'v' occurs twice", id="equal keys"),
        pytest.param('[{"x": {"b": 1, "a": 2, "\\u0061": 3}}]', "key 'a' occurs twice", id="equal keys deep inside"),
        pytest.param("NaN", "NaN is not a JSON number", id="NaN"),
        pytest.param("[Infinity]", "Infinity is not a JSON number", id="infinity"),
        pytest.param("1e999", "1e999 is out of range", id="overflow"),
        pytest.param("-1e999", "-1e999 is out of range", id="negative overflow"),
        pytest.param("1" * 5000, "not JSON", id="number of 5000 digits"),
        pytest.param("[" * 100_000, "nested too deeply", id="open brackets"),
        pytest.param("[" * 66 + "]" * 66, "nested too deeply", id="66 levels"),
        pytest.param('{"a":' * 66 + "1" + "}" * 66, "nested too deeply", id="66 objects"),
        pytest.param('{"a": 1}}', "not JSON: Extra data at line 1 column 9", id="something after it"),
        pytest.param("{'a': 1}", "not JSON", id="single quotes"),
        pytest.param("", "not JSON", id="nothing"),
    ],
)
def test_a_document_that_could_be_misread_is_refused(text: str, reason: str) -> None:
    with pytest.raises(JsonRefused) as refused:
        strict_json(text)
    assert reason in str(refused.value)


def test_sixty_four_levels_are_read() -> None:
    assert strict_json("[" * 64 + "]" * 64)


@pytest.mark.parametrize("text", ['"12345"', b'"12345"'], ids=["text", "bytes"])
def test_a_document_of_exactly_the_limit_is_read_and_one_byte_more_is_refused(text: str | bytes) -> None:
    assert strict_json(text, max_bytes=7) == "12345"
    with pytest.raises(JsonRefused, match="larger than 6 bytes"):
        strict_json(text, max_bytes=6)


def test_bytes_that_are_no_utf8_are_refused() -> None:
    with pytest.raises(JsonRefused, match="not JSON"):
        strict_json(b'"\xe4"')


@given(json_values, st.sampled_from(["", " ", "\n\n"]))
def test_every_json_begins_like_json(value: object, space: str) -> None:
    assert begins_like_json(space + json.dumps(value))


@pytest.mark.parametrize("text", ["", "{", '{"verdict": "PA', "[", '[{"a', '["PASS', "[[", '"PASS', "-", "12."])
def test_json_that_is_cut_off_begins_like_json(text: str) -> None:
    assert begins_like_json(text)


@pytest.mark.parametrize("text", ["[PASS] fine", "Sure! {", "```json\n{", "{PASS}", "PASS", "[ Here", "{'a': 1}"])
def test_prose_does_not_begin_like_json(text: str) -> None:
    assert not begins_like_json(text)
