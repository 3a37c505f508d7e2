"""The sample database is one on which everything can be shown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench_pipeline.demo.sample_database import make_sample_database
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
        month = production.calls(connection, [3335, 3336], now - timedelta(days=30), now)
        future = production.calls(connection, [3335, 3336], now, now + timedelta(days=999))
    database.close()
    assert (sorted(month), future) == ([3335, 3336], {})
