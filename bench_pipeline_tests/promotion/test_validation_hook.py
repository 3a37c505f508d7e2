"""A team's own runner is asked in a child process, and whatever it does ends in an answer."""

from __future__ import annotations

import json
import math
import os
import re
import select
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from bench_pipeline.domain.errors import InputError
from bench_pipeline.promotion.validation_hook import MAX_REASON_CHARS, MAX_REASONS, HookAnswer, check_hook, run_hook
from bench_pipeline.settings import Settings

QUESTION = {"promotion_id": 7, "conversations": [{"conversation_id": 3336, "conversation": "Größe A"}]}
LIMIT_S = 60.0
GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "validate-with-your-own-runner.md"
NO_REASON = ("the validation hook said no and gave no reason",)
BLOCKED = "import threading; threading.Event().wait()"

Written = Callable[[str], str]


@pytest.fixture
def command(tmp_path: Path) -> Written:
    """Write a Python script and return the command line that runs it."""

    def write(source: str) -> str:
        script = tmp_path / "my runner.py"
        script.write_text(source, encoding="utf-8")
        return shlex.join([sys.executable, "-I", "-S", str(script)])

    return write


@pytest.fixture
def judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Written:
    """Write a module into the working folder and return the hook that names its `judge`."""
    monkeypatch.chdir(tmp_path)

    def write(source: str) -> str:
        package = tmp_path / "judges"
        package.mkdir()
        (package / "mine.py").write_text(source, encoding="utf-8")
        return "judges.mine:judge"

    return write


def ask(hook: str, time_limit_s: float = LIMIT_S) -> HookAnswer:
    return run_hook(hook, QUESTION, time_limit_s)


def printing(text: str) -> str:
    return f"import sys; sys.stdout.write({text!r})"


def no_answer(answer: HookAnswer) -> str:
    """Return the one reason of a hook that gave no answer."""
    assert (answer.passed, answer.answered, len(answer.reasons)) == (False, False, 1)
    (reason,) = answer.reasons
    assert len(reason) <= MAX_REASON_CHARS
    return reason


def test_a_command_reads_the_question_and_answers_with_passed_reasons_and_details(command: Written) -> None:
    echo = "import json, sys; print(json.dumps({'passed': True, 'reasons': ['fine'], 'asked': json.load(sys.stdin)}))"
    assert ask(command(echo)) == HookAnswer(True, ("fine",), True, {"asked": QUESTION})


def test_a_callable_gets_the_question_and_returns_the_answer(judge: Written) -> None:
    hook = judge("def judge(asked):\n    return {'passed': True, 'reasons': ['fine'], 'asked': asked}")
    assert ask(hook) == HookAnswer(True, ("fine",), True, {"asked": QUESTION})


def test_what_a_callable_prints_does_not_spoil_its_answer(judge: Written) -> None:
    hook = judge(
        "import os, subprocess, sys\n"
        "print('imported')\n"
        "def judge(asked):\n"
        "    print('printed')\n"
        "    os.write(1, b'from C')\n"
        "    subprocess.run([sys.executable, '-c', 'print(1)'])\n"
        "    return {'passed': True}"
    )
    assert ask(hook) == HookAnswer(True, (), True, {})


