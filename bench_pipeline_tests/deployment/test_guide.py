"""The guide to a deployment, as far as its commands can be typed without changing this machine."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from bench_pipeline_tests.kit.rehearsal import shipped
from bench_pipeline_tests.kit.rehearsal.shipped import DEPLOY, ENVIRONMENTS, ROOT, UNITS

GUIDE = (ROOT / "docs" / "how-to" / "deploy.md").read_text(encoding="utf-8")
COMMANDS = "\n".join(re.findall(r"^ *```\n(.*?)^ *```$", GUIDE, re.MULTILINE | re.DOTALL))


def line_with(word: str) -> str:
    [line] = [line.strip() for line in COMMANDS.splitlines() if word in line]
    return line


def typed(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-euc", script], cwd=folder, capture_output=True, text=True, check=True, timeout=60)


def test_every_file_that_is_named_is_shipped() -> None:
    named = set(re.findall(r"\bdeploy/[\w./*-]+[\w*]", GUIDE)) - {"deploy/secrets"}
    assert {name for name in named if not list(ROOT.glob(name))} == set()
    assert {
        "deploy/systemd/*.service",
        "deploy/env/*.env",
        "deploy/storage.yaml",
        "deploy/nginx.conf.template",
    } <= named


def test_every_unit_is_copied(tmp_path: Path) -> None:
    for copy in [line for line in COMMANDS.splitlines() if "*.service" in line]:
        units = tmp_path / "units"
        units.mkdir()
        typed(copy.strip().replace("/etc/systemd/system/", f"{units}/"), ROOT)
        copied = {path.relative_to(units) for path in units.rglob("*")}
        assert copied == {path.relative_to(UNITS) for path in UNITS.rglob("*")} - {
            Path("bench.sysusers.conf"),
            Path("bench.tmpfiles.conf"),
        }
        shutil.rmtree(units)


def test_the_configuration_of_dagster_is_the_one_that_is_tested() -> None:
    joined = {line.strip().partition(" > ")[0] for line in COMMANDS.splitlines() if "storage.yaml >" in line}
    assert len(joined) == 1
    assert typed(joined.pop(), ROOT).stdout == shipped.dagster_yaml()


def test_the_proxys_template_is_filled_as_typed(tmp_path: Path) -> None:
    if shutil.which("envsubst") is None:
        pytest.skip("envsubst is not on this machine; install gettext-base")
    variables = ENVIRONMENTS / "nginx.env"
    script = "\n".join([line_with("set -a;"), line_with("envsubst")])
    target = tmp_path / "dagster.conf"
    for theirs, ours in {"/etc/bench_pipeline/nginx.env": variables, "/etc/nginx/conf.d/dagster.conf": target}.items():
        assert theirs in script
        script = script.replace(theirs, str(ours))
    typed(script, ROOT)
    template = (DEPLOY / "nginx.conf.template").read_text(encoding="utf-8")
    assert target.read_text(encoding="utf-8") == shipped.filled(template, shipped.read_variables(variables))


def test_the_accounts_and_folders_are_made(tmp_path: Path) -> None:
    programs = [shutil.which(name) for name in ("systemd-sysusers", "systemd-tmpfiles")]
    if os.geteuid() != 0 or None in programs:
        pytest.skip("needs root, systemd-sysusers and systemd-tmpfiles")
    (tmp_path / "etc").mkdir()
    for program, file in zip(programs, ("bench.sysusers.conf", "bench.tmpfiles.conf"), strict=True):
        options = ["--create"] if file == "bench.tmpfiles.conf" else []
        subprocess.run([str(program), *options, f"--root={tmp_path}", UNITS / file], check=True, capture_output=True)
    made = (tmp_path / "etc" / "passwd").read_text(encoding="utf-8")
    accounts = {pwd.struct_passwd(line.split(":")).pw_name: line.split(":")[2] for line in made.splitlines()}
    for path, mode, owner in [("dagster", 0o2770, "bench-dagster"), ("reports", 0o2770, "bench-measure"),
                              ("production", 0o2750, "bench-promote")]:  # fmt: skip
        found = (tmp_path / "var" / "lib" / "bench_pipeline" / path).stat()
        assert (oct(found.st_mode & 0o7777), str(found.st_uid)) == (oct(mode), accounts[owner]), path


def test_no_step_names_a_makefile_target_that_is_not_there() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(re.findall(r"\bmake ([a-z]+)", GUIDE)) <= set(targets)
