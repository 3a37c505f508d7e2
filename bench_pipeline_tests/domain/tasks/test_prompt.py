"""A prompt is its templates with the texts filled in, and the texts stay what they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.hashing import content_hash
from bench_pipeline.domain.models.request import Message
from bench_pipeline.domain.tasks.placeholders import JINJA
from bench_pipeline.domain.tasks.prompt import PROMPT_FIELDS, PromptTemplate, user_prompt

DOUBLED = r"\{\{(\w+)\}\}"
VALUES = {"posting": "POSTING", "summary": "SUMMARY", "input": "INPUT", "posting_id": "7", "session_1_output": "ONE"}
hostile_texts = st.lists(
    st.sampled_from(["{posting}", "{summary}", "{{summary}}", "{%", "{#", "{", "}", "\\1", r"\g<1>", "%s", "x"])
    | st.text(max_size=5),
    max_size=6,
).map("".join)


def prompt(template: str, syntax: str = "braces", literal: tuple[str, ...] = ()) -> PromptTemplate:
    return PromptTemplate((Message(role="user", content=template),), syntax=syntax, literal=literal)


def rendered(template: str, values: dict[str, str] = VALUES, syntax: str = "braces", *literal: str) -> str:
    return prompt(template, syntax, literal).render(values).prompt


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        pytest.param("Check {summary} against {posting}.", "Check SUMMARY against POSTING.", id="two fields"),
        pytest.param("{input}{input}", "INPUTINPUT", id="one field twice"),
        pytest.param("No. {posting_id}", "No. 7", id="posting id, which begins like posting"),
        pytest.param("After {session_1_output}", "After ONE", id="a key under input"),
        pytest.param('{"verdict": "{summary}"}', '{"verdict": "SUMMARY"}', id="JSON in the template"),
        pytest.param('{"verdict": {summary}}', '{"verdict": SUMMARY}', id="a field at the end of JSON"),
        pytest.param("{ summary } {} {1}", "{ summary } {} {1}", id="braces that name nothing"),
        pytest.param("{summary!r} {summary:>9} {summary.x}", "{summary!r} {summary:>9} {summary.x}", id="no formats"),
    ],
)
def test_fields_in_braces_are_filled(template: str, expected: str) -> None:
    assert rendered(template) == expected


@pytest.mark.parametrize(
    ("template", "syntax", "expected"),
    [
        pytest.param("{{session_1_output}} {posting}", DOUBLED, "ONE {posting}", id="doubled braces"),
        pytest.param("<<posting>>", "<<(\\w+)>>", "POSTING", id="angle brackets"),
        pytest.param("$posting, $summary", r"\$(\w+)", "POSTING, SUMMARY", id="dollars"),
        pytest.param("[% posting %]", r"\[% (\w+) %\]", "POSTING", id="Template Toolkit"),
        pytest.param("{{ posting|lower }}", JINJA, "posting", id="a filter of Jinja2"),
        pytest.param("{% if summary %}yes{% endif %} {posting}", JINJA, "yes {posting}", id="a condition of Jinja2"),
        pytest.param("{% for c in posting %}{{ c }}-{% endfor %}\n", JINJA, "P-O-S-T-I-N-G-\n", id="a loop of Jinja2"),
    ],
)
def test_a_task_states_the_syntax_of_its_placeholders(template: str, syntax: str, expected: str) -> None:
    assert rendered(template, syntax=syntax) == expected


def test_a_name_in_braces_may_be_text() -> None:
    assert rendered("Reply {label}. {summary}", VALUES, "braces", "label") == "Reply {label}. SUMMARY"


@pytest.mark.parametrize("syntax", ["braces", DOUBLED, JINJA])
def test_missing_fields_are_named_all_at_once(syntax: str) -> None:
    template = "{variations_param_1} {other} {posting}"
    if syntax != "braces":
        template = template.replace("{", "{{").replace("}", "}}")
    with pytest.raises(InputError, match="needs other, variations_param_1, which the case does not have"):
        rendered(template, syntax=syntax)


@pytest.mark.parametrize(
    ("syntax", "problem"),
    [
        pytest.param("(", "neither braces nor jinja nor a regular expression", id="broken expression"),
        pytest.param("jinja2", "must have one group", id="a word that is no syntax"),
        pytest.param(r"\{(\w+)(\d)\}", "must have one group", id="two groups"),
    ],
)
def test_an_invalid_syntax_is_refused(syntax: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        _ = prompt("{posting}", syntax).fields


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        pytest.param("{{ posting", "not valid Jinja2", id="not closed"),
        pytest.param("{{ posting.__class__.__mro__ }}", "cannot be filled", id="Python's objects are out of reach"),
        pytest.param("{{ posting.missing }}", "cannot be filled", id="an attribute that a text does not have"),
        pytest.param("{{ 1 / (posting_id|int - 7) }}", "cannot be filled", id="arithmetic"),
        pytest.param("{% for i in range(10 ** 9) %}{% endfor %}{{ posting }}", "cannot be filled", id="endless"),
        pytest.param("{% include 'x' %}{{ posting }}", "cannot be filled", id="files"),
    ],
)
def test_a_faulty_or_hostile_template_of_jinja_is_refused(template: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem) as refused:
        rendered(template, VALUES | {"posting": "SECRET"}, JINJA)
    assert "SECRET" not in str(refused.value)


def test_doubled_braces_that_nothing_fills_are_found() -> None:
    assert prompt("{{variations_param_1}} {{ x.y }} {posting}").foreign == ["{{variations_param_1}}", "{{ x.y }}"]
    assert prompt("{{variations_param_1}}", DOUBLED).foreign == []
    assert prompt("{{label}} {posting}", literal=("label",)).foreign == []


@pytest.mark.parametrize("syntax", ["braces", DOUBLED, JINJA])
@given(posting=hostile_texts, summary=hostile_texts)
def test_every_text_stands_in_the_prompt_exactly_as_it_was_given(syntax: str, posting: str, summary: str) -> None:
    template = "A{posting}B{summary}C" if syntax == "braces" else "A{{posting}}B{{summary}}C"
    values = {"posting": posting, "summary": summary}
    assert rendered(template, values, syntax) == "A" + posting + "B" + summary + "C"


@given(template=hostile_texts.filter(bool))
def test_a_template_names_a_field_exactly_when_filling_it_makes_a_difference(template: str) -> None:
    one = prompt(template)
    unchanged = {name: "{" + name + "}" for name in one.fields | set(PROMPT_FIELDS)}
    for name in PROMPT_FIELDS:
        filled = one.render({**unchanged, name: "\x00"}).prompt
        assert (name in one.fields) == (filled != template)


# Messages


THREE = PromptTemplate(
    (
        Message(role="system", content="You grade. {session_1_output}"),
        Message(role="assistant", content="Yes."),
        Message(role="user", content="Posting: {posting}"),
    ),
    suffix="End of {posting_id}",
)


def test_every_message_and_the_suffix_are_filled() -> None:
    request = THREE.render(VALUES)
    assert [(one.role, one.content) for one in request.messages] == [
        ("system", "You grade. ONE"),
        ("assistant", "Yes."),
        ("user", "Posting: POSTING"),
    ]
    assert request.suffix == "End of 7"
    assert request.chars == len("You grade. ONEYes.Posting: POSTINGEnd of 7")


def test_the_fields_are_those_of_all_messages() -> None:
    assert THREE.fields == {"session_1_output", "posting", "posting_id"}


def test_prompts_share_all_messages_before_the_first_field() -> None:
    assert THREE.shared_chars == len("You grade. ")
    fixed_system = PromptTemplate((Message(role="system", content="Be brief."), THREE.messages[-1]))
    assert fixed_system.shared_chars == len("Be brief.Posting: ")


def test_the_hash_of_a_single_message_is_that_of_its_text() -> None:
    assert user_prompt("Check {posting}").hash == content_hash("Check {posting}")


def test_everything_that_changes_what_is_sent_changes_the_hash() -> None:
    text = "Check {posting}"
    prompts = [
        prompt(text),
        prompt(text + " "),
        prompt(text, DOUBLED),
        prompt(text, literal=("posting",)),
        PromptTemplate((Message(role="system", content=text),)),
        PromptTemplate((Message(role="user", content=text),), suffix="x"),
        PromptTemplate((Message(role="user", content=text),) * 2),
    ]
    assert len({one.hash for one in prompts}) == len(prompts)


def test_productions_template_takes_the_place_of_the_last_user_message() -> None:
    own = THREE.with_production("PRODUCTION {posting}")
    assert [one.content for one in own.messages] == ["You grade. {session_1_output}", "Yes.", "PRODUCTION {posting}"]


def test_productions_system_message_comes_first_and_alone() -> None:
    own = THREE.with_production("PRODUCTION {posting}", "SYSTEM")
    assert [one.content for one in own.messages] == ["SYSTEM", "Yes.", "PRODUCTION {posting}"]
