"""The README's quick start, typed line by line in an empty folder, in front of a server without a GPU."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench_pipeline_tests.fakes.ollama_server import FakeOllama
from bench_pipeline_tests.fakes.ollama_state import FakeModel

README = Path(__file__).parents[1] / "README.md"
INSTALLS = ("python3 -m venv", ". .venv", "pip install")
FIVE = {
    "qwen2.5:7b": "sha256:a1",
    "llama3.2:3b": "sha256:a2",
    "gemma3:4b": "sha256:a3",
    "phi4-mini:latest": "sha256:a4",
    "nomic-embed-text:latest": "sha256:a5",
}


def lines() -> list[str]:
    text = README.read_text(encoding="utf-8").partition("<!-- quick start -->\n```\n")[2].partition("```")[0]
    return text.splitlines()


def gold() -> dict[str, str]:
    """The right reply to each case of the two tasks, by a text that only its prompt holds."""
    replies = {}
    for task, key in (("grading", "summary"), ("extraction", "posting")):
        for case in json.loads((README.parent / "testcases" / task / "suite.json").read_text("utf-8"))["test_cases"]:
            values = {name: _first(value) for name, value in (case.get("expected_output") or {}).items()}
            replies[case[key]] = json.dumps(values) if values else f"[{case['expected_verdict']}] as it is"
    return replies


def _first(value: object) -> object:
    return value[0] if isinstance(value, list) else value


@pytest.fixture
def server() -> Iterator[FakeOllama]:
    models = {
        name: FakeModel(digest=digest, size_bytes=2_000_000_000, vram_bytes=0, answers=gold())
        for name, digest in FIVE.items()
    }
    with FakeOllama(models) as server:
        yield server


def test_it_has_twelve_lines() -> None:
    assert len(lines()) == 12


def test_each_line_works_in_an_empty_folder_without_any_setting(server: FakeOllama, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("BENCH_", "OLLAMA_"))}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    environment["HOME"] = str(tmp_path / "home")
    folder = tmp_path / "empty"
    folder.mkdir()
    typed = [line for line in lines() if not line.startswith(INSTALLS)]
    host = server.url.removeprefix("http://")
    script = "set -e\n" + "\n".join(re.sub(r"OLLAMA_HOST=\S+", f"OLLAMA_HOST={host}", line) for line in typed)
    done = subprocess.run(
        ["sh", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=240
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout[-3000:]
    assert "has no GPU in use: its models run on the CPU" in done.stdout
    assert "4 models × 10 cases" in done.stdout
    assert "🥇 Champion" in done.stdout
    assert re.search(r"^\d{4}-\d\d-\d\d-grading-.*\.md$", done.stdout.splitlines()[-1])
    called = {record.model for record in server.log if record.path == "/api/chat"}
    assert called == FIVE.keys() - {"nomic-embed-text:latest"}
