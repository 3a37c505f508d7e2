"""A fresh database for every test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench_pipeline.storage.database import Database, open_database


@pytest.fixture
def database_url(tmp_path: Path) -> Iterator[str]:
    """The address of a database that is empty, or not there yet."""
    yield f"sqlite:///{tmp_path / 'bench.db'}"  # noqa: PT022 - a server's database will be dropped here


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = open_database(database_url)
    yield opened
    opened.close()
