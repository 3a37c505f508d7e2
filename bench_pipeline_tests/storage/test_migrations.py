"""What an older version stored is still there after the migration, in the shape of now."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import Column, Engine, create_engine, func, inspect, literal, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from bench_pipeline.domain.promoting.changes import Promotion
from bench_pipeline.storage.database import open_database
from bench_pipeline.storage.promotions import all_promotions, last_validation
from bench_pipeline.storage.schema import upgrade
from bench_pipeline.storage.tables import (
    AUDIT,
    benchmark_history,
    benchmark_pass_loads,
    benchmark_samples,
    decisions,
    plans,
)

CHAMPION = {"conversation_id": 3336, "task_type": "grading", "champion_actor_id": 9, "runner_up_actor_id": None,
            "benchmark_id": "b0", "avg_latency_ms": 1.5, "decided_at": "2026-01-02T03:04:05+00:00"}  # fmt: skip


def plan(*conversations: int) -> str:
    """A plan as version 0002 stored it."""
    rows = [
        {"conversation_id": number, "conversation": f"Step {number}", "old_actor": "slow", "new_actor": "fast"}
        for number in conversations
    ]
    return json.dumps({"task": "grading", "benchmark_id": "b1", "evidence_hash": "e" * 64, "rows": rows})


def insert(engine: Engine, table: str, **values: Any) -> None:  # noqa: ANN401 - a value of any column
    names = ", ".join(values)
    marks = ", ".join(f":{name}" for name in values)
    with engine.begin() as connection:
        connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({marks})"), values)  # noqa: S608 - of this module


def promotion(engine: Engine, number: int, status: str, undone: str | None, *rows: tuple[int, bool]) -> None:
    insert(
        engine, "benchmark_promotions", promotion_id=number, plan_hash=f"{number:064}", benchmark_id="b1",
        task_type="grading", status=status, evidence_hash="e" * 64, plan=plan(*(row for row, _ in rows)),
        requested_by="ann", applied_at=f"2026-02-0{number} 00:00:00", rolled_back_at=undone,
        rollback_reason="too slow" if undone else None,
    )  # fmt: skip
    for conversation, restored in rows:
        insert(
            engine, "benchmark_promotion_rows", promotion_id=number, conversation_id=conversation, old_actor_id=2,
            new_actor_id=1, runner_up_actor_id=3, expected_gain=0.5, reason="faster", restored=restored,
            old_champion=json.dumps(CHAMPION) if conversation == 3336 else None,
        )  # fmt: skip


@pytest.fixture
def migrated(database_url: str) -> list[Promotion]:
    """Three promotions of version 0002: one undone but for a row, one validated, one applied."""
    engine = create_engine(database_url)
    with engine.begin() as connection:
        upgrade(connection, "0002")
    promotion(engine, 1, "rolled_back", "2026-02-09 00:00:00", (3336, True), (3337, False))
    promotion(engine, 2, "validated", None, (3336, False))
    promotion(engine, 3, "applied", None, (3337, False))
    insert(engine, "benchmark_validations", promotion_id=1, passed=False, details='{"reasons": ["no"]}',
           validated_at="2026-02-02 00:00:00")  # fmt: skip
    insert(engine, "benchmark_validations", promotion_id=2, passed=True, details='{"reasons": []}',
           validated_at="2026-02-02 00:00:00")  # fmt: skip
    insert(engine, "benchmark_plans", plan_hash="p" * 64, task_type="grading", benchmark_id="b1", plan=plan(3336),
           made_at="2026-02-02 00:00:00")  # fmt: skip
    engine.dispose()
    database = open_database(database_url)
    with database.engine.connect() as connection:
        found = all_promotions(connection)
    database.close()
    return found


def test_every_promotion_is_kept_with_what_became_of_it(migrated: list[Promotion]) -> None:
    assert [(one.promotion_id, one.kind, one.status) for one in migrated] == [
        (1, "promotion", "rolled_back"),
        (2, "promotion", "validated"),
        (3, "promotion", "applied"),
        (4, "rollback", "applied"),
    ]
    assert [row.new_actor for row in migrated[1].rows] == ["fast"]
    assert migrated[1].rows[0].evidence_hash == "e" * 64
    assert migrated[0].rows[0].old_champion is not None
    assert migrated[0].rows[0].old_champion.as_json() == CHAMPION


def test_one_that_was_undone_has_a_rollback_of_its_own_with_the_rows_that_it_restored(
    migrated: list[Promotion],
) -> None:
    rollback = migrated[3]
    assert (rollback.undoes, rollback.reason, rollback.bar) == (1, "too slow", "benchmark")
    assert [(row.conversation_id, row.old_actor_id, row.new_actor_id, row.changed) for row in rollback.rows] == [
        (3336, 1, 2, True),
        (3337, 1, 2, False),
    ]


def test_validations_are_kept(migrated: list[Promotion], database_url: str) -> None:
    engine = create_engine(database_url)
    with engine.connect() as connection:
        found = [last_validation(connection, number) for number in (1, 2, 3)]
    engine.dispose()
    assert [one and (one.passed, one.bar) for one in found] == [(False, "benchmark"), (True, None), None]


def test_numbers_go_on_after_the_ones_that_are_taken(migrated: list[Promotion], database_url: str) -> None:
    engine = create_engine(database_url)
    insert(engine, "benchmark_promotions", kind="rollback", plan_hash="x", terms_hash="", plan="{}", reason="",
           requested_by="ann", applied_at="2026-03-01 00:00:00")  # fmt: skip
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT max(promotion_id) FROM benchmark_promotions")) == 5
    engine.dispose()


def test_plans_that_were_never_applied_must_be_made_again(migrated: list[Promotion], database_url: str) -> None:
    engine = create_engine(database_url)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM benchmark_plans")) == 0
    engine.dispose()


@pytest.mark.parametrize("statement", ["UPDATE {} SET requested_by = 'bob'", "DELETE FROM {}"])
def test_what_was_carried_over_can_no_longer_be_changed(
    migrated: list[Promotion], database_url: str, statement: str
) -> None:
    engine = create_engine(database_url)
    with engine.connect() as connection, pytest.raises(DBAPIError, match="benchmark_promotions is append-only"):
        connection.execute(text(statement.format("benchmark_promotions")))
    engine.dispose()


def test_stored_decisions_and_plans_keep_their_values_under_the_names_of_version_0004(database_url: str) -> None:
    engine = create_engine(database_url)
    with engine.begin() as connection:
        upgrade(connection, "0003")
    insert(engine, "benchmark_decisions", plan_hash="p", benchmark_id="b1", task_type="grading", conversation_id=1,
           decision="keep", reason="same", evidence='{"policy": 1}', evidence_hash="i" * 64,
           decided_at="2026-02-02 00:00:00")  # fmt: skip
    insert(engine, "benchmark_plans", plan_hash="p", kind="promotion", policy_hash="t" * 64, tasks="grading",
           document="{}", requested_by="ann", made_at="2026-02-02 00:00:00")  # fmt: skip
    open_database(database_url).close()
    with engine.connect() as connection:
        assert connection.execute(select(decisions.c.input, decisions.c.input_hash)).one() == ({"policy": 1}, "i" * 64)
        assert connection.scalar(select(plans.c.terms_hash)) == "t" * 64
        with pytest.raises(DBAPIError, match="benchmark_decisions is append-only"):
            connection.execute(text("DELETE FROM benchmark_decisions"))
    engine.dispose()


def test_every_call_of_version_0004_is_the_first_take_of_its_pass_and_keeps_its_number(database_url: str) -> None:
    engine = create_engine(database_url)
    with engine.begin() as connection:
        upgrade(connection, "0004")
    benchmark_of_old(engine)
    for number, repeat in ((7, 1), (9, 2)):
        sample_of_old(engine, number, repeat)
    open_database(database_url).close()
    s, h = benchmark_samples.c, benchmark_history.c
    with engine.connect() as connection:
        kept = connection.execute(select(s.sample_id, s.repeat, s.take, s.verdict, s.latency_ns, s.reply)).all()
        measured = connection.execute(select(h.avg_latency_ms, h.pass_means_ms, h.final_latencies_ms)).one()
        assert connection.scalar(select(func.count()).select_from(benchmark_pass_loads)) == 0
    assert sorted(kept) == [(7, 1, 1, "[PASS]", 1_500, "Fine. [PASS]"), (9, 2, 1, "[PASS]", 1_500, "Fine. [PASS]")]
    assert measured == (1.5, None, None)
    engine.dispose()


def test_a_case_has_one_sample_for_each_pass_and_take(database_url: str) -> None:
    engine = create_engine(database_url)
    with engine.begin() as connection:
        upgrade(connection, "0004")
    benchmark_of_old(engine)
    sample_of_old(engine, 7, 1)
    open_database(database_url).close()
    with engine.begin() as connection:
        again = {column.name: column for column in benchmark_samples.columns} | {"sample_id": 8, "take": 2}
        values = select(*(v if isinstance(v, Column) else literal(v) for v in again.values()))
        connection.execute(benchmark_samples.insert().from_select(list(again), values))
        long = "Answer: one of the sixty characters that a verdict may have."
        connection.execute(benchmark_samples.update().where(benchmark_samples.c.take == 2).values(verdict=long))
    with engine.connect() as connection, pytest.raises(IntegrityError):
        connection.execute(benchmark_samples.update().values(take=1))
    engine.dispose()


def test_the_history_of_version_0006_is_numbered_by_date_and_others_add_to_it(database_url: str) -> None:
    engine = create_engine(database_url)
    with engine.begin() as connection:
        upgrade(connection, "0006")
    for benchmark, model, day, place in (("b2", "fast", 2, 1), ("b1", "slow", 1, None), ("b1", "fast", 1, 1)):
        insert(
            engine, "benchmark_history", benchmark_id=benchmark, task_type="grading", model_name=model,
            correctness_score=100.0, avg_latency_ms=1.5, rank=place, benchmark_date=f"2026-02-0{day} 00:00:00+00:00",
            standing="qualified", cases=1, cases_correct=1, calls=2, failures="[]", reason="", tied_with="[]",
            digest=f"{benchmark} {model}",
        )  # fmt: skip
    with engine.begin() as connection:
        connection.execute(text("CREATE VIEW champions AS SELECT model_name FROM benchmark_history WHERE rank = 1"))

    open_database(database_url).close()
    insert(engine, "benchmark_history", task_type="grading", model_name="fast", rank=1)

    h = benchmark_history.c
    kept = h.benchmark_id, h.benchmark_run_id, h.model, h.model_name, h.rank, h.latency_ms, h.digest, h.final_passes
    with engine.connect() as connection:
        rows = connection.execute(select(*kept).order_by(h.benchmark_id)).all()
        assert connection.scalar(select(func.count()).where(h.benchmark_date.is_(None))) == 0
        assert connection.scalars(text("SELECT model_name FROM champions")).all() == ["fast"] * 3
    engine.dispose()
    assert [tuple(row) for row in rows] == [
        (1, "b1", "fast", "fast", 1, 1.5, "b1 fast", 0),
        (2, "b1", "slow", "slow", None, 1.5, "b1 slow", 0),
        (3, "b2", "fast", "fast", 1, 1.5, "b2 fast", 0),
        (4, None, None, "fast", 1, None, None, 0),
    ]


def benchmark_of_old(engine: Engine) -> None:
    """A benchmark of version 0004 with a model run and its line of history, without samples."""
    insert(
        engine, "benchmark_runs", benchmark_id="b1", task_type="grading", purpose="benchmark", status="finished",
        evidence_key="k", suite_version="1", suite_hash="s", suite="{}", prompt_hash="p", task="{}",
        prompt_source="task.yaml", reader_version="1", protocol="{}", protocol_hash="h", hardware="{}",
        tool_version="0.2", started_at="2026-02-02 00:00:00",
    )  # fmt: skip
    insert(
        engine, "benchmark_model_runs", model_run_id=3, benchmark_id="b1", model_name="fast",
        execution_path="ollama:fast", identity="{}", started_at="2026-02-02 00:00:00",
    )  # fmt: skip
    insert(
        engine, "benchmark_history", benchmark_id="b1", task_type="grading", model_name="fast", correctness_score=100.0,
        avg_latency_ms=1.5, benchmark_date="2026-02-02 00:00:00", standing="qualified", cases=1, cases_correct=1,
        calls=2, failures="[]", reason="", tied_with="[]",
    )  # fmt: skip


def sample_of_old(engine: Engine, number: int, repeat: int) -> None:
    insert(
        engine, "benchmark_samples", sample_id=number, model_run_id=3, case_id="PASS_001", repeat=repeat, batch=1,
        outcome="correct", expected="[PASS]", verdict="[PASS]", latency_ns=1_500, reply="Fine. [PASS]",
        called_at="2026-02-02 00:00:00",
    )  # fmt: skip


def triggers(engine: Engine) -> list[tuple[str, ...]]:
    query = {
        "sqlite": "SELECT tbl_name, name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY 1, 2",
        "postgresql": "SELECT tgrelid::regclass::text, tgname, pg_get_triggerdef(oid) FROM pg_trigger "
        "WHERE NOT tgisinternal ORDER BY 1, 2",
    }[engine.dialect.name]
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def test_the_migrations_make_exactly_the_triggers_of_the_code(database_url: str) -> None:
    engine = create_engine(database_url)
    with engine.begin() as connection:
        upgrade(connection)
    migrated = triggers(engine)
    with engine.begin() as connection:
        for table in inspect(connection).get_table_names():
            cascade = " CASCADE" if engine.dialect.name == "postgresql" else ""
            connection.execute(text(f"DROP TABLE {table}{cascade}"))
    open_database(database_url).close()
    assert triggers(engine) == migrated
    assert {name for name, *_ in migrated} == {table.name for table in AUDIT}
    engine.dispose()
