"""Guessing names: each kind of hint by itself, and what holds for any database."""

from __future__ import annotations

import json
import shlex
from io import StringIO

import pytest
from dotenv import dotenv_values
from hypothesis import given
from hypothesis import strategies as st

from bench_pipeline.domain.mapping.live import LiveColumn, LiveTable, words_of
from bench_pipeline.domain.mapping.names import KNOWN_NAMES, REQUIRED, mapped_name, relation_parts
from bench_pipeline.domain.mapping.proposal import Proposal, env_line, propose

KINDS = {"n": "number", "u": "uuid", "t": "text", "b": "boolean", "m": "moment", "o": "other"}


def table(name: str, columns: str, schema: str | None = "public", **refers: str) -> LiveTable:
    """A table from `name:kind` words; the first column is its key."""
    made = []
    for place, word in enumerate(columns.split()):
        column, _, kind = word.partition(":")
        made.append(LiveColumn(column, KINDS[kind or "t"], kind or "t", place == 0))  # type: ignore[arg-type]
    return LiveTable(schema, name, tuple(made), {column: (schema, other) for column, other in refers.items()})


ACTORS = table("actors", "actor_id:n actor_name actor_type execution_path enabled:b")
STEPS = table("conversations", "conversation_id:n conversation_name actor_id:n", actor_id="actors")


def proposed(*tables: LiveTable, **values: list[str]) -> Proposal:
    return propose(tables, lambda _, column: values.get(column.name, []))


def names(*tables: LiveTable, **values: list[str]) -> dict[str, object]:
    found = proposed(*tables, **values)
    assert found.missing == ()
    return dict(found.names)


def test_the_default_names_need_no_proposal() -> None:
    assert names(ACTORS, STEPS) == {}


@pytest.mark.parametrize(
    ("column", "instead", "name"),
    [
        ("actor_id:n", "id:n", "actors.actor_id"),
        ("actor_id:n", "uuid:n", "actors.actor_id"),
        ("actor_id:n", "number_of_model:n", "actors.actor_id"),
        ("actor_name", "label", "actors.actor_name"),
        ("actor_name", "DisplayName", "actors.actor_name"),
        ("actor_type", "kind", "actors.actor_type"),
        ("execution_path", "endpoint", "actors.execution_path"),
        ("execution_path", "ollama_model", "actors.execution_path"),
        ("enabled:b", "isActive:b", "actors.enabled"),
        ("enabled:b", "status", "actors.enabled"),
        ("enabled:b", "in_use:n", "actors.enabled"),
    ],
)
def test_a_column_is_found_by_other_words_for_it(column: str, instead: str, name: str) -> None:
    columns = "actor_id:n actor_name actor_type execution_path enabled:b".replace(column, instead)
    assert names(table("actors", columns), STEPS) == {name: instead.partition(":")[0]}


@pytest.mark.parametrize("called", ["models", "agents", "llm", "LlmModels", "ai_assistants"])
def test_a_table_is_found_by_other_words_for_it(called: str) -> None:
    actors = table(called, "actor_id:n actor_name actor_type execution_path enabled:b")
    steps = table("conversations", "conversation_id:n conversation_name actor_id:n", actor_id=called)
    assert names(steps, actors) == {"actors": called}


def test_a_foreign_key_says_more_than_a_name() -> None:
    steps = table("conversations", "conversation_id:n conversation_name actor_id:n served_by:n", served_by="actors")
    assert names(ACTORS, steps) == {"conversations.actor_id": "served_by"}


def test_a_reference_of_another_type_is_none() -> None:
    steps = table("conversations", "conversation_id:n conversation_name actor_id:u actor:n")
    assert names(ACTORS, steps) == {"conversations.actor_id": "actor"}


def test_a_boolean_is_preferred_to_a_status() -> None:
    actors = table("actors", "actor_id:n actor_name actor_type execution_path status active:b")
    assert names(actors, STEPS) == {"actors.enabled": "active"}


def test_another_schema_is_named_and_odd_names_stand_in_quotation_marks() -> None:
    actors = table("my.models", "actor_id:n actor_name actor_type execution_path enabled:b", schema="crew data")
    steps = table("conversations", "conversation_id:n conversation_name actor_id:n", schema="crew data")
    assert names(actors, steps) == {"actors": 'crew data."my.models"', "conversations": "crew data.conversations"}


def test_workflows_are_found_by_what_links_them_to_the_conversations() -> None:
    flows = table("pipelines", "id:n name")
    link = table("pipeline_steps", "pipeline_id:n step:n position:n", pipeline_id="pipelines", step="conversations")
    assert names(ACTORS, STEPS, flows, link) == {
        "workflows": "pipelines",
        "workflows.workflow_id": "id",
        "workflows.workflow_name": "name",
        "workflow_conversations": "pipeline_steps",
        "workflow_conversations.workflow_id": "pipeline_id",
        "workflow_conversations.conversation_id": "step",
        "workflow_conversations.execution_order": "position",
    }


