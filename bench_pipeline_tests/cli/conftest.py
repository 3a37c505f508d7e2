"""The command line in front of a database that has nothing but what a test makes there."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from bench_pipeline.cli.main import main
from bench_pipeline_tests.kit import json_schemas
from bench_pipeline_tests.kit.shell import Typed


@pytest.fixture
def bench(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Typed:
    """The command line in this process, with the database alone as a setting, in an empty folder."""
    for name in os.environ:
        if name.startswith(("BENCH_", "OLLAMA_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("BENCH_DATABASE_URL", database_url)
    monkeypatch.chdir(tmp_path)

    def typed(*arguments: str) -> CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["bench", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        json_schemas.check_output(arguments, out)
        return CompletedProcess(arguments, int(ended.value.code or 0), out, err)

    return typed
