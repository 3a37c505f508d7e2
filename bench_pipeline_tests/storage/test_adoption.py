"""A `benchmark_history` that the team made itself, from a recipe: adopted in place, filled by both, and read as one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, inspect, make_url, text
from sqlalchemy.pool import NullPool

from bench_pipeline.benchmark.evidence import hash_of_evidence
from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.measuring.scoreboard import ModelResult, Scoreboard, Standing, rank, speed_score
from bench_pipeline.storage.adoption import adopt
from bench_pipeline.storage.benchmarks import insert_benchmark
from bench_pipeline.storage.database import Database, open_database
from bench_pipeline.storage.history import PastBenchmark, past_benchmarks, replace_history, stored_scoreboard
from bench_pipeline.storage.production import open_production
from bench_pipeline.storage.tables import SHARED, metadata
from bench_pipeline.storage.writers.installation import Roles, install
from bench_pipeline_tests.kit.engines import ONE_ENGINE, ONLY_POSTGRESQL
from bench_pipeline_tests.kit.models import FAST
from bench_pipeline_tests.kit.production import fill_production
from bench_pipeline_tests.kit.world import World, as_role, install_roles
from bench_pipeline_tests.reporting.examples import benchmark

COLUMNS = """
    benchmark_id {key} PRIMARY KEY,
    task_type VARCHAR(50),
    model_name VARCHAR(100),
    correctness_score DECIMAL(5,2),
    avg_latency_ms INTEGER,
    speed_score DECIMAL(10,2),
    rank INTEGER,
    benchmark_date TIMESTAMP DEFAULT CURRENT_TIMESTAMP
"""
ADD = text(
    "INSERT INTO benchmark_history (task_type, model_name, correctness_score, avg_latency_ms, speed_score, rank) "
    "VALUES ('grading', :model, 100, 2110, 473.93, :rank)"
)
TREND = text(
    "SELECT benchmark_date, model_name, avg_latency_ms FROM benchmark_history "
    "WHERE task_type = 'grading' AND rank = 1 ORDER BY benchmark_date"
)
LONG_TASK, LONG_NAME = "t" * 60, "m" * 150
AT = datetime(2026, 7, 1, 12, 30, 15, 250_000, tzinfo=UTC)


def make_history(engine: Engine, **changes: str) -> None:
    """Create the recipe's table, some of its lines changed: by name, or added."""
    key = "INTEGER" if engine.dialect.name == "sqlite" else "SERIAL"
    lines = {line.split()[0]: line for line in COLUMNS.format(key=key).split(",\n")}
    with engine.begin() as connection:
        connection.execute(text(f"CREATE TABLE benchmark_history ({', '.join((lines | changes).values())})"))


def results(*names: str, latency_ms: float = 106.375) -> Scoreboard:
    """A scoreboard on which the last model failed one case of three."""
    lines = [
        ModelResult(name, Standing.QUALIFIED, 3, 3, 100.0, avg_latency_ms=latency_ms * number,
                    speed_score=speed_score(latency_ms * number))
        for number, name in enumerate(names[:-1], start=1)
    ]  # fmt: skip
    failed = ModelResult(names[-1], Standing.DISQUALIFIED, 3, 2, 2 / 3 * 100, avg_latency_ms=1.0)
    return rank([*lines, failed])


def store(database: Database, scoreboard: Scoreboard, task: str = "grading", number: int = 1) -> None:
    row = replace(benchmark(benchmark_id=f"b{number}", started_at=AT), task_type=task)
    with database.writing() as connection:
        insert_benchmark(connection, row)
        replace_history(connection, row, scoreboard, {})


def add(engine: Engine, model: str, place: int | None, date: str | None = None) -> None:
    """What another program does; without a date, it leaves that to the table."""
    with engine.begin() as connection:
        connection.execute(ADD, {"model": model, "rank": place})
        if date is not None:
            newest = "(SELECT max(benchmark_id) FROM benchmark_history)"
            change = text(f"UPDATE benchmark_history SET benchmark_date = :date WHERE benchmark_id = {newest}")  # noqa: S608
            connection.execute(change, {"date": date})


def past(database: Database) -> list[PastBenchmark]:
    with database.engine.connect() as connection:
        return past_benchmarks(connection, "grading")


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """The empty database, as its owner sees it."""
    made = create_engine(database_url, poolclass=NullPool)
    yield made
    made.dispose()


# In place


