"""The tables of our own. Their migrations stand in `migrations/`; a test holds both equal."""

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
)

from bench_pipeline.storage.types import ForeignText, UtcDateTime

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)
_Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up only in INTEGER PRIMARY KEY

benchmark_runs = Table(
    "benchmark_runs",
    metadata,
    Column("benchmark_id", String(120), primary_key=True),
    Column("task_type", String(60), nullable=False),
    Column("purpose", String(20), nullable=False, comment="benchmark, or validation of a promotion"),
    Column("status", String(20), nullable=False, comment="running, finished"),
    Column("evidence_key", String(64), nullable=False, comment="hash of all that must be equal to compare"),
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
    Column("dagster_run_id", String(60)),
    Column("started_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    Index("ix_benchmark_runs_task", "task_type", "started_at"),
)

benchmark_candidates = Table(
    "benchmark_candidates",
    metadata,
    Column("benchmark_id", ForeignKey("benchmark_runs.benchmark_id"), primary_key=True),
    Column("model_name", String(300), primary_key=True),
    Column("actor_id", BigInteger),
    Column("execution_path", Text),
    Column("exclusion", String(40), comment="NULL for a model that was run"),
    Column("detail", ForeignText, nullable=False),
)

benchmark_model_runs = Table(
    "benchmark_model_runs",
    metadata,
    Column("model_run_id", _Id, primary_key=True),
    Column("benchmark_id", ForeignKey("benchmark_runs.benchmark_id"), nullable=False),
    Column("model_name", String(300), nullable=False),
    Column("actor_id", BigInteger),
    Column("execution_path", Text, nullable=False),
    Column("digest", ForeignText),
    Column("identity", JSON, nullable=False),
    Column("load_ns", BigInteger),
    Column("memory_bytes", BigInteger),
    Column("vram_bytes", BigInteger),
    Column("context_length", BigInteger),
    Column("failure", ForeignText, comment="what stopped the whole model run"),
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
    Column("batch", Integer, nullable=False),
    Column("outcome", String(20), nullable=False),
    Column("expected", String(20), nullable=False),
    Column("verdict", String(20)),
    Column("reason", ForeignText),
    Column("latency_ns", BigInteger, comment="client side, without load; NULL without a complete reply"),
    Column("server_load_ns", BigInteger),
    Column("server_prompt_ns", BigInteger),
    Column("server_generation_ns", BigInteger),
    Column("server_total_ns", BigInteger),
    Column("prompt_tokens", BigInteger),
    Column("cached_prompt_tokens", BigInteger),
    Column("generated_tokens", BigInteger),
    Column("done_reason", ForeignText),
    Column("reply", ForeignText),
    Column("thinking", ForeignText),
    Column("called_at", UtcDateTime, nullable=False),
    UniqueConstraint("model_run_id", "case_id", "repeat"),
)

benchmark_history = Table(
    "benchmark_history",
    metadata,
    Column("benchmark_id", String(120), primary_key=True),
    Column("task_type", String(60), nullable=False),
    Column("model_name", String(300), primary_key=True),
    Column("correctness_score", Double, nullable=False),
    Column("avg_latency_ms", Double),
    Column("speed_score", Double),
    Column("rank", Integer, comment="NULL when not qualified"),
    Column("benchmark_date", UtcDateTime, nullable=False),
    Column("standing", String(20), nullable=False),
    Column("actor_id", BigInteger),
    Column("digest", ForeignText),
    Column("model_run_id", BigInteger, comment="the run that it rests on, maybe of an earlier benchmark"),
    Column("cases", Integer, nullable=False),
    Column("cases_correct", Integer, nullable=False),
    Column("calls", Integer, nullable=False),
    Column("failures", JSON, nullable=False),
    Column("reason", ForeignText, nullable=False),
    Column("tied_with", JSON, nullable=False),
    Column("size_bytes", BigInteger),
    Column("family", ForeignText),
    Index("ix_benchmark_history_task", "task_type", "benchmark_date"),
)

plans = Table(
    "benchmark_plans",
    metadata,
    Column("plan_id", _Id, primary_key=True),
    Column("plan_hash", String(64), nullable=False),
    Column("task_type", String(60), nullable=False),
    Column("benchmark_id", String(120), nullable=False),
    Column("plan", JSON, nullable=False),
    Column("made_at", UtcDateTime, nullable=False),
)

promotions = Table(
    "benchmark_promotions",
    metadata,
    Column("promotion_id", _Id, primary_key=True),
    Column("plan_hash", String(64), nullable=False, unique=True),
    Column("benchmark_id", String(120), nullable=False),
    Column("task_type", String(60), nullable=False),
    Column("status", String(20), nullable=False, comment="applied, validated, rolled_back"),
    Column("evidence_hash", String(64), nullable=False),
    Column("plan", JSON, nullable=False),
    Column("requested_by", ForeignText, nullable=False),
    Column("dagster_run_id", String(60)),
    Column("applied_at", UtcDateTime, nullable=False),
    Column("rolled_back_at", UtcDateTime),
    Column("rollback_reason", ForeignText),
)

promotion_rows = Table(
    "benchmark_promotion_rows",
    metadata,
    Column("promotion_id", ForeignKey("benchmark_promotions.promotion_id"), primary_key=True),
    Column("conversation_id", BigInteger, primary_key=True),
    Column("old_actor_id", BigInteger),
    Column("new_actor_id", BigInteger, nullable=False),
    Column("runner_up_actor_id", BigInteger),
    Column("expected_gain", Double),
    Column("reason", ForeignText, nullable=False),
    Column("restored", Boolean, nullable=False, default=False),
    Column("old_champion", JSON, comment="the registry's row before, for the way back"),
)

champions = Table(
    "benchmark_champions",
    metadata,
    Column("conversation_id", BigInteger, primary_key=True),
    Column("task_type", String(60), nullable=False),
    Column("champion_actor_id", BigInteger, nullable=False),
    Column("runner_up_actor_id", BigInteger),
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
    Column("details", JSON, nullable=False),
    Column("validated_at", UtcDateTime, nullable=False),
)
