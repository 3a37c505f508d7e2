"""The workbench: the settings, the open database, production and the runtimes, passed on as one value.

Opens and closes them. The use cases that work with them are `measurement.py` and `promotion/delivery.py`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field

from bench_pipeline.benchmark.machine import System
from bench_pipeline.domain.errors import InputError
from bench_pipeline.runtimes.registry import Runtimes
from bench_pipeline.settings import Settings
from bench_pipeline.storage.database import Database, open_database
from bench_pipeline.storage.production import Production, has_production, open_production
from bench_pipeline.storage.writers.base import PromotionWriter


def _this_system() -> System:
    from bench_pipeline.benchmark.system import OperatingSystem  # psutil takes a moment; most commands measure nothing

    return OperatingSystem()


@dataclass(frozen=True, slots=True)
class Workbench:
    """Open resources. `application` and `application_writer` are None when the database has no `actors` table.

    All reads and records go through `database`; changes to production go through `writer`. `system` tells what else
    runs on this machine. `lock_wait_s` says how long a benchmark waits while another one runs on this machine.
    """

    settings: Settings
    database: Database
    application: Production | None
    application_writer: PromotionWriter | None
    runtimes: Runtimes
    system: System = field(default_factory=_this_system)
    lock_wait_s: float = 0.0

    @property
    def production(self) -> Production:
        """Production's tables. Raises `InputError` when the database does not have them."""
        if self.application is None:
            raise self._no_application()
        return self.application

    @property
    def writer(self) -> PromotionWriter:
        """The writer to production; it connects on first use. Raises `InputError` as `production` does."""
        if self.application_writer is None:
            raise self._no_application()
        return self.application_writer

    def _no_application(self) -> InputError:
        return InputError(
            f"{self.database.name} has no table of actors; set BENCH_DATABASE_URL to your production database, "
            "BENCH_PRODUCTION_NAMES to your names (`bench db map` proposes them), or run `bench demo` to create one"
        )

    def close(self) -> None:
        """Close the writer's connections and the database."""
        if self.application_writer is not None:
            self.application_writer.close()
        self.database.close()


def make_workbench(
    settings: Settings,
    database: Database,
    application: Production | None,
    runtimes: Runtimes,
    lock_wait_s: float = 0.0,
) -> Workbench:
    """Return a workbench with the writer for this database, which connects to BENCH_PROMOTER_URL on first use."""
    writer = writer_for(settings, database, application) if application is not None else None
    return Workbench(settings, database, application, writer, runtimes, lock_wait_s=lock_wait_s)


def writer_for(settings: Settings, database: Database, production: Production) -> PromotionWriter:
    """Return the writer for this kind of database, not yet connected."""
    if database.engine.dialect.name == "sqlite":
        from bench_pipeline.storage.writers.sqlite import SqliteWriter

        return SqliteWriter(database, production)
    from bench_pipeline.storage.writers.postgresql import PostgresqlWriter

    url = settings.promoter_url
    return PostgresqlWriter(database, production, url.get_secret_value() if url else None)


@contextmanager
def open_workbench(
    settings: Settings, lock_wait_s: float = 0.0, runtimes: Runtimes | None = None
) -> Iterator[Workbench]:
    """Open the database; close it, and every runtime that was used, at the end.

    `runtimes` that are given stay open: they remember what servers said of models that did not change. A benchmark
    waits up to `lock_wait_s` seconds for another one on this machine.
    Raises `InputError` when the database cannot be used or application tables are incomplete.
    """
    database = open_database(settings.database_url.get_secret_value(), schema=settings.own_schema)
    try:
        names = settings.production_names
        application = (
            open_production(database, names, settings.model_actor_types) if has_production(database, names) else None
        )
        with (
            nullcontext(runtimes) if runtimes is not None else Runtimes(settings) as used,
            closing(make_workbench(settings, database, application, used, lock_wait_s)) as bench,
        ):
            yield bench
    finally:
        database.close()


def account() -> str:
    """Return the account of this process; on systems with user ids no environment variable can change it."""
    try:
        import pwd
    except ImportError:  # Windows
        import getpass

        return getpass.getuser()
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"
