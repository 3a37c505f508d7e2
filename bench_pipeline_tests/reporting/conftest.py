"""The database that the documents are written from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench_pipeline_tests.reporting.source import Source, open_source


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Source]:
    with open_source(tmp_path) as source:
        yield source
