"""The validation hook: a team's own runner judges a promotion, as a Python callable or as a command.

It runs in a child process. It receives the question as JSON on standard input and answers with one JSON object on
standard output: `passed`, and optionally `reasons` and more. What follows from the answer is in validation.py.
"""

from __future__ import annotations

import json
import keyword
import os
import re
import shlex
import shutil
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.strict_json import JsonRefused, strict_json
from bench_pipeline.promotion.child_process import MAX_ERROR_CHARS, MAX_OUT_BYTES, ChildResult, run_child

MAX_REASONS = 20
MAX_REASON_CHARS = 500
_MAX_FAULT_CHARS = 300  # the rest of a reason is for what the hook wrote to its standard error
_CALLABLE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_CREDENTIAL = re.compile(
    r"BENCH_.*(URLS?|HOSTS|PASSWORD|KEY|TOKEN|SECRET)|(OPENAI|OLLAMA)_API_KEY|DAGSTER_PG_PASSWORD", re.IGNORECASE
)
_FORMS = "give a Python callable as module:callable, or a command line"
_OBJECT = 'write one JSON object such as {"passed": true} to standard output, and nothing else'


@dataclass(frozen=True, slots=True)
class HookAnswer:
    """The answer of a team's own runner.

    Without an answer (`answered` is False: it crashed, timed out or wrote no JSON) the promotion did not pass. If it
    did not pass there is at least one reason; if it passed, reasons are remarks. A reason is one line without control
    characters. `details` is the rest of the answer, fit for a JSON column; without an answer, the end of `stderr`.
    """

    passed: bool
    reasons: tuple[str, ...]
    answered: bool
    details: Mapping[str, Any]


def check_hook(hook: str) -> None:
    """Raise `InputError` when a hook has neither form, or when its program is not found. Runs and imports nothing."""
    program = _command(hook)[0]
    if shutil.which(program) is None:
        raise _refused(f"program {_line(program)} was not found; {_FORMS} whose program is on the PATH")


def run_hook(hook: str, question: Mapping[str, Any], time_limit_s: float) -> HookAnswer:
    """Run a hook, and kill it with all its children if it takes longer than `time_limit_s`, seconds.

    It gets this process's environment without the credentials of this program: every `BENCH_…` variable that ends in
    URL, URLS, HOSTS, PASSWORD, KEY, TOKEN or SECRET, `OPENAI_API_KEY`, `OLLAMA_API_KEY` and `DAGSTER_PG_PASSWORD`. Any
    failure of the hook is an answer that did not pass. Raises `InputError` when `hook` has neither form.
    """
    command = _command(hook)
    text = json.dumps(dict(question), allow_nan=False).encode() + b"\n"
    try:
        result = run_child(command, text, _environment(), time_limit_s)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        return _unanswered(f"could not be started: {command[0]}: {why}; correct BENCH_VALIDATION_HOOK")
    fault = _fault(result, time_limit_s)
    if fault:
        return _unanswered(fault, result.error_output)
    try:
        return _answer(result.out)
    except JsonRefused as error:
        return _unanswered(f"gave an answer that cannot be read: {error}; {_OBJECT}", result.error_output)


def _command(hook: str) -> list[str]:
    hook = hook.strip()
    if _CALLABLE.fullmatch(hook):
        names = hook.replace(":", ".").split(".")
        if not all(name.isidentifier() and not keyword.iskeyword(name) for name in names):
            raise _refused(f"{hook} is not a module:callable; write it as judges.mine:judge")
        return [sys.executable, "-m", "bench_pipeline.promotion.hook_process", hook]
    try:
        command = shlex.split(hook)
    except ValueError as error:
        raise _refused(f"is not a command line: {error}; correct the quotes") from None
    if not command or not command[0]:
        raise _refused(f"contains no program; {_FORMS}")
    return command


def _refused(why: str) -> InputError:
    return InputError(f"BENCH_VALIDATION_HOOK: {why}")


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not _CREDENTIAL.fullmatch(name)}


def _fault(result: ChildResult, time_limit_s: float) -> str | None:
    """Return why a child that ran has no answer; None if it has one."""
    if result.overfull:
        return f"wrote more than {MAX_OUT_BYTES} bytes and was stopped after {result.duration_s:.2f} s; {_OBJECT}"
    if result.status is None:
        return f"did not end within {time_limit_s:g} s and was stopped; BENCH_VALIDATION_HOOK_LIMIT_S sets the limit"
    if result.status < 0:
        return f"was ended by {_signal_name(-result.status)} after {result.duration_s:.2f} s"
    if result.status > 0:
        return f"ended with exit status {result.status} after {result.duration_s:.2f} s"
    if not result.out.strip():
        return f"ended after {result.duration_s:.2f} s without an answer; {_OBJECT}"
    return None


def _signal_name(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def _unanswered(why: str, error_output: str = "") -> HookAnswer:
    reason, heard = _line(f"the validation hook {why}", _MAX_FAULT_CHARS), _line(error_output, MAX_ERROR_CHARS)
    if heard:
        lead = f"{reason}; its error output ends: "
        reason = lead + heard[len(lead) - MAX_REASON_CHARS :]
    return HookAnswer(False, (reason,), False, {"stderr": _storable(error_output)} if heard else {})


def _answer(out: bytes) -> HookAnswer:
    answer = strict_json(out, MAX_OUT_BYTES)
    if not isinstance(answer, dict):
        raise JsonRefused("it is not an object")
    passed, reasons = answer.pop("passed", None), answer.pop("reasons", [])
    if not isinstance(passed, bool):
        raise JsonRefused("`passed` must be true or false")
    if not isinstance(reasons, list) or not all(isinstance(reason, str) for reason in reasons):
        raise JsonRefused("`reasons` must be a list of texts")
    lines = tuple(line for line in map(_line, reasons) if line)[:MAX_REASONS]
    if not passed and not lines:
        lines = ("the validation hook did not pass it and gave no reason",)
    return HookAnswer(passed, lines, True, {_storable(key): _storable(value) for key, value in answer.items()})


def _line(text: str, limit: int = MAX_REASON_CHARS) -> str:
    """Return foreign text as one printable line."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def _storable(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Return JSON that every database accepts: no control characters, no lone surrogates, integers of up to 64 bits."""
    match value:
        case str():
            return "".join(sign if sign.isprintable() or sign in "\n\t" else " " for sign in value)
        case int() if not -(2**63) <= value < 2**63:
            raise JsonRefused("an integer has more than 64 bits")
        case list():
            return [_storable(item) for item in value]
        case dict():
            return {_storable(key): _storable(item) for key, item in value.items()}
    return value
