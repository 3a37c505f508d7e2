"""A conversation of production becomes a task's folder: the prompt as it is, the cases as masked drafts."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert, text

from bench_pipeline.benchmark.case_import import ImportedTask, ImportTerms, import_cases
from bench_pipeline.benchmark.imported_files import yaml_text
from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.tasks.suite import OnlyDrafts, parse_suite
from bench_pipeline.domain.tasks.task import parse_task
from bench_pipeline.storage.production import open_production
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.production import interactions, postings
from bench_pipeline_tests.kit.tasks import EXTRACT, GRADE_A, TEMPLATE
from bench_pipeline_tests.kit.world import World

POSTING = "We seek a nurse. Contact: Jane Smith, 020 7123 4567, jane.smith@acme.co.uk."
ANSWERS = ("[PASS] Jane Smith is named.", "[FAIL] No employer.")


def called(world: World, conversation_id: int, *calls: tuple[str | None, str | None, int | None]) -> None:
    """Let production have made these calls, oldest first: input, output and posting."""
    rows = [
        {
            "interaction_id": number,
            "conversation_id": conversation_id,
            "actor_id": 2,
            "latency_ms": 9.0,
            "created_at": None,
            "input": given,
            "output": output,
            "posting_id": posting_id,
        }
        for number, (given, output, posting_id) in enumerate(calls, start=1)
    ]
    world.change(*[insert(interactions).values(row) for row in rows])


def graded(world: World) -> None:
    world.set_template(EXTRACT, TEMPLATE)
    world.change(insert(postings).values(posting_id=7, title="Nurse", posting_text=POSTING))
    called(world, EXTRACT, ("A nurse, says Ms Smith.", ANSWERS[0], 7), ("A job.", ANSWERS[1], None))


def imported(world: World, task: str | None = None, limit: int = 20, conversation_id: int = EXTRACT) -> ImportedTask:
    terms = ImportTerms(task, limit, ("GB",))
    return import_cases(world.bench, conversation_id, terms)


def cases_of(task: ImportedTask) -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads(task.suite_json)["test_cases"]
    return cases


def refusal(world: World, **asked: Any) -> str:  # noqa: ANN401 - the arguments of `imported`
    with pytest.raises(InputError) as refused:
        imported(world, **asked)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_each_interaction_becomes_a_draft_newest_first_with_its_origin(world: World) -> None:
    graded(world)
    newest, oldest = cases_of(imported(world))
    assert (newest["id"], newest["draft"], newest["summary"]) == ("DRAFT_001", True, "A job.")
    assert (newest["posting_id"], newest["observed_output"]) == ("interaction-2", ANSWERS[1])
    assert oldest["provenance"] == {"source": f"conversation {EXTRACT}", "interaction": 1, "checked_by": None}
    assert (oldest["posting_id"], oldest["expected_verdict"], oldest["type"]) == (7, None, None)


def test_nothing_personal_is_in_the_files_and_one_person_stays_one(world: World) -> None:
    graded(world)
    task = imported(world)
    written = task.task_yaml + task.suite_json
    assert [word for word in ("Jane", "Smith", "4567", "acme") if word in written] == []
    draft = cases_of(task)[1]
    family = draft["summary"].removeprefix("A nurse, says Ms ").removesuffix(".")
    assert f"{family}," in draft["posting"]
    assert f"{family} is named" in draft["observed_output"]
    assert {one.original for one in task.replacements} >= {"Jane Smith", "Smith", "020 7123 4567"}


def test_the_files_are_read_as_a_task_and_a_suite_of_drafts(world: World) -> None:
    graded(world)
    task = imported(world)
    task.write()
    parsed = parse_task((task.folder / "task.yaml").read_bytes(), "task.yaml")
    with pytest.raises(OnlyDrafts) as refused:
        parse_suite((task.folder / "suite.json").read_bytes(), "suite.json")
    assert (task.folder, parsed.task) == (world.folder / "testcases" / "extract", "extract")
    assert (parsed.prompt.template, parsed.prompt.conversation) == (TEMPLATE, EXTRACT)
    assert parsed.conversations == (EXTRACT,)
    assert len(refused.value.drafts) == 2


def test_the_template_of_a_task_is_a_block_for_people(world: World) -> None:
    graded(world)
    assert f"  template: |-\n    {TEMPLATE.splitlines()[0]}\n" in imported(world).task_yaml


def test_the_system_text_the_options_and_the_limit_of_production_are_written(world: World) -> None:
    graded(world)
    changes = (
        "ADD COLUMN system_template TEXT",
        "ADD COLUMN options TEXT",
        "ADD COLUMN time_limit_s INTEGER",
    )
    world.change(*[text(f"ALTER TABLE prompt_templates {change}") for change in changes])
    options = '{"num_ctx": 8192, "temperature": 0.2, "top_p": 0.9, "stop": ["END"], "seed": null}'
    world.change(
        text("UPDATE prompt_templates SET system_template = :s, options = :o, time_limit_s = 45").bindparams(
            s="You grade.", o=options
        )
    )
    world.production = open_production(world.database, {})
    written = imported(world).task_yaml
    assert parse_task(written.encode(), "task.yaml").decoding.options == {"top_p": 0.9, "stop": ["END"]}
    value = yaml.safe_load(written)
    assert value["prompt"]["messages"] == [
        {"role": "system", "content": "You grade."},
        {"role": "user", "content": TEMPLATE},
    ]
    assert "template" not in value["prompt"]
    assert value["decoding"] == {"temperature": 0.2, "num_ctx": 8192, "options": {"top_p": 0.9, "stop": ["END"]}}
    assert value["time_limit_s"] == 45.0
    assert value["verdict"] == {"reader": "leading_tag"}


@ONE_ENGINE
def test_options_that_no_decoding_can_have_are_refused(world: World) -> None:
    graded(world)
    world.change(text("ALTER TABLE prompt_templates ADD COLUMN options TEXT"))
    world.change(text("UPDATE prompt_templates SET options = :o").bindparams(o='{"num_ctx": "large"}'))
    world.production = open_production(world.database, {})
    assert refusal(world).startswith(f"prompt_templates, options of conversation {EXTRACT}: num_ctx: input should be")


@ONE_ENGINE
def test_other_marks_of_fields_are_written_as_the_syntax(world: World) -> None:
    world.set_template(EXTRACT, "Grade {{objection}} of {{posting}}.")
    called(world, EXTRACT, ('{"objection": "No pay.", "posting": "We seek a nurse."}', None, None))
    task = imported(world)
    prompt = parse_task(task.task_yaml.encode(), "task.yaml").prompt
    assert prompt.syntax == r"\{\{(\w+)\}\}"
    assert prompt.prompt.fields == {"objection", "posting"}
    (case,) = cases_of(task)
    assert (case["input"], case["posting"]) == ({"objection": "No pay."}, "We seek a nurse.")
    assert "observed_output" not in case


@ONE_ENGINE
def test_a_conversation_that_a_task_serves_is_not_served_twice(world: World) -> None:
    world.set_template(GRADE_A, TEMPLATE)
    called(world, GRADE_A, ("A job.", None, None))
    task = imported(world, conversation_id=GRADE_A)
    assert yaml.safe_load(task.task_yaml)["conversations"] == []
    assert any("the task grading serves this conversation" in note for note in task.notes)


@ONE_ENGINE
def test_personal_data_of_the_prompt_is_named_and_left(world: World) -> None:
    graded(world)
    world.change(text("UPDATE prompt_templates SET template = :t").bindparams(t=f"{TEMPLATE} Ask Dr. Jane Miller."))
    task = imported(world)
    assert "Ask Dr. Jane Miller." in task.task_yaml
    assert any("may hold personal data: name 'Jane Miller'" in note for note in task.notes)


@ONE_ENGINE
@pytest.mark.parametrize(("limit", "count"), [(1, 1), (2, 2), (500, 2)])
def test_no_more_drafts_are_made_than_asked_for(world: World, limit: int, count: int) -> None:
    graded(world)
    assert len(cases_of(imported(world, limit=limit))) == count


@ONE_ENGINE
def test_interactions_that_cannot_be_cases_are_counted_and_do_not_use_up_the_limit(world: World) -> None:
    world.set_template(EXTRACT, TEMPLATE)
    called(world, EXTRACT, ("A job.", None, None), (None, "x", None), (None, "y", None))
    task = imported(world, limit=1)
    assert [case["summary"] for case in cases_of(task)] == ["A job."]
    assert "2 interactions left out: it has neither an input nor a posting" in task.notes


# What is refused


@ONE_ENGINE
def test_a_folder_that_exists_is_not_overwritten(world: World) -> None:
    graded(world)
    task = imported(world, task="mine")
    task.folder.mkdir(parents=True)
    assert f"{task.folder} exists and is not overwritten" in refusal(world, task="mine")
    with pytest.raises(InputError, match="is not overwritten"):
        task.write()
    assert list(task.folder.iterdir()) == []


@ONE_ENGINE
@pytest.mark.parametrize("name", ["../up", "/tmp/x", "Grade", "1st", "a-b", "", "a" * 61, "production", "a\nb"])
def test_a_name_that_is_no_name_of_a_task_is_refused(world: World, name: str) -> None:
    graded(world)
    if name:
        assert "cannot be the name of a task" in refusal(world, task=name)
    else:
        assert imported(world, task=name).folder.name == "extract"


@ONE_ENGINE
@pytest.mark.parametrize(
    ("called_in_production", "name"),
    [
        ("Prüfe Angebot (DE)", "prufe_angebot_de"),
        ("../../etc/passwd", "etc_passwd"),
        ("3rd check", f"conversation_{EXTRACT}"),
        ("检查", f"conversation_{EXTRACT}"),
        ("x" * 99, "x" * 60),
        (None, f"conversation_{EXTRACT}"),
    ],
)
def test_a_task_is_named_after_its_conversation(world: World, called_in_production: str | None, name: str) -> None:
    graded(world)
    renamed = text("UPDATE conversations SET conversation_name = :n WHERE conversation_id = :c")
    world.change(renamed.bindparams(n=called_in_production, c=EXTRACT))
    assert imported(world).folder == world.folder / "testcases" / name


@ONE_ENGINE
def test_what_is_missing_in_production_is_named(world: World) -> None:
    assert "conversation 99 does not exist; known conversations: 3335, 3336" in refusal(world, conversation_id=99)
    assert "has no template in the table prompt_templates" in refusal(world)
    world.set_template(EXTRACT, TEMPLATE)
    assert f"conversation {EXTRACT} has no interactions" in refusal(world)
    called(world, EXTRACT, (None, "x", None))
    assert "can be a case: it has neither an input nor a posting" in refusal(world)


# The texts of the files

PIECES = (
    "a",
    " ",
    "\n",
    "\t",
    "- ",
    "#",
    ": ",
    "'",
    '"',
    "|",
    "\r\n",
    "\u2028",
    "\x85",
    "\ufeff",
    "{x}",
    "%",
    "&",
    "é",
)
hostile = st.text(max_size=40) | st.lists(st.sampled_from(PIECES), max_size=12).map("".join)


@given(hostile, st.integers(0, 200))
def test_a_text_in_yaml_reads_back_as_it_was(value: str, filling: int) -> None:
    document = {"prompt": {"template": value + "x" * filling}}
    assert yaml.safe_load(yaml_text(document)) == document
