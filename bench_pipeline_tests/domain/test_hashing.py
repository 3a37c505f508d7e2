"""Equal evidence has an equal hash, and unequal evidence has another."""

from __future__ import annotations

import hashlib
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench_pipeline.domain.hashing import canonical_json, content_hash

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def test_the_canonical_text_has_sorted_keys_no_white_space_and_plain_letters() -> None:
    assert canonical_json({"b": [1, None, True], "a": "ä"}) == '{"a":"ä","b":[1,null,true]}'


def test_the_hash_is_the_sha256_of_the_canonical_text_in_utf8() -> None:
    assert content_hash({"b": 1, "a": "ä"}) == hashlib.sha256('{"a":"ä","b":1}'.encode()).hexdigest()


@given(st.dictionaries(st.text(), json_values, max_size=5), st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_change_the_hash(value: dict[str, Any], order: Random) -> None:
    keys = list(value)
    order.shuffle(keys)
    assert content_hash({key: value[key] for key in keys}) == content_hash(value)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([1, 2], [2, 1]),
        ({"a": None}, {}),
        ({"a": 1}, {"a": "1"}),
        ({"a": ""}, {"a": None}),
        ("a b", "a  b"),
        (1, True),
        (["ab"], ["a", "b"]),
        ("é", "e\u0301"),
    ],
    ids=str,
)
def test_unequal_values_have_unequal_hashes(one: object, other: object) -> None:
    assert content_hash(one) != content_hash(other)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_what_json_cannot_say_has_no_hash(number: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        content_hash({"latency": number})


def test_a_lone_surrogate_has_a_hash() -> None:
    assert content_hash("\ud800") != content_hash("?")
