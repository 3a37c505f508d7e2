"""The optional columns: whole prompts and past interactions, from databases that have them, lack them or abuse them."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from sqlalchemy import text

from bench_pipeline.domain.errors import InputError
from bench_pipeline.storage.database import Database
from bench_pipeline.storage.production import open_production
from bench_pipeline.storage.production_texts import ConversationPrompt, Interaction
from bench_pipeline_tests.kit.engines import ONLY_POSTGRESQL
from bench_pipeline_tests.storage.test_production import fill, make_tables

GRADE = 3336
TEMPLATES = "conversation_id INTEGER, template TEXT"
CALLS = (
    "interaction_id INTEGER PRIMARY KEY, conversation_id INTEGER, actor_id INTEGER, latency_ms REAL, "
    "created_at TIMESTAMP"
)


def make(database: Database, table: str, columns: str, *rows: tuple[object, ...]) -> None:
    make_tables(database, without=frozenset({table}))
    with database.writing() as connection:
        connection.execute(text(f"CREATE TABLE {table} ({columns})"))
    fill(database, table, *rows)


def prompt(database: Database, names: Mapping[str, str] | None = None) -> ConversationPrompt | None:
    with database.engine.connect() as connection:
        return open_production(database, names or {}).prompt_of(connection, GRADE)


def interactions(database: Database, limit: int = 10, names: Mapping[str, str] | None = None) -> list[Interaction]:
    with database.engine.connect() as connection:
        return open_production(database, names or {}).interactions_of(connection, GRADE, limit)


# Prompts


def test_a_prompt_is_read_with_its_system_text_its_options_and_its_time_limit(database: Database) -> None:
    columns = f"{TEMPLATES}, system_template TEXT, options TEXT, time_limit_s REAL"
    make(database, "prompt_templates", columns, (3336, "Grade {input}", "You grade.", '{"num_ctx": 8192}', 45.0))
    assert prompt(database) == ConversationPrompt("Grade {input}", "You grade.", {"num_ctx": 8192}, 45.0)


@pytest.mark.parametrize("extra", ["", ", options TEXT", ", system_template TEXT, time_limit_s INTEGER"])
def test_each_of_these_columns_may_be_missing_or_empty(database: Database, extra: str) -> None:
    make(database, "prompt_templates", TEMPLATES + extra)
    with database.writing() as connection:
        connection.execute(text("INSERT INTO prompt_templates (conversation_id, template) VALUES (3336, 'Grade it')"))
    assert prompt(database) == ConversationPrompt("Grade it", None, {}, None)


@pytest.mark.parametrize("kind", ["JSON", "JSONB"])
def test_options_may_be_kept_in_a_column_of_json(database: Database, kind: str) -> None:
    kind = "JSON" if database.engine.dialect.name == "sqlite" else kind
    make(
        database, "prompt_templates", f"{TEMPLATES}, options {kind}", (3336, "Grade", '{"top_p": 0.9, "stop": ["\\n"]}')
    )
    found = prompt(database)
    assert found is not None
    assert found.options == {"top_p": 0.9, "stop": ["\n"]}


@pytest.mark.parametrize("rows", [(), ((3337, "Other"),), ((3336, ""),), ((3336, None),)])
def test_a_conversation_without_a_template_has_no_prompt(
    database: Database, rows: tuple[tuple[object, ...], ...]
) -> None:
    make(database, "prompt_templates", TEMPLATES, *rows)
    assert prompt(database) is None


def test_a_database_without_the_table_has_no_prompts_and_no_interactions(database: Database) -> None:
    make_tables(database, without=frozenset({"prompt_templates"}))
    assert (prompt(database), interactions(database)) == (None, [])


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("[1]", "is not a JSON object"),
        ('"num_ctx"', "is not a JSON object"),
        ("num_ctx=8192", "is not JSON"),
        ('{"num_ctx": 1', "is not JSON"),
        ('{"seed": 1, "seed": 2}', "key 'seed' occurs twice"),
        ('{"temperature": NaN}', "NaN is not a JSON number"),
        ("[" * 5000, "nested too deeply"),
    ],
)
def test_options_that_are_no_object_are_refused_with_their_place(
    database: Database, options: str, problem: str
) -> None:
    make(database, "prompt_templates", f"{TEMPLATES}, settings TEXT", (3336, "Grade", options))
    with pytest.raises(InputError) as refused:
        prompt(database, {"prompt_templates.options": "settings"})
    message = str(refused.value)
    assert message.startswith("table prompt_templates, column settings, conversation 3336: ")
    assert problem in message
    assert "\n" not in message


@pytest.mark.parametrize(("kept", "seconds"), [("30", 30.0), ("0.5", 0.5), (" ", None), (None, None)])
def test_a_time_limit_is_seconds_however_it_is_kept(
    database: Database, kept: str | None, seconds: float | None
) -> None:
    make(database, "prompt_templates", f"{TEMPLATES}, time_limit_s TEXT", (3336, "Grade", kept))
    found = prompt(database)
    assert found is not None
    assert found.time_limit_s == seconds


@pytest.mark.parametrize("kept", ["0", "-1", "soon", "nan", "inf", "1 minute"])
def test_a_time_limit_that_is_no_positive_number_is_refused_with_its_place(database: Database, kept: str) -> None:
    make(database, "prompt_templates", f"{TEMPLATES}, time_limit_s TEXT", (3336, "Grade", kept))
    with pytest.raises(InputError, match="table prompt_templates, column time_limit_s, conversation 3336: "):
        prompt(database)


# Interactions


def test_interactions_are_read_newest_first_and_no_more_than_asked_for(database: Database) -> None:
    make(
        database,
        "interactions",
        f"{CALLS}, input TEXT, output TEXT, posting_id INTEGER",
        (1, 3336, 9, 5.0, "2026-11-01 10:00:00", "old", "[PASS]", 7001),
        (2, 3336, 9, 5.0, "2026-11-03 10:00:00", "new", None, None),
        (3, 3337, 9, 5.0, "2026-11-04 10:00:00", "of another conversation", "", 1),
        (4, 3336, 9, 5.0, None, "undated", "x", 2),
        (5, 3336, 9, 5.0, "2026-11-03 10:00:00", "of the same moment, and later", "x", 3),
    )
    assert [found.interaction_id for found in interactions(database)] == [5, 2, 1, 4]
    assert interactions(database, limit=2)[1] == Interaction(2, None, "new", None)


def test_interactions_without_their_texts_have_none(database: Database) -> None:
    make(database, "interactions", CALLS, (1, 3336, 9, 5.0, "2026-11-01 10:00:00"))
    assert interactions(database) == [Interaction(1, None, None, None)]


@pytest.mark.parametrize(
    ("kept", "read"),
    [
        ("plain text", "plain text"),
        ('{"text": "a", "n": 1}', {"text": "a", "n": 1}),
        ('"quoted"', '"quoted"'),
        ("[1, 2]", "[1, 2]"),
        ("{not json}", "{not json}"),
        ('{"a": 1, "a": 2}', '{"a": 1, "a": 2}'),
    ],
)
def test_a_text_column_gives_an_object_as_fields_and_everything_else_as_text(
    database: Database, kept: str, read: object
) -> None:
    make(
        database,
        "interactions",
        f"{CALLS}, input TEXT, output TEXT",
        (1, 3336, 9, 5.0, "2026-11-01 10:00:00", kept, kept),
    )
    assert [(found.input, found.output) for found in interactions(database)] == [(read, kept)]


@pytest.mark.parametrize(
    ("kept", "read", "answered"),
    [
        ('{"text": "a"}', {"text": "a"}, '{"text": "a"}'),
        ('"a \\"quoted\\" text"', 'a "quoted" text', 'a "quoted" text'),
        ("[1, 2]", "[1, 2]", "[1, 2]"),
        ("null", None, None),
    ],
)
@pytest.mark.parametrize("kind", ["JSON", "JSONB"])
def test_a_column_of_json_gives_its_values(
    database: Database, kind: str, kept: str, read: object, answered: str | None
) -> None:
    kind = "JSON" if database.engine.dialect.name == "sqlite" else kind
    make(
        database,
        "interactions",
        f"{CALLS}, input {kind}, output {kind}",
        (1, 3336, 9, 5.0, "2026-11-01 10:00:00", kept, kept),
    )
    assert [(found.input, found.output) for found in interactions(database)] == [(read, answered)]


@ONLY_POSTGRESQL
def test_ids_that_are_no_numbers_are_given_as_text(database: Database) -> None:
    columns = CALLS.replace("interaction_id INTEGER", "interaction_id UUID") + ", posting_id UUID"
    key, posting = "0b0f6f0e-0000-4000-8000-000000000001", "0b0f6f0e-0000-4000-8000-000000000002"
    make(database, "interactions", columns, (key, 3336, 9, 5.0, "2026-11-01 10:00:00", posting))
    assert interactions(database) == [Interaction(key, posting, None, None)]


# Names


def test_the_optional_columns_have_names_of_the_application(database: Database) -> None:
    make(
        database,
        "interactions",
        f"{CALLS}, asked TEXT, answered TEXT, job TEXT",
        (1, 3336, 9, 5.0, "2026-11-01 10:00:00", "a", "b", "DE-5"),
    )
    names = {"interactions.input": "asked", "interactions.output": "answered", "interactions.posting_id": "job"}
    assert interactions(database, names=names) == [Interaction(1, "DE-5", "a", "b")]


@pytest.mark.parametrize("column", ["system_template", "options", "time_limit_s"])
def test_an_optional_column_that_is_named_must_exist(database: Database, column: str) -> None:
    make(database, "prompt_templates", TEMPLATES)
    with pytest.raises(InputError, match=r"lacks column prompt_templates\.mine;"):
        open_production(database, {f"prompt_templates.{column}": "mine"})


def test_the_schemas_hash_does_not_depend_on_optional_columns(database: Database) -> None:
    make(database, "prompt_templates", TEMPLATES)
    before = open_production(database, {}).schema_hash(database)
    with database.writing() as connection:
        connection.execute(text("ALTER TABLE prompt_templates ADD COLUMN options TEXT"))
    assert open_production(database, {}).schema_hash(database) == before
