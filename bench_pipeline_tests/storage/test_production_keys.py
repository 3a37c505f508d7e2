"""Ids of any type: what a column can hold, what a person may type for it, and how it comes back."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import REAL, Boolean, DateTime, Integer, LargeBinary, text
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.types import CHAR, NullType, TypeEngine

from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.models.ids import Key
from bench_pipeline.storage.database import Database
from bench_pipeline.storage.production import open_production
from bench_pipeline.storage.production_keys import ProductionKey, key_type
from bench_pipeline_tests.kit.engines import ONE_ENGINE, ONLY_POSTGRESQL

ID = "abcdef00-e89b-12d3-a456-426614174000"
ODD = "a/b\\c 'd' \"e\"\n%f" + "g" * 280


def key_of(native: TypeEngine[Any]) -> ProductionKey:
    found = key_type(native, "postgresql")
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("native", "typed", "key"),
    [
        (pg.INTEGER(), 3336, 3336),
        (pg.INTEGER(), "3336", 3336),
        (pg.INTEGER(), "-1", -1),
        (pg.INTEGER(), "03336", 3336),
        (pg.INTEGER(), 2**31, None),
        (pg.SMALLINT(), 2**15, None),
        (pg.BIGINT(), 2**63 - 1, 2**63 - 1),
        (pg.BIGINT(), 2**63, None),
        (pg.INTEGER(), "three", None),
        (pg.INTEGER(), "3.0", None),
        (pg.INTEGER(), "٣", None),
        (pg.INTEGER(), "9" * 5000, None),
        (pg.NUMERIC(), 10**40, 10**40),
        (pg.NUMERIC(), "3.0", 3),
        (pg.NUMERIC(), "3.5", "3.5"),
        (pg.NUMERIC(), "NaN", None),
        (pg.NUMERIC(), "1e999999", None),
        (pg.OID(), 16384, 16384),
        (pg.UUID(), ID.upper(), ID),
        (pg.UUID(), f"{{{ID}}}", ID),
        (pg.UUID(), ID.replace("-", ""), ID),
        (pg.UUID(), "abc", None),
        (pg.UUID(), 3336, None),
        (pg.TEXT(), 3336, "3336"),
        (pg.TEXT(), ODD, ODD),
        (pg.TEXT(), "a\0b", None),
        (pg.TEXT(), "\ud800", None),
        (CHAR(8), "ab  ", "ab"),
        (pg.CITEXT(), "Ab", "Ab"),
        (pg.ENUM("draft", "grade", name="step"), "grade", "grade"),
        (pg.ENUM("draft", "grade", name="step"), "other", None),
        (pg.DOMAIN("own_id", pg.UUID()), ID.upper(), ID),
    ],
)
def test_what_a_person_typed_becomes_an_id_of_the_columns_type_or_none(
    native: TypeEngine[Any], typed: Key, key: Key | None
) -> None:
    found = key_of(native).key(typed)
    assert (found, type(found)) == (key, type(key))


@pytest.mark.parametrize(
    ("native", "stored", "key"),
    [
        (pg.INTEGER(), 7, 7),
        (pg.NUMERIC(), Decimal("7.00"), 7),
        (pg.NUMERIC(), Decimal("7.25"), "7.25"),
        (pg.NUMERIC(), Decimal(10) ** 40, 10**40),
        (pg.UUID(), uuid.UUID(ID), ID),
        (CHAR(8), "ab      ", "ab"),
        (pg.TEXT(), "ab ", "ab "),
        (NullType(), 7.0, 7),
    ],
)
def test_an_id_is_read_as_a_whole_number_or_a_text(native: TypeEngine[Any], stored: object, key: Key) -> None:
    found = ProductionKey(native, "any", "x").process_result_value(stored, pg.dialect())  # type: ignore[no-untyped-call]
    assert (found, type(found)) == (key, type(key))


@pytest.mark.parametrize(
    "native",
    [
        pg.BYTEA(), pg.JSON(), pg.JSONB(), pg.DOUBLE_PRECISION(), REAL(), pg.TIMESTAMP(), DateTime(), pg.DATE(),
        pg.TIME(), Boolean(), pg.BOOLEAN(), pg.ARRAY(Integer), pg.INET(), pg.INTERVAL(), pg.BIT(), NullType(),
        LargeBinary(), pg.DOMAIN("moment", pg.TIMESTAMP()),
    ],
    ids=repr,
)  # fmt: skip
def test_other_types_cannot_hold_ids(native: TypeEngine[Any]) -> None:
    assert key_type(native, "postgresql") is None


NATIVE = [pg.INTEGER(), pg.BIGINT(), pg.NUMERIC(), pg.UUID(), pg.TEXT(), CHAR(20), pg.ENUM("a", "b", name="x")]


@given(st.sampled_from(NATIVE), st.integers() | st.text(min_size=1) | st.uuids().map(str))
def test_an_id_that_was_resolved_stays_the_same(native: TypeEngine[Any], typed: Key) -> None:
    key = key_of(native).key(typed)
    if key is not None and key != "":
        assert key_of(native).key(key) == key


# In a database

TYPES: list[tuple[str, Key, Key]] = [
    ("integer", 1, 2),
    ("bigint", 2**40, 2),
    ("numeric", 1, 10**30),
    ("numeric(10,2)", 1, 2),
    ("uuid", ID, str(uuid.UUID(int=7))),
    ("text", ODD, "7"),
    ("varchar(300)", ODD[:300], "b"),
    ("char(12)", "first", "second"),
    ("citext", "First", "second"),
    ("enum_of_ids", "first", "second"),
    ("domain_of_ids", ID, str(uuid.UUID(int=7))),
]


def fill(database: Database, kind: str, one: Key, two: Key) -> None:
    key = "id " + kind if kind else "id"
    with database.writing() as connection:
        for table in ("interactions", "postings", "workflow_conversations", "workflows", "conversations", "actors"):
            connection.execute(text(f"DROP TABLE IF EXISTS {table}"))
        for statement in (
            f"CREATE TABLE actors ({key.replace('id', 'actor_id', 1)}, actor_name text, actor_type char(10), "
            "execution_path char(40), enabled boolean)",
            f"CREATE TABLE conversations ({key.replace('id', 'conversation_id', 1)}, conversation_name text, "
            f"{key.replace('id', 'actor_id', 1)})",
            f"CREATE TABLE workflows ({key.replace('id', 'workflow_id', 1)}, workflow_name text)",
            f"CREATE TABLE workflow_conversations ({key.replace('id', 'workflow_id', 1)}, "
            f"{key.replace('id', 'conversation_id', 1)}, execution_order integer)",
            f"CREATE TABLE postings ({key.replace('id', 'posting_id', 1)}, posting_text text)",
        ):
            connection.execute(text(statement))
        values = {"one": one, "two": two}
        as_key = {name: f"CAST(:{name} AS {kind})" if kind and database.engine.name != "sqlite" else f":{name}"
                  for name in values}  # fmt: skip
        one_, two_ = as_key["one"], as_key["two"]
        rows = {
            "actors": f"({one_}, 'qwen', 'ai_model', 'qwen:7b', true), ({two_}, 'phi', 'ai_model', 'phi:4b', false)",
            "conversations": f"({one_}, 'extract', {one_}), ({two_}, 'grade', NULL)",
            "workflows": f"({one_}, 'daily')",
            "workflow_conversations": f"({one_}, {two_}, 1), ({one_}, {one_}, 2)",
            "postings": f"({one_}, 'the text')",
        }
        for table, values_ in rows.items():
            statement = f"INSERT INTO {table} VALUES {values_}"  # noqa: S608 - a table of this test
            used = {name: value for name, value in values.items() if f":{name}" in statement}
            connection.execute(text(statement), used)


def check(database: Database, one: Key, two: Key) -> None:
    """What production does with the ids of every table, under this type."""
    production = open_production(database, {})
    absent: Key = 4 if isinstance(one, int) else str(uuid.UUID(int=4))
    with database.writing() as connection:
        listed = {a.name: (a.actor_id, a.execution_path, a.enabled) for a in production.actors(connection, (), ())}
        assert listed == {"qwen": (one, "qwen:7b", True), "phi": (two, "phi:4b", False)}
        assert {c.conversation_id: c.actor_name for c in production.conversations(connection)} == {
            one: "qwen",
            two: None,
        }
        assert [c.conversation_id for c in production.conversations(connection, [two, absent])] == [two]
        (workflow,) = production.workflows(connection)
        assert (workflow.workflow_id, [step.conversation_id for step in workflow.steps]) == (one, [two, one])
        assert production.postings(connection, [one, absent]) == {str(one): "the text"}
        now = production.actors_now(connection, [one, two, absent])
        assert {key: (actor.is_model, actor.enabled) for key, actor in now.items()} == {
            one: (True, True),
            two: (True, False),
        }
        assert production.holders(connection, [one, absent]) == {one: [one]}
        assert production.set_actor(connection, one, one, two) == 1
        assert production.set_actor(connection, one, one, two) == 0
        assert production.set_actor(connection, two, None, one) == 1
        assert production.holders(connection, [one, two]) == {one: [two], two: [one]}
        connection.rollback()
    assert production.conversation_key(str(one)) == one


@ONLY_POSTGRESQL
def test_ids_of_every_type_work_on_postgresql(database: Database) -> None:
    with database.writing() as connection:
        has_citext = connection.scalar(text("SELECT count(*) FROM pg_available_extensions WHERE name = 'citext'"))
        if has_citext:
            connection.execute(text("CREATE EXTENSION citext"))
        connection.execute(text("CREATE TYPE enum_of_ids AS ENUM ('first', 'second')"))
        connection.execute(text("CREATE DOMAIN domain_of_ids AS uuid"))
    for kind, one, two in TYPES:
        if kind != "citext" or has_citext:
            fill(database, kind, one, two)
            check(database, one, two)


@ONE_ENGINE
@pytest.mark.parametrize(
    ("kind", "one", "two"),
    [
        ("INTEGER", 1, 2),
        ("UUID", ID, str(uuid.UUID(int=7))),
        ("VARCHAR(36)", ID, "2"),
        ("TEXT", ODD, "007"),
        ("", 1, 2),
        ("", ODD, "007"),
        ("BIGINT UNSIGNED", 2**62, 2),
        ("NUMERIC(20)", 1, 2),
    ],
)
def test_ids_of_every_declared_type_work_on_sqlite(database: Database, kind: str, one: Key, two: Key) -> None:
    fill(database, kind, one, two)
    check(database, one, two)


@ONLY_POSTGRESQL
def test_an_id_that_its_column_cannot_hold_stands_for_nothing(database: Database) -> None:
    fill(database, "integer", 1, 2)
    production = open_production(database, {})
    with database.writing() as connection:
        for impossible in ("abc", 2**40, 10**40):
            assert production.conversations(connection, [impossible]) == []
            assert production.set_actor(connection, 2, impossible, 1) == 0
            assert production.set_actor(connection, 1, 1, impossible) == 0
        with pytest.raises(InputError, match=r"'abc' is not an id of a conversation: .* INTEGER; write a whole number"):
            production.conversation_key("abc")


@ONLY_POSTGRESQL
@pytest.mark.parametrize("kind", ["bytea", "json", "double precision", "timestamptz", "boolean", "integer[]", "xml"])
def test_a_column_that_cannot_hold_ids_is_refused_with_its_type_and_the_remedy(database: Database, kind: str) -> None:
    fill(database, "integer", 1, 2)
    with database.writing() as connection:
        connection.execute(text(f"ALTER TABLE conversations ALTER COLUMN actor_id TYPE {kind} USING NULL::{kind}"))
    with pytest.raises(InputError, match=r"table conversations, column actor_id is .*, which cannot be an id; make a"):
        open_production(database, {})


@ONLY_POSTGRESQL
def test_a_reference_of_another_type_than_its_id_is_refused_with_both_types(database: Database) -> None:
    fill(database, "integer", 1, 2)
    with database.writing() as connection:
        connection.execute(text("ALTER TABLE conversations ALTER COLUMN actor_id TYPE text"))
    with pytest.raises(InputError, match="actor_id is TEXT, but table actors, column actor_id is INTEGER"):
        open_production(database, {})


@ONLY_POSTGRESQL
def test_a_key_is_found_by_the_index_of_its_column(database: Database) -> None:
    for kind, one, two in TYPES[:7]:
        fill(database, kind, one, two)
        production = open_production(database, {})
        table = production.table("conversations")
        query = table.select().where(table.c.conversation_id.in_([one, two]))
        with database.writing() as connection:
            connection.execute(text("CREATE INDEX by_id ON conversations (conversation_id)"))
            connection.execute(text("SET LOCAL enable_seqscan = off"))
            compiled = str(query.compile(connection, compile_kwargs={"literal_binds": True})).replace("%%", "%")
            plan = connection.exec_driver_sql(f"EXPLAIN {compiled}".replace("%", "%%"), ()).scalars().all()
        assert any("Index Cond" in line for line in plan), (kind, plan)
