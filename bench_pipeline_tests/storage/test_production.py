"""The application's tables under their own names: who may take part, and the one column that is written."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import text

from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.mapping.names import KNOWN_NAMES
from bench_pipeline.domain.models.actor import Exclusion
from bench_pipeline.settings import CODE_OR_VISION_ONLY, EMBEDDING_OR_SPECIALIST
from bench_pipeline.storage.database import Database
from bench_pipeline.storage.production import Production, has_production, open_production

TABLES = {
    "actors": {
        "actor_id": "INTEGER PRIMARY KEY",
        "actor_name": "TEXT",
        "actor_type": "TEXT",
        "execution_path": "TEXT",
        "enabled": "BOOLEAN",
    },
    "conversations": {"conversation_id": "INTEGER PRIMARY KEY", "conversation_name": "TEXT", "actor_id": "INTEGER"},
    "workflows": {"workflow_id": "INTEGER PRIMARY KEY", "workflow_name": "TEXT"},
    "workflow_conversations": {
        "workflow_id": "INTEGER",
        "conversation_id": "INTEGER",
        "execution_order": "INTEGER",
    },
    "prompt_templates": {"conversation_id": "INTEGER", "template": "TEXT"},
    "postings": {"posting_id": "INTEGER PRIMARY KEY", "posting_text": "TEXT"},
}
INTERACTIONS = {
    "interaction_id": "INTEGER PRIMARY KEY",
    "conversation_id": "INTEGER",
    "actor_id": "INTEGER",
    "latency_ms": "REAL",
}
RENAMED = {
    "actors": "llm_workers",
    "actors.actor_id": "id",
    "actors.actor_name": "label",
    "actors.actor_type": "kind",
    "actors.execution_path": "target",
    "actors.enabled": "is_active",
    "conversations": "steps",
    "conversations.conversation_id": "step_id",
    "conversations.conversation_name": "title",
    "conversations.actor_id": "worker_id",
    "workflow_conversations.execution_order": "position",
    "postings": "jobs",
    "postings.posting_text": "body",
}


def make_tables(
    database: Database,
    names: Mapping[str, str] | None = None,
    without: frozenset[str] = frozenset(),
    types: Mapping[str, str] | None = None,
) -> None:
    names, types = names or {}, types or {}
    with database.writing() as connection:
        for table, columns in TABLES.items():
            kept = [
                f"{names.get(f'{table}.{column}', column)} {types.get(f'{table}.{column}', kind)}"
                for column, kind in columns.items()
                if f"{table}.{column}" not in without
            ]
            if table not in without:
                connection.execute(text(f"CREATE TABLE {names.get(table, table)} ({', '.join(kept)})"))


def fill(database: Database, table: str, *rows: tuple[object, ...]) -> None:
    with database.writing() as connection:
        for row in rows:
            places = ", ".join(f":v{i}" for i in range(len(row)))
            connection.execute(
                text(f"INSERT INTO {table} VALUES ({places})"),  # noqa: S608 - a table of this test
                {f"v{i}": value for i, value in enumerate(row)},
            )


@pytest.fixture
def production(database: Database) -> Production:
    make_tables(database)
    return open_production(database, {})


def exclusion_of(
    database: Database,
    production: Production,
    row: tuple[object, ...],
    excluded_names: tuple[str, ...] = (),
    specialist_names: tuple[str, ...] = (),
) -> Exclusion | None:
    fill(database, "actors", row)
    with database.engine.connect() as connection:
        (actor,) = production.actors(connection, excluded_names, specialist_names)
    return actor.exclusion


# Who may take part


@pytest.mark.parametrize(
    ("row", "exclusion"),
    [
        pytest.param((1, "qwen", "ai_model", "ollama:qwen:7b", True), None, id="an enabled model"),
        pytest.param((1, None, "ai_model", None, True), None, id="a model without name and path"),
        pytest.param((1, "Ann", "human", None, True), Exclusion.TYPE, id="a person"),
        pytest.param((1, "report", "script", "report.py", True), Exclusion.TYPE, id="a script"),
        pytest.param((1, "qwen", "AI_MODEL", "qwen:7b", True), Exclusion.TYPE, id="the type in capitals"),
        pytest.param((1, "qwen", None, "qwen:7b", True), Exclusion.TYPE, id="no type"),
        pytest.param((1, "qwen", "ai_model", "qwen:7b", False), Exclusion.DISABLED, id="disabled"),
        pytest.param((1, "qwen", "ai_model", "qwen:7b", None), Exclusion.DISABLED, id="neither enabled nor disabled"),
        pytest.param((1, "Ann", "human", None, None), Exclusion.TYPE, id="the type is said before the rest"),
        pytest.param((1, "llava", "ai_model", "llava:7b", False), Exclusion.DISABLED, id="disabled before the name"),
        pytest.param((1, "llava", "ai_model", "llava:7b", True), Exclusion.NAME_PATTERN, id="a vision model"),
        pytest.param((1, "eyes", "ai_model", "ollama:LLaVA:7b", True), Exclusion.NAME_PATTERN, id="by its path"),
        pytest.param((1, "CodeLlama", "ai_model", None, True), Exclusion.NAME_PATTERN, id="by its name alone"),
        pytest.param((1, None, "ai_model", "codellama:7b", True), Exclusion.NAME_PATTERN, id="by its path alone"),
        pytest.param((1, "qwen2.5-coder", "ai_model", "qwen2.5-coder:7b", True), None, id="a chat model for code"),
        pytest.param(
            (1, "n", "ai_model", "nomic-embed-text:latest", True), Exclusion.SPECIALIST, id="an embedding model"
        ),
        pytest.param((1, "n", "ai_model", "llama-guard3:8b", True), Exclusion.SPECIALIST, id="a guard"),
        pytest.param(
            (1, "llava-guard", "ai_model", "x:1", True), Exclusion.NAME_PATTERN, id="vision before specialist"
        ),
    ],
)
def test_the_databases_own_rules_exclude_an_actor_with_the_first_reason(
    database: Database, production: Production, row: tuple[object, ...], exclusion: Exclusion | None
) -> None:
    assert exclusion_of(database, production, row, CODE_OR_VISION_ONLY, EMBEDDING_OR_SPECIALIST) is exclusion


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("*50%*", "x50%y", True),
        ("*50%*", "x50y", False),
        ("*a_b*", "xa_by", True),
        ("*a_b*", "xacby", False),
        ("_", "x", False),
        ("%", "anything", False),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
        ("*", "anything", True),
        ("abc", "abc", True),
        ("abc", "xabc", False),
        ("*\\*", "a\\b", True),
        ("*\\*", "ab", False),
        ("ABC*", "abcd", True),
        ("[ab]", "a", False),
        ("it's", "it's", True),
    ],
)
def test_in_a_pattern_only_the_star_and_the_question_mark_are_wildcards(
    database: Database, production: Production, pattern: str, name: str, matches: bool
) -> None:
    exclusion = exclusion_of(database, production, (1, name, "ai_model", "", True), (pattern,))
    assert (exclusion is Exclusion.NAME_PATTERN) is matches


def test_every_actor_is_listed_by_id_with_what_its_row_says(database: Database, production: Production) -> None:
    fill(database, "actors", (5, "b", "ai_model", "b:1", True), (2, None, None, None, None))
    with database.engine.connect() as connection:
        found = production.actors(connection, (), ())
    assert [(a.actor_id, a.name, a.actor_type, a.execution_path, a.enabled) for a in found] == [
        (2, None, "", "", False),
        (5, "b", "ai_model", "b:1", True),
    ]


# Conversations and workflows


def test_a_conversation_is_read_with_the_actor_that_carries_it_out(database: Database, production: Production) -> None:
    fill(database, "actors", (1, "qwen", "ai_model", "qwen:7b", True))
    fill(database, "conversations", (12, "grade", None), (11, "extract", 1), (13, "format", 99))
    with database.engine.connect() as connection:
        found = production.conversations(connection)
    assert [(c.conversation_id, c.name, c.actor_id, c.actor_name) for c in found] == [
        (11, "extract", 1, "qwen"),
        (12, "grade", None, None),
        (13, "format", 99, None),
    ]


@pytest.mark.parametrize(("ids", "found"), [([12, 11, 77], [11, 12]), ([], []), (None, [11, 12, 13])])
def test_only_the_asked_conversations_are_read(
    database: Database, production: Production, ids: list[int] | None, found: list[int]
) -> None:
    fill(database, "conversations", (12, "b", None), (11, "a", None), (13, "c", None))
    with database.engine.connect() as connection:
        assert [c.conversation_id for c in production.conversations(connection, ids)] == found


def test_a_workflow_is_read_with_its_steps_in_their_order(database: Database, production: Production) -> None:
    fill(database, "conversations", (11, "a", None), (12, "b", None))
    fill(database, "workflows", (2, "second"), (1, "first"), (3, "empty"))
    fill(database, "workflow_conversations", (1, 11, 20), (1, 12, 10), (2, 11, 1), (1, 404, 5))
    with database.engine.connect() as connection:
        found = production.workflows(connection)
    assert [(w.name, [step.name for step in w.steps]) for w in found] == [
        ("first", ["b", "a"]),
        ("second", ["a"]),
        ("empty", []),
    ]


# Templates and postings


def test_a_conversations_own_template_is_read_and_an_empty_one_is_none(
    database: Database, production: Production
) -> None:
    fill(database, "prompt_templates", (11, "Do {input}"), (12, ""), (13, None), (14, "Other"))
    with database.engine.connect() as connection:
        found = [production.prompt_of(connection, number) for number in (11, 12, 13, 77)]
    assert [one and one.template for one in found] == ["Do {input}", None, None, None]


@pytest.mark.parametrize(
    ("column_type", "stored", "wanted", "found"),
    [
        pytest.param("INTEGER", 5, [5, "6"], {"5"}, id="numbers"),
        pytest.param("INTEGER", 5, ["5"], {"5"}, id="a number written as text"),
        pytest.param("INTEGER", 5, ["DE-5", "²", "5.0", ""], set(), id="what is no number"),
        pytest.param("BIGINT", 2**40, [2**40], {str(2**40)}, id="big numbers"),
        pytest.param("VARCHAR(40)", "DE-5", ["DE-5"], {"DE-5"}, id="texts"),
        pytest.param("VARCHAR(40)", "5", [5], {"5"}, id="a number in a text column"),
        pytest.param("VARCHAR(40)", "x", ["' OR 1=1 --"], set(), id="SQL"),
        pytest.param("INTEGER", 5, [], set(), id="nothing"),
    ],
)
def test_a_posting_is_found_by_its_id_whatever_type_the_column_has(
    database: Database, column_type: str, stored: object, wanted: list[int | str], found: set[str]
) -> None:
    make_tables(database, types={"postings.posting_id": f"{column_type} PRIMARY KEY"})
    fill(database, "postings", (stored, "the text"))
    production = open_production(database, {})
    with database.engine.connect() as connection:
        assert production.postings(connection, wanted) == dict.fromkeys(found, "the text")


def test_a_posting_without_text_is_not_found(database: Database, production: Production) -> None:
    fill(database, "postings", (5, None), (6, ""))
    with database.engine.connect() as connection:
        assert production.postings(connection, [5, 6]) == {}


# The calls that production made

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
HOUR, MONTH = timedelta(hours=1), timedelta(days=30)


def called(database: Database, created_at: str, *calls: tuple[int, datetime | str]) -> Production:
    """Production with these calls, conversation and moment, whose moments are kept in a column of this type."""
    make_tables(database)
    columns = ", ".join(f"{name} {kind}" for name, kind in (INTERACTIONS | {"created_at": created_at}).items())
    with database.writing() as connection:
        connection.execute(text(f"CREATE TABLE interactions ({columns})"))
    fill(database, "interactions", *((n, number, 1, 9.5, at) for n, (number, at) in enumerate(calls)))
    return open_production(database, {})


def stored(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"


def test_the_calls_of_a_conversation_are_counted_within_the_window_alone(database: Database) -> None:
    moments = [NOW - MONTH - HOUR, NOW - MONTH, NOW - HOUR, NOW, NOW + HOUR]
    production = called(database, "TIMESTAMP", *((11, stored(at)) for at in moments), (12, stored(NOW)))
    with database.engine.connect() as connection:
        assert production.calls(connection, [11, 13], NOW - MONTH, NOW) == {11: 3}


def test_a_window_in_another_time_zone_is_the_same_window(database: Database) -> None:
    production = called(database, "TIMESTAMP", (11, stored(NOW)), (11, stored(NOW - 3 * HOUR)))
    until = NOW.astimezone(timezone(timedelta(hours=5)))
    with database.engine.connect() as connection:
        assert production.calls(connection, [11], until - HOUR, until) == {11: 1}


@pytest.mark.parametrize("database_url", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True)
def test_moments_with_a_time_zone_are_compared_as_moments(database: Database) -> None:
    production = called(database, "TIMESTAMPTZ", (11, "2026-11-24 13:30+02:00"), (11, "2026-11-24 12:30+00:00"))
    with database.engine.connect() as connection:
        assert production.calls(connection, [11], NOW - HOUR, NOW) == {11: 1}


@pytest.mark.parametrize("kept_as", ["TEXT", "INTEGER"])
def test_without_moments_no_calls_are_known(database: Database, kept_as: str) -> None:
    production = called(database, kept_as)
    with database.engine.connect() as connection:
        assert production.calls(connection, [11], NOW - MONTH, NOW) == {}


def test_without_interactions_no_calls_are_known(database: Database, production: Production) -> None:
    with database.engine.connect() as connection:
        assert production.calls(connection, [11], NOW - MONTH, NOW) == {}


# The live schema


def test_renamed_tables_and_columns_are_read_and_written(database: Database) -> None:
    make_tables(database, RENAMED)
    fill(database, "llm_workers", (1, "qwen", "ai_model", "qwen:7b", True), (2, "off", "ai_model", "x:1", False))
    fill(database, "steps", (11, "extract", 1))
    fill(database, "workflows", (1, "daily"))
    fill(database, "workflow_conversations", (1, 11, 1))
    fill(database, "jobs", (5, "the text"))
    production = open_production(database, RENAMED)
    with database.writing() as connection:
        assert [(a.name, a.exclusion) for a in production.actors(connection, (), ())] == [
            ("qwen", None),
            ("off", Exclusion.DISABLED),
        ]
        assert production.postings(connection, [5]) == {"5": "the text"}
        assert production.set_actor(connection, 11, 1, 2)
        assert production.workflows(connection)[0].steps[0].actor_name == "off"


def test_a_table_may_be_named_with_its_schema(database: Database) -> None:
    make_tables(database)
    schema = "main" if database.engine.dialect.name == "sqlite" else "public"
    fill(database, "actors", (1, "qwen", "ai_model", "qwen:7b", True))
    production = open_production(database, {"actors": f"{schema}.actors"})
    with database.engine.connect() as connection:
        assert [actor.name for actor in production.actors(connection, (), ())] == ["qwen"]


def refusal(database: Database, names: Mapping[str, str]) -> str:
    with pytest.raises(InputError) as refused:
        open_production(database, names)
    message = str(refused.value)
    assert "\n" not in message
    return message


def test_missing_tables_and_columns_are_named_all_at_once(database: Database) -> None:
    make_tables(database, without=frozenset({"actors.enabled", "actors.actor_type", "conversations.actor_id"}))
    message = refusal(database, {"workflows": "flows"})
    assert (
        "lacks column actors.actor_type, column actors.enabled, column conversations.actor_id, table flows;" in message
    )
    assert "BENCH_PRODUCTION_NAMES" in message


def test_a_database_without_any_table_of_the_application_is_told_of_the_demo(database: Database) -> None:
    message = refusal(database, {})
    assert "table actors, table conversations;" in message
    assert "bench demo" in message


def test_a_configured_name_that_is_missing_is_named_as_it_was_configured(database: Database) -> None:
    make_tables(database)
    message = refusal(database, {"actors": "workers", "conversations.actor_id": "worker_id"})
    assert "lacks table workers, column conversations.worker_id;" in message


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        ({"postings": "jobs"}, "table jobs"),
        ({"postings.posting_text": "body"}, "column postings.body"),
        ({"interactions.latency_ms": "took"}, "table interactions"),
    ],
)
def test_a_name_that_was_configured_for_an_optional_table_must_exist(
    database: Database, names: dict[str, str], missing: str
) -> None:
    make_tables(database)
    assert f"lacks {missing};" in refusal(database, names)


@pytest.mark.parametrize("without", ["workflows", "workflow_conversations", "workflows.workflow_name"])
def test_without_both_tables_of_workflows_there_are_none(database: Database, without: str) -> None:
    make_tables(database, without=frozenset({without}))
    fill(database, "conversations", (11, "extract", None))
    production = open_production(database, {})
    with database.engine.connect() as connection:
        assert production.workflows(connection) == []
        assert [one.name for one in production.conversations(connection)] == ["extract"]


@pytest.mark.parametrize("without", ["postings", "postings.posting_text", "prompt_templates"])
def test_optional_tables_may_be_missing(database: Database, without: str) -> None:
    make_tables(database, without=frozenset({without}))
    production = open_production(database, {})
    assert without.partition(".")[0] not in production.optional
    with database.engine.connect() as connection:
        found = production.postings(connection, [5]), production.prompt_of(connection, 11)
    assert found == ({}, None)


@pytest.mark.parametrize("name", ["actor", "actors.active", "Actors", "actors.", "conversations.enabled"])
def test_an_unknown_name_is_named_with_the_known_ones(database: Database, name: str) -> None:
    make_tables(database)
    message = refusal(database, {name: "x", "actors": "actors"})
    assert message.startswith(f"BENCH_PRODUCTION_NAMES: unknown {name}; use names from ")
    assert all(known in message for known in KNOWN_NAMES)


@pytest.mark.parametrize(
    ("made", "names", "has"),
    [
        ({}, {}, True),
        (RENAMED, RENAMED, True),
        (RENAMED, {}, False),
        ({}, RENAMED, False),
    ],
    ids=["default names", "own names", "own names not configured", "own names not there"],
)
def test_a_database_has_production_when_it_has_the_actors(
    database: Database, made: dict[str, str], names: dict[str, str], has: bool
) -> None:
    make_tables(database, made)
    assert has_production(database, names) is has


# The one column that is written


@pytest.mark.parametrize(
    ("current", "old", "new", "done"),
    [
        pytest.param(1, 1, 2, True, id="as it was read"),
        pytest.param(3, 1, 2, False, id="changed meanwhile"),
        pytest.param(None, None, 2, True, id="nobody, as it was read"),
        pytest.param(3, None, 2, False, id="somebody meanwhile"),
        pytest.param(None, 1, 2, False, id="nobody meanwhile"),
        pytest.param(1, 1, None, True, id="back to nobody"),
        pytest.param(1, 1, 1, True, id="the same again"),
        pytest.param(2, 1, 2, False, id="the new one already"),
    ],
)
def test_an_actor_is_set_only_while_the_conversation_still_has_the_old_one(
    database: Database, production: Production, current: int | None, old: int | None, new: int | None, done: bool
) -> None:
    fill(database, "conversations", (11, "extract", current), (12, "other", current))
    with database.writing() as connection:
        assert production.set_actor(connection, 11, old, new) == done
    with database.engine.connect() as connection:
        found = {c.conversation_id: c.actor_id for c in production.conversations(connection)}
    assert found == {11: new if done else current, 12: current}


def test_a_conversation_that_is_gone_is_not_set(database: Database, production: Production) -> None:
    with database.writing() as connection:
        assert not production.set_actor(connection, 404, None, 2)


def test_setting_an_actor_changes_no_other_column(database: Database, production: Production) -> None:
    fill(database, "conversations", (11, "extract", 1))
    with database.writing() as connection:
        production.set_actor(connection, 11, 1, 2)
        assert [tuple(row) for row in connection.execute(text("SELECT * FROM conversations"))] == [(11, "extract", 2)]
