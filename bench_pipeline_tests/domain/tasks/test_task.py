"""What a `task.yaml` may say, and what a person is told about one that is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench_pipeline.domain.errors import Fault, FileRefused
from bench_pipeline.domain.models.decoding import DecodingOptions
from bench_pipeline.domain.tasks.readers.contracts import (
    FinalLine,
    JsonFields,
    JsonVerdict,
    LeadingTag,
    Pattern,
    Template,
)
from bench_pipeline.domain.tasks.task import PromotionRules, PromptSource, Task, parse_task

FILE = "testcases/grading/task.yaml"
SOUND = """
task: grading
description: Check a summary.
prompt: {template: "{posting} {summary}"}
verdict: {reader: leading_tag}
"""


def parsed(text: str) -> Task:
    return parse_task(text.encode(), FILE)


def faults_of(raw: bytes) -> tuple[Fault, ...]:
    with pytest.raises(FileRefused) as refused:
        parse_task(raw, FILE)
    return refused.value.faults


def test_a_short_task_has_the_stated_defaults() -> None:
    task = parsed(SOUND)
    assert (task.conversations, task.decoding, task.time_limit_s) == ((), DecodingOptions(), 120.0)


TEMPLATE = '{template: "{posting} {summary}"}'
TALK = 'messages: [{role: system, content: "Be brief."}, {role: user, content: "{posting}"}]'


def test_a_prompt_may_be_several_messages() -> None:
    prompt = parsed(SOUND.replace(TEMPLATE, f"{{{TALK}}}")).prompt.prompt
    assert [(one.role, one.content) for one in prompt.messages] == [("system", "Be brief."), ("user", "{posting}")]


@pytest.mark.parametrize(
    ("prompt", "decoding", "problem"),
    [
        pytest.param("{messages: []}", "{}", "must name a template, messages or a task", id="no message"),
        pytest.param(f'{{template: "{{posting}}", {TALK}}}', "{}", "must name a template", id="template and messages"),
        pytest.param(
            '{messages: [{role: system, content: "{posting}"}]}', "{}", "need one with role: user", id="no user"
        ),
        pytest.param('{messages: [{role: tool, content: "{posting}"}]}', "{}", "input should be", id="unknown role"),
        pytest.param(
            '{messages: [{role: user, content: "{posting}", images: [x]}]}',
            "{}",
            "images are not supported",
            id="images",
        ),
        pytest.param(
            "{messages: [{role: user, content: [{type: image_url}]}]}", "{}", "images are not supported", id="parts"
        ),
        pytest.param('{template: "{posting}", images: [x]}', "{}", "images are not supported", id="images of a prompt"),
        pytest.param('{template: "{posting}", suffix: x}', "{}", "needs endpoint: generate", id="suffix in a chat"),
        pytest.param(
            '{messages: [{role: assistant, content: a}, {role: user, content: "{posting}"}]}',
            "{endpoint: generate}",
            "takes one prompt",
            id="turns for generate",
        ),
        pytest.param('{template: "{{posting}} {summary}"}', "{}", "{{posting}} would be sent as it is", id="doubled"),
        pytest.param('{template: "{posting}", syntax: "("}', "{}", "neither braces nor jinja", id="syntax"),
        pytest.param('{template: "{% if %}", syntax: jinja}', "{}", "not valid Jinja2", id="Jinja2"),
        pytest.param("{task: other, suffix: x}", "{}", "must not combine task", id="a task and a suffix"),
    ],
)
def test_a_prompt_that_cannot_be_sent_is_refused_in_words(prompt: str, decoding: str, problem: str) -> None:
    text = SOUND.replace(TEMPLATE, prompt) + f"decoding: {decoding}\n"
    assert any(problem in fault.problem for fault in faults_of(text.encode())), faults_of(text.encode())


def test_what_a_benchmark_stores_of_a_prompt_reads_back_to_the_same() -> None:
    for stated in (TEMPLATE, f"{{{TALK}}}", '{template: "<posting>", syntax: "<(\\\\w+)>"}'):
        source = parsed(SOUND.replace(TEMPLATE, stated)).prompt
        held = source.holding(source.prompt)
        assert PromptSource.model_validate(held.model_dump(mode="json")).prompt == source.prompt


def test_nothing_changes_without_an_approval_unless_it_is_marked() -> None:
    assert parsed(SOUND).promotion == PromotionRules(auto=(), max_rows=None)
    marked = parsed(SOUND + "conversations: [1, 2]\npromotion: {auto: [2], max_rows: 1}\n")
    assert marked.promotion == PromotionRules(auto=(2,), max_rows=1)


def test_a_conversation_that_is_marked_must_be_one_that_the_task_serves() -> None:
    (fault,) = faults_of((SOUND + "conversations: [1]\npromotion: {auto: [1, 2]}\n").encode())
    assert "promotion.auto lists [2], which are not under conversations" in fault.problem


def test_a_prompt_may_be_the_one_of_another_task() -> None:
    task = parsed(SOUND.replace('{template: "{posting} {summary}"}', "{task: other}"))
    assert task.prompt == PromptSource(task="other")


@pytest.mark.parametrize(
    ("verdict", "contract"),
    [
        ("{reader: leading_tag}", LeadingTag),
        ("{reader: final_line}", FinalLine),
        ("{reader: json, fields: {reason: string}}", JsonVerdict),
        ("{reader: pattern, pattern: 'Verdict: (?P<verdict>.+)'}", Pattern),
        ("{reader: json_fields, fields: [title]}", JsonFields),
        ("{reader: template, lines: [{pattern: 'Title: (?P<title>.+)'}]}", Template),
    ],
)
def test_the_reader_names_the_contract(verdict: str, contract: type) -> None:
    assert isinstance(parsed(SOUND.replace("{reader: leading_tag}", verdict)).verdict, contract)


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        pytest.param("task: grading", "", "task", id="no name"),
        pytest.param("task: grading", "task: Grading Tasks", "task", id="name with capitals and a space"),
        pytest.param("task: grading", "task: ../grading", "task", id="name that is a path"),
        pytest.param("description: Check a summary.", "description: ''", "description", id="empty description"),
        pytest.param("verdict:", "verdicts:", "verdict", id="misspelt section"),
        pytest.param("leading_tag", "guess", "verdict", id="unknown reader"),
        pytest.param("{posting} {summary}", "no field at all", "prompt", id="template without a field"),
        pytest.param("{posting} {summary}", "", "prompt", id="empty template"),
        pytest.param('{template: "{posting} {summary}"}', "{}", "prompt", id="no prompt"),
        pytest.param("{template:", "{task: other, template:", "prompt", id="a template and a task"),
        pytest.param(
            '{template: "{posting} {summary}"}',
            "{task: other, conversation: 1}",
            "prompt",
            id="a conversation and a task",
        ),
        pytest.param("verdict:", "time_limit_s: 0\nverdict:", "time_limit_s", id="no time"),
        pytest.param("verdict:", "time_limit_s: .inf\nverdict:", "time_limit_s", id="endless time"),
        pytest.param("verdict:", "time_limit_s: .nan\nverdict:", "time_limit_s", id="time that is no number"),
        pytest.param("verdict:", "decoding: {num_predict: 0}\nverdict:", "decoding.num_predict", id="no tokens"),
        pytest.param("verdict:", "decoding: {temperature: 3}\nverdict:", "decoding.temperature", id="too hot"),
        pytest.param("verdict:", "decoding: {top_q: 3}\nverdict:", "decoding.top_q", id="unknown option"),
        pytest.param("verdict:", "conversations: [[x]]\nverdict:", "conversations.0", id="no id"),
        pytest.param("verdict:", "conversations: [1.5]\nverdict:", "conversations.0", id="no whole number"),
        pytest.param(
            "{reader: leading_tag}",
            "{reader: template, lines: [{pattern: '('}]}",
            "verdict.template.lines.0.pattern",
            id="not a regular expression",
        ),
        pytest.param(
            "{reader: leading_tag}", "{reader: json_fields, fields: []}", "verdict.json_fields.fields", id="no fields"
        ),
    ],
)
def test_a_wrong_value_is_named_with_its_file_and_field(old: str, new: str, field: str) -> None:
    assert old in SOUND
    found = faults_of(SOUND.replace(old, new).encode())
    assert field in {fault.field for fault in found}
    assert {fault.file for fault in found} == {FILE}
    assert all(fault.remedy for fault in found)


def test_every_fault_is_named_at_once() -> None:
    found = faults_of(b"task: grading\ntime_limit_s: -1\nverdict: {reader: leading_tag}\nextra: 1\n")
    assert {fault.field for fault in found} == {"description", "prompt", "time_limit_s", "extra"}


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"- a list", id="list"),
        pytest.param(b"task: [", id="cut off"),
        pytest.param(b"task: \xe4", id="no UTF-8"),
        pytest.param(b"task: \x00", id="NUL"),
        pytest.param(b"task: 2026-13-45", id="date that does not exist"),
        pytest.param(b"task: 0b_", id="number without digits"),
        pytest.param(b"task: !!python/object/apply:os.getcwd []", id="tag that would run code"),
        pytest.param(b"{[a]: 1}", id="key that is a list"),
        pytest.param(b"[" * 5000, id="depth bomb"),
        pytest.param(b"#" * (256 * 1024 + 1), id="too large"),
    ],
)
def test_a_file_that_is_no_acceptable_yaml_is_refused_in_one_line(raw: bytes) -> None:
    (fault,) = faults_of(raw)
    assert fault.field == "document"
    assert "\n" not in str(fault)


@given(st.binary(max_size=40) | st.text(alphabet="ab:-[]{}&*!|>'\"0.\n 2,?", max_size=40).map(str.encode))
def test_whatever_the_bytes_the_file_is_refused_with_its_faults(raw: bytes) -> None:
    assert faults_of(raw)
