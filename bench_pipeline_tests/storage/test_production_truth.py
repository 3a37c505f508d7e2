"""Whether an actor is enabled and is a model, by the stated rule, whatever the columns hold."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from sqlalchemy import text

from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.mapping.names import ColumnName, Names
from bench_pipeline.storage.database import Database
from bench_pipeline.storage.production import Production, enabled_sql, model_sql, open_production
from bench_pipeline_tests.kit.engines import ONE_ENGINE, ONLY_POSTGRESQL

TEXTS = {
    **dict.fromkeys(["Y", "y", "yes", " YES ", "t", "T", "true", "True", "1", "on", "ON  "], True),
    **dict.fromkeys(["N", "n", "no", " No", "f", "false", "FALSE", "0", "off"], False),
    None: False,
}
NUMBERS = {1: True, 0: False, None: False}
BOOLEANS = {True: True, False: False, None: False}


def make(database: Database, enabled: str, values: Mapping[object, object], kind: str = "text") -> None:
    with database.writing() as connection:
        connection.execute(text("DROP TABLE IF EXISTS actors"))
        connection.execute(text("CREATE TABLE IF NOT EXISTS conversations (conversation_id integer, "
                                "conversation_name text, actor_id integer)"))  # fmt: skip
        connection.execute(text(f"CREATE TABLE actors (actor_id integer, actor_name text, actor_type {kind}, "
                                f"execution_path text, enabled {enabled})"))  # fmt: skip
        as_type = "CAST(:value AS status_of_actor)" if enabled == "status_of_actor" else ":value"
        for number, value in enumerate(values):
            row = f"INSERT INTO actors VALUES (:number, 'a', 'ai_model', 'x:1', {as_type})"  # noqa: S608 - a type of this test
            connection.execute(text(row), {"number": number, "value": value})


def enabled(database: Database, production: Production, count: int) -> list[bool]:
    """The truth of every actor, which must be the same for each reader and in the function's SQL."""
    with database.engine.connect() as connection:
        listed = [actor.enabled for actor in production.actors(connection, (), ())]
        now = production.actors_now(connection, range(count))
        assert [now[number].enabled for number in range(count)] == listed
        assert production.enabled_faults(connection) == []
        if database.engine.dialect.name == "postgresql":
            query = f"SELECT {enabled_sql(production)}, {model_sql(production)} FROM actors a ORDER BY actor_id"  # noqa: S608
            rows = connection.exec_driver_sql(query.replace("%", "%%"), ()).all()
            assert [tuple(row) for row in rows] == [(truth, True) for truth in listed]
    return listed


@ONLY_POSTGRESQL
def test_every_type_of_enabled_follows_the_rule_on_postgresql(database: Database) -> None:
    cases: list[tuple[str, Mapping[object, bool]]] = [
        ("boolean", BOOLEANS), ("smallint", NUMBERS), ("numeric(3,2)", NUMBERS), ("text", TEXTS), ("char(8)", TEXTS),
        ("varchar(20)", TEXTS),
    ]  # fmt: skip
    for kind, values in cases:
        make(database, kind, values)
        assert enabled(database, open_production(database, {}), len(values)) == list(values.values()), kind


@ONE_ENGINE
@pytest.mark.parametrize("kind", ["BOOLEAN", "INTEGER", "TEXT", "", "REAL"])
def test_every_type_of_enabled_follows_the_rule_on_sqlite(database: Database, kind: str) -> None:
    values = TEXTS if kind in ("BOOLEAN", "TEXT", "") else NUMBERS
    make(database, kind, values)
    if kind == "REAL":
        with pytest.raises(InputError, match="does not say whether an actor is enabled"):
            open_production(database, {})
        return
    assert enabled(database, open_production(database, {}), len(values)) == list(values.values())


@pytest.mark.parametrize(
    ("kind", "values", "wrong"),
    [
        ("text", {"Y": None, "maybe": None, "": None}, ["'maybe'", "''"]),
        ("integer", {1: None, 2: None, -1: None}, ["'2'", "'-1'"]),
        ("varchar(9)", {"active": None, "no": None}, ["'active'"]),
    ],
)
def test_a_value_outside_the_rule_is_refused_with_actor_column_and_value(
    database: Database, kind: str, values: Mapping[object, None], wrong: list[str]
) -> None:
    make(database, kind, values)
    production = open_production(database, {})
    with database.engine.connect() as connection:
        found = production.enabled_faults(connection)
        with pytest.raises(InputError) as refused:
            production.actors(connection, (), ())
    assert str(refused.value) == "\n".join(found)
    assert [line.partition(" does not say")[0].rpartition(": ")[2] for line in found] == wrong
    assert all(line.startswith("table actors, column enabled, actor ") for line in found)


@ONLY_POSTGRESQL
@pytest.mark.parametrize("kind", ["timestamptz", "json", "bytea", "double precision", "boolean[]", "bit(1)", "uuid"])
def test_a_type_that_cannot_say_it_is_refused_with_the_type_and_the_remedy(database: Database, kind: str) -> None:
    make(database, kind, {})
    with pytest.raises(InputError, match=r"^table actors, column enabled is .*\{\"actors.enabled\": \{\"column\""):
        open_production(database, {})


@ONLY_POSTGRESQL
@pytest.mark.parametrize(
    ("kind", "true", "values"),
    [
        ("text", ["active", "it's"], {"active": True, "it's": True, " active ": True, "Active": False, None: False}),
        ("status_of_actor", ["active"], {"active": True, "retired": False, None: False}),
        ("integer", [2, 3], {1: False, 2: True, 3: True, None: False}),
        ("boolean", [False], {True: False, False: True, None: False}),
    ],
)
def test_the_values_that_count_as_true_can_be_named(
    database: Database, kind: str, true: list[str | int | bool], values: Mapping[object, bool]
) -> None:
    with database.writing() as connection:
        connection.execute(text("CREATE TYPE status_of_actor AS ENUM ('active', 'retired', 'Active')"))
    make(database, kind, values)
    names: Names = {"actors.enabled": ColumnName(column="enabled", true_values=tuple(true))}
    assert enabled(database, open_production(database, names), len(values)) == list(values.values())


@pytest.mark.parametrize(
    ("kind", "types", "stored", "is_model"),
    [
        ("text", ["ai_model"], "ai_model", True),
        ("text", ["ai_model"], "script", False),
        ("text", ["llm", "slm"], "slm", True),
        ("text", ["llm", "slm"], "ai_model", False),
        ("char(20)", ["ai_model"], "ai_model", True),
        ("text", ["ai_model"], "ai_model  ", True),
        ("text", ["ai_model  "], "ai_model", True),
        ("text", ["ai_model"], None, False),
        ("text", ["it's"], "it's", True),
    ],
)
def test_an_actor_is_a_model_by_its_type_without_the_blanks_at_its_end(
    database: Database, kind: str, types: list[str], stored: str | None, is_model: bool
) -> None:
    make(database, "boolean", {True: None}, kind)
    with database.writing() as connection:
        connection.execute(text("UPDATE actors SET actor_type = :kind"), {"kind": stored})
        connection.execute(text("INSERT INTO conversations VALUES (1, 'grade', 0)"))
    production = open_production(database, {}, types)
    with database.engine.connect() as connection:
        assert (production.actors(connection, (), ())[0].exclusion is None) is is_model
        assert production.conversations(connection)[0].is_model is is_model
        assert production.actors_now(connection, [0])[0].is_model is is_model
