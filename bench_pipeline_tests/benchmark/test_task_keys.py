"""The ids of a task.yaml as production's columns have them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from bench_pipeline.benchmark.imported_files import PromptTexts, task_text
from bench_pipeline.benchmark.preparation import prepare
from bench_pipeline.benchmark.task_keys import served_by, task_in_production
from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.tasks.strict_yaml import strict_yaml
from bench_pipeline.domain.text import storable
from bench_pipeline.storage.production import open_production
from bench_pipeline.storage.production_texts import ConversationPrompt
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.tasks import SERVED
from bench_pipeline_tests.kit.world import World


def rewrite(world: World, *conversations: int | str) -> None:
    file = Path(world.folder) / "testcases" / "grading" / "task.yaml"
    written = yaml.safe_load(file.read_text(encoding="utf-8"))
    listed = list(conversations)
    file.write_text(
        yaml.safe_dump(written | {"conversations": listed, "promotion": {"auto": listed}}), encoding="utf-8"
    )


@ONE_ENGINE
def test_an_id_in_quotation_marks_is_a_number_where_the_column_holds_numbers(world: World) -> None:
    rewrite(world, *map(str, SERVED))
    assert task_in_production(world.bench, "grading").conversations == tuple(SERVED)
    assert prepare(world.bench, "grading").task.conversations == tuple(SERVED)


@ONE_ENGINE
def test_a_number_is_a_text_where_the_column_holds_texts(world: World) -> None:
    world.change(
        text("DROP TABLE workflow_conversations"),
        text("ALTER TABLE conversations RENAME TO old_conversations"),
        text("CREATE TABLE conversations AS SELECT CAST(conversation_id AS TEXT) AS conversation_id, "
             "conversation_name, actor_id FROM old_conversations"),
    )  # fmt: skip
    bench = replace(world.bench, application=open_production(world.database, {}))
    task = task_in_production(bench, "grading")
    assert task.conversations == tuple(map(str, SERVED))
    assert set(task.promotion.auto) <= set(task.conversations)
    assert task.prompt.conversation in (None, *task.conversations)
    assert served_by(bench, ["grading"], str(SERVED[0])) == "grading"
    assert served_by(bench, ["grading"], "other") is None


@ONE_ENGINE
def test_an_id_that_no_conversation_can_have_is_refused_with_file_field_and_type(world: World) -> None:
    rewrite(world, *SERVED, "abc")
    with pytest.raises(
        InputError, match=r"task\.yaml: conversations: 'abc' is not an id .* INTEGER|unknown type"
    ) as no:
        task_in_production(world.bench, "grading")
    assert str(no.value).endswith("; write a whole number")
    assert served_by(world.bench, ["grading"], SERVED[0]) == "grading"


@given(st.text(min_size=1, max_size=300).filter(lambda key: key == storable(key)))
def test_a_task_that_is_imported_lists_its_conversation_whatever_its_id(key: str) -> None:
    prompt = ConversationPrompt("Grade {input}", None, {}, None)
    written = task_text("grading", PromptTexts(key, "Grade", prompt, "{}", serves=True))
    value = strict_yaml(written)
    assert isinstance(value, dict)
    assert value["conversations"] == [key]
    assert value["prompt"]["conversation"] == key
