"""Keeps documents from being emptied by a reading that did not see production. What they say is in workflow_docs.py."""

from __future__ import annotations

import json
from pathlib import Path

from sqlalchemy import Connection

from bench_pipeline.domain.errors import InputError
from bench_pipeline.storage.production import Production
from bench_pipeline.storage.tables import metadata
from bench_pipeline.storage.visibility import hidden_rows

NO_STEPS = "This workflow has no steps."
NO_CONVERSATIONS = "Every conversation is a step of a workflow."


def check_visible(connection: Connection, production: Production) -> None:
    """Raise `InputError` for the first table of which row-level security may hide rows from this login."""
    hidden = hidden_rows(connection, [*production.tables, *metadata.sorted_tables])
    if hidden:
        one = hidden[0]
        raise InputError(
            f"row-level security may hide rows of {one.table} from {one.login}; no document is written; as "
            f"its owner run: {one.remedy}"
        )


def listed_before(production_dir: Path) -> dict[str, Path]:
    """Return what the documents in a folder list, each with the folder or file that does: the names of tables."""
    found: dict[str, Path] = {}
    workflows = production_dir / "workflows"
    files = list(workflows.glob("*.md"))
    if files:
        found["workflows"] = workflows
    if any(not _says(file, NO_STEPS) for file in files):
        found["workflow_conversations"] = found["conversations"] = workflows
    alone, champions = production_dir / "conversations.md", production_dir / "champions.json"
    if alone.is_file() and not _says(alone, NO_CONVERSATIONS):
        found["conversations"] = alone
    if _lists_champions(champions):
        found["benchmark_champions"] = champions
    return found


def _says(file: Path, line: str) -> bool:
    return line in file.read_text(encoding="utf-8", errors="replace").splitlines()


def _lists_champions(file: Path) -> bool:
    try:
        return bool(json.loads(file.read_text(encoding="utf-8"))["champions"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def check_not_emptied(production_dir: Path, rows: dict[str, int]) -> None:
    """Raise `InputError` when a table that documents list has no row now; `rows` are the rows read, by table."""
    empty = [table for table, count in rows.items() if not count]
    if not empty:
        return
    listed = listed_before(production_dir)
    for table in empty:
        if table in listed:
            place = listed[table]
            raise InputError(
                f"table {table} shows this login no row, but {place} lists some; no document is written; check this "
                f"login's rights and policies; if the table was emptied on purpose, or the documents belong to another "
                f"database, move {place} away"
            )
