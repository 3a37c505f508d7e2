"""`bench --help` teaches, and says of each command what the command says of itself."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from bench_pipeline.cli.main import COMMANDS, bench
from bench_pipeline_tests.kit.shell import Shell


def commands() -> Iterator[tuple[str, click.Command]]:
    context = click.Context(bench)
    for name in bench.list_commands(context):
        command = bench.get_command(context, name)
        assert command is not None
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {inner}", found) for inner, found in command.commands.items())


ALL = dict(commands())


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_says_of_a_command_what_its_own_help_begins_with(name: str) -> None:
    assert (ALL[name].help or "").splitlines()[0] == COMMANDS[name][1]


def test_the_overview_lists_every_command_with_the_text_of_the_table() -> None:
    overview = bench.get_help(click.Context(bench, info_name="bench", max_content_width=200, terminal_width=200))
    listed = [line.split(maxsplit=1) for line in overview.partition("Commands:\n")[2].splitlines() if line.strip()]
    assert [tuple(line) for line in listed[: len(COMMANDS)]] == [(name, text) for name, (_, text) in COMMANDS.items()]


def test_every_command_of_the_issue_is_there() -> None:
    wanted = (
        "demo run models cases history rescore why plan decide promote approve freeze thaw rollback failover validate "
        "reconcile log blame docs db triggers retry ui heal alerts doctor completion"
    )
    assert list(COMMANDS) == wanted.split()
    assert {"cases check", "db install", "db rehearse"} <= ALL.keys()


@pytest.mark.parametrize("name", [name for name, found in ALL.items() if not isinstance(found, click.Group)])
def test_every_command_gives_json(name: str) -> None:
    assert "--json" in [word for parameter in ALL[name].params for word in parameter.opts]


@pytest.mark.parametrize("name", ALL)
def test_every_option_has_its_help(name: str) -> None:
    options = [parameter for parameter in ALL[name].params if isinstance(parameter, click.Option)]
    assert [option.opts for option in options if not option.help] == []


@pytest.mark.parametrize(
    "name", [name for name, found in ALL.items() if not isinstance(found, click.Group) and name != "demo"]
)
def test_every_command_tells_its_exit_status(name: str) -> None:
    assert "Exit status:" in (ALL[name].help or "")


@pytest.mark.parametrize("word", ["--help", "-h"])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_help_and_version_need_nothing_and_touch_nothing(shell: Shell, word: str) -> None:
    before = sorted(shell.folder.rglob("*"))
    done = shell.bench(word, BENCH_DATABASE_URL="nonsense", BENCH_BATCH_SIZE="many")
    assert (done.returncode, done.stderr) == (0, "")
    assert "bench run --task grading" in done.stdout
    assert sorted(shell.folder.rglob("*")) == before
