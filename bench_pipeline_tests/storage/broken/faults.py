"""The faults: how each breaks a database, and what `bench doctor` says of it then."""

from __future__ import annotations

import json
from dataclasses import dataclass

DROP_OURS = "DO $$ DECLARE t regclass; BEGIN FOR t IN SELECT oid FROM pg_class WHERE relkind = 'r' " \
    "AND relname LIKE 'benchmark\\_%' LOOP EXECUTE format('DROP TABLE %s CASCADE', t); END LOOP; END $$"  # fmt: skip
QUALIFIED = json.dumps(
    {
        **{
            name: f"public.{name}"
            for name in (
                "actors",
                "conversations",
                "workflow_conversations",
                "prompt_templates",
                "postings",
                "interactions",
            )
        },
        "workflows": "crew.workflows",
    }
)
BODY = "LANGUAGE sql SECURITY DEFINER AS 'UPDATE public.conversations SET actor_id = 1'"


PRODUCTION, PROMOTION, SAFETY, DATABASE = "production tables", "promotion", "safety", "database"


@dataclass(frozen=True)
class Fault:
    """`statements` break the database as `role`; `{db}` stands for its name. `what` is the line that `says` it.

    `stops` tells whether no benchmark can run with it. `settings` are variables that break it beside them; of an
    address, the name of its database. `older` is the version in which our tables are made again. An installation is
    `refused` because of it.
    """

    statements: str
    what: str
    says: str
    stops: bool = False
    role: str = "postgres"
    settings: tuple[tuple[str, str], ...] = ()
    older: str = ""
    refused: bool = False

    @property
    def stopped(self) -> str:
        """What is not possible with it, in a word."""
        if self.stops:
            return "benchmark"
        return "nothing" if self.what == SAFETY else "promotion"


