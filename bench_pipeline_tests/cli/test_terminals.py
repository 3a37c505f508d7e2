"""What a command shows on narrow and dumb terminals, and that a pipe gets everything and nothing but text."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from bench_pipeline.cli.demo import fetch_weights
from bench_pipeline.cli.output import table
from bench_pipeline.runtimes.catalogue import Catalogue
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.shell import Shell
from bench_pipeline_tests.runtimes.test_catalogue import cache, index, weights

__all__ = ["cache", "index"]  # fixtures
MODEL = "qwen2.5-coder:1.5b-instruct-q4_K_M"
HEADER = ("", "model", "latency", "date (UTC)", "why not")
WHY = "not installed on the Ollama server; run `ollama pull " + MODEL + "`"
ROWS = [("✅", MODEL, "2.11 s", "2026-11-24 04:58", ""), ("⏭️ ", "x:1b", "34 ms", "2026-11-24 04:58", WHY)]


class _Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture
def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[object], None]:
    def set_width(columns: object) -> None:
        monkeypatch.setattr(sys, "stdout", _Terminal())
        monkeypatch.setenv("COLUMNS", str(columns))

    return set_width


@pytest.mark.parametrize("columns", ["20", "40", "80", "1", "0", "abc", ""])
def test_in_a_pipe_nothing_is_cut_whatever_the_width(monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert table(HEADER, ROWS).splitlines()[2] == f"✅   {MODEL}  2.11 s   2026-11-24 04:58"
    assert WHY in table(HEADER, ROWS)


@pytest.mark.parametrize(
    ("columns", "shown"),
    [(60, f"{MODEL}  2.11 s"), (36, "qwen2.5-coder…struct-q4_K_M  2.11 s"), (20, "qwen2.…4_K_M  2.11 s")],
)
def test_a_name_is_cut_in_the_middle_on_a_narrow_terminal(
    on_terminal: Callable[[object], None], columns: int, shown: str
) -> None:
    on_terminal(columns)
    assert table(("model", "latency"), [(MODEL, "2.11 s")]).splitlines()[2] == shown


@pytest.mark.parametrize("columns", ["1", "20", "40", "0", "abc", ""])
def test_figures_and_sentences_are_never_cut(on_terminal: Callable[[object], None], columns: str) -> None:
    on_terminal(columns)
    shown = table(HEADER, ROWS)
    assert all(whole in shown for whole in ("2.11 s", "34 ms", "2026-11-24 04:58", WHY))


def test_a_sentence_gives_up_its_room_before_a_name_is_cut(on_terminal: Callable[[object], None]) -> None:
    on_terminal(84)
    assert MODEL in table(HEADER, ROWS).splitlines()[2]


def test_the_rule_below_a_sentence_is_no_wider_than_the_terminal(on_terminal: Callable[[object], None]) -> None:
    on_terminal(70)
    assert cell_len(table(HEADER, ROWS).splitlines()[1]) == 70


def test_a_hash_can_still_be_copied_from_a_narrow_terminal(on_terminal: Callable[[object], None]) -> None:
    on_terminal(20)
    assert "facadefacade" in table(("plan", "tasks"), [("facadefacade", "grading,extraction,formatting")])


names = st.text(st.sampled_from("ab:é日本👍 "), max_size=30)


@given(rows=st.lists(st.tuples(names, names), min_size=1, max_size=4), columns=st.integers(1, 90))
def test_columns_are_aligned_whatever_the_width_of_their_characters(
    rows: Sequence[tuple[str, str]], columns: int
) -> None:
    """ihabunek/toot #576."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "stdout", _Terminal())
        patched.setenv("COLUMNS", str(columns))
        head, rule, *lines = table(("name", "end", "n"), [(*row, "|") for row in rows]).splitlines()
    assert {cell_len(line.rpartition("|")[0]) for line in lines} == {cell_len(rule) - 1}
    assert cell_len(head) == cell_len(rule)


@pytest.mark.usefixtures("index")
def test_a_download_into_a_pipe_is_one_line_per_model(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], cache: Path
) -> None:
    """pypa/pip #13354: rich takes FORCE_COLOR for a terminal, and moves its cursor."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    fetch_weights(Catalogue(cache, [weights()]), ["tiny:1k"])
    assert capsys.readouterr() == ("", "   tiny:1k\n")


def shown_on_terminal(shell: Shell, words: Sequence[str], **settings: str) -> str:
    """Return what the command shows on a terminal of its own."""
    ours, theirs = pty.openpty()
    environment = {**shell.environment(), **settings}
    command = [Path(sys.executable).with_name("bench"), *words]
    with subprocess.Popen(command, cwd=shell.folder, env=environment, stdout=theirs, stderr=theirs) as started:
        os.close(theirs)
        shown = b""
        while piece := _read(ours):
            shown += piece
    os.close(ours)
    assert started.returncode == 0
    return shown.decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux's word for the end
        return b""


@ONE_ENGINE
@pytest.mark.parametrize(
    "settings",
    [
        {"TERM": "dumb", "COLUMNS": "40"},
        {"TERM": "", "COLUMNS": "1"},
        {"TERM": "xterm-256color", "NO_COLOR": "1"},
        {"TERM": "dumb", "FORCE_COLOR": "1", "COLUMNS": "abc"},
    ],
    ids=lambda settings: " ".join(f"{name}={value}" for name, value in settings.items()),
)
def test_a_run_on_a_terminal_is_plain_lines(shell: Shell, settings: dict[str, str]) -> None:
    shown = shown_on_terminal(shell, ["run", "--task", "grading", "--models", "fast"], **settings)
    assert "🥇 Champion: fast" in shown
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", shown)
