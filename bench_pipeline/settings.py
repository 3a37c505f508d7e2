"""Every knob of the program, read from `BENCH_…` variables and `.env`. Nothing else reads the environment."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Literal

from dotenv import dotenv_values
from platformdirs import user_cache_path
from pydantic import AliasChoices, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.measuring.protocol import CacheRegime, Strategy
from bench_pipeline.domain.promoting.policy import ALPHA, PromotionPolicy

# Families trained for code alone, or that want an image. qwen2.5-coder is chat-tuned and stays in.
CODE_OR_VISION_ONLY = (
    "*codellama*", "*codegemma*", "*codestral*", "*starcoder*", "*codeqwen*", "*granite-code*", "*code-only*",
    "*llava*", "*bakllava*", "*moondream*", "*-vision*", "*vision:*", "*minicpm-v*", "*-vl:*", "*-vl-*", "*vl:*",
)  # fmt: skip
EMBEDDING_OR_SPECIALIST = (
    "*embed*", "*minilm*", "*bge-*", "*rerank*", "*guard*", "*shieldgemma*", "*sqlcoder*", "*-math*", "*mathstral*",
    "*medllama*", "*meditron*", "*ocr*", "*whisper*", "*translategemma*", "*reader-lm*",
)  # fmt: skip

FORMER_NAMES = {"BENCH_POLICY": "BENCH_STRATEGY", "BENCH_EVIDENCE_DAYS": "BENCH_REUSE_DAYS"}
"""Variables that were renamed in version 0.2, by their former names."""


class Settings(BaseSettings):
    """Settings with their defaults; `docs/reference/settings.md` lists them."""

    model_config = SettingsConfigDict(
        env_prefix="BENCH_", env_file=".env", extra="ignore", frozen=True, populate_by_name=True
    )

    database_url: SecretStr = Field(
        default=SecretStr("sqlite:///.bench/bench.db"),
        description="SQLAlchemy URL of the database that holds actors and conversations",
    )
    promoter_url: SecretStr | None = Field(
        default=None,
        description="the same PostgreSQL database as the role that may promote; default: BENCH_DATABASE_URL",
    )
    owner_url: SecretStr | None = Field(
        default=None,
        description="the same as the owner of its tables, for bench db install alone; default: BENCH_DATABASE_URL",
    )
    recorder_role: str = Field(
        default="bench_recorder", description="role that reads and records, for bench db install"
    )
    promoter_role: str = Field(
        default="bench_promoter", description="role that may call the promotion and nothing else"
    )
    recorder_password: SecretStr | None = Field(
        default=None, description="password that bench db install gives the recorder; default: none is set"
    )
    promoter_password: SecretStr | None = Field(
        default=None, description="password that bench db install gives the promoter; default: none is set"
    )
    production_names: dict[str, str] = Field(
        default_factory=dict,
        description='your names for the tables and columns of production, such as {"actors.enabled": "is_active"}',
    )
    testcases_dir: Path | None = Field(
        default=None, description="folder with a folder a task; default ./testcases, else the ones that ship"
    )
    reports_dir: Path = Field(default=Path("reports"), description="where reports are written")
    production_dir: Path = Field(
        default=Path("production"), description="where workflow documents and the champion registry are written"
    )
    cache_dir: Path = Field(
        default_factory=lambda: user_cache_path("bench_pipeline"), description="where downloaded weights are kept"
    )
    ollama_host: str = Field(
        default="http://127.0.0.1:11434",
        validation_alias=AliasChoices("BENCH_OLLAMA_HOST", "OLLAMA_HOST"),
        description="the Ollama server",
    )
    openai_api_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("BENCH_OPENAI_API_KEY", "OPENAI_API_KEY"),
        description="key for OpenAI-compatible servers that ask for one",
    )
    openai_num_ctx: int | None = Field(
        default=None,
        ge=256,
        description="context window of the OpenAI-compatible servers, tokens, as they were started",
    )
    allowed_hosts: str = Field(
        default="localhost,127.0.0.1,::1",
        description="hosts that an actor's openai: address may name, by commas; production's texts go there",
    )
    llama_cpp_threads: int | None = Field(default=None, ge=1, description="threads of the embedded runtime")
    max_model_gb: float = Field(
        default=8.0, gt=0, allow_inf_nan=False, description="largest model that fits the GPU, GB (1e9 bytes)"
    )
    excluded_names: tuple[str, ...] = Field(
        default=CODE_OR_VISION_ONLY, description="name patterns of code-only and vision-only models, as JSON list"
    )
    specialist_names: tuple[str, ...] = Field(
        default=EMBEDDING_OR_SPECIALIST, description="name patterns of embedding and other special models"
    )
    batch_size: int = Field(default=5, ge=1, le=1000, description="cases run together")
    repeats: int = Field(default=1, ge=1, le=100, description="passes over the suite")
    strategy: Strategy = Field(
        default="full",
        validation_alias=AliasChoices("BENCH_STRATEGY", "BENCH_POLICY"),
        description="full: every model makes all calls; race: a model stops when its place is decided",
    )
    confirm_wrong: bool = Field(default=False, description="a race asks once more before a model stops at a case")
    final_passes: int = Field(
        default=20, ge=0, le=20, description="most passes of the final between challenger and incumbent; 0: none"
    )
    cache_regime: CacheRegime = Field(default="as_production", description="or cold: unloaded before every pass")
    order_seed: int | None = Field(default=None, description="shuffles the cases of every pass; default: as written")
    retries: int = Field(default=2, ge=0, le=10, description="of a call that infrastructure failed")
    retry_pause_s: float = Field(
        default=1.0, ge=0, allow_inf_nan=False, description="before the first retry, seconds; doubled for each further"
    )
    error_budget: int = Field(default=0, ge=0, description="failed calls that a model may have and still qualify")
    placement: Literal["gpu", "any"] = Field(
        default="gpu", description="gpu: a model that Ollama holds outside the GPU is not measured; any: it is"
    )
    anchor: str | None = Field(default=None, description="actor or model that is measured first and last, to see drift")
    load_time_limit_s: float = Field(
        default=600.0, gt=0, allow_inf_nan=False, description="for loading one model, seconds"
    )
    resume_hours: float = Field(default=24.0, ge=0, description="an interrupted benchmark younger than this goes on")
    reuse_days: float = Field(
        default=35.0,
        ge=0,
        validation_alias=AliasChoices("BENCH_REUSE_DAYS", "BENCH_EVIDENCE_DAYS"),
        description="how long an earlier run under the same evidence counts, days",
    )
    min_gain: float = Field(
        default=0.05, ge=0, lt=1, description="share of the incumbent's latency that a challenger must save"
    )
    alpha: float = Field(
        default=ALPHA, gt=0, lt=0.5, description="chance, at most, of promoting a challenger that is not faster"
    )
    approval: Literal["as_marked", "required"] = Field(
        default="as_marked",
        description="as_marked: conversations under promotion.auto in task.yaml change without asking; required: none",
    )
    second_person: bool = Field(default=False, description="nobody approves a plan that they asked for")
    approval_hours: float = Field(
        default=72.0, gt=0, allow_inf_nan=False, description="an approval older than this counts no more"
    )
    plan_hours: float = Field(default=168.0, gt=0, allow_inf_nan=False, description="a plan older than this is refused")
    promotion_evidence_days: float = Field(
        default=35.0, gt=0, allow_inf_nan=False, description="a champion measured longer ago is not promoted"
    )
    max_rows: int = Field(default=20, ge=1, description="most conversations that one promotion may change")
    validation_hook: str | None = Field(
        default=None, description="your own runner that judges a promotion: module:callable, or a command line"
    )
    validation_hook_limit_s: float = Field(
        default=600.0, gt=0, allow_inf_nan=False, description="time limit of that runner, seconds"
    )
    schedule: str = Field(default="0 3 1 * *", description="cron of the monthly benchmark")
    schedule_timezone: str = Field(default="UTC", description="time zone of the schedule")

    @property
    def max_model_bytes(self) -> int:
        """The size limit in bytes."""
        return int(self.max_model_gb * 1e9)

    @property
    def promotion_policy(self) -> PromotionPolicy:
        """What a challenger must show."""
        return PromotionPolicy(self.min_gain, self.alpha)

    @property
    def hosts(self) -> frozenset[str]:
        """The hosts that an `openai:` address may name."""
        return frozenset(name.strip().lower() for name in self.allowed_hosts.split(",") if name.strip())


def load_settings() -> Settings:
    """Read the settings, with a `FutureWarning` for each variable under its former name.

    Raises `InputError` that names each variable that is wrong.
    """
    try:
        settings = Settings()
    except SettingsError as error:
        raise InputError(f"{_variable_in(str(error))}: must be JSON") from None
    except ValidationError as error:
        lines = [f"{_variable_at(entry['loc'])}: {entry['msg'].lower()}" for entry in error.errors(include_input=False)]
        raise InputError("\n".join(lines)) from None
    for former in sorted(FORMER_NAMES.keys() & _names_in_use()):
        warnings.warn(
            f"{former} is now {FORMER_NAMES[former]}; the former name works until version 0.3",
            FutureWarning,
            stacklevel=2,
        )
    return settings


def _names_in_use() -> set[str]:
    return {name.upper() for name in (*os.environ, *dotenv_values(".env"))}


def _variable_at(location: tuple[int | str, ...]) -> str:
    name = ".".join(str(part) for part in location).upper()
    return name if name.startswith("BENCH_") else f"BENCH_{name}"


def _variable_in(text: str) -> str:
    """Return the variable of a pydantic-settings error, which names its field in quotes."""
    quoted = text.split('"')
    return f"BENCH_{quoted[1].upper()}" if len(quoted) > 1 else "BENCH_... or .env"
