"""A command writes to any stream: one that lacks its characters, is closed, is full, or has lost its reader."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench_pipeline.cli.output import print_json
from bench_pipeline.cli.streams import as_written
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.shell import Shell

REPLACED = {
    "[ok] PASS (34 ms)": "✅ PASS (34 ms)",
    "[x] FAIL": "❌ FAIL",
    "[!]  no verdict": "⚠️  no verdict",
    "[-]  Not run:": "⏭️  Not run:",
    "1. Champion: x": "🥇 Champion: x",
    "grading: starting": "🏁 grading: starting",
    "final": "⚔️  final",
    "  |- case": "  ├─ case",
    "  `- case": "  └─ case",
    "a -> b": "a → b",
    "_.:-=+*#": "▁▂▃▄▅▆▇█",
    "Muller": "Müller",
    "cafe": "cafe\N{COMBINING ACUTE ACCENT}",
    "?": "日",
}


def started(shell: Shell, words: str, encoding: str = "utf-8", **settings: str) -> subprocess.CompletedProcess[str]:
    """Let a shell run the command, with its redirections, and read what it wrote in this encoding."""
    return subprocess.run(
        ["bash", "-c", f"{Path(sys.executable).with_name('bench')} {words}"],
        cwd=shell.folder,
        env=shell.environment(**settings),
        capture_output=True,
        encoding=encoding,
        check=False,
        timeout=120,
    )


def encoded(monkeypatch: pytest.MonkeyPatch, encoding: str) -> io.BytesIO:
    """Let standard output have this encoding; return what is written to it."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding, write_through=True))
    return raw


@pytest.mark.parametrize(("readable", "text"), REPLACED.items())
def test_a_character_that_ascii_lacks_has_a_readable_form(
    monkeypatch: pytest.MonkeyPatch, readable: str, text: str
) -> None:
    encoded(monkeypatch, "ascii")
    assert as_written(text) == readable


@pytest.mark.parametrize(
    ("encoding", "text"),
    [("cp1252", "Müller – 5 × 10"), ("shift_jis", "日本 → ├─"), ("koi8-r", "модель ├─"), ("utf-8", "✅ ⚠️  ▁█")],
)
def test_a_character_that_the_encoding_has_stays(monkeypatch: pytest.MonkeyPatch, encoding: str, text: str) -> None:
    encoded(monkeypatch, encoding)
    assert as_written(text) == text


@given(text=st.text(alphabet=st.characters()), encoding=st.sampled_from(["ascii", "cp1252", "koi8-r", "utf-8"]))
def test_any_text_can_be_written_in_any_encoding(text: str, encoding: str) -> None:
    with pytest.MonkeyPatch.context() as patched:
        encoded(patched, encoding)
        assert as_written(as_written(text)) == as_written(text)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
@pytest.mark.parametrize("text", ["Müller ✅", "a name that is not UTF-8: \udcff"])
def test_json_loses_no_character(monkeypatch: pytest.MonkeyPatch, encoding: str, text: str) -> None:
    raw = encoded(monkeypatch, encoding)
    print_json({"name": text})
    assert json.loads(raw.getvalue().decode(encoding)) == {"name": text}


@ONE_ENGINE
@pytest.mark.parametrize("encoding", ["cp1252", "iso8859-1", "ascii"])
def test_a_run_goes_on_where_its_signs_cannot_be_written(shell: Shell, encoding: str) -> None:
    """microsoft/winml-cli #191: what Windows does in a pipe."""
    done = started(shell, "run --task grading --models fast", encoding, PYTHONIOENCODING=f"{encoding}:strict")
    assert (done.returncode, done.stderr) == (0, "")
    assert "  |- PASS_001: [ok] PASS" in done.stdout
    assert "\n1. Champion: fast" in done.stdout


@ONE_ENGINE
def test_the_c_locale_is_no_hindrance(shell: Shell) -> None:
    done = shell.bench("models", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert (done.returncode, done.stderr) == (0, "")
    assert "[ok]" in done.stdout


@ONE_ENGINE
def test_an_error_is_told_where_its_characters_cannot_be_written(shell: Shell) -> None:
    done = shell.bench("why", "modèle→x", "--task", "tâche", PYTHONIOENCODING="ascii:strict")
    assert done.returncode == 2
    assert done.stderr.startswith("bench: there is no task 'tache' in ")


@ONE_ENGINE
def test_a_command_whose_reader_ends_early_finishes_its_work(shell: Shell) -> None:
    """pallets/click #625."""
    with subprocess.Popen(["true"], stdin=subprocess.PIPE) as reader:
        reader.wait()
        assert reader.stdin is not None
        done = subprocess.run(
            [Path(sys.executable).with_name("bench"), "run", "--task", "grading", "--models", "fast"],
            cwd=shell.folder,
            env=shell.environment(),
            stdout=reader.stdin.fileno(),
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=120,
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert "fast" in shell.bench("history", "--task", "grading").stdout


@ONE_ENGINE
def test_output_that_cannot_be_written_is_told_once_and_fails(shell: Shell) -> None:
    done = started(shell, "models > /dev/full")
    assert done.returncode == 1
    assert done.stderr == "bench: the output could not be written: No space left on device\n"


@ONE_ENGINE
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_is_no_hindrance(shell: Shell, closed: str) -> None:
    """streamlink/streamlink #6197."""
    done = started(shell, f"run --task grading --models fast {closed}")
    assert (done.returncode, done.stderr) == (0, "")
    assert "fast" in shell.bench("history", "--task", "grading").stdout


@ONE_ENGINE
@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs the list of open files")  # noqa: PTH110
def test_no_file_takes_the_place_of_a_closed_stream(shell: Shell) -> None:
    """Else a line of the output would be written into the database."""
    told = "import os, sys; from bench_pipeline.cli.streams import set_up_streams; set_up_streams(); "
    told += "sys.exit([os.readlink(f'/proc/self/fd/{n}') for n in range(3)] != ['/dev/null'] * 3)"
    done = subprocess.run(["bash", "-c", f'{sys.executable} -c "{told}" <&- >&- 2>&-'], check=False, timeout=60)
    assert done.returncode == 0