def test_adoption_keeps_the_rows_and_adds_our_columns(engine: Engine, database_url: str) -> None:
    make_history(engine, note="note TEXT")
    add(engine, "n" * 100, 1)
    add(engine, "slow", 2, "2026-01-02 03:04:05")
    every_row = text(f"SELECT {', '.join(SHARED)}, note FROM benchmark_history ORDER BY benchmark_id")  # noqa: S608
    with engine.connect() as connection:
        before = connection.execute(every_row).all()

    open_database(database_url).close()
    open_database(database_url).close()

    seen = inspect(engine)
    with engine.connect() as connection:
        assert connection.execute(every_row).all() == before
    assert {column["name"] for column in seen.get_columns("benchmark_history")} == {
        *metadata.tables["benchmark_history"].columns.keys(), "note"
    }  # fmt: skip
    indexes = {index["name"]: index["unique"] for index in seen.get_indexes("benchmark_history")}
    assert {name: bool(unique) for name, unique in indexes.items()} == {
        "ix_benchmark_history_task": False,
        "uq_benchmark_history_run": True,
    }


@pytest.mark.parametrize("view", [False, True], ids=["alone", "with a view"])
@pytest.mark.parametrize("latency_ms", [106.375, 0.001])
def test_a_scoreboard_comes_back_exactly(engine: Engine, database_url: str, view: bool, latency_ms: float) -> None:
    make_history(engine)
    if view:
        with engine.begin() as connection:
            connection.execute(text("CREATE VIEW mine AS SELECT task_type, model_name FROM benchmark_history"))
    scoreboard = results("fast", LONG_NAME, "wrong", latency_ms=latency_ms)
    with closing(open_database(database_url)) as database:
        store(database, scoreboard, LONG_TASK)
        with database.engine.connect() as connection:
            found = stored_scoreboard(connection, "b1")
            names = connection.execute(text("SELECT DISTINCT task_type, model_name FROM benchmark_history")).all()

    assert found == scoreboard
    assert hash_of_evidence(benchmark(), found) == hash_of_evidence(benchmark(), scoreboard)
    cut = view and engine.dialect.name == "postgresql"
    task, long = (LONG_TASK[:50], LONG_NAME[:100]) if cut else (LONG_TASK, LONG_NAME)
    assert sorted(tuple(row) for row in names) == [(task, "fast"), (task, long), (task, "wrong")]


def test_what_both_programs_stored_is_one_trend(engine: Engine, database_url: str) -> None:
    make_history(engine)
    add(engine, "old champion", 1, "2026-01-01 10:00:00")
    add(engine, "old second", 2, "2026-01-01 10:00:00")
    with closing(open_database(database_url)) as database:
        store(database, results("fast", "slow", "wrong"))
        add(engine, "new champion", 1, "2026-08-01 10:00:00")
        shown = past(database)
        with engine.connect() as connection:
            champions = [(row.model_name, round(row.avg_latency_ms)) for row in connection.execute(TREND)]

    assert [(one.benchmark_id, one.champion, one.runner_up, one.measured_here) for one in shown] == [
        (None, "old champion", "old second", False),
        ("b1", "fast", "slow", True),
        (None, "new champion", None, False),
    ]
    assert [(one.champion_latency_ms, one.qualified, one.models) for one in shown] == [
        (2110.0, 2, 2),
        (106.375, 2, 3),
        (2110.0, 1, 1),
    ]
    assert champions == [("old champion", 2110), ("fast", 106), ("new champion", 2110)]


@pytest.mark.parametrize("adopted", [False, True], ids=["our table", "adopted"])
def test_another_program_goes_on_inserting(engine: Engine, database_url: str, adopted: bool) -> None:
    if adopted:
        make_history(engine)
    with closing(open_database(database_url)) as database:
        add(engine, "theirs", 1)
        (one,) = past(database)

    assert (one.champion, one.champion_latency_ms, one.measured_here) == ("theirs", 2110.0, False)
    assert abs((datetime.now(UTC) - one.date).total_seconds()) < 3600


@ONE_ENGINE
def test_rows_that_say_nothing_are_left_out(engine: Engine, database_url: str) -> None:
    make_history(engine)
    add(engine, "undated", 1, "yesterday")
    add(engine, " ", 1)
    with engine.begin() as connection:
        connection.execute(text("UPDATE benchmark_history SET avg_latency_ms = 'fast', rank = 'first'"))
        connection.execute(ADD, {"model": None, "rank": 1})
    add(engine, "unranked", None, "2026-01-01T10:00:00Z")
    with closing(open_database(database_url)) as database:
        assert [(one.champion, one.models) for one in past(database)] == [(None, 1)]


