"""Whatever a model, a posting or a server wrote stays text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench_pipeline.reporting.markdown import MAX_CHARS, Markdown, escape
from bench_pipeline.reporting.workflow_docs import render_registry
from bench_pipeline_tests.reporting.reading import WORD_JOINER, kinds, links, rows, shown

_WORDS = r"| || \\ ` ``` [a](b) ![a](b) <b> <!-- &lt; &#124; # - 1. ~~ ** _ === http://e.vil/ www.e.vil a@e.vil <x:y>"
_NASTY = st.sampled_from([*_WORDS.split(), "\n", "\r\n", "\u202e", "\u200b", "\x00", "\u2028", " "])
texts = st.lists(_NASTY | st.text(max_size=8), max_size=12).map("".join)
LINE = {"paragraph_open", "inline", "text", "text_special", "paragraph_close"}


def registry(champion: str, task: str = "grading") -> str:
    actor = {"actor_id": 1, "name": champion, "execution_path": "ollama:a:1b"}
    row = {
        "conversation_id": 3336,
        "conversation": "Grade A",
        "task": task,
        "champion": actor,
        "runner_up": None,
        "in_production": True,
        "benchmark_id": "b",
        "avg_latency_ms": 12.5,
        "decided_at": "2025-03-01T00:00:00+00:00",
    }
    return render_registry({"champions": [row]})


@given(texts, texts)
def test_no_text_changes_the_number_of_cells_of_a_table(champion: str, task: str) -> None:
    assert set(rows(registry(champion, task))) == {8}


@given(texts)
def test_no_link_image_or_html_survives_in_a_table(text: str) -> None:
    assert links(registry(text)) == []


@given(texts)
def test_a_text_alone_on_a_line_is_one_plain_paragraph_or_nothing(text: str) -> None:
    assert kinds(escape(text)) <= LINE


@given(texts)
def test_escaped_text_is_one_line_of_at_most_300_visible_characters(text: str) -> None:
    escaped = escape(text)
    assert len(escaped.splitlines()) <= 1
    assert len(shown(escaped)) <= MAX_CHARS


@pytest.mark.parametrize(
    "name", ["hf.co/User/Model-GGUF:Q4_K_M", "qwen2.5-coder:0.5b", "GRADE_PASS_001", "2025-03-01 12:00:00 UTC"]
)
def test_an_ordinary_name_is_written_as_it_is(name: str) -> None:
    assert escape(name) == name


@pytest.mark.parametrize("text", ["_a_ *b* [c](d) <e> `f` | \\ &amp;", "1. a", "- a", "# a", "x_", "C:\\dir|x"])
def test_what_is_escaped_reads_as_it_was_written(text: str) -> None:
    assert shown(escape(text)) == text


def test_a_bare_address_is_no_link_but_reads_the_same() -> None:
    escaped = escape("see https://evil.example and www.evil.example or me@evil.example")
    assert links(escaped) == []
    assert escaped.replace(WORD_JOINER, "") == "see https://evil.example and www.evil.example or me@evil.example"


def test_control_and_invisible_characters_are_dropped_and_line_breaks_become_spaces() -> None:
    assert escape("a\x00b\u202ec\u200bd\r\n\te\u2028f\ud800") == "abcd e f"


def test_long_text_ends_in_an_ellipsis() -> None:
    escaped = escape("x" * 1000)
    assert escaped == "x" * (MAX_CHARS - 1) + "…"


def test_a_template_leaves_what_is_marked_as_markdown() -> None:
    assert "| **a** (1) |" in registry(Markdown("**a**"))
    assert r"| \*\*a\*\* (1) |" in registry("**a**")


def test_nothing_is_shown_as_a_dash() -> None:
    assert "| – |" in registry("a")
