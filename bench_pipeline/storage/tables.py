"""Our own tables. Migrations are in `migrations/`; a test keeps both equal. SQL triggers are in sql_triggers.py."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    func,
)

from bench_pipeline.storage.types import ForeignText, KeyText, UtcDateTime

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)
_LOGIN = "the login, set by the database; the account in SQLite"
_CLAIMED = "the account that the client named, which proves nothing"
_Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up only in INTEGER PRIMARY KEY

benchmark_runs = Table(
    "benchmark_runs",
    metadata,
    Column("benchmark_id", String(120), primary_key=True),
    Column("task_type", String(60), nullable=False),
    Column("purpose", String(20), nullable=False, comment="benchmark, or validation of a promotion"),
    Column("status", String(20), nullable=False, comment="running, finished"),
    Column(
        "evidence_key",
        String(64),
        nullable=False,
        comment="hash of all that must be equal to compare runs",
    ),
    Column("suite_version", String(60), nullable=False),
    Column("suite_hash", String(64), nullable=False),
    Column("suite", JSON, nullable=False, comment="the cases as they were run"),
    Column("prompt_hash", String(64), nullable=False),
    Column("task", JSON, nullable=False, comment="task.yaml with the prompt that was used"),
    Column("prompt_source", String(200), nullable=False),
    Column("reader_version", String(20), nullable=False),
    Column("protocol", JSON, nullable=False),
    Column("protocol_hash", String(64), nullable=False),
    Column("hardware", JSON, nullable=False),
    Column("tool_version", String(40), nullable=False),
    Column("incumbents", JSON, comment="names of the models that production used for the task at that time"),
    Column("invalid", ForeignText, comment="why no decision may rest on it, such as drift of the anchor"),
    Column("rescored_from", String(120), comment="the benchmark whose stored replies were judged again"),
    Column("evidence_hash", String(64), comment="SHA-256 of the scoreboard and its terms, as last ranked"),
    Column("dagster_run_id", String(60)),
    Column("started_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    Column("pruned_at", UtcDateTime, comment="when its replies were removed; NULL while it has them"),
    Index("ix_benchmark_runs_task", "task_type", "started_at"),
    Index("ix_benchmark_runs_evidence", "evidence_key"),
    Index("ix_benchmark_runs_suite", "suite_hash"),
)

benchmark_candidates = Table(
    "benchmark_candidates",
    metadata,
    Column("benchmark_id", ForeignKey("benchmark_runs.benchmark_id"), primary_key=True),
    Column("model_name", String(300), primary_key=True),
    Column("actor_id", KeyText),
    Column("execution_path", Text),
    Column("exclusion", String(40), comment="NULL for a model that was run"),
    Column("detail", ForeignText, nullable=False),
    Column("reason_code", String(40), comment="outcome for the model; see the elimination ledger"),
    Column("reason", ForeignText),
    Column("reused_run_id", BigInteger, comment="the earlier model run that counts for it in the ranking"),
    Index("ix_benchmark_candidates_actor", "actor_id"),
    Index("ix_benchmark_candidates_exclusion", "exclusion"),
)

benchmark_model_runs = Table(
    "benchmark_model_runs",
    metadata,
    Column("model_run_id", _Id, primary_key=True),
    Column("benchmark_id", ForeignKey("benchmark_runs.benchmark_id"), nullable=False),
    Column("model_name", String(300), nullable=False),
    Column("actor_id", KeyText),
    Column("execution_path", Text, nullable=False),
    Column("host", String(100), comment="the named host that measured it; NULL for another server"),
    Column("final_host", String(100), comment="the named host of its passes in the final"),
    Column("digest", ForeignText),
    Column("identity", JSON, nullable=False),
    Column("load_ns", BigInteger),
    Column("memory_bytes", BigInteger),
    Column("vram_bytes", BigInteger),
    Column("context_length", BigInteger),
    Column("failure", ForeignText, comment="what stopped the whole model run"),
    Column(
        "role",
        String(20),
        nullable=False,
        server_default="candidate",
        comment="candidate, or an anchor's run",
    ),
    Column("stopped", String(20), comment="why a race stopped it: failed, outpaced"),
    Column("final_passes", Integer, nullable=False, server_default="0", comment="passes beyond the repeats"),
    Column("started_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    UniqueConstraint("benchmark_id", "model_name"),
)

benchmark_samples = Table(
    "benchmark_samples",
    metadata,
    Column("sample_id", _Id, primary_key=True),
    Column("model_run_id", ForeignKey("benchmark_model_runs.model_run_id"), nullable=False),
    Column("case_id", String(100), nullable=False),
    Column("repeat", Integer, nullable=False),
    Column(
        "take",
        Integer,
        nullable=False,
        server_default="1",
        comment="1, or 2 for the repetition of a disturbed call",
    ),
    Column("batch", Integer, nullable=False),
    Column("outcome", String(20), nullable=False),
    Column("expected", String(60), nullable=False),
    Column("verdict", String(60)),
    Column("reason", ForeignText),
    Column("latency_ns", BigInteger, comment="client side, without load; NULL without a complete reply"),
    Column("elapsed_ns", BigInteger, comment="client side, from sending to the last byte, with load"),
    Column("exclusion", String(40), comment="the rule that keeps the latency out of the ranking"),
    Column("attempts", JSON, comment="infrastructure failures before the reply"),
    Column("server_load_ns", BigInteger),
    Column("server_prompt_ns", BigInteger),
    Column("server_generation_ns", BigInteger),
    Column("server_total_ns", BigInteger),
    Column("prompt_tokens", BigInteger),
    Column("cached_prompt_tokens", BigInteger),
    Column("generated_tokens", BigInteger),
    Column("thinking_tokens", BigInteger, comment="those of the generated tokens that the model thought"),
    Column("first_token_ns", BigInteger, comment="client side, from sending to the first thought or text"),
    Column("first_text_ns", BigInteger, comment="client side, from sending to the first text"),
    Column("done_reason", ForeignText),
    Column("reply", ForeignText),
    Column("thinking", ForeignText),
    Column("called_at", UtcDateTime, nullable=False),
    UniqueConstraint("model_run_id", "case_id", "repeat", "take"),
)

benchmark_pass_loads = Table(
    "benchmark_pass_loads",
    metadata,
    Column("model_run_id", ForeignKey("benchmark_model_runs.model_run_id"), primary_key=True),
    Column("repeat", Integer, primary_key=True),
    Column("other_cores", Double, nullable=False, comment="mean number of CPU cores that other processes kept busy"),
    Column("gpu_others", JSON, comment="other processes' use of the GPU as the driver reports it"),
)

benchmark_history = Table(
    "benchmark_history",
    metadata,
    Column("benchmark_id", Integer, primary_key=True),
    Column("task_type", String(60)),
    Column("model_name", String(300)),
    Column("correctness_score", Double),
    Column("avg_latency_ms", Double),
    Column("speed_score", Double),
    Column("rank", Integer, comment="NULL when not qualified"),
    Column("benchmark_date", UtcDateTime, server_default=func.current_timestamp()),
    Column("benchmark_run_id", String(120), comment="the benchmark; NULL in rows of other programs"),
    Column("model", Text, comment="the whole name, where model_name may be cut"),
    Column("latency_ms", Double, comment="the exact figure, where avg_latency_ms may be rounded"),
    Column("standing", String(20)),
    Column("actor_id", KeyText),
    Column("digest", ForeignText),
    Column("model_run_id", BigInteger, comment="the model run behind it, possibly of an earlier benchmark"),
    Column("cases", Integer),
    Column("cases_correct", Integer),
    Column("calls", Integer),
    Column("failures", JSON),
    Column("reason", ForeignText),
    Column("tied_with", JSON),
    Column("size_bytes", BigInteger),
    Column("family", ForeignText),
    Column("cases_seen", Integer, nullable=False, server_default="0"),
    Column("valid_calls", Integer, nullable=False, server_default="0", comment="calls whose latency ranks"),
    Column("median_ms", Double),
    Column("p90_ms", Double),
    Column("cv", Double),
    Column("case_medians_ms", JSON),
    Column("final_case_medians_ms", JSON),
    Column("final_passes", Integer, nullable=False, server_default="0"),
    Column("flaky", JSON),
    Column("memory_bytes", BigInteger),
    Column("pass_means_ms", JSON, comment="mean latency of each main pass"),
    Column("final_latencies_ms", JSON, comment="latencies of the final: one object per pass, by case"),
    Index("ix_benchmark_history_task", "task_type", "benchmark_date"),
    Index("uq_benchmark_history_run", "benchmark_run_id", "model", unique=True),
)

SHARED = (
    "benchmark_id",
    "task_type",
    "model_name",
    "correctness_score",
    "avg_latency_ms",
    "speed_score",
    "rank",
    "benchmark_date",
)
"""The columns of `benchmark_history` that other programs fill too: such a row has no `benchmark_run_id`."""
MOST = 99_999_999
"""The highest latency (ms) and speed score that is stored in them: DECIMAL(10,2) holds no more."""

plans = Table(
    "benchmark_plans",
    metadata,
    Column("plan_id", _Id, primary_key=True),
    Column("plan_hash", String(64), nullable=False, comment="SHA-256 of the document"),
    Column("kind", String(20), nullable=False, comment="promotion, rollback, failover"),
    Column("terms_hash", String(64), nullable=False, comment="SHA-256 of its terms"),
    Column("tasks", Text, nullable=False, comment="names, comma-separated"),
    Column("document", Text, nullable=False, comment="the plan as canonical JSON"),
    Column("requested_by", ForeignText, nullable=False, comment=_LOGIN),
    Column("account", ForeignText, comment=_CLAIMED),
    Column("made_at", UtcDateTime, nullable=False),
    Index("ix_benchmark_plans_hash", "plan_hash"),
)

task_terms = Table(
    "benchmark_task_terms",
    metadata,
    Column("task_terms_id", _Id, primary_key=True),
    Column("task_type", String(60), nullable=False),
    Column("terms_hash", String(64), nullable=False, comment="SHA-256 of the document"),
    Column("document", Text, nullable=False, comment="what the task allows and measures, canonical JSON"),
    Column("recorded_by", ForeignText, nullable=False, comment=_LOGIN),
    Column("recorded_at", UtcDateTime, nullable=False),
    Index("ix_benchmark_task_terms_task", "task_type", "task_terms_id"),
)

decisions = Table(
    "benchmark_decisions",
    metadata,
    Column("decision_id", _Id, primary_key=True),
    Column("plan_hash", String(64), nullable=False),
    Column("benchmark_id", String(120), nullable=False),
    Column("task_type", String(60), nullable=False),
    Column("conversation_id", KeyText, nullable=False),
    Column("decision", String(20), nullable=False),
    Column("reason", ForeignText, nullable=False),
    Column("input", JSON, nullable=False, comment="scoreboard, incumbent and policy: everything it depends on"),
    Column("input_hash", String(64), nullable=False, comment="SHA-256 of the input"),
    Column("decided_at", UtcDateTime, nullable=False),
    Index("ix_benchmark_decisions_benchmark", "benchmark_id"),
    Index("ix_benchmark_decisions_plan", "plan_hash"),
)

approvals = Table(
    "benchmark_approvals",
    metadata,
    Column("approval_id", _Id, primary_key=True),
    Column("plan_hash", String(64), nullable=False),
    Column("approved_by", ForeignText, nullable=False, comment=_LOGIN),
    Column("account", ForeignText, comment=_CLAIMED),
    Column("approved_at", UtcDateTime, nullable=False),
    Index("ix_benchmark_approvals_hash", "plan_hash"),
)

freezes = Table(
    "benchmark_freezes",
    metadata,
    Column("freeze_id", _Id, primary_key=True),
    Column("frozen", Boolean, nullable=False, comment="the latest row counts"),
    Column("reason", ForeignText, nullable=False),
    Column("set_by", ForeignText, nullable=False, comment=_LOGIN),
    Column("account", ForeignText, comment=_CLAIMED),
    Column("set_at", UtcDateTime, nullable=False),
)

promotions = Table(
    "benchmark_promotions",
    metadata,
    Column("promotion_id", _Id, primary_key=True),
    Column("kind", String(20), nullable=False, comment="promotion, rollback, failover"),
    Column("plan_hash", String(64), nullable=False, unique=True),
    Column("terms_hash", String(64), nullable=False, comment="SHA-256 of the plan's terms"),
    Column("plan", JSON, nullable=False),
    Column("undoes", ForeignKey("benchmark_promotions.promotion_id"), unique=True, comment="the change that it undoes"),
    Column("bar", String(20), comment="how long the actor it removed is barred: evidence, benchmark"),
    Column("reason", ForeignText, nullable=False),
    Column("requested_by", ForeignText, nullable=False, comment=_LOGIN),
    Column("account", ForeignText, comment=_CLAIMED),
    Column("approved_by", ForeignText, comment="NULL when no approval was needed"),
    Column("dagster_run_id", String(60)),
    Column("applied_at", UtcDateTime, nullable=False),
)

promotion_rows = Table(
    "benchmark_promotion_rows",
    metadata,
    Column("promotion_id", ForeignKey("benchmark_promotions.promotion_id"), primary_key=True),
    Column("conversation_id", KeyText, primary_key=True),
    Column("task_type", String(60), nullable=False),
    Column("benchmark_id", String(120), comment="NULL in a rollback"),
    Column("evidence_hash", String(64), comment="NULL in a rollback"),
    Column("conversation", ForeignText, nullable=False, comment="its name at that time"),
    Column("old_actor_id", KeyText),
    Column("old_actor", ForeignText, comment="its name at that time"),
    Column("new_actor_id", KeyText),
    Column("new_actor", ForeignText, comment="its name at that time"),
    Column("identity_hash", String(64), comment="of the new actor's model as measured"),
    Column("runner_up_actor_id", KeyText),
    Column("expected_gain", Double),
    Column("reason", ForeignText, nullable=False),
    Column(
        "changed",
        Boolean,
        nullable=False,
        comment="false when a rollback left the row alone",
    ),
    Column("old_champion", JSON, comment="the registry's row before the change, for a rollback"),
    Index("ix_benchmark_promotion_rows_task", "task_type"),
)

intents = Table(
    "benchmark_intents",
    metadata,
    Column("intent_id", _Id, primary_key=True),
    Column("promotion_id", ForeignKey("benchmark_promotions.promotion_id"), nullable=False),
    Column("made_at", UtcDateTime, nullable=False),
    Column("done_at", UtcDateTime, comment="NULL until the documents are written"),
    Index("ix_benchmark_intents_promotion", "promotion_id"),
    Index("ix_benchmark_intents_open", "done_at"),
)

champions = Table(
    "benchmark_champions",
    metadata,
    Column("conversation_id", KeyText, primary_key=True),
    Column("task_type", String(60), nullable=False),
    Column("champion_actor_id", KeyText, nullable=False),
    Column("runner_up_actor_id", KeyText),
    Column("benchmark_id", String(120), nullable=False),
    Column("avg_latency_ms", Double),
    Column("decided_at", UtcDateTime, nullable=False),
)

validations = Table(
    "benchmark_validations",
    metadata,
    Column("validation_id", _Id, primary_key=True),
    Column("promotion_id", ForeignKey("benchmark_promotions.promotion_id"), nullable=False),
    Column("passed", Boolean, nullable=False),
    Column("bar", String(20), comment="how long a failed champion is barred; NULL when it passed"),
    Column("details", JSON, nullable=False),
    Column("validated_at", UtcDateTime, nullable=False),
    Index("ix_benchmark_validations_promotion", "promotion_id"),
)

locks = Table(
    "benchmark_locks",
    metadata,
    Column("purpose", String(300), primary_key=True, comment="what only its holder does, and on which host"),
    Column("token", String(32), nullable=False, comment="random, new for each holding"),
    Column("host", ForeignText, nullable=False),
    Column("pid", BigInteger, nullable=False),
    Column("process_started", Double, nullable=False, comment="seconds since 1970"),
    Column("pid_namespace", String(60), nullable=False, comment="tells a container's pids from the host's"),
    Column("login", String(63), comment="NULL in SQLite"),
    Column("benchmark_id", String(120), comment="what its holder measures"),
    Column("taken_at", UtcDateTime, nullable=False),
    Column("renewed_at", UtcDateTime, nullable=False),
    Column("lease_s", Integer, nullable=False, comment="how long it stays taken after renewed_at"),
)

triggers = Table(
    "benchmark_triggers",
    metadata,
    Column("trigger_id", _Id, primary_key=True),
    Column("task_type", String(60), nullable=False),
    Column("cause", String(40), nullable=False),
    Column("subject", ForeignText, nullable=False, comment="what the cause is about; empty for the whole task"),
    Column("evidence", String(64), nullable=False, comment="what is wanted; another value is another trigger"),
    Column("why", ForeignText, nullable=False),
    Column("models", JSON, comment="the actors to measure; NULL for all"),
    Column("terms", JSON, nullable=False, comment="terms of the protocol that this benchmark changes"),
    Column("state", String(20), nullable=False),
    Column("attempts", Integer, nullable=False, comment="failed ones since the cause was noticed"),
    Column("lost", Integer, nullable=False, comment="runs that ended without a word since then"),
    Column("claims", Integer, nullable=False, comment="runs requested so far"),
    Column("due_at", UtcDateTime, nullable=False, comment="not before this moment"),
    Column("note", ForeignText, comment="the last failure, or what it waits for"),
    Column("dagster_run_id", String(60), comment="the run that carries it"),
    Column("benchmark_id", String(120), comment="what was measured for it"),
    Column("noticed_at", UtcDateTime, nullable=False),
    Column("changed_at", UtcDateTime, nullable=False),
    UniqueConstraint("task_type", "cause", "subject", "evidence"),
    Index("ix_benchmark_triggers_state", "state"),
)

alerts = Table(
    "benchmark_alerts",
    metadata,
    Column("alert_id", _Id, primary_key=True),
    Column("cause", String(40), nullable=False),
    Column("subject", ForeignText, nullable=False, comment="what it is about; empty where the cause says it all"),
    Column("day", String(10), nullable=False, comment="UTC, as 2026-12-01: at most one per cause, subject and day"),
    Column("title", ForeignText, nullable=False),
    Column("body", ForeignText, nullable=False),
    Column("made_at", UtcDateTime, nullable=False),
    Column("due_at", UtcDateTime, nullable=False, comment="no sender takes it before; who takes it moves this on"),
    Column("sent_at", UtcDateTime, comment="NULL until a receiver accepted it"),
    Column("attempts", Integer, nullable=False),
    Column("failure", ForeignText, comment="why it was not sent, without addresses"),
    UniqueConstraint("cause", "subject", "day"),
    Index("ix_benchmark_alerts_sent", "sent_at"),
)

AUDIT = (task_terms, plans, decisions, approvals, freezes, promotions, promotion_rows, validations)
"""Append-only tables: triggers refuse every change of a row, see sql_triggers.py."""
