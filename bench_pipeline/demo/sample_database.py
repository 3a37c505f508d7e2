"""Creates the sample production database, unless an `actors` table exists. Its rows are in sample_database.yaml."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy import Boolean, Column, Connection, Float, ForeignKey, Integer, MetaData, String, Table, Text

from bench_pipeline.benchmark.task_folders import read_task, task_names, with_prompt
from bench_pipeline.domain.models.ids import ConversationId
from bench_pipeline.settings import Settings
from bench_pipeline.storage.database import Database
from bench_pipeline.storage.production import has_production
from bench_pipeline.storage.types import UtcDateTime

SAMPLE_FILE = Path(__file__).with_name("sample_database.yaml")

application = MetaData()
actors = Table(
    "actors",
    application,
    Column("actor_id", Integer, primary_key=True),
    Column("actor_name", String(200), nullable=False),
    Column("actor_type", String(40), nullable=False),
    Column("execution_path", Text),
    Column("enabled", Boolean, nullable=False),
)
conversations = Table(
    "conversations",
    application,
    Column("conversation_id", Integer, primary_key=True),
    Column("conversation_name", String(200), nullable=False),
    Column("actor_id", Integer, ForeignKey("actors.actor_id")),
)
workflows = Table(
    "workflows",
    application,
    Column("workflow_id", Integer, primary_key=True),
    Column("workflow_name", String(200), nullable=False),
)
workflow_conversations = Table(
    "workflow_conversations",
    application,
    Column("workflow_id", ForeignKey("workflows.workflow_id"), primary_key=True),
    Column("conversation_id", ForeignKey("conversations.conversation_id"), primary_key=True),
    Column("execution_order", Integer, nullable=False),
)
prompt_templates = Table(
    "prompt_templates",
    application,
    Column("conversation_id", ForeignKey("conversations.conversation_id"), primary_key=True),
    Column("template", Text, nullable=False),
)
postings = Table(
    "postings",
    application,
    Column("posting_id", Integer, primary_key=True),
    Column("title", String(200), nullable=False),
    Column("posting_text", Text, nullable=False),
)
interactions = Table(
    "interactions",
    application,
    Column("interaction_id", Integer, primary_key=True),
    Column("conversation_id", ForeignKey("conversations.conversation_id"), nullable=False),
    Column("actor_id", ForeignKey("actors.actor_id"), nullable=False),
    Column("posting_id", ForeignKey("postings.posting_id")),
    Column("input", Text, nullable=False),
    Column("output", Text, nullable=False),
    Column("latency_ms", Float, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)


def make_sample_database(database: Database, settings: Settings) -> bool:
    """Create and fill the sample application; return whether it was created now. Existing data is not changed."""
    if has_production(database, {}):
        return False
    world: dict[str, Any] = yaml.safe_load(SAMPLE_FILE.read_text(encoding="utf-8"))
    with database.writing() as connection:
        application.create_all(connection)
        _fill(connection, world, _served_templates(settings))
    return True


def _served_templates(settings: Settings) -> dict[ConversationId, str]:
    """Return the prompts of the conversations that a task serves: production uses what is measured."""
    tasks = [with_prompt(settings, read_task(settings, name)) for name in task_names(settings)]
    return {number: task.prompt.prompt.messages[-1].content for task in tasks for number in task.conversations}


def _fill(connection: Connection, world: dict[str, Any], served: dict[ConversationId, str]) -> None:
    steps = world["conversations"]
    connection.execute(actors.insert(), world["actors"])
    connection.execute(
        conversations.insert(),
        [{name: step[name] for name in ("conversation_id", "conversation_name", "actor_id")} for step in steps],
    )
    connection.execute(workflows.insert(), [world["workflow"]])
    connection.execute(
        workflow_conversations.insert(),
        [
            {
                "workflow_id": world["workflow"]["workflow_id"],
                "conversation_id": step["conversation_id"],
                "execution_order": order,
            }
            for order, step in enumerate(steps, start=1)
        ],
    )
    templates = {step["conversation_id"]: step["template"] for step in steps if "template" in step} | served
    connection.execute(
        prompt_templates.insert(),
        [{"conversation_id": number, "template": template} for number, template in sorted(templates.items())],
    )
    connection.execute(
        postings.insert(),
        [{"posting_id": p["posting_id"], "title": p["title"], "posting_text": p["text"]} for p in world["postings"]],
    )
    connection.execute(interactions.insert(), _recent(world["interactions"]))


def _recent(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the past interactions shifted by whole days, so that the last one was yesterday."""
    moments = [datetime.fromisoformat(row["created_at"]) for row in rows]
    moved = timedelta(days=(datetime.now(UTC).date() - max(moments).date()).days - 1)
    return [row | {"created_at": moment + moved} for row, moment in zip(rows, moments, strict=True)]
