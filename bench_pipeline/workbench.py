"""What every command and every asset works with: the settings, the open database, production, the runtimes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property

from bench_pipeline.domain.errors import InputError
from bench_pipeline.promotion.promoter import Promoter, make_promoter
from bench_pipeline.runtimes.registry import Runtimes
from bench_pipeline.settings import Settings
from bench_pipeline.storage.database import Database, open_database
from bench_pipeline.storage.production import Production, has_production, open_production


@dataclass(frozen=True)
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

    @cached_property
    def promoter(self) -> Promoter:
        """What changes production. Raises `InputError` when the database does not hold it."""
        return make_promoter(self.settings, self.database, self.production)

    def close(self) -> None:
        """Close the promoter, if it was used, and the database."""
        if "promoter" in self.__dict__:
            self.promoter.writer.close()
        self.database.close()


@contextmanager
def open_workbench(settings: Settings) -> Iterator[Workbench]:
    """Open the database and close it, with every runtime that was used, at the end.

    Raises `InputError` when the database cannot be used or its application tables are not complete.
    """
    database = open_database(settings.database_url.get_secret_value())
    try:
        names = settings.production_names
        application = open_production(database, names) if has_production(database, names) else None
        with Runtimes(settings) as runtimes, closing(Workbench(settings, database, application, runtimes)) as bench:
            yield bench
    finally:
        database.close()


def account() -> str:
    """Return the account that this process runs as; no environment variable can change it where users have ids."""
    try:
        import pwd
    except ImportError:  # Windows
        import getpass

        return getpass.getuser()
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"
