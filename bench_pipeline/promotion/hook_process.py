"""The child process in which a Python callable judges a promotion; its one argument is `module:callable`.

Reads the question as JSON from standard input and writes the answer as JSON to standard output. What the callable
prints goes to standard error. The parent's side is in validation_hook.py.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main() -> None:
    """Answer one question. Exit status 1, with the reason on standard error, when there is no answer."""
    question = json.load(sys.stdin.buffer)
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answer:
        os.dup2(2, 1)  # the file descriptor, so that C code and child processes cannot corrupt the answer either
        answer.write(_answer(sys.argv[1], question))


def _answer(hook: str, question: object) -> str:
    value = _callable(hook)(question)
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise SystemExit(f"{hook} must return a JSON value: {error}") from None


def _callable(hook: str) -> Callable[[Any], object]:
    module_name, _, name = hook.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise SystemExit(f"module {error.name} was not found; put it into the working folder or install it") from None
    found: Callable[[Any], object] | None = getattr(module, name, None)
    if not callable(found):
        raise SystemExit(f"{module_name} has no callable {name}; write it as module:callable")
    return found


if __name__ == "__main__":
    main()
