"""The published schemas of `--json`, and the check that what a command prints fits its own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import click
from jsonschema import Draft202012Validator

from bench_pipeline.cli.main import COMMANDS, bench

SCHEMAS = Path(__file__).parents[2] / "docs" / "reference" / "schemas"
ERROR = "error"


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by the words that call it."""
    for name in COMMANDS:
        command = bench.get_command(click.Context(bench), name)
        if isinstance(command, click.Group):
            yield from ((f"{name} {inner}", found) for inner, found in command.commands.items())
        elif command is not None:
            yield name, command


def schema_file(name: str) -> Path:
    """The file of a command's schema: `db-install.json` for `db install`."""
    return SCHEMAS / f"{name.replace(' ', '-')}.json"


def assert_fits(name: str, value: object) -> None:
    """The value fits the schema of this command, or the one of errors."""
    is_error = isinstance(value, dict) and value.keys() == {"error"}
    faults = [
        f"{name}: {'/'.join(map(str, fault.absolute_path)) or 'the whole'}: {fault.message[:300]}"
        for fault in _validator(ERROR if is_error else name).iter_errors(value)
    ]
    assert not faults, "\n".join(faults)


def check_output(arguments: Sequence[str], output: str) -> None:
    """If these words ask for JSON, what was printed is JSON that fits the schema of their command."""
    if "--json" not in arguments:
        return
    name = next((found for found, _ in commands() if " ".join(arguments).startswith(f"{found} ")), "")
    value = json.loads(output)
    if name or (isinstance(value, dict) and value.keys() == {"error"}):
        assert_fits(name, value)


@cache
def _validator(name: str) -> Any:  # noqa: ANN401 - jsonschema is not typed
    return Draft202012Validator(json.loads(schema_file(name).read_text(encoding="utf-8")))
