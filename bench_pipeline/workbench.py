"""What every command and every asset works with: the settings, the open database, production, the runtimes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench_pipeline.domain.errors import InputError
from bench_pipeline.runtimes.registry import Runtimes
from bench_pipeline.settings import Settings
from bench_pipeline.storage.database import Database, open_database
from bench_pipeline.storage.production import Production, has_production, open_production


@dataclass(frozen=True, slots=True)
class Workbench:
    """Open resources. `application` is None when the database holds no `actors` table."""

    settings: Settings
    database: Database
    application: Production | None
    runtimes: Runtimes

    @property
    def production(self) -> Production:
        """Production's tables. Raises `InputError` when the database does not hold them."""
        if self.application is None:
            raise InputError(
                f"{self.database.name} has no table of actors; set BENCH_DATABASE_URL to your production database, "
                "or run `bench demo` for one to try"
            )
        return self.application


@contextmanager
def open_workbench(settings: Settings) -> Iterator[Workbench]:
    """Open the database and close it, with every runtime that was used, at the end.

    Raises `InputError` when the database cannot be used or its application tables are not complete.
    """
    database = open_database(settings.database_url.get_secret_value())
    try:
        names = settings.production_names
        application = open_production(database, names) if has_production(database, names) else None
        with Runtimes(settings) as runtimes:
            yield Workbench(settings, database, application, runtimes)
    finally:
        database.close()
