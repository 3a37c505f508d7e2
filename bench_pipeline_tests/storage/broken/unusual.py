"""Databases that are unusual and work: groups of statements, each group for a database of its own."""

from __future__ import annotations

import json

NAMES = {
    "actors": "crew.LLM Actors",
    "actors.enabled": "is active",
    "conversations": "crew.user",
    "conversations.actor_id": "order",
    "workflows": "crew.workflows",
    "workflow_conversations": "crew.workflow_conversations",
}
OTHER_NAMES = json.dumps(NAMES)
"""What BENCH_PRODUCTION_NAMES says where tables and columns have other names."""

UNUSUAL = {
    "tables in another schema, with reserved and mixed-case names": (
        "CREATE SCHEMA crew AUTHORIZATION crew_owner; GRANT USAGE ON SCHEMA crew TO crew_recorder; "
        "ALTER TABLE actors SET SCHEMA crew; ALTER TABLE conversations SET SCHEMA crew; "
        "ALTER TABLE workflows SET SCHEMA crew; ALTER TABLE workflow_conversations SET SCHEMA crew; "
        'ALTER TABLE crew.actors RENAME TO "LLM Actors"; ALTER TABLE crew.conversations RENAME TO "user"; '
        'ALTER TABLE crew."LLM Actors" RENAME enabled TO "is active"; '
        'ALTER TABLE crew."user" RENAME actor_id TO "order"'
    ),
    "whole numbers of other types as ids": (
        "ALTER TABLE actors ALTER COLUMN actor_id TYPE bigint; "
        "ALTER TABLE conversations ALTER COLUMN actor_id TYPE bigint, ALTER COLUMN conversation_id TYPE smallint"
    ),
    "an enum as actor_type, and a number as enabled": (
        "CREATE TYPE kind AS ENUM ('ai_model', 'script'); "
        "ALTER TABLE actors ALTER COLUMN actor_type TYPE kind USING actor_type::kind, "
        "ALTER COLUMN enabled TYPE smallint USING enabled::integer"
    ),
    "foreign keys, constraints and a trigger that notes the time": (
        "ALTER TABLE conversations ADD COLUMN updated_at timestamptz, ADD CONSTRAINT known CHECK (actor_id < 99), "
        "ADD CONSTRAINT actor FOREIGN KEY (actor_id) REFERENCES actors DEFERRABLE INITIALLY DEFERRED; "
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql "
        "AS 'BEGIN NEW.updated_at := now(); RETURN NEW; END'; "
        "CREATE TRIGGER notes BEFORE UPDATE ON conversations FOR EACH ROW EXECUTE FUNCTION note()"
    ),
    "row-level security with policies for the recorder and the owner": (
        "ALTER TABLE actors ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; "
        "ALTER TABLE conversations ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; "
        "CREATE POLICY ours ON actors TO crew_owner, crew_recorder USING (true); "
        "CREATE POLICY ours ON conversations TO crew_owner, crew_recorder USING (true)"
    ),
    "an updatable view as conversations, and a view as actors": (
        "ALTER TABLE conversations RENAME TO talks; ALTER TABLE actors RENAME TO people; "
        "CREATE VIEW conversations AS SELECT * FROM talks WHERE conversation_id > 0; "
        "CREATE VIEW actors AS SELECT actor_id, actor_name, actor_type, execution_path, "
        "coalesce(enabled, false) AS enabled FROM people; "
        "ALTER VIEW conversations OWNER TO crew_owner; ALTER VIEW actors OWNER TO crew_owner; "
        "GRANT SELECT ON conversations, actors TO crew_recorder"
    ),
    "partitions": (
        "ALTER TABLE conversations RENAME TO all_of_them; "
        "CREATE TABLE conversations (LIKE all_of_them) PARTITION BY RANGE (conversation_id); "
        "CREATE TABLE conversations_3 PARTITION OF conversations FOR VALUES FROM (3000) TO (4000); "
        "INSERT INTO conversations SELECT * FROM all_of_them; ALTER TABLE conversations OWNER TO crew_owner; "
        "ALTER TABLE conversations_3 OWNER TO crew_owner; GRANT SELECT ON conversations TO crew_recorder"
    ),
    "serializable transactions by default": (
        "ALTER DATABASE {db} SET default_transaction_isolation = 'serializable'"
    ),
}  # fmt: skip
"""Every name is that of a row in docs/reference/databases.md."""

FAILING = {
    "a trigger that fails": (
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN PERFORM 1 FROM public.absent; RETURN NEW; END'; "
        "CREATE TRIGGER notes BEFORE UPDATE ON conversations FOR EACH ROW EXECUTE FUNCTION note()",
        'relation "public.absent" does not exist',
    ),
    "a trigger that drops the change": (
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; "
        "CREATE TRIGGER notes BEFORE UPDATE ON conversations FOR EACH ROW EXECUTE FUNCTION note()",
        "changed no row, though it holds actor 2 as planned; nothing was changed, look at trigger notes",
    ),
    "a deferred trigger that takes the change back": (
        "CREATE FUNCTION back() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN UPDATE public.conversations "
        "SET actor_id = 2 WHERE conversation_id = NEW.conversation_id AND actor_id <> 2; RETURN NULL; END'; "
        "CREATE CONSTRAINT TRIGGER later AFTER UPDATE ON conversations DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION back()",
        "conversation 3336",
    ),
    "a constraint that the other actor breaks": (
        "ALTER TABLE conversations ADD CONSTRAINT only_two CHECK (actor_id > 1)",
        'violates check constraint "only_two"',
    ),
}
"""What only a rehearsal finds: the statements that break the database, and what is said then."""