def test_tables_that_only_look_like_it_are_left_alone() -> None:
    users = table("users", "id:n name role email active:b")
    flows = table("flows", "id:n name")
    assert names(users, ACTORS, flows, STEPS) == {}


@pytest.mark.parametrize(
    ("held", "true"),
    [
        (["active", "retired"], ["active"]),
        (["Enabled ", "x"], ["Enabled "]),
        (["live", "online", "down"], ["live", "online"]),
    ],
)
def test_the_values_of_a_status_that_mean_enabled_are_proposed(held: list[str], true: list[str]) -> None:
    actors = table("actors", "actor_id:n actor_name actor_type execution_path status")
    found = proposed(actors, STEPS, status=held)
    assert found.names == {"actors.enabled": {"column": "status", "true_values": true}}
    assert found.unclear


def test_values_of_the_rule_need_no_proposal_and_unknown_ones_are_asked_for() -> None:
    actors = table("actors", "actor_id:n actor_name actor_type execution_path status")
    assert names(actors, STEPS, status=["Y", "n"]) == {"actors.enabled": "status"}
    found = proposed(actors, STEPS, status=["7", "8"])
    assert (found.missing, found.unclear) == (("actors.enabled",), ("which values of status mean enabled: 7, 8",))


@pytest.mark.parametrize(
    ("held", "types"),
    [
        (["ai_model", "script"], None),
        (["llm", "script"], ("llm",)),
        (["LanguageModel", "human"], ("LanguageModel",)),
        (["x", "y"], None),
    ],
)
def test_the_types_of_actors_that_are_models_are_proposed(held: list[str], types: tuple[str, ...] | None) -> None:
    assert proposed(ACTORS, STEPS, actor_type=held).model_types == types


def test_a_second_table_that_fits_as_well_is_named() -> None:
    other = table("actors", "actor_id:n actor_name actor_type execution_path enabled:b", schema="old")
    assert proposed(ACTORS, STEPS, other).unclear == ("actors may also be old.actors",)


@pytest.mark.parametrize(
    ("tables", "missing"),
    [
        ([], ["a table for actors", "a table for conversations"]),
        ([STEPS], ["a table for actors"]),
        ([table("models", "id:n name kind active:b")], ["actors.execution_path (in public.models)"]),
    ],
)
def test_what_is_required_and_was_not_found_is_named(tables: list[LiveTable], missing: list[str]) -> None:
    assert set(missing) <= set(proposed(*tables).missing)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("LLMModels", ("llm", "model")),
        ("isActive", ("is", "active")),
        ("workflow_processes", ("workflow", "process")),
        ("Step-2 status", ("step", "2", "status")),
        ("entries", ("entry",)),
        ("", ()),
    ],
)
def test_a_name_is_split_into_its_words(name: str, words: tuple[str, ...]) -> None:
    assert words_of(name) == words


_NAMES = st.sampled_from(sorted(part for name in KNOWN_NAMES for part in name.split("."))) | st.text(min_size=1)
_COLUMNS = st.builds(LiveColumn, _NAMES, st.sampled_from(sorted(KINDS.values())), st.just("x"), st.booleans())
_TABLES = st.builds(
    LiveTable, st.sampled_from(["public", "a.b", None]), _NAMES,
    st.lists(_COLUMNS, max_size=8, unique_by=lambda column: column.name).map(tuple), st.just({}),
)  # fmt: skip


@given(st.lists(_TABLES, max_size=5, unique_by=lambda table: table.place), st.lists(st.text(), max_size=3))
def test_any_database_gets_names_that_are_its_own_or_hears_what_is_missing(
    tables: list[LiveTable], held: list[str]
) -> None:
    found = propose(tables, lambda *_: held)
    places = {table.place for table in tables} | {(None, table.name) for table in tables}
    for name, value in found.names.items():
        assert name in KNOWN_NAMES
        assert mapped_name(name, value)
        assert "." in name or relation_parts(str(value)) in places
    chosen = {choice.name for choice in found.choices}
    complete = all({ours, *(f"{ours}.{column}" for column in columns)} <= chosen for ours, columns in REQUIRED.items())
    assert complete or found.missing


@given(st.dictionaries(st.text(), st.text(st.characters(exclude_categories=["Cs"]))))
def test_the_line_is_read_by_a_shell_and_from_a_file_as_it_was_meant(value: dict[str, str]) -> None:
    line = env_line("NAMES", value)
    assert json.loads(shlex.split(line)[0].removeprefix("NAMES=")) == value
    assert json.loads(str(dotenv_values(stream=StringIO(line))["NAMES"])) == value
