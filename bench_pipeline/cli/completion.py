"""`bench completion`: the script that lets a shell complete bench's words, and the names that it completes.

click answers the shell's questions: the script calls `bench` again with `_BENCH_COMPLETE` set.
"""

from __future__ import annotations

import warnings

import click
from click.shell_completion import ShellComplete, get_completion_class

from bench_pipeline.cli.output import json_option, print_json
from bench_pipeline.domain.errors import BenchError

_SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
@json_option
@click.pass_context
def completion(context: click.Context, shell: str, as_json: bool) -> int:
    """Print a script that completes commands, options and tasks in your shell.

    \b
    Where to put it:
      bash (4.4 or later)  bench completion bash > ~/.local/share/bash-completion/completions/bench
      zsh                  bench completion zsh > ~/.zfunc/_bench
                           with `fpath+=~/.zfunc` before `compinit` in ~/.zshrc
      fish                 bench completion fish > ~/.config/fish/completions/bench.fish

    The directory must exist; a new shell reads the script.

    Exit status: 0.
    """
    script = _script(shell, context.find_root().command)
    if as_json:
        print_json({"shell": shell, "script": script})
    else:
        click.echo(script)
    return 0


def _script(shell: str, command: click.Command) -> str:
    kind = get_completion_class(shell)
    if kind is None:
        raise LookupError(shell)
    # Not `source` of bash's own class: it starts bash to see its version.
    return ShellComplete.source(kind(command, {}, "bench", "_BENCH_COMPLETE"))


def task_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """Return the tasks that begin with `incomplete`, for an option's `shell_complete`; none if settings are invalid."""
    from bench_pipeline.benchmark import task_folders
    from bench_pipeline.settings import load_settings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a notice would be printed into the line that is being typed
        try:
            return [name for name in task_folders.task_names(load_settings()) if name.startswith(incomplete)]
        except (BenchError, OSError):
            return []
