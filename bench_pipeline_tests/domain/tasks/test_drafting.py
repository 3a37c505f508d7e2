"""Which calls of production become drafts, and which texts a draft gets from a call."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench_pipeline.domain.tasks.drafting import Drafted, Observation, drafted, pick, placeholders_of, read_back, tag_of


def call(
    number: int = 1,
    given: object = "text",
    output: str | None = None,
    posting_id: int | str | None = None,
    posting: str | None = None,
) -> Observation:
    return Observation(number, posting_id, posting, given, output)  # type: ignore[arg-type]


def draft_of(seen: Observation, *names: str) -> Drafted:
    draft = drafted(seen, frozenset(names))
    assert isinstance(draft, Drafted)
    return draft


# Placeholders


@pytest.mark.parametrize(
    ("template", "names", "syntax"),
    [
        ("Grade {summary} of {posting}", {"summary", "posting"}, None),
        ("Grade {{summary}} of {{posting}}", {"summary", "posting"}, r"\{\{(\w+)\}\}"),
        ("Grade {{ summary }}", {"summary"}, r"\{\{\s*(\w+)\s*\}\}"),
        ("Grade ${summary}", {"summary"}, r"\$\{(\w+)\}"),
        ("Grade %(summary)s", {"summary"}, r"%\((\w+)\)s"),
        ('Reply {{"verdict": "PASS"}} for {summary}', {"summary"}, None),
        ("No field, 100 % and {}", set(), None),
    ],
)
def test_the_fields_of_a_template_are_found_with_the_way_they_are_marked(
    template: str, names: set[str], syntax: str | None
) -> None:
    found = placeholders_of(template)
    assert (found.names, found.syntax) == (names, syntax)


def test_a_system_text_may_hold_fields_too() -> None:
    assert placeholders_of("{posting}", "You write in a {tone} tone.").names == {"posting", "tone"}


# Picking


def test_the_newest_of_equal_inputs_is_taken() -> None:
    seen = [call(3, "a"), call(2, "b"), call(1, "a")]
    assert [one.interaction_id for one in pick(seen, 10)] == [3, 2]


def test_the_same_input_about_another_posting_is_another_case() -> None:
    assert len(pick([call(2, "a", posting_id=7), call(1, "a", posting_id=8)], 10)) == 2


def test_tags_take_turns_so_that_a_rare_one_is_not_missed() -> None:
    outputs = ["[PASS] a", "[PASS] b", "[PASS] c", "[PASS] d", "**[fail]** e", "[FAIL] f"]
    seen = [call(number, f"text {number}", output) for number, output in enumerate(outputs)]
    assert [one.interaction_id for one in pick(seen, 4)] == [0, 1, 4, 5]


@pytest.mark.parametrize(
    ("output", "tag"),
    [
        ("[PASS] good", "PASS"),
        ("  **[ fail ]** bad", "FAIL"),
        ("PASS", ""),
        ("", ""),
        (None, ""),
        ("I say [PASS]", ""),
        ("[" + "x" * 99 + "]", ""),
    ],
)
def test_a_tag_is_what_an_output_begins_with_in_brackets(output: str | None, tag: str) -> None:
    assert tag_of(output) == tag


@given(
    st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from(("[PASS]", "[FAIL]", "other", None))), max_size=12),
    st.integers(1, 8),
)
def test_what_is_picked_is_distinct_in_order_and_as_much_as_there_is(
    calls: list[tuple[str, str | None]], limit: int
) -> None:
    seen = [call(number, text, output) for number, (text, output) in enumerate(calls)]
    picked = pick(seen, limit)
    assert [one.interaction_id for one in picked] == sorted(one.interaction_id for one in picked)
    assert len({one.input for one in picked}) == len(picked) == min(limit, len({text for text, _ in calls}))


# Drafting


@pytest.mark.parametrize(
    ("names", "texts", "fields"),
    [
        pytest.param(("posting", "summary"), {"summary": "text", "posting": "job"}, {}, id="the summary"),
        pytest.param(("posting", "input"), {"input": "text", "posting": "job"}, {}, id="the input"),
        pytest.param(("posting", "objection"), {"posting": "job"}, {"objection": "text"}, id="a field of its own"),
        pytest.param(("posting", "summary", "input"), {"input": "text", "posting": "job"}, {}, id="not known which"),
        pytest.param(("posting",), {"posting": "job"}, {}, id="not used by the prompt"),
        pytest.param((), {"input": "text", "posting": "job"}, {}, id="a prompt without fields"),
    ],
)
def test_a_text_is_the_one_field_that_the_prompt_has_besides_the_posting(
    names: tuple[str, ...], texts: dict[str, str], fields: dict[str, str]
) -> None:
    draft = draft_of(call(posting_id=7, posting="job"), *names)
    assert (draft.texts, draft.fields) == (texts, fields)


def test_a_text_is_the_posting_of_a_prompt_that_has_no_other_field() -> None:
    assert draft_of(call(given="We seek a nurse."), "posting").texts == {"posting": "We seek a nurse."}


def test_an_object_gives_a_field_for_each_key_and_the_cases_own_fields_to_the_case() -> None:
    given = {"summary": "s", "posting_id": "9", "tone": "calm", "score": 7, "notes": ["a"], "none": None}
    draft = draft_of(call(given=given), "summary", "tone")
    assert draft.texts == {"summary": "s"}
    assert draft.fields == {"tone": "calm", "score": "7", "notes": '["a"]'}
    assert draft.posting_id == "9"


def test_an_object_of_one_input_is_that_text() -> None:
    assert draft_of(call(given={"input": "text"}), "input").texts == {"input": "text"}


def test_the_output_is_kept_as_what_was_observed() -> None:
    assert draft_of(call(output="[PASS] good"), "input").texts["observed_output"] == "[PASS] good"


def test_characters_that_cannot_be_stored_are_replaced() -> None:
    draft = draft_of(call(given={"summary": "a\x00b", "tone": "c\ud800d"}, output="\x00"))
    assert (draft.texts, draft.fields) == ({"summary": "a\ufffdb", "observed_output": "\ufffd"}, {"tone": "c\ufffdd"})


# Filled prompts

FORM = "Grade this.\n<p>{posting}</p>\n<s>{summary}</s>\nReply [PASS] or [FAIL] to {summary}."


@pytest.mark.parametrize(
    ("template", "text", "fields"),
    [
        (
            FORM,
            "Grade this.\n<p>job</p>\n<s>sum</s>\nReply [PASS] or [FAIL] to sum.",
            {"posting": "job", "summary": "sum"},
        ),
        (FORM, "Grade this.\n<p>job</p>\n<s>sum</s>\nReply [PASS] or [FAIL] to other.", None),
        (FORM, "Grade this.\n<p>job</p>\n<s>sum</s>", None),
        (FORM, "A summary alone.", None),
        ("Do {{input}}\n", "Do a\nb\n", {"input": "a\nb"}),
        ("Do {input}, now", "Do , now", {"input": ""}),
        ("Do {input}, now", "Do now", None),
        ("{input}", "anything", None),
        ("Do {a}{b}", "Do xy", None),
        ("No field", "No field", None),
    ],
)
def test_an_input_that_is_the_filled_template_is_taken_apart(
    template: str, text: str, fields: dict[str, str] | None
) -> None:
    assert read_back(template, text) == fields


words = st.text("abc <>/\n", max_size=8).map(lambda text: text.strip() or "x")


@given(words, words)
def test_what_is_read_back_fills_the_template_to_the_same_text(posting: str, summary: str) -> None:
    text = FORM.replace("{posting}", posting).replace("{summary}", summary)
    fields = read_back(FORM, text)
    assert fields is None or FORM.format(**fields) == text
    if "<" not in posting + summary:
        assert fields == {"posting": posting, "summary": summary}


def test_a_draft_of_a_filled_prompt_has_its_fields_and_not_the_prompt() -> None:
    draft = drafted(call(given="Grade [A nurse.] now"), frozenset({"summary"}), "Grade [{summary}] now")
    assert isinstance(draft, Drafted)
    assert draft.texts == {"summary": "A nurse."}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (None, "it has neither an input nor a posting"),
        ({}, "it has neither an input nor a posting"),
        ({"../../etc": "x"}, "of its input, the name '../../etc' must consist of letters"),
        ({"input": "x", "tone": "calm"}, "of its input, the name 'input' is taken"),
    ],
)
def test_a_call_that_cannot_be_a_case_says_why(given: object, reason: str) -> None:
    draft = drafted(call(given=given), frozenset({"input"}))
    assert isinstance(draft, str)
    assert draft.startswith(reason)
