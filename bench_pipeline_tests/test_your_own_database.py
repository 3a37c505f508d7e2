"""The guide to a database of one's own, typed line by line: UUIDs, another schema, no workflows."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import yaml
from sqlalchemy import create_engine, text

from bench_pipeline_tests.fakes.ollama_server import FakeOllama
from bench_pipeline_tests.fakes.ollama_state import FakeModel
from bench_pipeline_tests.kit.engines import ONLY_POSTGRESQL
from bench_pipeline_tests.kit.schemas import ONE, UUIDS
from bench_pipeline_tests.kit.world import as_role

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "how-to" / "your-own-database.md").read_text(encoding="utf-8")

TO_PRODUCTION = (
    "bench run --task grading",
    r"plan=$(bench promote --task grading 2>&1 | sed -n 's/.*bench approve \([0-9a-f]*\).*/\1/p')",
    "bench approve $plan",
    "bench promote --plan $plan",
)
"""What is typed after the guide's commands."""


def commands(url: str) -> str:
    """The guide's commands for the server at `url`, whose logins need no password."""
    block = GUIDE.partition("<!-- your own database -->\n```\n")[2].partition("```")[0]
    addresses = re.findall(r"postgresql://(\w+):PASSWORD@\S+/production", block)
    assert addresses == ["OWNER", "bench_recorder", "bench_promoter"]
    for login in addresses:
        address = as_role(url, login) if login != "OWNER" else url
        block = re.sub(rf"postgresql://{login}:PASSWORD@\S+/production", address, block)
    return block


def write_task(folder: Path) -> None:
    """A task of the program, with the conversations that the guide lists."""
    (listed,) = re.findall(r"^conversations: .*$", GUIDE, re.MULTILINE)
    task = yaml.safe_load((ROOT / "testcases" / "grading" / "task.yaml").read_text(encoding="utf-8"))
    task |= yaml.safe_load(listed)
    task["prompt"].pop("conversation")
    task.pop("promotion")
    folder.mkdir(parents=True)
    (folder / "task.yaml").write_text(yaml.safe_dump(task), encoding="utf-8")
    (folder / "suite.json").write_bytes((ROOT / "testcases" / "grading" / "suite.json").read_bytes())


@ONLY_POSTGRESQL
def test_each_line_of_the_guide_works_with_uuids_in_another_schema_without_workflows(
    database_url: str, tmp_path: Path
) -> None:
    UUIDS.make(database_url)
    write_task(tmp_path / "testcases" / "grading")
    cases = json.loads((ROOT / "testcases" / "grading" / "suite.json").read_text(encoding="utf-8"))["test_cases"]
    gold = {case["summary"]: f"[{case['expected_verdict']}] as it is" for case in cases}
    model = FakeModel(digest="sha256:a1", size_bytes=10**9, vram_bytes=0, answers=gold)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("BENCH_", "OLLAMA_"))}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    lines = ["set -e", commands(database_url), *TO_PRODUCTION]
    with FakeOllama({"qwen2.5:7b": model}) as server:
        environment |= {"OLLAMA_HOST": server.url, "BENCH_CACHE_DIR": str(tmp_path / "cache")}
        done = subprocess.run(
            ["sh", "-c", "\n".join(lines)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout[-3000:]
    assert "1 of 2 actors are eligible" in done.stdout
    assert re.search(rf"^{ONE} grade +PROMOTE +phi → qwen", done.stdout, re.MULTILINE)
    engine = create_engine(database_url)
    with engine.connect() as connection:
        holds = connection.scalar(text("SELECT model_id::text FROM crew.steps WHERE id = :step"), {"step": ONE})
    engine.dispose()
    assert (holds, (tmp_path / "production" / "champions.json").exists()) == (ONE, True)
