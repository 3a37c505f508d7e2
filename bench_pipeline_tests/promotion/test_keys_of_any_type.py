"""Ids of every type go through a benchmark, a promotion, a rollback and a failover, and come out with their type."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jinja2 import Environment
from sqlalchemy import Connection, TextClause, create_engine, text

from bench_pipeline.domain.hashing import canonical_json
from bench_pipeline.domain.models.ids import Key, key_of, key_text
from bench_pipeline.storage import writers
from bench_pipeline.storage.production import open_production
from bench_pipeline_tests.kit.models import ACTORS, FAST, SLOW
from bench_pipeline_tests.kit.production import PRODUCTION
from bench_pipeline_tests.kit.shell import Typed
from bench_pipeline_tests.kit.tasks import (
    EXTRACT,
    FORMAT,
    GRADE_A,
    GRADE_B,
    REGRADE,
    SERVED,
    TEMPLATE,
    task_value,
    write_task,
)
from bench_pipeline_tests.kit.world import World, install_roles

KEYS = {
    "actors": ("actor_id",),
    "conversations": ("conversation_id", "actor_id"),
    "workflows": ("workflow_id",),
    "workflow_conversations": ("workflow_id", "conversation_id"),
    "prompt_templates": ("conversation_id",),
    "postings": ("posting_id",),
    "interactions": ("interaction_id", "conversation_id", "actor_id", "posting_id"),
}
ODD = {
    GRADE_A: "3336",
    GRADE_B: 'the "second" of O\'Brien\\n, 50 %\n{conversation}',
    REGRADE: "ü😀/" * 75,
    FAST: "-7",
    SLOW: '"slow"',
}


@dataclass(frozen=True)
class Kind:
    """A type of the key columns, and how a number of the sample database becomes an id of it: in SQL and in Python."""

    type: str
    using: str
    key: Callable[[int], Key]
    typed: Callable[[Key], Key] = lambda key: key
    """The id as a person writes it."""


def uuid_of(number: int) -> Key:
    return f"abcdef00-0000-4000-8000-{number:012}"


ODD_TEXTS = "texts that look like numbers, and others"
KINDS = {
    "uuid, typed in capitals": Kind(
        "uuid",
        "('abcdef00-0000-4000-8000-' || lpad({0}::text, 12, '0'))::uuid",
        uuid_of,
        lambda key: str(key).upper(),
    ),
    ODD_TEXTS: Kind("text", "{0}::text", lambda number: ODD.get(number, str(number))),
    "numeric, typed as a text": Kind("numeric", "{0}::numeric", lambda number: number, str),
    "texts of a fixed length": Kind("character(12)", "'k' || {0}", lambda number: f"k{number}"),
}


def give_keys(world: World, kind: Kind) -> World:
    """Let production have ids of this type, and install again."""
    is_sqlite = world.promoter_url is None
    for table, columns in KEYS.items():
        world.change(*(in_sqlite(table, columns) if is_sqlite else in_postgresql(table, columns, kind)))
        for column in columns if kind.type == "text" else ():
            change = text(f"UPDATE {table} SET {column} = :key WHERE {column} = :old")  # noqa: S608 - of this module
            numbers = ACTORS if column == "actor_id" else range(EXTRACT, FORMAT + 1)
            world.change(*(change.bindparams(key=kind.key(number), old=str(number)) for number in numbers))
    install_roles(world.owner, world.url, {})
    return replace(world, production=open_production(world.database, {}))


def in_postgresql(table: str, columns: Iterable[str], kind: Kind) -> Iterator[TextClause]:
    for column in columns:
        using = kind.using.format(column)
        yield text(f"ALTER TABLE {table} ALTER {column} DROP DEFAULT, ALTER {column} TYPE {kind.type} USING {using}")


def in_sqlite(table: str, columns: Iterable[str]) -> Iterator[TextClause]:
    """A column of SQLite has its type for ever, so the table is made again, with texts."""
    names = (
        f"CAST({name} AS TEXT) AS {name}" if name in columns else f'"{name}"'
        for name in PRODUCTION.tables[table].c.keys()  # noqa: SIM118 - the names, not the columns
    )
    yield text(f"CREATE TABLE made_again AS SELECT {', '.join(names)} FROM {table}")  # noqa: S608 - of this module
    yield text(f"DROP TABLE {table}")
    yield text(f"ALTER TABLE made_again RENAME TO {table}")


ON_POSTGRESQL = [pytest.param("postgres", name, id=name, marks=pytest.mark.postgres) for name in KINDS]
ON_SQLITE = pytest.param("sqlite", ODD_TEXTS, id="texts in SQLite")


@pytest.mark.parametrize(("database_url", "name"), [*ON_POSTGRESQL, ON_SQLITE], indirect=["database_url"])
def test_production_is_changed_and_changed_back_by_ids_of_this_type(world: World, typed: Typed, name: str) -> None:
    kind = KINDS[name]
    served = [kind.key(number) for number in SERVED]
    fast, slow, first = kind.key(FAST), kind.key(SLOW), kind.key(GRADE_A)
    list_conversations(world, [kind.typed(key) for key in served], {"auto": []})
    world = give_keys(world, kind)

    def bench(*arguments: object) -> object:
        done = typed(*map(str, arguments), "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    world.ranked("fast", "slow")
    shown = [bench("plan", "--task", "grading")]
    waits = typed("promote", "--task", "grading")
    (plan_hash,) = re.findall(r"bench approve (\w+)", waits.stderr)
    shown += [bench("approve", plan_hash), bench("promote", "--plan", plan_hash)]
    assert held_by(world, served) == [fast] * 3
    shown.append(bench("rollback", 1, "--no-bar"))
    assert held_by(world, served) == [slow] * 3
    shown += [bench("rollback", 2), bench("failover", kind.typed(first))]
    assert held_by(world, served) == [slow, fast, fast]
    shown += [bench("log"), bench("blame", kind.typed(first))]
    assert bench("docs") == {"documents": []}
    shown.append(json.loads(Path("production/champions.json").read_text(encoding="utf-8")))

    for document in shown:
        assert set(values_of(document, "conversation_id")) <= set(served)
        assert set(values_of(document, "actor_id")) <= {fast, slow}
    assert list(values_of(shown[-1], "conversation_id")) == served


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_job_of_dagster_promotes_by_odd_texts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench_pipeline_tests.kit.pipeline import open_pipeline  # Dagster takes a second to import

    kind = KINDS[ODD_TEXTS]
    served = [kind.key(number) for number in SERVED]
    list_conversations(world, served, {"auto": served})
    world = give_keys(world, kind)
    with open_pipeline(world, monkeypatch) as pipeline:
        pipeline.run()
    assert held_by(world, served) == [kind.key(FAST)] * 3


def list_conversations(world: World, typed: list[Key], promotion: dict[str, list[Key]]) -> None:
    """Let the task serve these conversations."""
    prompt = {"template": TEMPLATE}
    task = task_value() | {"conversations": typed, "prompt": prompt, "promotion": promotion}
    write_task(world.folder / "testcases", task=task)


def held_by(world: World, served: list[Key]) -> list[Key | None]:
    """The actors of these conversations."""
    with world.database.engine.connect() as connection:
        found = {one.conversation_id: one.actor_id for one in world.production.conversations(connection)}
    return [found[key] for key in served]


def values_of(document: object, name: str) -> Iterator[object]:
    """The values, other than null, of all fields of a document whose names end with this one."""
    if isinstance(document, list):
        for one in document:
            yield from values_of(one, name)
    elif isinstance(document, dict):
        for key, value in document.items():
            if key.endswith(name) and value is not None:
                yield value
            yield from values_of(value, name)


# As the function stores them


_SOURCE = (Path(writers.__file__).parent / "apply.sql").read_text(encoding="utf-8")
ODD_KEYS = [
    *(0, 7, -7, 10**40),
    *("0", "-0", "007", "7 ", " 7", "+7", "1e3", "1.0", "٣", "NaN", "null", "true"),
    *(
        '"',
        '""',
        '"7"',
        '"a',
        'a"',
        "'",
        "O''Brien",
        "\\",
        '"\\',
        '"\\"',
        "%s",
        ":key",
        "{{ key }}",
        "$1",
        "[1]",
        '{"a": 1}',
    ),
    *(" ", "\n", "7\n", '"\n"', "\t", "\x7f", "ü", '"ü', "😀", '"😀"', "\u2028", "ab" * 150, '"' * 300),
]
KEY = st.one_of(st.integers(), st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))


def by_macro(name: str, value: str) -> str:
    """The SQL that a macro of the function's source makes."""
    (macro,) = re.findall(rf"{{%- macro {name}\(.*?endmacro -%}}", _SOURCE, re.DOTALL)
    made: str = Environment(autoescape=False).from_string(f"{macro}{{{{ {name}('{value}') }}}}").render()  # noqa: S701
    return made


@pytest.fixture(scope="module")
def server(postgres: str) -> Iterator[Connection]:
    engine = create_engine(postgres)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@pytest.mark.postgres
@given(st.lists(KEY, min_size=1))
@example(ODD_KEYS)
@settings(max_examples=50)
def test_a_key_of_a_plan_is_stored_alike_and_shown_again_as_it_was(server: Connection, keys: list[Key]) -> None:
    place = "json_array_elements(CAST(:keys AS json)) AS x(v)"
    stored = text(f"SELECT {by_macro('key', 'x.v')} FROM {place}")  # noqa: S608
    assert list(server.scalars(stored, {"keys": canonical_json(keys)})) == list(map(key_text, keys))

    place = "unnest(CAST(:texts AS text[])) AS x(k)"
    shown = text(f"SELECT json_agg({by_macro('key_json', 'x.k')}) FROM {place}")  # noqa: S608
    assert server.scalar(shown, {"texts": list(map(key_text, keys))}) == keys
    assert [key_of(key_text(key)) for key in keys] == keys
