"""Databases of other teams: production under names and types of their own, with two models and two steps."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import create_engine

ONE = "11111111-1111-4111-8111-111111111111"
TWO = "22222222-2222-4222-8222-222222222222"


@dataclass(frozen=True)
class TeamSchema:
    """The statements that make a database, $1 and $2 for two ids; `steps` are its conversations with their actors."""

    name: str
    statements: tuple[str, ...]
    steps: dict[int | str, str] = field(default_factory=dict)
    sqlite: bool = False

    def make(self, url: str) -> None:
        engine = create_engine(url)
        with engine.begin() as connection:
            for statement in self.statements:
                connection.exec_driver_sql(statement.replace("$1", ONE).replace("$2", TWO))
        engine.dispose()


UUIDS = TeamSchema(
    "uuid ids in another schema, without workflows",
    (
        "CREATE SCHEMA crew",
        "CREATE TABLE crew.models (id uuid PRIMARY KEY, name text, kind text, endpoint text, is_active boolean)",
        "CREATE TABLE crew.steps (id uuid PRIMARY KEY, title text, model_id uuid REFERENCES crew.models)",
        "INSERT INTO crew.models VALUES ('$1', 'qwen', 'ai_model', 'qwen2.5:7b', true), "
        "('$2', 'phi', 'ai_model', 'phi4-mini:latest', false)",
        "INSERT INTO crew.steps VALUES ('$2', 'extract', '$1'), ('$1', 'grade', '$2')",
    ),
    {ONE: "phi", TWO: "qwen"},
)
SCHEMAS = [
    UUIDS,
    TeamSchema(
        "whole numbers under other names, and all tables",
        (
            "CREATE TABLE llms (llm_id serial PRIMARY KEY, label text, type varchar(20), path text, enabled smallint)",
            "CREATE TABLE prompts (prompt_id bigint PRIMARY KEY, name text, llm_id integer REFERENCES llms)",
            "CREATE TABLE flows (flow_id integer PRIMARY KEY, flow_name text)",
            "CREATE TABLE flow_prompts (flow_id integer REFERENCES flows, prompt_id bigint REFERENCES prompts, "
            "position integer)",
            "CREATE TABLE users (id integer PRIMARY KEY, name text, type text, url text, is_active boolean)",
            "INSERT INTO llms (label, type, path, enabled) VALUES ('qwen', 'llm', 'qwen2.5:7b', 1), "
            "('phi', 'script', 'phi.py', 0)",
            "INSERT INTO prompts VALUES (3336, 'grade', 1), (3337, 'extract', 2)",
            "INSERT INTO flows VALUES (1, 'daily')",
            "INSERT INTO flow_prompts VALUES (1, 3337, 1), (1, 3336, 2)",
        ),
        {3336: "qwen", 3337: "phi"},
    ),
    TeamSchema(
        "mixed case in quotation marks",
        (
            'CREATE SCHEMA "Crew.Data"',
            'CREATE TABLE "Crew.Data"."Agents" ("Id" numeric PRIMARY KEY, "Name" text, "AgentType" char(12), '
            '"ModelPath" text, "IsEnabled" varchar(3))',
            'CREATE TABLE "Crew.Data"."Nodes" ("Id" numeric PRIMARY KEY, "Name" text, "AgentId" numeric)',
            """INSERT INTO "Crew.Data"."Agents" VALUES (1, 'qwen', 'ai_model', 'qwen2.5:7b', 'Y'), """
            "(2, 'phi', 'human', NULL, 'N')",
            """INSERT INTO "Crew.Data"."Nodes" VALUES (7, 'grade', 1), (8, 'extract', 2)""",
        ),
        {7: "qwen", 8: "phi"},
    ),
    TeamSchema(
        "views with the default names over other tables",
        (
            "CREATE TABLE t_llm (k varchar(20) PRIMARY KEY, n text, on_off integer)",
            "CREATE TABLE t_step (k varchar(20) PRIMARY KEY, n text, llm varchar(20))",
            "CREATE VIEW actors AS SELECT k AS actor_id, n AS actor_name, text 'ai_model' AS actor_type, "
            "n AS execution_path, on_off = 7 AS enabled FROM t_llm",
            "CREATE VIEW conversations AS SELECT k AS conversation_id, n AS conversation_name, llm AS actor_id "
            "FROM t_step",
            "INSERT INTO t_llm VALUES ('a', 'qwen2.5:7b', 7), ('b', 'phi4-mini:latest', 8)",
            "INSERT INTO t_step VALUES ('s/1', 'grade', 'a'), ('s''2', 'extract', 'b')",
        ),
        {"s'2": "phi4-mini:latest", "s/1": "qwen2.5:7b"},
    ),
    TeamSchema(
        "a status as enum, and ids as an enum's neighbours",
        (
            "CREATE TYPE agent_status AS ENUM ('active', 'retired')",
            "CREATE TABLE agents (uuid char(36) PRIMARY KEY, display_name text, kind text, model text, "
            "status agent_status)",
            "CREATE MATERIALIZED VIEW unrelated AS SELECT 1 AS id",
            "CREATE TABLE steps (step_id text PRIMARY KEY, name text, agent_uuid char(36) REFERENCES agents)",
            "INSERT INTO agents VALUES ('$1', 'qwen', 'ai_model', 'qwen2.5:7b', 'active'), "
            "('$2', 'phi', 'ai_model', 'phi4-mini:latest', 'retired')",
            "INSERT INTO steps VALUES ('grade', 'Grade', '$1'), ('extract', 'Extract', '$2')",
        ),
        {"extract": "phi", "grade": "qwen"},
    ),
    TeamSchema(
        "a partitioned table and a status as text",
        (
            "CREATE TABLE models (model_id bigint PRIMARY KEY, model_name text, model_type text, address text, "
            "state text)",
            "CREATE TABLE tasks (task_id bigint, title text, model_id bigint, PRIMARY KEY (task_id)) "
            "PARTITION BY RANGE (task_id)",
            "CREATE TABLE tasks_1 PARTITION OF tasks FOR VALUES FROM (1) TO (100)",
            "INSERT INTO models VALUES (1, 'qwen', 'language_model', 'qwen2.5:7b', 'online'), "
            "(2, 'phi', 'language_model', 'phi4-mini:latest', 'offline')",
            "INSERT INTO tasks VALUES (5, 'grade', 1), (6, 'extract', 2)",
        ),
        {5: "qwen", 6: "phi"},
    ),
    TeamSchema(
        "SQLite with text ids",
        (
            "CREATE TABLE models (id TEXT PRIMARY KEY, name TEXT, type TEXT, path TEXT, active INTEGER)",
            "CREATE TABLE steps (id UUID PRIMARY KEY, name TEXT, model_id TEXT REFERENCES models (id))",
            "INSERT INTO models VALUES ('$1', 'qwen', 'ai_model', 'qwen2.5:7b', 1), "
            "('$2', 'phi', 'ai_model', 'phi4-mini:latest', 0)",
            "INSERT INTO steps VALUES ('$2', 'extract', '$1'), ('$1', 'grade', '$2')",
        ),
        {ONE: "phi", TWO: "qwen"},
        sqlite=True,
    ),
]
"""What `bench db map` understands."""