@ONLY_POSTGRESQL
@pytest.mark.parametrize("kind", ["TIMESTAMP", "TIMESTAMP WITH TIME ZONE"])
def test_dates_of_both_programs_are_in_the_servers_zone(engine: Engine, database_url: str, kind: str) -> None:
    make_history(engine, benchmark_date=f"benchmark_date {kind} DEFAULT CURRENT_TIMESTAMP")
    with engine.begin() as connection:
        connection.execute(text(f"ALTER DATABASE {make_url(database_url).database} SET timezone = 'Asia/Tokyo'"))
    add(engine, "theirs", 1, "2026-07-01 21:00:00")  # 12:00 UTC
    with closing(open_database(database_url)) as database:
        store(database, results("fast", "wrong"))
        shown = [(one.champion, one.date) for one in past(database)]
        with engine.connect() as connection:
            local = connection.scalars(text("SELECT CAST(benchmark_date AS timestamp) FROM benchmark_history")).all()

    assert shown == [("theirs", datetime(2026, 7, 1, 12, tzinfo=UTC)), ("fast", AT)]
    assert set(local) == {datetime(2026, 7, 1, 21), datetime(2026, 7, 1, 21, 30, 15, 250_000)}


def test_a_promotion_rests_on_an_adopted_table_as_on_ours(world: World) -> None:
    owner = world.owner
    with owner.writing() as connection:
        connection.execute(text("DROP TABLE benchmark_history"))
    make_history(owner.engine)
    add(owner.engine, "slow", 1)
    with owner.writing() as connection:
        adopt(connection)
    install_roles(owner, world.url, {})

    world.promoted()

    assert world.holds() == [FAST] * 3


# What is refused

REFUSED: dict[str, dict[str, str]] = {
    "it has no column rank": {"rank": "place INTEGER"},
    "it refuses rows like ours: .*rank.*": {"rank": "rank INTEGER NOT NULL"},
    "it refuses rows like ours: .*(FOREIGN|foreign).*": {
        "model_name": "model_name VARCHAR(100) REFERENCES models (name)"
    },
    "it refuses rows like ours: .*model_name.*": {"once": "UNIQUE (task_type, model_name)"},
    "it refuses rows like ours: .*fast_enough.*": {"limit": "CONSTRAINT fast_enough CHECK (avg_latency_ms < 9999)"},
    "it refuses rows like ours: .*speed_score.*": {
        "speed_score": "speed_score REAL GENERATED ALWAYS AS (1000000.0 / avg_latency_ms) STORED"
    },
    "it refuses rows like ours: .*author.*": {"author": "author TEXT NOT NULL"},
    "rank is TEXT, not integer": {"rank": "rank TEXT"},
    "avg_latency_ms is TEXT, not double precision": {"avg_latency_ms": "avg_latency_ms TEXT"},
    "model_name is INTEGER, not text": {"model_name": "model_name INTEGER"},
    "benchmark_date is DATE, not a timestamp": {"benchmark_date": "benchmark_date DATE"},
    "digest is the name of a column of ours": {"digest": "digest TEXT"},
}
REFUSED_BY_POSTGRESQL: dict[str, dict[str, str]] = {
    "benchmark_id is not a whole number that counts up": {"benchmark_id": "benchmark_id INTEGER PRIMARY KEY"},
    r"correctness_score is NUMERIC\(4, 2\), not double precision": {
        "correctness_score": "correctness_score NUMERIC(4,2)"
    },
    "avg_latency_ms is SMALLINT, not double precision": {"avg_latency_ms": "avg_latency_ms SMALLINT"},
    "task_type is .*, not text": {"task_type": "task_type kind"},
}
REFUSED_BY_SQLITE: dict[str, dict[str, str]] = {
    "benchmark_id is not an INTEGER PRIMARY KEY": {"benchmark_id": "benchmark_id SERIAL PRIMARY KEY"},
}
ACCEPTED = {
    "rank": "rank SMALLINT",
    "avg_latency_ms": "avg_latency_ms REAL",
    "speed_score": "speed_score INTEGER",
    "model_name": "model_name TEXT NOT NULL",
    "task_type": "task_type CHAR(20)",
    "author": "author TEXT NOT NULL DEFAULT 'me'",
}


