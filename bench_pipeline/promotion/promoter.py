"""All that a change of production needs, open."""

from __future__ import annotations

from dataclasses import dataclass

from bench_pipeline.settings import Settings
from bench_pipeline.storage.database import Database
from bench_pipeline.storage.production import Production
from bench_pipeline.storage.promotion_writer import PromotionWriter
from bench_pipeline.storage.sqlite_writer import SqliteWriter


@dataclass(frozen=True, slots=True)
class Promoter:
    """Reads and records through `database`; changes production through `writer` alone."""

    settings: Settings
    database: Database
    production: Production
    writer: PromotionWriter


def make_promoter(settings: Settings, database: Database, production: Production) -> Promoter:
    """Choose the writer for the database. It connects when it is used, as BENCH_PROMOTER_URL says."""
    return Promoter(settings, database, production, _writer(settings, database, production))


def _writer(settings: Settings, database: Database, production: Production) -> PromotionWriter:
    if database.engine.dialect.name == "sqlite":
        return SqliteWriter(database, production)
    from bench_pipeline.storage.postgresql.writer import PostgresqlWriter

    url = settings.promoter_url
    return PostgresqlWriter(database, production, url.get_secret_value() if url else None)
