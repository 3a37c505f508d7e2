"""`bench db map`: what it proposes for the databases of other teams works when it is typed, and it writes nothing."""

from __future__ import annotations

import io
import json
from contextlib import closing
from pathlib import Path

import pytest
from dotenv import dotenv_values
from sqlalchemy import create_engine, inspect

from bench_pipeline.settings import load_settings
from bench_pipeline.storage.database import open_database
from bench_pipeline.storage.production import open_production
from bench_pipeline_tests.fakes.ollama_server import FakeOllama
from bench_pipeline_tests.fakes.ollama_state import FakeModel
from bench_pipeline_tests.kit.engines import ONE_ENGINE, ONLY_POSTGRESQL
from bench_pipeline_tests.kit.schemas import SCHEMAS, TeamSchema
from bench_pipeline_tests.kit.shell import Typed

ON_POSTGRESQL = [pytest.param(one, id=one.name) for one in SCHEMAS if not one.sqlite]
ON_SQLITE = [pytest.param(one, id=one.name) for one in SCHEMAS if one.sqlite]


def check_proposal(bench: Typed, schema: TeamSchema, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    schema.make(url)
    before = tables(url)
    proposed = bench("db", "map")
    assert (proposed.returncode, proposed.stderr) == (0, "")
    assert tables(url) == before

    Path(".env").write_text(proposed.stdout.partition("👉 .env:\n")[2], encoding="utf-8")
    shown = json.loads(bench("db", "map", "--json").stdout)
    assert dict(dotenv_values(stream=io.StringIO("\n".join(shown["lines"])))).keys() <= {
        "BENCH_PRODUCTION_NAMES",
        "BENCH_MODEL_ACTOR_TYPES",
    }
    with FakeOllama({"qwen2.5:7b": FakeModel(digest="sha256:a1", size_bytes=10**9)}) as server:
        monkeypatch.setenv("BENCH_OLLAMA_HOST", server.url)
        models = bench("models", "--json")
    assert models.returncode == 0, models.stderr
    eligible = [line["name"] for line in json.loads(models.stdout) if line["exclusion"] is None]
    assert eligible in (["qwen"], ["qwen2.5:7b"])
    settings = load_settings()
    with closing(open_database(url)) as database, database.engine.connect() as connection:
        production = open_production(database, settings.production_names, settings.model_actor_types)
        steps = {one.conversation_id: one.actor_name for one in production.conversations(connection)}
        assert steps == schema.steps
        assert bool(production.workflows(connection)) is ("workflows" in shown["names"])


def tables(url: str) -> list[tuple[str, str]]:
    engine = create_engine(url)
    inspector = inspect(engine)
    found = [(schema, name) for schema in inspector.get_schema_names() for name in inspector.get_table_names(schema)]
    engine.dispose()
    return found


@ONLY_POSTGRESQL
@pytest.mark.parametrize("schema", ON_POSTGRESQL)
def test_what_is_proposed_works_when_it_is_written_into_the_settings(
    bench: Typed, database_url: str, schema: TeamSchema, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_proposal(bench, schema, database_url, monkeypatch)


@ONE_ENGINE
@pytest.mark.parametrize("schema", ON_SQLITE)
def test_what_is_proposed_for_a_file_works_too(
    bench: Typed, database_url: str, schema: TeamSchema, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_proposal(bench, schema, database_url, monkeypatch)


@ONE_ENGINE
def test_what_is_missing_is_named_and_is_the_exit_status(bench: Typed, database_url: str) -> None:
    TeamSchema("", ("CREATE TABLE models (id INTEGER PRIMARY KEY, name TEXT, active INTEGER)",)).make(database_url)
    done = bench("db", "map")
    assert done.returncode == 1
    missing = [line for line in done.stdout.splitlines() if line.startswith("❌")]
    assert missing == [
        "❌ actors.actor_type (in models) was not found; make a view that has it",
        "❌ actors.execution_path (in models) was not found; make a view that has it",
        "❌ a table for conversations was not found; make a view that has it",
    ]


@ONE_ENGINE
def test_a_file_that_does_not_exist_is_not_created(bench: Typed, database_url: str) -> None:
    done = bench("db", "map")
    assert done.returncode == 2
    assert "BENCH_DATABASE_URL: there is no file" in done.stderr
    assert not Path(database_url.removeprefix("sqlite:///")).exists()
