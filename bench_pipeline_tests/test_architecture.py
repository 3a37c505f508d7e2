"""Imports run one way, as the contracts in `pyproject.toml` and the architecture document say."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / "bench_pipeline"
ARCHITECTURE = REPOSITORY / "docs" / "concepts" / "architecture.md"
ASSET_GRAPH = REPOSITORY / "bench_pipeline_tests" / "golden" / "asset_graph.txt"
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


WRITES_OF_A_MAPPING = ("update", "setdefault", "pop", "popitem", "clear", "__setitem__")


def lint_imports(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", LINT, "--no-cache", "--no-logo", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def contracts() -> list[dict[str, Any]]:
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = settings["tool"]["importlinter"]["contracts"]
    return found


def lines_below(heading: str) -> list[str]:
    """Return the lines of the first code block below a heading of the architecture document."""
    block = re.search(
        rf"^{heading}\n.*?^```\n(.*?)^```$", ARCHITECTURE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    assert block is not None, heading
    return block[1].splitlines()


def documented_paths() -> Iterator[str]:
    """Return every path of the folder list; a name is indented by two spaces below its folder."""
    parents: list[str] = []
    for line in lines_below("## Folders"):
        depth = (len(line) - len(line.lstrip())) // 2
        parents = [*parents[:depth], line.split()[0].rstrip("/")]
        yield "/".join(parents)


def test_every_contract_of_the_imports_is_kept() -> None:
    done = lint_imports()
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Contracts: {len(contracts())} kept, 0 broken." in done.stdout


def test_an_import_that_a_contract_forbids_is_reported(tmp_path: Path) -> None:
    contract = tmp_path / "contract.toml"
    contract.write_text(BROKEN_ON_PURPOSE)
    done = lint_imports("--config", str(contract))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Contracts: 0 kept, 1 broken." in done.stdout


def test_the_architecture_document_lists_every_folder_and_module_of_the_package() -> None:
    packages = {path.parent for pattern in ("*/__init__.py", "*/*/__init__.py") for path in PACKAGE.glob(pattern)}
    modules = {path for path in PACKAGE.glob("*.py") if path.stem != "__init__"}
    expected = {path.relative_to(REPOSITORY).as_posix() for path in packages | modules}

    assert {path for path in documented_paths() if path.startswith("bench_pipeline/")} == expected


def test_every_path_of_the_architecture_document_exists() -> None:
    missing = [path for path in documented_paths() if not any(REPOSITORY.glob(path.replace("<task>", "*")))]

    assert missing == []


def test_the_architecture_document_lists_the_import_layers_of_the_contract() -> None:
    (layers,) = [contract["layers"] for contract in contracts() if contract["type"] == "layers"]

    assert lines_below("## Import layers") == [layer.replace("bench_pipeline.", "") for layer in layers]


def documented_assets() -> dict[str, tuple[str, set[str]]]:
    """Return group and checks of every asset in the table of the architecture document, for the task grading."""
    text = ARCHITECTURE.read_text(encoding="utf-8").partition("## Assets, checks, jobs\n")[2]
    rows = re.findall(r"^\| (`[^|]+) \| ([^|]+) \| ?([^|]*)\|$", text, re.MULTILINE)
    return {
        name.replace("{task}", "grading"): (group.strip("`").replace("the task", "grading"), named(checks, r"`(\w+)`"))
        for names, group, checks in rows
        for name in re.findall(r"`([^`]+)`", names)
    }


def named(text: str, pattern: str) -> set[str]:
    return set(re.findall(pattern, text, re.MULTILINE))


def test_the_architecture_document_lists_every_asset_with_its_group_and_checks() -> None:
    graph = ASSET_GRAPH.read_text(encoding="utf-8")
    groups = dict(re.findall(r"^([\w/]+) \((\w+)\)", graph, re.MULTILINE))
    groups = {name: group for name, group in groups.items() if "/" not in name or name.startswith("grading/")}

    assert documented_assets() == {
        name: (group, named(graph, rf"^check {name}: (\w+)$")) for name, group in groups.items()
    }


def writes_to_the_environment(source: str) -> list[str]:
    """Return the statements that change `os.environ`, for example `os.environ['A'] = 'b'`."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Assign(targets=targets) | ast.Delete(targets=targets):
                changed = any("os.environ" in ast.unparse(target) for target in targets)
            case ast.AugAssign(target=target):
                changed = "os.environ" in ast.unparse(target)
            case ast.Call(func=ast.Attribute(value=owner, attr=name)):
                wrote = ast.unparse(owner) == "os.environ" and name in WRITES_OF_A_MAPPING
                changed = wrote or (ast.unparse(owner) == "os" and name in ("putenv", "unsetenv"))
            case _:
                continue
        if changed:
            found.append(ast.unparse(node))
    return found


def test_nothing_writes_the_environment_but_what_three_packages_read_from_nowhere_else() -> None:
    written = {
        path.relative_to(PACKAGE).as_posix(): found
        for path in sorted(PACKAGE.rglob("*.py"))
        if (found := writes_to_the_environment(path.read_text(encoding="utf-8")))
    }
    assert written == {
        "runtimes/llama_cpp.py": ["os.environ.setdefault('OMP_WAIT_POLICY', 'passive')"],
        "runtimes/ollama_client.py": ["os.environ.update(hidden)", "os.environ.pop(name, None)"],
        "ui/webserver.py": ["os.environ['FORWARDED_ALLOW_IPS'] = ''"],
    }


@pytest.mark.parametrize(
    "statement",
    [
        "os.environ['A'] = 'b'",
        "del os.environ['A']",
        "os.environ.update(A='b')",
        "os.environ |= {}",
        "os.putenv('A', 'b')",
    ],
)
def test_a_write_to_the_environment_is_found(statement: str) -> None:
    assert writes_to_the_environment(statement) == [statement]


def test_reading_the_environment_is_allowed() -> None:
    assert writes_to_the_environment("home = os.environ.get('HOME', os.environ['USER'])") == []
