"""Marks that choose the database engines of a test; without one, a test that asks for a database runs on both."""

from __future__ import annotations

import pytest

ONE_ENGINE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For behaviour that does not depend on the database."""
ONLY_POSTGRESQL = pytest.mark.parametrize(
    "database_url", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)
"""For behaviour that only a server has: roles, row locks, backends that die."""
ON_ANOTHER_VERSION = pytest.mark.parametrize(
    "database_url", [pytest.param("other_postgres", marks=pytest.mark.postgres)], indirect=True
)
"""For what depends on the version of PostgreSQL: it runs on a second one, where the machine has it."""
ON_EVERY_VERSION = pytest.mark.parametrize(
    "database_url",
    ["sqlite", *(pytest.param(name, marks=pytest.mark.postgres) for name in ("postgres", "other_postgres"))],
    indirect=True,
)
"""For what depends on the database and its version."""
