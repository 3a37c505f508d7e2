"""Whatever a user types, every command ends with one of its exit statuses, and never with a traceback."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from bench_pipeline.cli.main import bench
from bench_pipeline_tests.cli.test_hostile_environments import ARGUMENTS, STATUSES
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.shell import Typed

VALUES = (
    "",
    " ",
    "a\nb",
    "../..",
    "a\udcffb",
    "x" * 5000,
    "-1",
    "0",
    "9" * 30,
    "{}[]%s\\",
    "日本",
    "::1",
    "/proc/absent",
)


def _command(name: str) -> click.Command:
    found: click.Command = bench
    for word in name.split():
        assert isinstance(found, click.Group)
        inner = found.get_command(click.Context(found), word)
        assert inner is not None
        found = inner
    return found


def lines(name: str) -> Iterator[list[str]]:
    """Every option and argument of a command with every value, beside what the command needs."""
    command = _command(name)
    needed = ARGUMENTS[name].split()
    for parameter in command.params:
        for value in VALUES:
            if isinstance(parameter, click.Argument):
                yield ["--", value]
            elif not parameter.is_flag:
                option = parameter.opts[0]
                kept = [word for at, word in enumerate(needed) if option not in needed[max(0, at - 1) : at + 1]]
                yield [*kept, f"{option}={value}"]


@ONE_ENGINE
@pytest.mark.parametrize("name", ARGUMENTS)
def test_no_value_of_an_option_or_argument_ends_in_a_traceback(
    typed: Typed, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "/absent")  # neither a server nor a download is started
    wrong = []
    for line in lines(name):
        done = typed(*name.split(), *line)
        if done.returncode not in STATUSES or "Traceback" in done.stderr:
            wrong.append((line, done.returncode, done.stderr[-300:]))
    assert wrong == []
