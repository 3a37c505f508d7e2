"""A fresh database for every test, once on each engine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench_pipeline.storage.database import Database, open_database


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = open_database(database_url)
    yield opened
    opened.close()
