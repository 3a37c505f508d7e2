"""Marks that choose the database engines of a test; without one, a test that asks for a database runs on both."""

from __future__ import annotations

import pytest

ONE_ENGINE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For behaviour that does not depend on the database."""
ONLY_POSTGRESQL = pytest.mark.parametrize(
    "database_url", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)
"""For behaviour that only a server has: roles, row locks, backends that die."""
