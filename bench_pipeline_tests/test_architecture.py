"""Imports run one way; the contracts stand in `pyproject.toml`."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"
BROKEN_ON_PURPOSE = """
[tool.importlinter]
root_package = "bench_pipeline"

[[tool.importlinter.contracts]]
name = "Broken on purpose"
type = "forbidden"
source_modules = ["bench_pipeline.benchmark"]
forbidden_modules = ["bench_pipeline.storage"]
"""


def lint_imports(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", LINT, "--no-cache", "--no-logo", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_every_contract_of_the_imports_is_kept() -> None:
    contracts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    done = lint_imports()
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Contracts: {len(contracts)} kept, 0 broken." in done.stdout


def test_an_import_that_a_contract_forbids_is_reported(tmp_path: Path) -> None:
    contract = tmp_path / "contract.toml"
    contract.write_text(BROKEN_ON_PURPOSE)
    done = lint_imports("--config", str(contract))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Contracts: 0 kept, 1 broken." in done.stdout
