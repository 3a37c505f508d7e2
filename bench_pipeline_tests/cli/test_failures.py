"""A failure has a kind, one line, an exit status, and with --json an object of one shape."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from sqlalchemy import create_engine
from sqlalchemy import text as sql

from bench_pipeline.cli.failures import STATUSES, asks_for_json, failure_of
from bench_pipeline.cli.main import bench
from bench_pipeline.domain.errors import FailureKind, Fault, FileRefused, GateFailed, InputError, RuntimeFailure
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.shell import Typed
from bench_pipeline_tests.kit.tasks import suite_value, write_task
from bench_pipeline_tests.kit.world import World


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (InputError("x"), "input"),
        (FileRefused([]), "input"),
        (GateFailed("x"), "refused"),
        (RuntimeFailure(FailureKind.UNAVAILABLE, "x"), "unavailable"),
        (click.UsageError("x"), "usage"),
        (click.FileError("x", "y"), "usage"),
        (KeyboardInterrupt(), "interrupted"),
        (click.Abort(), "interrupted"),
        (PermissionError(13, "Permission denied", "reports/x.md"), "input"),
        (FileNotFoundError(2, "No such file or directory"), "input"),
        (UnicodeEncodeError("utf-8", "a\udcff", 1, 2, "surrogates not allowed"), "input"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_an_exception_has_a_kind(error: BaseException, kind: str) -> None:
    assert failure_of(error).kind == kind


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()], ids=["KeyboardInterrupt", "Abort"])
def test_an_interruption_says_how_to_continue_under_every_version_of_click(error: BaseException) -> None:
    """Versions of click differ in which of the two they raise (UKGovernmentBEIS/inspect_ai #914)."""
    assert failure_of(error).message.endswith("run the same command again to continue")
    assert failure_of(error).status == 130


@ONE_ENGINE
@pytest.mark.parametrize("error", [KeyboardInterrupt, click.Abort])
def test_an_interrupted_command_says_so_on_both_streams(
    typed: Typed, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def interrupted(_: object) -> None:
        raise error

    monkeypatch.setattr("bench_pipeline.cli.models.candidates", interrupted)
    done = typed("models", "--json")
    shown = json.loads(done.stdout)["error"]
    assert (done.returncode, shown["kind"]) == (130, "interrupted")
    assert done.stderr.strip() == f"bench: {shown['message']}"  # click ends the line of ^C


def _damaged(folder: Path) -> None:
    (folder / "x.db").write_bytes(b"SQLite format 3\0" + b"\xff" * 4096)
    with create_engine(f"sqlite:///{folder / 'x.db'}").connect() as connection:
        connection.execute(sql("SELECT * FROM actors"))


def _read_only(folder: Path) -> None:
    (folder / "x.db").touch()
    with create_engine(f"sqlite:///file:{folder / 'x.db'}?mode=ro&uri=true").begin() as connection:
        connection.execute(sql("CREATE TABLE a (b INTEGER)"))


@pytest.mark.parametrize("fails", [_damaged, _read_only])
def test_a_database_that_fails_in_the_middle_is_no_defect(tmp_path: Path, fails: Callable[[Path], None]) -> None:
    with pytest.raises(Exception, match=r"sqlite3") as raised:
        fails(tmp_path)
    failure = failure_of(raised.value)
    assert (failure.kind, failure.message.count("\n")) == ("unavailable", 0)
    assert failure.message.startswith("the database failed: ")


@ONE_ENGINE
def test_a_defect_is_one_line_with_its_place_and_the_file_of_its_traceback(
    typed: Typed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("bench_pipeline.cli.models.candidates", lambda _: {}["s3cret"])
    done = typed("models", "--json")
    (file,) = tmp_path.glob("bench-traceback-*.txt")
    error = json.loads(done.stdout)["error"]
    assert done.returncode == STATUSES["internal"] == 70
    assert (error["kind"], error["traceback"]) == ("internal", str(file))
    assert done.stderr == f"bench: {error['message']}\n"
    assert "this is a defect of bench: KeyError in cli/models.py, line " in done.stderr
    assert "s3cret" not in done.stderr
    assert "KeyError: 's3cret'" in file.read_text(encoding="utf-8")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@ONE_ENGINE
def test_a_defect_where_no_file_can_be_written_shows_its_traceback(
    typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/proc")
    monkeypatch.setattr("bench_pipeline.cli.models.candidates", lambda _: {}["x"])
    done = typed("models")
    assert done.returncode == 70
    assert "KeyError: 'x'" in done.stderr
    assert done.stderr.endswith("please report it with the traceback above\n")


@ONE_ENGINE
@pytest.mark.parametrize(
    ("arguments", "status", "kind", "says"),
    [
        ("plan --task typo --json", 2, "input", "there is no task 'typo' in testcases; known tasks: grading"),
        ("plan --json --task typo", 2, "input", "there is no task 'typo' in testcases; known tasks: grading"),
        ("plan --json", 2, "usage", "Missing option '--task'."),
        ("plan --frob --json", 2, "usage", "No such option"),
        ("plan --json --task", 2, "usage", "Option '--task' requires an argument."),
        ("run --task grading --repeats none --json", 2, "usage", "Invalid value for '--repeats'"),
        ("run --task grading --models a --models-file setup --json", 2, "usage", "Invalid value for '--models-file'"),
        ("frobnicate --json", 2, "usage", "No such command 'frobnicate'."),
        ("cases frobnicate --json", 2, "usage", "No such command 'frobnicate'."),
        ("cases --json", 2, "usage", "No such option"),
        ("--json", 2, "usage", "No such option"),
        ("run --task grading --models absent --json", 1, "refused", "no model can be measured for grading: absent: "),
    ],
)
def test_with_json_an_error_is_an_object_of_one_shape(
    typed: Typed, arguments: str, status: int, kind: str, says: str
) -> None:
    """google/agents-cli #69: what goes to standard output is JSON alone."""
    done = typed(*arguments.split())
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["kind"], set(error)) == (status, kind, {"kind", "message"})
    assert error["message"].startswith(says)
    assert error["message"] in done.stderr


@ONE_ENGINE
def test_the_faults_of_a_file_are_objects(typed: Typed, world: World) -> None:
    write_task(world.folder / "testcases", suite_value() | {"test_cases": []})
    (fault,) = json.loads(typed("run", "--task", "grading", "--json").stdout)["error"]["faults"]
    assert set(fault) == set(Fault.__dataclass_fields__)
    assert fault["problem"] == "there are no cases"


@ONE_ENGINE
def test_without_json_nothing_is_on_standard_output(typed: Typed) -> None:
    assert typed("plan", "--frob").stdout == ""


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ("plan --task x --json", True),
        ("plan --json --frob", True),
        ("plan --frob --json", True),
        ("cases check --json", True),
        ("db install --json --frob", True),
        ("plan --task --json", False),
        ("why -- --json", False),
        ("why --task=--json m", False),
        ("freeze --reason --json", False),
        ("-- --json", False),
        ("plan --task x", False),
        ("", False),
    ],
)
def test_the_flag_counts_only_where_the_parser_takes_it_for_the_flag(arguments: str, wanted: bool) -> None:
    assert asks_for_json(bench, arguments.split()) is wanted


@ONE_ENGINE
def test_a_command_that_cannot_be_imported_still_answers_with_json(
    typed: Typed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("bench_pipeline.cli.main.COMMANDS", {"broken": ("absent_module", "")})
    done = typed("broken", "--json")
    assert (done.returncode, json.loads(done.stdout)["error"]["kind"]) == (70, "internal")
