"""The sample database is one on which everything can be shown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import select

from bench_pipeline.benchmark.task_folders import read_task, task_names
from bench_pipeline.demo.sample_database import conversations, make_sample_database, workflow_conversations
from bench_pipeline.settings import Settings
from bench_pipeline.storage.database import open_database
from bench_pipeline.storage.production import open_production

TESTCASES = Path(__file__).resolve().parent.parent / "testcases"


def test_its_past_work_lies_in_the_last_month_so_that_an_impact_can_be_told(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'bench.db'}")
    assert make_sample_database(database, Settings.model_construct(testcases_dir=TESTCASES))
    now = datetime.now(UTC)
    with database.engine.connect() as connection:
        production = open_production(database, {})
        month = production.calls(connection, [3334, 3335, 3336], now - timedelta(days=30), now)
        future = production.calls(connection, [3334, 3335, 3336], now, now + timedelta(days=999))
    database.close()
    assert (sorted(month), future) == ([3334, 3335, 3336], {})


def test_every_task_serves_steps_of_its_workflow_and_each_has_an_actor(tmp_path: Path) -> None:
    settings = Settings.model_construct(testcases_dir=TESTCASES)
    served = {number for name in task_names(settings) for number in read_task(settings, name).conversations}
    database = open_database(f"sqlite:///{tmp_path / 'bench.db'}")
    make_sample_database(database, settings)
    with database.engine.connect() as connection:
        steps = connection.execute(
            select(workflow_conversations.c.conversation_id).order_by(workflow_conversations.c.execution_order)
        )
        order = list(steps.scalars())
        held = connection.execute(select(conversations.c.conversation_id).where(conversations.c.actor_id.is_not(None)))
        holding = set(held.scalars())
    database.close()
    assert order == [3334, 3335, 3336, 3337, 3338, 3339, 3340, 3341]
    assert served <= holding
