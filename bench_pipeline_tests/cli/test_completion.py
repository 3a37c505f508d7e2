"""The shell completes bench's words, and gets nothing else, whatever the settings."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.shell import Shell, Typed

pytestmark = ONE_ENGINE


def completed(typed: Typed, monkeypatch: pytest.MonkeyPatch, words: str) -> list[str]:
    """Return what the shell is offered for the last word of a line; nothing may stand on standard error."""
    monkeypatch.setenv("_BENCH_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split(" ")) - 1))
    done = typed()
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("bench pro", ["promote"]),
        ("bench cases ", ["check", "import", "show"]),
        ("bench run --str", ["--strategy"]),
        ("bench run --strategy ", ["full", "race"]),
        ("bench run --task g", ["grading"]),
        ("bench promote --task grading --task ", ["grading"]),
        ("bench plan --task x", []),
        ("bench completion ", ["bash", "zsh", "fish"]),
    ],
)
def test_commands_options_and_tasks_are_completed(
    typed: Typed, monkeypatch: pytest.MonkeyPatch, words: str, offered: list[str]
) -> None:
    assert completed(typed, monkeypatch, words) == offered


@pytest.mark.parametrize(
    "command", ["history", "rescore", "cases show", "why", "decide", "validate", "rollback", "log"]
)
def test_every_task_is_completed(typed: Typed, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    assert completed(typed, monkeypatch, f"bench {command} --task ") == ["grading"]


@pytest.mark.parametrize(
    ("variable", "value", "offered"),
    [
        ("BENCH_REPEATS", "x", []),
        ("BENCH_DATABASE_URL", "nonsense", ["grading"]),
        ("BENCH_TESTCASES_DIR", "absent", []),
        ("BENCH_TESTCASES_DIR", __file__, []),
        ("BENCH_POLICY", "race", []),
        ("OLLAMA_HOST", "::1", ["grading"]),
    ],
)
def test_settings_that_are_wrong_or_renamed_print_nothing_into_the_line(
    typed: Typed, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, offered: list[str]
) -> None:
    monkeypatch.setenv(variable, value)
    assert completed(typed, monkeypatch, "bench run --task ") == offered
    assert completed(typed, monkeypatch, "bench run --str") == ["--strategy"]


@pytest.mark.parametrize("shell_name", ["bash", "zsh", "fish"])
def test_the_script_is_printed_alone_whatever_the_settings(
    typed: Typed, monkeypatch: pytest.MonkeyPatch, shell_name: str
) -> None:
    """nolabs-ai/nono #1777: a warning in the output corrupts the script."""
    monkeypatch.setenv("BENCH_REPEATS", "x")
    monkeypatch.setenv("PATH", "/nowhere")
    plain, as_json = typed("completion", shell_name), typed("completion", shell_name, "--json")
    assert (plain.returncode, plain.stderr) == (0, "")
    assert f"_BENCH_COMPLETE={shell_name}_complete" in plain.stdout
    assert json.loads(as_json.stdout) == {"shell": shell_name, "script": plain.stdout.removesuffix("\n")}


def test_bash_completes_with_the_script(shell: Shell, typed: Typed) -> None:
    (shell.folder / "script").write_text(typed("completion", "bash").stdout, encoding="utf-8")
    asked = "source ./script; COMP_WORDS=(bench run --task gr); COMP_CWORD=3; _bench_completion bench; echo $COMPREPLY"
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    done = subprocess.run(
        ["bash", "-c", asked],
        cwd=shell.folder,
        env=shell.environment(PATH=path),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("grading\n", "")