COLUMNS = {
    "actor_id of different types": Fault(
        "ALTER TABLE conversations ALTER COLUMN actor_id TYPE text",
        PRODUCTION,
        "table conversations, column actor_id is TEXT, but table actors, column actor_id is INTEGER",
        True,
        refused=True,
    ),
    "a fraction as an id": Fault(
        "ALTER TABLE workflows ALTER COLUMN workflow_id TYPE double precision",
        PRODUCTION,
        "table workflows, column workflow_id is DOUBLE PRECISION, which cannot be an id",
        True,
        refused=True,
    ),
    "a generated actor_id": Fault(
        "ALTER TABLE conversations DROP COLUMN actor_id, ADD COLUMN actor_id integer GENERATED ALWAYS AS (2) STORED; "
        "GRANT SELECT ON conversations TO crew_recorder",
        PROMOTION,
        "public.conversations.actor_id is a generated column",
        refused=True,
    ),
    "an identity as actor_id": Fault(
        "ALTER TABLE conversations ALTER COLUMN actor_id SET NOT NULL, "
        "ALTER COLUMN actor_id ADD GENERATED ALWAYS AS IDENTITY",
        PROMOTION,
        "public.conversations.actor_id is GENERATED ALWAYS AS IDENTITY",
        refused=True,
    ),
}
ROW_SECURITY = {
    "row-level security on actors": Fault(
        "ALTER TABLE actors ENABLE ROW LEVEL SECURITY",
        PRODUCTION,
        "row-level security of public.actors hides rows from crew_recorder",
        True,
    ),
    "row-level security on conversations": Fault(
        "ALTER TABLE conversations ENABLE ROW LEVEL SECURITY; "
        "CREATE POLICY tenants ON conversations USING (owner = current_user)",
        PRODUCTION,
        "row-level security of public.conversations hides rows from crew_recorder",
        True,
    ),
    "row-level security on the workflows": Fault(
        "ALTER TABLE workflow_conversations ENABLE ROW LEVEL SECURITY",
        PRODUCTION,
        "row-level security of public.workflow_conversations hides rows",
        True,
    ),
    "a restrictive policy": Fault(
        "CREATE POLICY few ON actors AS RESTRICTIVE USING (actor_id < 2)",
        PRODUCTION,
        "the restrictive policy few of public.actors hides rows from crew_recorder",
        True,
    ),
    "forced row-level security": Fault(
        "ALTER TABLE conversations FORCE ROW LEVEL SECURITY",
        PROMOTION,
        "row-level security of public.conversations applies to crew_owner too",
        refused=True,
    ),
    "row-level security, and a login of another name": Fault(
        "ALTER TABLE workflows ENABLE ROW LEVEL SECURITY",
        PRODUCTION,
        "row-level security of public.workflows hides rows from crew_recorder",
        True,
        settings=(("BENCH_RECORDER_ROLE", "someone_else"),),
    ),
    "a table that the recorder may not read": Fault(
        "REVOKE SELECT ON actors FROM crew_recorder",
        PRODUCTION,
        "crew_recorder may not read public.actors",
        True,
    ),
}
VIEWS = {
    "a view as conversations": Fault(
        "ALTER TABLE conversations RENAME TO talks; CREATE VIEW conversations AS SELECT DISTINCT * FROM talks; "
        "ALTER VIEW conversations OWNER TO crew_owner; GRANT SELECT ON conversations TO crew_recorder",
        PROMOTION,
        "public.conversations is a view whose actor_id cannot be written",
        refused=True,
    ),
    "a DISTINCT view as actors": Fault(
        "ALTER TABLE actors RENAME TO people; CREATE VIEW actors AS SELECT DISTINCT * FROM people; "
        "ALTER VIEW actors OWNER TO crew_owner; GRANT SELECT ON actors TO crew_recorder",
        PROMOTION,
        "public.actors is a view whose rows cannot be locked",
        refused=True,
    ),
}
SESSIONS = {
    "a read-only recorder": Fault(
        "ALTER ROLE crew_recorder IN DATABASE {db} SET default_transaction_read_only = on",
        DATABASE,
        "the sessions of crew_recorder are read-only",
        True,
    ),
    "a read-only promoter": Fault(
        "ALTER ROLE crew_promoter IN DATABASE {db} SET default_transaction_read_only = on",
        PROMOTION,
        "the sessions of crew_promoter are read-only",
    ),
    "transactions that end": Fault(
        "ALTER DATABASE {db} SET idle_in_transaction_session_timeout = '5s'",
        DATABASE,
        "idle_in_transaction_session_timeout is 5 s for crew_recorder",
        True,
    ),
    "statements that end": Fault(
        "ALTER DATABASE {db} SET statement_timeout = '4s'",
        DATABASE,
        "statement_timeout is 4 s for crew_recorder",
        True,
    ),
    "a promoter in another database": Fault(
        "SELECT 1",
        PROMOTION,
        "BENCH_PROMOTER_URL leads to a different database than BENCH_DATABASE_URL",
        settings=(("BENCH_PROMOTER_URL", "crew"),),
    ),
}
OURS = {
    "none of our tables": Fault(DROP_OURS, DATABASE, "lacks our tables", True),
    "older tables of ours": Fault(DROP_OURS, DATABASE, "has our tables in version 0005, not ", True, older="0005"),
    "no right to create our tables": Fault(
        "REVOKE CREATE ON SCHEMA public FROM crew_owner; " + DROP_OURS,
        PROMOTION,
        "crew_owner owns conversations but lacks the right CREATE on the schema public",
        refused=True,
    ),
    "no function": Fault(
        "DROP FUNCTION benchmark_apply(text, text, text, json)", PROMOTION, "the promotion's function is not installed"
    ),
    "an older function": Fault(
        "COMMENT ON FUNCTION benchmark_apply(text, text, text, json) IS 'bench_pipeline 0123'",
        PROMOTION,
        "the installed promotion's function is of another version",
    ),
    "rights on our tables that are missing": Fault(
        "REVOKE INSERT ON benchmark_samples FROM crew_recorder",
        PRODUCTION,
        "crew_recorder lacks rights on our tables: INSERT on benchmark_samples",
        True,
    ),
}
RIGHTS = {
    "every role may write conversations": Fault(
        "GRANT UPDATE ON conversations TO PUBLIC",
        SAFETY,
        "every role has UPDATE on public.conversations",
        role="crew_owner",
        refused=True,
    ),
    "every role may write one column": Fault(
        "GRANT UPDATE (enabled) ON actors TO PUBLIC",
        SAFETY,
        "every role has UPDATE on public.actors",
        role="crew_owner",
        refused=True,
    ),
    "the recorder may write conversations": Fault(
        "GRANT INSERT, TRUNCATE ON conversations TO crew_recorder",
        SAFETY,
        "crew_recorder has INSERT, TRUNCATE on public.conversations",
        role="crew_owner",
    ),
    "the promoter may write actors": Fault(
        "GRANT DELETE ON actors TO crew_promoter",
        SAFETY,
        "crew_promoter has DELETE on public.actors",
        role="crew_owner",
    ),
    "the recorder is a member of the owner": Fault(
        "GRANT crew_owner TO crew_recorder",
        SAFETY,
        "crew_recorder is a member of crew_owner, which may write public.",
        refused=True,
    ),
    "the promoter is a member of a role that may write": Fault(
        "GRANT pg_write_all_data TO crew_promoter",
        SAFETY,
        "crew_promoter is a member of pg_write_all_data, which may write public.",
        refused=True,
    ),
    "the promoter may make roles": Fault(
        "ALTER ROLE crew_promoter CREATEROLE",
        SAFETY,
        "the role crew_promoter has the attribute CREATEROLE",
        refused=True,
    ),
    "a function that lends the owner's rights": Fault(
        f"CREATE FUNCTION give(integer) RETURNS void {BODY}",
        SAFETY,
        "public.give(integer) runs with the rights of crew_owner, who may write production, and every role may call",
        role="crew_owner",
        refused=True,
    ),
    "a procedure that the recorder may call": Fault(
        f"CREATE PROCEDURE give() {BODY}; REVOKE EXECUTE ON PROCEDURE give() FROM PUBLIC; "
        "GRANT EXECUTE ON PROCEDURE give() TO crew_recorder",
        SAFETY,
        "public.give() runs with the rights of crew_owner, who may write production, and crew_recorder may call it",
        role="crew_owner",
        refused=True,
    ),
    "a schema in which every role creates": Fault(
        "GRANT CREATE ON SCHEMA public TO PUBLIC",
        SAFETY,
        "every role may create objects in the schema public, which is in the search path of crew_owner",
        refused=True,
    ),
    "too many rights on our tables": Fault(
        "GRANT UPDATE ON benchmark_promotions TO crew_recorder",
        SAFETY,
        "crew_recorder has rights on our tables beyond its task: UPDATE on benchmark_promotions",
        role="crew_owner",
    ),
    "an owner who may not lock actors": Fault(
        "ALTER TABLE actors OWNER TO postgres; GRANT SELECT ON actors TO crew_owner, crew_recorder",
        PROMOTION,
        "crew_owner, who owns conversations, may not lock rows of public.actors",
        refused=True,
    ),
}
PATHS = {
    "a schema that the recorder may not use": Fault(
        "CREATE SCHEMA crew AUTHORIZATION crew_owner; ALTER TABLE workflows SET SCHEMA crew",
        DATABASE,
        "cannot be inspected: permission denied for schema crew",
        True,
        settings=(("BENCH_PRODUCTION_NAMES", '{"workflows": "crew.workflows"}'),),
    ),
    "a search path that names no schema": Fault(
        DROP_OURS + "; ALTER ROLE crew_owner IN DATABASE {db} SET search_path = crew_owner",
        PROMOTION,
        "the search path of crew_owner names no schema that exists",
        settings=(("BENCH_PRODUCTION_NAMES", QUALIFIED),),
        refused=True,
    ),
}
TASKS = {
    "a conversation that does not exist": Fault(
        "DELETE FROM conversations WHERE conversation_id = 3336",
        "conversations",
        "conversation 3336 does not exist in production",
    ),
}
FAULTS = {
    "columns": COLUMNS,
    "row security": ROW_SECURITY,
    "views": VIEWS,
    "sessions": SESSIONS,
    "our tables": OURS,
    "rights": RIGHTS,
    "search paths": PATHS,
    "tasks": TASKS,
}
"""Every remedy of these can be typed; once it is, the next fault of the group is made in the same database."""
