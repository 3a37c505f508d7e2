"""Ids and names that hold anything: 300 characters, quotation marks, dots, slashes, line breaks, from end to end."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from sqlalchemy import create_engine, text

from bench_pipeline.domain.models.ids import MAX_NAME, short_name
from bench_pipeline_tests.fakes.ollama_server import FakeOllama
from bench_pipeline_tests.fakes.ollama_state import FakeModel
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.shell import Typed

ODD = "../a/b\\c.'d' \"e\"\n%f|g...{h}<i>`j`;-- "
ID = ODD + "k" * (300 - len(ODD))
NAME = "n" * 250 + ODD + "m" * 200
TEST_CASES = Path(__file__).parents[2] / "testcases" / "grading"
TABLES = (
    "CREATE TABLE actors (actor_id TEXT, actor_name TEXT, actor_type TEXT, execution_path TEXT, enabled BOOLEAN)",
    "CREATE TABLE conversations (conversation_id TEXT, conversation_name TEXT, actor_id TEXT)",
    "CREATE TABLE workflows (workflow_id TEXT, workflow_name TEXT)",
    "CREATE TABLE workflow_conversations (workflow_id TEXT, conversation_id TEXT, execution_order INTEGER)",
    "INSERT INTO actors VALUES (:id, :name, 'ai_model', 'qwen2.5:7b', 1), "
    "(:id || '2', :name || '2', 'ai_model', 'x:1', 0)",
    "INSERT INTO conversations VALUES (:id, :name, :id || '2')",
    "INSERT INTO workflows VALUES (:id, :name), ('a', 'b~c'), ('a~b', 'c'), ('A', 'b-c')",
    "INSERT INTO workflow_conversations VALUES (:id, :id, 1)",
)


def make(url: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in TABLES:
            given = {name: value for name, value in (("id", ID), ("name", NAME)) if f":{name}" in statement}
            connection.execute(text(statement), given)
    engine.dispose()


def write_task(folder: Path) -> None:
    task = yaml.safe_load((TEST_CASES / "task.yaml").read_text(encoding="utf-8"))
    task["prompt"].pop("conversation")
    task |= {"conversations": [ID], "promotion": {"auto": [ID]}}
    folder.mkdir(parents=True)
    (folder / "task.yaml").write_text(yaml.safe_dump(task), encoding="utf-8")
    (folder / "suite.json").write_bytes((TEST_CASES / "suite.json").read_bytes())


@ONE_ENGINE
def test_a_promotion_and_its_documents_work_with_any_ids_and_names(
    bench: Typed, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(database_url)
    write_task(tmp_path / "testcases" / "grading")
    cases = json.loads((TEST_CASES / "suite.json").read_text(encoding="utf-8"))["test_cases"]
    gold = {case["summary"]: f"[{case['expected_verdict']}] as it is" for case in cases}
    with FakeOllama({"qwen2.5:7b": FakeModel(digest="sha256:a1", size_bytes=10**9, answers=gold)}) as server:
        monkeypatch.setenv("BENCH_OLLAMA_HOST", server.url)
        for words in (
            ("models",),
            ("run", "--task", "grading"),
            ("plan", "--task", "grading"),
            ("promote", "--task", "grading"),
            ("log",),
            ("blame", ID),
            ("docs",),
        ):
            done = bench(*words)
            assert (words[0], done.returncode) == (words[0], 0), done.stdout + done.stderr
    engine = create_engine(database_url)
    with closing(engine.connect()) as connection:
        assert connection.scalar(text("SELECT actor_id FROM conversations")) == ID
    engine.dispose()
    written = sorted((tmp_path / "production" / "workflows").iterdir())
    assert len(written) == 4
    assert all(path.stat().st_size and len(path.name.encode()) < 255 for path in written)
    registry = json.loads((tmp_path / "production" / "champions.json").read_text(encoding="utf-8"))
    assert registry["champions"][0]["champion"]["actor_id"] == ID
    inside = {path.resolve() for path in tmp_path.rglob("*")}
    assert all(path.is_relative_to(tmp_path.resolve()) for path in inside)


@pytest.mark.parametrize("length", [1, MAX_NAME, MAX_NAME + 1, 5000])
def test_a_name_is_shortened_only_if_our_tables_could_not_hold_it(length: int) -> None:
    name, other = "n" * length, "n" * (length - 1) + "m"
    assert len(short_name(name)) == min(length, MAX_NAME)
    assert (short_name(name) == name) is (length <= MAX_NAME)
    assert short_name(name) != short_name(other)
