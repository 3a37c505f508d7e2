"""The front door: everything that is found about one production, and what of it forbids an installation."""

from __future__ import annotations

from collections.abc import Iterator

from bench_pipeline.storage.inspection.columns import written_column
from bench_pipeline.storage.inspection.findings import Finding
from bench_pipeline.storage.inspection.inspected import Inspected
from bench_pipeline.storage.inspection.own_tables import OwnTables, own_rights
from bench_pipeline.storage.inspection.rights import (
    lent_rights,
    locking,
    mighty_roles,
    open_schemas,
    open_tables,
    unreadable,
)
from bench_pipeline.storage.inspection.row_security import hidden_rows, unwritable_rows
from bench_pipeline.storage.inspection.triggers import triggers, views


def findings(inspected: Inspected, own: OwnTables) -> Iterator[Finding]:
    """Return all findings about production's tables, and about the rights on them and on ours."""
    yield from unreadable(inspected)
    yield from hidden_rows(inspected)
    yield from unwritable_rows(inspected)
    yield from own_rights(inspected, own)
    yield from written_column(inspected)
    yield from views(inspected)
    yield from locking(inspected)
    yield from mighty_roles(inspected)
    yield from open_tables(inspected, inspected.restricted)
    yield from lent_rights(inspected)
    yield from open_schemas(inspected)
    yield from triggers(inspected)


def faults_before_install(inspected: Inspected) -> list[Finding]:
    """Return what would make an installation useless or unsafe, and that it does not repair itself."""
    checks = written_column, views, locking, unwritable_rows, open_tables, lent_rights, open_schemas
    return [finding for check in checks for finding in check(inspected) if finding.remedy]
