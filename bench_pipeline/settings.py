"""All settings of the program, read from `BENCH_…` variables and `.env`. No other module reads settings.

What a setting means for a measurement is in domain/measuring/protocol.py, for a promotion in domain/promoting.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal

from dotenv import dotenv_values
from platformdirs import user_cache_path
from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.mapping.names import ColumnName, mapped_name
from bench_pipeline.domain.measuring.protocol import CacheRegime, PlacementRule, Strategy
from bench_pipeline.domain.models.actor import MODEL_ACTOR_TYPE
from bench_pipeline.domain.models.server_address import ServerAddress, parse_named_hosts, parse_ollama_host
from bench_pipeline.domain.promoting.policy import ALPHA, PromotionPolicy
from bench_pipeline.domain.triggers.quiet_hours import parse_quiet_hours
from bench_pipeline.env_file import ENCODING, ENV_FILE, check_env_file

# Families trained for code only, or that need an image. qwen2.5-coder is chat-tuned and stays in.
CODE_OR_VISION_ONLY = (
    "*codellama*", "*codegemma*", "*codestral*", "*starcoder*", "*codeqwen*", "*granite-code*", "*code-only*",
    "*llava*", "*bakllava*", "*moondream*", "*-vision*", "*vision:*", "*minicpm-v*", "*-vl:*", "*-vl-*", "*vl:*",
)  # fmt: skip
EMBEDDING_OR_SPECIALIST = (
    "*embed*", "*minilm*", "*bge-*", "*rerank*", "*guard*", "*shieldgemma*", "*sqlcoder*", "*-math*", "*mathstral*",
    "*medllama*", "*meditron*", "*ocr*", "*whisper*", "*translategemma*", "*reader-lm*",
)  # fmt: skip

REMOVED_NAMES = {"BENCH_POLICY": "BENCH_STRATEGY", "BENCH_EVIDENCE_DAYS": "BENCH_REUSE_DAYS"}
"""Variables renamed in version 0.2, keyed by their former names."""


class Settings(BaseSettings):
    """The settings and their defaults; `docs/reference/settings.md` lists them."""

    model_config = SettingsConfigDict(
        env_prefix="BENCH_",
        env_file=ENV_FILE,
        env_file_encoding=ENCODING,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
    )

    database_url: SecretStr = Field(
        default=SecretStr("sqlite:///.bench/bench.db"),
        description="SQLAlchemy URL of the database with your actors and conversations",
    )
    promoter_url: SecretStr | None = Field(
        default=None,
        description="URL of the same PostgreSQL database for the promoter role; default: BENCH_DATABASE_URL",
    )
    owner_url: SecretStr | None = Field(
        default=None,
        description="URL of the same database for the table owner, used only by bench db and bench doctor; "
        "default: BENCH_DATABASE_URL",
    )
    recorder_role: str = Field(
        default="bench_recorder", description="role that reads production and records results (bench db install)"
    )
    promoter_role: str = Field(
        default="bench_promoter", description="role that may only call the promotion function (bench db install)"
    )
    recorder_password: SecretStr | None = Field(
        default=None, description="password that bench db install sets for the recorder role; default: none"
    )
    promoter_password: SecretStr | None = Field(
        default=None, description="password that bench db install sets for the promoter role; default: none"
    )
    production_names: dict[str, str | ColumnName] = Field(
        default_factory=dict,
        description='your names for production\'s tables and columns, such as {"actors.enabled": "is_active"}; '
        "bench db map proposes them",
    )
    model_actor_types: tuple[str, ...] = Field(
        default=(MODEL_ACTOR_TYPE,), min_length=1, description="values of actor_type that mark a model, as a JSON list"
    )
    own_schema: str | None = Field(
        default=None,
        validation_alias=AliasChoices("BENCH_SCHEMA"),
        description="PostgreSQL schema of bench's own tables; default: where they are, else the first schema of the "
        "owner's search_path",
    )
    testcases_dir: Path | None = Field(
        default=None,
        description="directory with one subdirectory per task; default: ./testcases, else the bundled tasks",
    )
    reports_dir: Path = Field(default=Path("reports"), description="directory for reports")
    production_dir: Path = Field(
        default=Path("production"), description="directory for workflow documents and the champion registry"
    )
    cache_dir: Path = Field(
        default_factory=lambda: user_cache_path("bench_pipeline"), description="directory for downloaded weights"
    )
    ollama_host: str = Field(
        default="http://127.0.0.1:11434",
        validation_alias=AliasChoices("BENCH_OLLAMA_HOST", "OLLAMA_HOST"),
        description="address of the Ollama server, in any form that OLLAMA_HOST has",
    )
    ollama_hosts: SecretStr | None = Field(
        default=None,
        description="several Ollama servers in place of the one, each with a GPU of its own: "
        "gpu1=http://10.0.0.1:11434,gpu2=http://10.0.0.2:11434",
    )
    ollama_api_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("BENCH_OLLAMA_API_KEY", "OLLAMA_API_KEY"),
        description="API key for the Ollama servers at these addresses, sent as a bearer token",
    )
    openai_api_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("BENCH_OPENAI_API_KEY", "OPENAI_API_KEY"),
        description="API key for OpenAI-compatible servers that require one",
    )
    openai_num_ctx: int | None = Field(
        default=None,
        ge=256,
        description="context window that the OpenAI-compatible servers were started with, tokens",
    )
    allowed_hosts: str = Field(
        default="localhost,127.0.0.1,::1",
        description="hosts that an actor's openai: address, or the host of an ollama: one, may name, comma-separated; "
        "they receive production's texts",
    )
    server_hardware: dict[str, str] = Field(
        default_factory=dict,
        description="what a server runs on, by name, host or host:port, because no API tells: "
        '{"gpu-box": "RTX 4090, 24 GB"}; results rank together only on equal hardware',
    )
    llama_cpp_threads: int | None = Field(default=None, ge=1, description="threads of the llama.cpp runtime")
    max_model_gb: float = Field(
        default=8.0,
        gt=0,
        allow_inf_nan=False,
        description="largest model that fits the GPU, GB (1e9 bytes)",
    )
    excluded_names: tuple[str, ...] = Field(
        default=CODE_OR_VISION_ONLY, description="name patterns of code-only and vision-only models, a JSON list"
    )
    specialist_names: tuple[str, ...] = Field(
        default=EMBEDDING_OR_SPECIALIST, description="name patterns of embedding and specialist models, a JSON list"
    )
    batch_size: int = Field(default=5, ge=1, le=1000, description="cases per batch")
    repeats: int = Field(default=1, ge=1, le=100, description="passes over the suite per model")
    strategy: Strategy = Field(
        default="full",
        description="full: every model makes all calls; race: a model stops once its place is decided",
    )
    confirm_wrong: bool = Field(
        default=False, description="a race asks a failed case once more before it stops the model"
    )
    final_passes: int = Field(
        default=20, ge=0, le=40, description="maximum passes of the final between challenger and incumbent; 0: no final"
    )
    cache_regime: CacheRegime = Field(
        default="as_production",
        description="as_production: the template's prefix is cached; cold: the model is unloaded before every pass",
    )
    order_seed: int | None = Field(
        default=None, description="seed that shuffles the cases of every pass; default: the order of the suite"
    )
    retries: int = Field(default=2, ge=0, le=10, description="retries of a call after an infrastructure failure")
    retry_pause_s: float = Field(
        default=1.0,
        ge=0,
        allow_inf_nan=False,
        description="pause before the first retry, seconds; doubled before each further one",
    )
    error_budget: int = Field(default=0, ge=0, description="failed calls a model may have and still qualify")
    placement: PlacementRule = Field(
        default="auto",
        description="auto: a model must be entirely on the GPU if its Ollama server has one; gpu: it must; "
        "any: no such check",
    )
    anchor: str | None = Field(default=None, description="actor or model measured first and last to detect drift")
    load_time_limit_s: float = Field(
        default=600.0, gt=0, allow_inf_nan=False, description="time limit for loading one model, seconds"
    )
    resume_hours: float = Field(
        default=24.0, ge=0, description="maximum age of an interrupted benchmark to resume, hours"
    )
    reuse_days: float = Field(
        default=35.0,
        ge=0,
        description="maximum age of an earlier run under the same evidence to reuse, days",
    )
    min_gain: float = Field(
        default=0.05, ge=0, lt=1, description="share of the incumbent's latency that a challenger must save"
    )
    alpha: float = Field(
        default=ALPHA, gt=0, lt=0.5, description="maximum chance of promoting a challenger that is not faster"
    )
    approval: Literal["as_marked", "required"] = Field(
        default="as_marked",
        description="as_marked: all but the conversations under promotion.auto in task.yaml need approval; "
        "required: all need it",
    )
    second_person: bool = Field(default=False, description="requesters cannot approve their own plans")
    approval_hours: float = Field(
        default=72.0, gt=0, allow_inf_nan=False, description="age at which an approval expires, hours"
    )
    plan_hours: float = Field(
        default=168.0, gt=0, allow_inf_nan=False, description="age beyond which a plan is refused, hours"
    )
    promotion_evidence_days: float = Field(
        default=35.0,
        gt=0,
        allow_inf_nan=False,
        description="maximum age of a champion's measurement, days",
    )
    max_rows: int = Field(default=20, ge=1, description="maximum number of conversations that one promotion may change")
    validation_hook: str | None = Field(
        default=None, description="your own validation of a promotion: module:callable, or a command line"
    )
    validation_hook_limit_s: float = Field(
        default=600.0, gt=0, allow_inf_nan=False, description="time limit of the validation hook, seconds"
    )
    ui_names: str | None = Field(
        default=None,
        description="names under which people reach Dagster's web server, comma-separated, such as the proxy's host; "
        "localhost and IP addresses always count",
    )
    proxy_user_header: str | None = Field(
        default=None,
        description="header in which the proxy before Dagster's web server names the user, such as X-Forwarded-User; "
        "default: no user is named",
    )
    schedule: str = Field(default="0 3 1 * *", description="cron expression of the scheduled benchmark")
    review_schedule: str = Field(
        default="0 3 8 1,4,7,10 *", description="cron expression of the quarterly review, in the same time zone"
    )
    schedule_timezone: str = Field(default="UTC", description="time zone of both schedules and of the quiet hours")
    quiet_hours: str | None = Field(
        default=None,
        description="times in which automation starts no benchmark, such as mon-fri 08:00-18:00; sat 10:00-12:00",
    )
    heed_production: bool = Field(
        default=True,
        description="automation starts no benchmark while production uses its models; false: only quiet hours count",
    )
    automation: Literal["on", "off"] | None = Field(
        default=None,
        description="on: schedules and sensors run once Dagster loads them; off: a person turns them on; "
        "default: off under dg dev and bench ui, else on",
    )
    alert_urls: SecretStr | None = Field(
        default=None,
        description="addresses that receive alerts, in the forms of apprise, separated by commas or spaces",
    )
    ui_url: str | None = Field(
        default=None, description="address of Dagster's UI as people open it, for the links in alerts"
    )

    @field_validator("ollama_host")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        try:
            parse_ollama_host(value)
        except InputError as error:
            raise PydanticCustomError("address", "{reason}", {"reason": str(error)}) from None
        return value

    @field_validator("quiet_hours")
    @classmethod
    def _are_quiet_hours(cls, value: str | None) -> str | None:
        try:
            parse_quiet_hours(value or "")
        except ValueError as error:
            raise PydanticCustomError("quiet_hours", "{reason}", {"reason": str(error)}) from None
        return value

    @field_validator("ollama_hosts")
    @classmethod
    def _are_hosts(cls, value: SecretStr | None) -> SecretStr | None:
        try:
            parse_named_hosts(value.get_secret_value() if value else "")
        except InputError as error:
            raise PydanticCustomError("hosts", "{reason}", {"reason": str(error)}) from None
        return value

    @field_validator("production_names", mode="before")
    @classmethod
    def _are_names(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        try:
            return {name: mapped_name(name, one) for name, one in value.items()}
        except ValueError as error:
            raise PydanticCustomError("names", "{reason}", {"reason": str(error)}) from None

    @field_validator("database_url", "promoter_url", "owner_url", "alert_urls")
    @classmethod
    def _is_text(cls, url: SecretStr | None) -> SecretStr | None:
        try:
            (url.get_secret_value() if url else "").encode()
        except UnicodeEncodeError:
            raise PydanticCustomError("text", "must be UTF-8 text; percent-encode any other byte") from None
        return url

    @field_validator("ui_url")
    @classmethod
    def _is_a_page(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"https?://[^\s@?#]+", value):
            raise PydanticCustomError("page", "must be http:// or https:// with a host, without a login or a query")
        return value

    @property
    def max_model_bytes(self) -> int:
        """The size limit in bytes."""
        return int(self.max_model_gb * 1e9)

    @property
    def named_hosts(self) -> dict[str, ServerAddress]:
        """The Ollama servers that have names, in the order in which they are stated; empty for a single server."""
        return parse_named_hosts(self.ollama_hosts.get_secret_value() if self.ollama_hosts else "")

    @property
    def promotion_policy(self) -> PromotionPolicy:
        """What a challenger must show."""
        return PromotionPolicy(self.min_gain, self.alpha)

    @property
    def hosts(self) -> frozenset[str]:
        """The hosts that an `openai:` address may name."""
        return _names_in(self.allowed_hosts)

    @property
    def own_ui_names(self) -> frozenset[str]:
        """The names of `ui_names`."""
        return _names_in(self.ui_names or "")


def _names_in(text: str) -> frozenset[str]:
    return frozenset(name.strip().lower() for name in text.split(",") if name.strip())


def load_settings() -> Settings:
    """Read the settings.

    An empty variable counts as not set. Raises `InputError` with one line per invalid variable, or per variable that
    has another name now, or with one line about an `.env` that cannot be read.
    """
    check_env_file()
    if removed := sorted(REMOVED_NAMES.keys() & _names_in_use()):
        raise InputError("\n".join(f"{name}: has another name now; write {REMOVED_NAMES[name]}" for name in removed))
    try:
        return Settings()
    except SettingsError as error:
        raise InputError(f"{_variable_in(str(error))}: must be JSON") from None
    except ValidationError as error:
        lines = [f"{_variable_at(entry['loc'])}: {entry['msg'].lower()}" for entry in error.errors(include_input=False)]
        raise InputError("\n".join(lines)) from None


def _names_in_use() -> set[str]:
    """Return the names of the variables that are set, and not empty."""
    values = [*os.environ.items(), *dotenv_values(ENV_FILE, encoding=ENCODING).items()]
    return {name.upper() for name, value in values if value}


def _variable_at(location: tuple[int | str, ...]) -> str:
    """Return the variable at a validation error's location."""
    return f"BENCH_{'.'.join(str(part) for part in location).upper().removeprefix('BENCH_')}"


def _variable_in(text: str) -> str:
    """Return the variable of a pydantic-settings error, which names its field in quotes."""
    quoted = text.split('"')
    return f"BENCH_{quoted[1].upper()}" if len(quoted) > 1 else "BENCH_... or .env"
