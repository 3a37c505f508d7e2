"""What Alembic runs; it is handed an open connection and makes none of its own."""

from __future__ import annotations

from alembic import context

from bench_pipeline.storage.own_schema import VERSION_TABLE
from bench_pipeline.storage.schema import is_ours
from bench_pipeline.storage.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    include_name=is_ours,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