def test_a_table_of_another_shape_is_refused_with_what_differs(engine: Engine, database_url: str) -> None:
    is_sqlite = engine.dialect.name == "sqlite"
    drop = text("DROP TABLE benchmark_history")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE models (name VARCHAR(100) PRIMARY KEY)"))
        if not is_sqlite:
            connection.execute(text("CREATE TYPE kind AS ENUM ('grading')"))
    for says, changes in (REFUSED | (REFUSED_BY_SQLITE if is_sqlite else REFUSED_BY_POSTGRESQL)).items():
        make_history(engine, **changes)
        with pytest.raises(InputError, match=f"cannot adopt: {says}; change this, or rename it: ALTER TABLE"):
            open_database(database_url)
        with engine.begin() as connection:
            assert set(inspect(connection).get_table_names()) == {"benchmark_history", "models"}
            connection.execute(drop)


def test_other_types_that_hold_the_same_are_adopted(engine: Engine, database_url: str) -> None:
    make_history(engine, **ACCEPTED)
    add(engine, "theirs", 1, "2026-01-01 10:00:00")
    with closing(open_database(database_url)) as database:
        store(database, results("fast", "wrong"))
        assert [one.champion for one in past(database)] == ["theirs", "fast"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("options", ["STRICT", "WITHOUT ROWID"])
def test_a_special_table_of_sqlite_is_refused(engine: Engine, database_url: str, options: str) -> None:
    columns = ", ".join(f"{name} INTEGER{' PRIMARY KEY' if name == 'benchmark_id' else ''}" for name in SHARED)
    with engine.begin() as connection:
        connection.execute(text(f"CREATE TABLE benchmark_history ({columns}) {options}"))
    with pytest.raises(InputError, match="cannot adopt: it is not an ordinary table"):
        open_database(database_url)


def test_a_view_of_that_name_is_refused(engine: Engine, database_url: str) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE VIEW benchmark_history AS SELECT 1 AS benchmark_id"))
    with pytest.raises(InputError, match="cannot adopt: it is not an ordinary table"):
        open_database(database_url)


# Roles of PostgreSQL


@ONLY_POSTGRESQL
@pytest.mark.parametrize("key", ["DEFAULT nextval('\"Old numbers\"')", "GENERATED ALWAYS AS IDENTITY"])
def test_the_recorder_adds_rows_however_they_are_numbered(engine: Engine, database_url: str, key: str) -> None:
    with engine.begin() as connection:
        connection.execute(text('CREATE SEQUENCE "Old numbers"'))
    make_history(engine, benchmark_id=f"benchmark_id INTEGER PRIMARY KEY {key}")
    fill_production(database_url)
    with closing(open_database(database_url)) as owner:
        install(owner, open_production(owner, {}), Roles("bench_recorder", "bench_promoter"), {})
    with closing(open_database(as_role(database_url, "bench_recorder"))) as recorder:
        store(recorder, results("fast", "wrong"))
        assert [one.champion for one in past(recorder)] == ["fast"]


@ONLY_POSTGRESQL
def test_another_owners_table_is_refused_with_the_missing_right(engine: Engine, database_url: str) -> None:
    make_history(engine)
    with engine.begin() as connection:
        for statement in (
            "DO $$ BEGIN CREATE ROLE an_owner LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$",
            "GRANT CREATE ON SCHEMA public TO an_owner",
        ):
            connection.execute(text(statement))
    with pytest.raises(InputError, match="benchmark_history that belongs to postgres, and only its owner may add"):
        open_database(as_role(database_url, "an_owner"))


@ONLY_POSTGRESQL
def test_a_table_of_a_schema_that_is_not_ours_is_left_alone(engine: Engine, database_url: str) -> None:
    make_history(engine)
    with engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA ours"))
        connection.execute(text(f"ALTER DATABASE {make_url(database_url).database} SET search_path = ours, public"))

    open_database(database_url).close()

    seen = inspect(engine)
    assert len(seen.get_columns("benchmark_history", "public")) == len(SHARED)
    assert seen.has_table("benchmark_history", "ours")


# By a statement


def test_the_documented_statement_imports_a_table_that_was_renamed(engine: Engine, database_url: str) -> None:
    guide = (Path(__file__).parents[2] / "docs/how-to/your-own-database.md").read_text(encoding="utf-8")
    statement = next(block for block in guide.split("```sql\n") if block.startswith("INSERT INTO benchmark_history"))
    make_history(engine)
    add(engine, "slow", 2, "2026-01-01 10:00:00")
    add(engine, "fast", 1, "2026-01-01 10:00:00")
    add(engine, "older", 1, "2025-12-01 10:00:00")
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE benchmark_history RENAME TO earlier_history"))
    with closing(open_database(database_url)) as database:
        with engine.begin() as connection:
            connection.execute(text(statement.partition("```")[0]))
        shown = [(one.champion, one.runner_up, one.measured_here) for one in past(database)]

    assert shown == [("older", None, False), ("fast", "slow", False)]
