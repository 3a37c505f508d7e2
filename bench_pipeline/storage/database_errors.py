"""What people are told of a database's own error. Which errors are expected is decided where they are caught."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError

from bench_pipeline.domain.text import first_line


def driver_message(error: BaseException) -> str:
    """Return the first line of the driver's message: the lines below repeat the statement and its values."""
    return first_line((error.orig if isinstance(error, DBAPIError) else None) or error)