def test_a_callable_in_the_working_folder_is_found_when_python_leaves_that_folder_out(
    judge: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    assert ask(judge("def judge(asked): return {'passed': True}")).passed


@pytest.mark.parametrize(
    ("said", "passed", "reasons", "details"),
    [
        pytest.param({"passed": True}, True, (), {}, id="the least"),
        pytest.param({"passed": False, "reasons": ["a", "b"]}, False, ("a", "b"), {}, id="no, with reasons"),
        pytest.param({"passed": False}, False, NO_REASON, {}, id="no"),
        pytest.param({"passed": False, "reasons": ["\x00 "]}, False, NO_REASON,
                     {}, id="no, with an invisible reason"),
        pytest.param({"passed": True, "reasons": ["\x1b[31mred\r\n\u202eline\ud800"]}, True, ("[31mred line",), {},
                     id="control characters"),
        pytest.param({"passed": True, "reasons": ["x" * 501, "y" * 500]}, True, ("x" * 499 + "…", "y" * 500), {},
                     id="long reasons"),
        pytest.param({"passed": True, "reasons": [str(n) for n in range(30)]}, True,
                     tuple(str(n) for n in range(MAX_REASONS)), {}, id="many reasons"),
        pytest.param({"passed": True, "log\x00": ["a\nb\x1b", None, 0.5, True], "run": {"id\x00": 2**63 - 1}}, True, (),
                     {"log ": ["a\nb ", None, 0.5, True], "run": {"id ": 2**63 - 1}}, id="details"),
    ],
)  # fmt: skip
def test_an_answer_is_taken_with_its_text_made_harmless(
    command: Written, said: object, passed: bool, reasons: tuple[str, ...], details: dict[str, Any]
) -> None:
    assert ask(command(printing(json.dumps(said)))) == HookAnswer(passed, reasons, True, details)


def test_an_answer_of_the_largest_size_is_read_whole(command: Written) -> None:
    hook = command("import sys; sys.stdout.write('{\"passed\": true, \"log\": \"' + 'x' * (10**6 - 27) + '\"}')")
    assert len(ask(hook).details["log"]) == 10**6 - 27


@pytest.mark.parametrize(
    ("source", "says"),
    [
        pytest.param("", "without an answer; write one JSON object", id="silent"),
        pytest.param("print(' \\n')", "without an answer", id="blank"),
        pytest.param(printing("all good"), "no answer that can be read: not JSON: Expecting value", id="words"),
        pytest.param(printing('done\n{"passed": true}'), "not JSON", id="words before the object"),
        pytest.param(printing('{"passed": true} {"passed": true}'), "not JSON: Extra data", id="two objects"),
        pytest.param(printing('{"passed": true'), "not JSON", id="cut off"),
        pytest.param(printing("[true]"), "it is no object", id="a list"),
        pytest.param(printing("{}"), "`passed` is neither true nor false", id="no verdict"),
        pytest.param(printing('{"passed": 1}'), "`passed` is neither true nor false", id="a number as verdict"),
        pytest.param(printing('{"passed": "true"}'), "`passed` is neither", id="a word as verdict"),
        pytest.param(printing('{"passed": false, "passed": true}'), "'passed' occurs twice", id="two verdicts"),
        pytest.param(printing('{"passed": true, "reasons": "fine"}'), "`reasons` is no list", id="reasons no list"),
        pytest.param(printing('{"passed": true, "reasons": [1]}'), "`reasons` is no list", id="reasons no texts"),
        pytest.param(printing('{"passed": true, "reasons": null}'), "`reasons` is no list", id="reasons null"),
        pytest.param(printing('{"passed": true, "score": NaN}'), "NaN is not a JSON number", id="NaN"),
        pytest.param(printing('{"passed": true, "score": 1e999}'), "1e999 is out of range", id="infinite"),
        pytest.param(printing('{"passed": true, "n": 9223372036854775808}'), "has more than 64 bits", id="2**63"),
        pytest.param("print('{\"passed\": true, \"n\": ' + '9' * 5000 + '}')", "not JSON", id="huge integer"),
        pytest.param("print('[' * 500_000)", "nested too deeply", id="depth bomb"),
        pytest.param("print('{\"passed\": true, \"a\": ' + '[' * 70 + ']' * 70 + '}')", "nested too deeply", id="deep"),
        pytest.param("import sys; sys.stdout.buffer.write(b'{\"passed\": true, \"a\": \"\\xff\"}')", "not JSON",
                     id="no UTF-8"),
        pytest.param("import sys; sys.exit(3)", "ended with exit status 3 after ", id="exit status"),
        pytest.param("import sys; print('{\"passed\": true}'); sys.exit(1)", "ended with exit status 1", id="yes, but"),
        pytest.param("import os; os.kill(os.getpid(), 9)", "was ended by SIGKILL after ", id="killed"),
        pytest.param("while True: print('x' * 1000)", "wrote more than 1000000 bytes and was stopped", id="endless"),
        pytest.param("print('x' * 10**6)", "wrote more than 1000000 bytes", id="one byte too much"),
        pytest.param("raise ValueError('no \\x1b such table')", "exit status 1 after ", id="raised"),
    ],
)  # fmt: skip
def test_without_a_proper_answer_it_did_not_pass_and_the_reason_says_why(
    command: Written, source: str, says: str
) -> None:
    assert says in no_answer(ask(command(source)))


@pytest.mark.parametrize(
    ("source", "says"),
    [
        pytest.param("def judge(asked): return True", "it is no object", id="a bare verdict"),
        pytest.param("def judge(asked): return {'passed': {1}}", "returned what is no JSON: ", id="no JSON"),
        pytest.param("def judge(asked): return {'n': float('nan')}", "returned what is no JSON: ", id="NaN"),
        pytest.param("async def judge(asked): return {}", "coroutine is not JSON serializable", id="a coroutine"),
        pytest.param("def judge(asked): raise KeyError('a b')", "KeyError: 'a b'", id="raised"),
        pytest.param("def judge(asked): exit()", "without an answer", id="left"),
        pytest.param("judge = 5", "judges.mine has no callable judge", id="no callable"),
        pytest.param("def other(asked): ...", "judges.mine has no callable judge", id="another name"),
        pytest.param("import not_installed", "No module named 'not_installed'", id="its own import fails"),
        pytest.param("judge(", "SyntaxError", id="no Python"),
    ],
)  # fmt: skip
def test_a_callable_that_breaks_did_not_pass_and_the_reason_says_why(judge: Written, source: str, says: str) -> None:
    assert says in no_answer(ask(judge(source)))


@pytest.mark.parametrize(
    ("hook", "says"),
    [
        ("nowhere:judge", "there is no module nowhere; put it into the working folder or install it"),
        ("judges.none:judge", "there is no module judges.none; put it into the working folder or install it"),
        ("./nowhere --now", "could not be started: ./nowhere: No such file or directory; mend BENCH_VALIDATION_HOOK"),
        ("./locked.sh", "could not be started: ./locked.sh: Permission denied; mend BENCH_VALIDATION_HOOK"),
        ("echo 'a\0b'", "could not be started: echo: embedded null byte; mend BENCH_VALIDATION_HOOK"),
    ],
)
def test_a_hook_that_cannot_be_started_did_not_pass_and_the_reason_holds_the_remedy(
    judge: Written, hook: str, says: str
) -> None:
    judge("")
    Path("locked.sh").write_text("#!/bin/sh\n")
    assert says in no_answer(ask(hook))


def test_a_command_line_is_never_read_by_a_shell(command: Written) -> None:
    arguments = "'a  b' $HOME ; echo no | cat > out *"
    hook = command("import json, sys; print(json.dumps({'passed': True, 'got': sys.argv[1:]}))")
    got = ["a  b", "$HOME", ";", "echo", "no", "|", "cat", ">", "out", "*"]
    assert ask(f"{hook} {arguments}").details == {"got": got}


def test_the_end_of_the_error_output_is_kept_when_there_is_no_answer(command: Written) -> None:
    answer = ask(
        command("import sys; sys.stderr.buffer.write(b'x' * 3_000_000 + b'\\nlast\\x1b \\xc3\\xa4'); sys.exit(1)")
    )
    assert no_answer(answer).endswith("xxx last ä")
    assert answer.details == {"stderr": "x" * (2000 - 8) + "\nlast  ä"}


def test_a_question_that_is_not_read_and_larger_than_a_pipe_holds_nothing_up(command: Written) -> None:
    question = {"text": "x" * 3_000_000}
    assert run_hook(command(printing('{"passed": true}')), question, LIMIT_S).passed


def test_a_large_question_comes_whole(command: Written) -> None:
    hook = command("import json, sys; print(json.dumps({'passed': True, 'n': len(json.load(sys.stdin)['text'])}))")
    assert run_hook(hook, {"text": "x" * 3_000_000}, LIMIT_S).details == {"n": 3_000_000}


def test_the_hook_does_not_get_the_credentials_of_this_program_and_all_else(
    command: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = {"BENCH_PRODUCTION_URL", "BENCH_MAIL_PASSWORD", "bench_database_url", "Bench_Signing_Key",
              "BENCH_A_TOKEN", "BENCH_A_SECRET", "DAGSTER_PG_PASSWORD"}  # fmt: skip
    for name, field in Settings.model_fields.items():
        if SecretStr.__name__ in str(field.annotation):
            secret |= set(getattr(field.validation_alias, "choices", [f"BENCH_{name.upper()}"]))
    harmless = {"BENCH_BATCH_SIZE", "BENCH_KEYBOARD", "RUNNER_DATABASE_URL", "RUNNER_KEY"}
    for name in secret | harmless:
        monkeypatch.setenv(name, "5")
    hook = command("import json, os; print(json.dumps({'passed': True, 'names': list(os.environ)}))")

    names = set(ask(hook).details["names"])

    assert {"BENCH_DATABASE_URL", "BENCH_OPENAI_API_KEY", "OPENAI_API_KEY"} <= secret
    assert names & secret == set()
    assert names >= harmless


@pytest.fixture
def alive(tmp_path: Path) -> Iterator[Callable[[], bytes]]:
    """What the processes that opened `alive` for writing wrote, read until the last of them is gone."""
    os.mkfifo(tmp_path / "alive")
    descriptor = os.open(tmp_path / "alive", os.O_RDONLY | os.O_NONBLOCK)

    def read() -> bytes:
        said = b""
        while select.select([descriptor], [], [], 30)[0]:
            data = os.read(descriptor, 1000)
            if not data:
                return said
            said += data
        pytest.fail("somebody still holds the pipe open")

    yield read
    os.close(descriptor)


def forking(tmp_path: Path, then: str = BLOCKED, child: str = BLOCKED, first: str = "pass") -> str:
    """Return a script that forks; both processes write into `alive` and hold it open. By default both block."""
    return (
        "import os\n"
        f"alive = os.open({str(tmp_path / 'alive')!r}, os.O_WRONLY)\n"
        "os.write(alive, b'parent ')\n"
        "up, ready = os.pipe()\n"
        "if os.fork() == 0:\n"
        f"    {first}\n"
        "    os.write(alive, b'child')\n"
        "    os.write(ready, b'!')\n"
        f"    {child}\n"
        "os.read(up, 1)\n"
        f"{then}\n"
    )


def test_at_the_time_limit_the_hook_is_killed_with_its_children(
    command: Written, tmp_path: Path, alive: Callable[[], bytes]
) -> None:
    reason = no_answer(ask(command(forking(tmp_path)), time_limit_s=1))
    assert reason == (
        "the validation hook did not end within 1 s and was stopped; BENCH_VALIDATION_HOOK_LIMIT_S sets the limit"
    )
    assert alive() == b"parent child"


@pytest.mark.parametrize(
    "source",
    [
        pytest.param("import os; os.close(0); os.close(1); os.close(2)", id="closed its pipes"),
        pytest.param("import os; os.read(0, 5000)", id="read a part of the question"),
        pytest.param("print('{\"passed\": true}', flush=True)", id="gave an answer"),
    ],
)
def test_the_time_limit_holds_whatever_the_hook_did_before(command: Written, source: str) -> None:
    answer = run_hook(command(f"{source}; {BLOCKED}"), {"text": "x" * 3_000_000}, 0.5)
    assert "did not end within 0.5 s" in no_answer(answer)


def test_at_the_time_limit_a_callable_is_stopped_too(judge: Written) -> None:
    assert "did not end within 0.5 s" in no_answer(ask(judge(f"def judge(asked): {BLOCKED}"), time_limit_s=0.5))


def test_a_hook_that_says_too_much_is_stopped_then_whatever_the_time_limit(command: Written) -> None:
    hook = command(f"print('x' * 10**6, flush=True); {BLOCKED}")
    assert "wrote more than 1000000 bytes and was stopped" in no_answer(ask(hook, math.inf))


def test_an_answer_is_not_kept_waiting_by_a_daemon_that_holds_the_output(
    command: Written, tmp_path: Path, alive: Callable[[], bytes]
) -> None:
    until_the_test_ends = "import select; gone = select.poll(); gone.register(alive, 0); gone.poll(); os._exit(0)"
    hook = command(forking(tmp_path, "print('{\"passed\": true}')", until_the_test_ends, "os.setsid()"))
    assert ask(hook) == HookAnswer(True, (), True, {})


def test_what_the_hook_left_running_is_killed_after_its_answer(
    command: Written, tmp_path: Path, alive: Callable[[], bytes]
) -> None:
    answer = ask(command(forking(tmp_path, "print('{\"passed\": true}', flush=True)")))
    assert answer == HookAnswer(True, (), True, {})
    assert alive() == b"parent child"


def test_an_interrupt_kills_the_hook_with_its_children(
    command: Written, tmp_path: Path, alive: Callable[[], bytes]
) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            ask(command(forking(tmp_path, f"import signal; os.kill(os.getppid(), signal.SIGINT); {BLOCKED}")))
    finally:
        signal.signal(signal.SIGINT, before)
    assert alive() == b"parent child"


@pytest.mark.parametrize(
    "hook", ["judge:it", "judges.mine:judge", " a.b:c ", "sh -c 'exit 0'", shlex.quote(sys.executable), "./own.sh now"]
)
def test_a_hook_of_either_form_is_accepted(hook: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.sh").touch(mode=0o755)
    check_hook(hook)


@pytest.mark.parametrize(
    ("hook", "says"),
    [
        ("", "names no program; give a Python callable as module:callable, or a command line"),
        (" \n", "names no program"),
        ("''", "names no program"),
        ("judge 'it", "is no command line: No closing quotation; mend the quotes"),
        ("a..b:c", "a..b:c is no module:callable; write it as judges.mine:judge"),
        ("a.:c", "a.:c is no module:callable"),
        ("a.1:c", "a.1:c is no module:callable"),
        ("class.b:c", "class.b:c is no module:callable"),
    ],
)
@pytest.mark.parametrize("check", [check_hook, ask])
def test_a_hook_of_neither_form_is_refused(check: Callable[[str], object], hook: str, says: str) -> None:
    with pytest.raises(InputError) as refused:
        check(hook)
    assert str(refused.value).startswith(f"BENCH_VALIDATION_HOOK: {says}")


@pytest.mark.parametrize("program", ["no-such-program", "./nowhere.sh", "a.b:c.d", "mine:judge()", "./own.sh"])
def test_a_command_whose_program_is_not_found_is_refused_when_it_is_checked(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.sh").touch(mode=0o644)
    with pytest.raises(InputError) as refused:
        check_hook(f"{program} --now")
    assert str(refused.value) == (
        f"BENCH_VALIDATION_HOOK: there is no program {program}; give a Python callable as module:callable, or a "
        "command line whose program is on the PATH"
    )


def guide(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("reply", "passed"), [("[PASS] It fits.", True), ("No idea.", False)])
def test_the_examples_of_the_guide_judge_its_question(
    reply: str, passed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    module, script = guide("python")
    question = json.loads(guide("json")[0])
    Path("judges.py").write_text(module)
    Path("workflows.py").write_text(f"def run_step(conversation_id, text): return {reply!r}")
    Path("judge.py").write_text(script)
    Path("run_step").write_text(f"#!/bin/sh\necho {shlex.quote(reply)}")
    Path("judge.py").chmod(0o755)
    Path("run_step").chmod(0o755)
    reasons = () if passed else ("Grade A: fast answered: No idea.",)
    for hook in ("judges:judge", "./judge.py"):
        check_hook(hook)
        assert run_hook(hook, question, LIMIT_S) == HookAnswer(passed, reasons, True, {"steps": 1})
