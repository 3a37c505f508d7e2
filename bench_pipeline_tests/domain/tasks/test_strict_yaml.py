"""YAML as its author meant it, or not at all."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench_pipeline.domain.tasks.strict_yaml import YamlRefused, strict_yaml


@pytest.mark.parametrize(
    ("document", "key", "lines"),
    [
        pytest.param("a: 1\nb: 2\na: 3\n", "a", (1, 3), id="at the top"),
        pytest.param("promotion:\n  auto: []\n  max_rows: 2\n  auto: [1]\n", "auto", (2, 4), id="inside"),
        pytest.param("list:\n- {a: 1, b: 2}\n- {a: 1, a: 2}\n", "a", (3, 3), id="in one line of a list"),
        pytest.param("'a': 1\n\"a\": 2\n", "a", (1, 2), id="in two kinds of quotes"),
        pytest.param("1: x\n1: y\n", "1", (1, 2), id="a number"),
    ],
)
def test_a_repeated_key_is_refused_with_both_lines(document: str, key: str, lines: tuple[int, int]) -> None:
    with pytest.raises(YamlRefused) as refused:
        strict_yaml(document)
    assert str(refused.value) == f"the key '{key}' is in line {lines[0]} and again in line {lines[1]}"
    assert refused.value.remedy == "remove one"


@pytest.mark.parametrize(
    ("written", "plain"),
    [("03336", "3336"), ("-017", "-17"), ("00", "0"), ("+0_12", "+12"), ("007", "7"), ("089", "89")],
)
def test_a_whole_number_with_a_leading_zero_is_refused_with_two_ways_to_write_it(written: str, plain: str) -> None:
    with pytest.raises(YamlRefused, match="in line 2 begins with a zero") as refused:
        strict_yaml(f"conversations:\n- {written}\n")
    assert refused.value.remedy == f"write {plain}, or '{written}' in quotes for a text"


@pytest.mark.parametrize(
    ("document", "value"),
    [
        ("a: 0", {"a": 0}),
        ("a: 0.5", {"a": 0.5}),
        ("a: '03336'", {"a": "03336"}),
        ("a: 0x1f", {"a": 31}),
        ("a: 08.5", {"a": 8.5}),
        ("1: x\n'1': y", {1: "x", "1": "y"}),
        ("base: &b {a: 1}\nown:\n  <<: *b\n  a: 2", {"base": {"a": 1}, "own": {"a": 2}}),
        ("- a: 1\n- a: 2", [{"a": 1}, {"a": 2}]),
        ("", None),
    ],
)
def test_everything_else_is_read_as_yaml_says(document: str, value: object) -> None:
    assert strict_yaml(document) == value


@pytest.mark.parametrize("document", ["a: [", "\x00", "a: 2026-13-45", "a: !!python/object:os.system x", "a: *b"])
def test_what_is_not_plain_yaml_is_refused(document: str) -> None:
    with pytest.raises(YamlRefused, match=r"^not YAML: "):
        strict_yaml(document)


_PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(min_codepoint=32, max_codepoint=126)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(min_codepoint=32, max_codepoint=126)), inner),
)


@given(_PLAIN)
def test_what_json_writes_is_read_back(value: object) -> None:
    assert strict_yaml(json.dumps(value)) == value


@given(st.text() | st.binary())
def test_any_text_is_read_or_refused(document: str | bytes) -> None:
    with suppress(YamlRefused):
        strict_yaml(document)
