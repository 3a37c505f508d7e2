"""Foreign text in a message carries no secret, no markup and no control character."""

from __future__ import annotations

import json
import unicodedata
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench_pipeline.domain.alerts.foreign_text import HIDDEN, plain, without_secrets

PASSWORD = "p@ss/w:rd%'\"é"  # noqa: S105 - made for the tests


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("qwen2.5:7b", "qwen2.5:7b"),
        ("grade_a of task_one", "grade_a of task_one"),
        ("ollama:name@host", "ollama:name＠host"),
        ("<!channel> come", "‹!channel› come"),
        ("@everyone", "＠everyone"),
        ("[click](https://evil.example)", "(click)(https: //evil.example)"),
        ("*bold* _slanted_ `code` ~gone~", "·bold· -slanted- 'code' -gone-"),
        ("# a\n\n# b", "＃ a ＃ b"),
        ("\x1b[2Ja\tb\r\nc\x00d", "(2Ja b c d"),
        ("a\u202eb\u2028c", "a b c"),
        ("x" * 300, "x" * 199 + "…"),
    ],
)
def test_foreign_text_is_one_plain_line(text: str, shown: str) -> None:
    assert plain(text) == shown


@given(st.text(max_size=400))
def test_whatever_the_text_is_no_receiver_formats_it(text: str) -> None:
    line = plain(text)

    assert len(line) <= 200
    assert not set(line) & set("<>[]`*~|\\@#\n")
    assert all(unicodedata.category(c)[0] != "C" for c in line)
    assert "://" not in line


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"login failed with {PASSWORD}", id="as it is"),
        pytest.param(f"postgresql://u:{quote(PASSWORD, safe='')}@h/d", id="encoded in an address"),
        pytest.param(f"postgresql://u:{PASSWORD}@h/d", id="not encoded in an address"),
        pytest.param(f"OperationalError({PASSWORD!r})", id="as Python shows it"),
        pytest.param(json.dumps({"password": PASSWORD}, ensure_ascii=False), id="as JSON shows it"),
    ],
)
def test_a_secret_is_hidden_in_every_form_in_which_programs_write_it(text: str) -> None:
    shown = without_secrets(text, {PASSWORD})

    assert HIDDEN in shown
    assert "rd%" not in shown
    assert quote("rd%") not in shown


def test_a_short_secret_is_hidden_as_a_word_only() -> None:
    assert without_secrets("the pw is pw, not pwd", {"pw"}) == f"the {HIDDEN} is {HIDDEN}, not pwd"


def test_a_login_in_an_address_is_hidden_though_nobody_named_it() -> None:
    assert without_secrets("http://someone:hunter2@gpu:11434/api", set()) == f"http://{HIDDEN}@gpu:11434/api"
