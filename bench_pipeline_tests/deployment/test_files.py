"""The files of deploy/, held against each other and against the code that they start."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import AliasChoices

from bench_pipeline.settings import Settings
from bench_pipeline_tests.kit.rehearsal import shipped
from bench_pipeline_tests.kit.rehearsal.shipped import DEPLOY, ENVIRONMENTS, ROOT, UNITS, Unit

VARIABLES = {path.name: shipped.read_variables(path) for path in ENVIRONMENTS.iterdir()}
COMPOSE = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text(encoding="utf-8"))["services"]
HELM = yaml.safe_load((DEPLOY / "helm" / "values.yaml").read_text(encoding="utf-8"))
WORKSPACE = yaml.safe_load((DEPLOY / "workspace.yaml").read_text(encoding="utf-8"))["load_from"]
SERVERS = {one["grpc_server"]["location_name"]: one["grpc_server"] for one in WORKSPACE}
PROCESSES = {unit.part: unit for unit in shipped.processes()}
LOCATIONS = ("measure", "promote")


def option(words: list[str], name: str) -> str:
    """The value of an option in a command."""
    return words[words.index(name) + 1]


def variables_of(unit: Unit) -> dict[str, str]:
    return {name: value for file in unit.environments for name, value in VARIABLES[file].items()}


def command_of(unit: Unit) -> list[str]:
    [command] = unit.commands(variables_of(unit))
    return command


# One configuration of Dagster


def test_a_deployment_differs_from_this_machine_in_the_storage_alone() -> None:
    local = yaml.safe_load((ROOT / "dagster.yaml").read_text(encoding="utf-8"))
    deployed = yaml.safe_load(shipped.dagster_yaml())
    assert {name for name in deployed if deployed[name] != local.get(name)} == {"storage"}
    assert local.items() <= deployed.items()


def test_the_chart_says_what_dagster_yaml_says() -> None:
    local = yaml.safe_load((ROOT / "dagster.yaml").read_text(encoding="utf-8"))
    said = {
        "concurrency": HELM["concurrency"],
        "run_monitoring": HELM["dagsterDaemon"]["runMonitoring"],
        "run_retries": HELM["dagsterDaemon"]["runRetries"],
        "retention": {name: value for name, value in HELM["retention"].items() if name != "enabled"},
        "telemetry": HELM["telemetry"],
    }
    assert {name: snake(value) for name, value in said.items()} == {name: local[name] for name in said}
    storage = yaml.safe_load((DEPLOY / "storage.yaml").read_text(encoding="utf-8"))["storage"]["postgres"]
    assert HELM["postgresql"]["postgresqlScheme"] == storage["postgres_db"]["scheme"]


def snake(value: Any) -> Any:  # noqa: ANN401 - any YAML
    if isinstance(value, dict):
        return {re.sub(r"([A-Z])", lambda found: f"_{found[1].lower()}", key): snake(one) for key, one in value.items()}
    return value


# Names, ports and modules


@pytest.mark.parametrize("location", LOCATIONS)
def test_a_location_has_one_port_and_one_module_everywhere(location: str) -> None:
    upper = location.upper()
    dagster = VARIABLES["dagster.env"]
    port, module = dagster[f"{upper}_PORT"], f"bench_pipeline.locations.{location}"
    assert importlib.util.find_spec(module) is not None
    assert SERVERS[location]["port"] == {"env": f"{upper}_PORT"}
    assert SERVERS[location]["host"] == {"env": f"{upper}_HOST"}

    for command in (command_of(PROCESSES[location]), COMPOSE[location]["command"]):
        assert (option(command, "--port"), option(command, "--module-name")) == (port, module)
        assert option(command, "--location-name") == location
    assert option(command_of(PROCESSES[location]), "--host") == dagster[f"{upper}_HOST"] == "127.0.0.1"
    assert COMPOSE[location]["environment"][f"{upper}_HOST"] == location

    [deployment] = [one for one in HELM["dagster-user-deployments"]["deployments"] if one["name"] == location]
    arguments = deployment["dagsterApiGrpcArgs"]
    assert str(deployment["port"]) == port
    assert (option(arguments, "--module-name"), option(arguments, "--location-name")) == (module, location)
    assert deployment["includeConfigInLaunchedRuns"] == {"enabled": True}


def test_the_proxy_leads_to_the_web_servers() -> None:
    web, nginx = VARIABLES["web.env"], VARIABLES["nginx.env"]
    assert nginx["WEB"] == f"{web['WEB_HOST']}:{web['WEB_PORT']}"
    assert nginx["READ_ONLY_WEB"] == f"{web['WEB_HOST']}:{web['READ_ONLY_WEB_PORT']}"
    assert nginx["ORIGIN"] == VARIABLES["bench.env"]["BENCH_UI_URL"] == f"https://{nginx['SERVER_NAME']}"
    assert web["BENCH_UI_NAMES"] == nginx["SERVER_NAME"] == HELM["dagsterWebserver"]["env"]["BENCH_UI_NAMES"]
    for name, port in (("web", "WEB_PORT"), ("web-read-only", "READ_ONLY_WEB_PORT")):
        for command in (command_of(PROCESSES[name]), COMPOSE[name]["command"]):
            assert (option(command, "--host"), option(command, "--port")) == ("127.0.0.1", web[port])
            assert ("--read-only" in command) == (name == "web-read-only")


def test_the_template_of_the_proxy_uses_each_of_its_variables() -> None:
    template = (DEPLOY / "nginx.conf.template").read_text(encoding="utf-8")
    used = set(re.findall(r"\$\{([A-Z_]+)\}", template)) - {"NAME"}
    assert used == set(VARIABLES["nginx.env"])
    header = VARIABLES["dagster.env"]["BENCH_PROXY_USER_HEADER"]
    assert f"proxy_set_header {header} $remote_user;" in template


def test_units_and_containers_are_the_same_processes() -> None:
    assert PROCESSES.keys() | {"dagster-database", "instance", "nginx", "doctor"} == COMPOSE.keys()
    for part, unit in PROCESSES.items():
        files = [Path(name).name for name in COMPOSE[part]["env_file"]]
        assert files == list(unit.environments), part


def test_the_instance_is_made_alike() -> None:
    unit = shipped.units()[shipped.INSTANCE]
    lines = [shlex.join([Path(words[0]).name, *words[1:]]) for words in unit.commands({})]
    assert COMPOSE["instance"]["command"] == ["sh", "-c", " && ".join(lines)]
    assert lines[-1] in (DEPLOY / "helm" / "values.yaml").read_text(encoding="utf-8")


def test_both_locations_have_one_host_name_because_a_lock_belongs_to_one() -> None:
    assert {COMPOSE[location]["hostname"] for location in LOCATIONS} == {"bench"}


def test_only_the_proxys_port_is_published() -> None:
    assert {name: one["ports"] for name, one in COMPOSE.items() if "ports" in one} == {"web": ["443:443"]}
    assert COMPOSE["nginx"]["network_mode"] == COMPOSE["web-read-only"]["network_mode"] == "service:web"


def test_a_volume_hides_no_configuration_of_the_image() -> None:
    targets = {
        volume.split(":")[1] for one in COMPOSE.values() for volume in one.get("volumes", ()) if volume[0] != "."
    }
    home = VARIABLES["dagster.env"]["DAGSTER_HOME"]
    assert f"{home}/storage" in targets
    assert home not in targets


# Who holds which address


def test_the_promoters_address_is_given_to_promote_alone() -> None:
    files = [name for name, values in VARIABLES.items() if "BENCH_PROMOTER_URL" in values]
    assert files == ["promote.env"]
    assert [part for part, unit in PROCESSES.items() if "promote.env" in unit.environments] == ["promote"]
    assert [name for name, one in COMPOSE.items() if "../env/promote.env" in one.get("env_file", ())] == ["promote"]
    secrets = {one["name"]: one["envSecrets"] for one in HELM["dagster-user-deployments"]["deployments"]}
    assert [name for name, held in secrets.items() if {"name": "promote"} in held] == ["promote"]


def test_no_process_has_the_owners_address() -> None:
    assert "BENCH_OWNER_URL" not in "".join(path.read_text() for path in DEPLOY.rglob("*") if path.is_file())


def test_every_variable_is_one_that_is_read() -> None:
    known = {"BENCH_ALERT_URLS", "BENCH_AUTOMATION", "BENCH_PROXY_USER_HEADER", "BENCH_UI_NAMES", "BENCH_UI_URL"}
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        known |= {str(one) for one in alias.choices} if isinstance(alias, AliasChoices) else {f"BENCH_{name.upper()}"}
    given = {name for values in VARIABLES.values() for name in values if name.startswith(("BENCH_", "OLLAMA_"))}
    assert given <= known


# systemd


@pytest.fixture(scope="module")
def installed_units(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The units as they lie on a machine, with the programs of this one."""
    folder = tmp_path_factory.mktemp("units")
    shutil.copytree(UNITS, folder, dirs_exist_ok=True)
    for path in folder.glob("*.service"):
        here = path.read_text(encoding="utf-8").replace(
            "/opt/bench_pipeline/.venv/bin", str(Path(sys.executable).parent)
        )
        path.write_text(here, encoding="utf-8")
    return folder


def analyze(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not on this machine; install systemd to check the units")
    environment = os.environ | {"SYSTEMD_UNIT_PATH": f"{folder}:", "SYSTEMD_LOG_LEVEL": "warning"}
    return subprocess.run(
        ["systemd-analyze", *arguments], env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def test_systemd_finds_no_fault_in_the_units(installed_units: Path) -> None:
    names = [str(path) for path in installed_units.iterdir() if path.suffix in (".service", ".timer", ".target")]
    done = analyze(installed_units, "verify", "--man=no", *names)
    said = [line for line in done.stderr.splitlines() if "bench" in line]
    assert (done.returncode, said) == (0, [])


def test_every_unit_is_hardened(tmp_path: Path) -> None:
    system = tmp_path / "etc" / "systemd" / "system"
    shutil.copytree(UNITS, system)
    done = analyze(system, "security", "--offline=yes", "--threshold=30", f"--root={tmp_path}", *shipped.units())
    exposures = re.findall(r"exposure level for (\S+): ([\d.]+)", done.stdout)
    assert {name for name, _ in exposures} == set(shipped.units())
    assert {name: float(level) for name, level in exposures if float(level) > 3} == {}


def test_each_part_has_an_account_of_its_own() -> None:
    accounts = re.findall(r"^u (\S+)", (UNITS / "bench.sysusers.conf").read_text(encoding="utf-8"), re.MULTILINE)
    users = {unit.part: unit.one("User") for unit in shipped.units().values()}
    assert set(users.values()) == set(accounts)
    assert users["promote"] not in {user for part, user in users.items() if part != "promote"}


def test_a_part_that_dies_is_started_again() -> None:
    for unit in PROCESSES.values():
        assert unit.one("Restart") == "always"
        assert unit.one("StartLimitIntervalSec", "Unit") == "0", "it is not given up after a few times"
        assert shipped.INSTANCE in unit.one("Requires", "Unit")


def test_the_target_starts_every_part_and_the_timer() -> None:
    target = shipped.read_unit(UNITS / "bench.target")
    assert set(target.one("Wants", "Unit").split()) == {
        *(unit.name for unit in PROCESSES.values()),
        "bench-doctor.timer",
    }


def test_an_account_may_write_where_its_variables_say() -> None:
    made = re.findall(r"^d (\S+)", (UNITS / "bench.tmpfiles.conf").read_text(encoding="utf-8"), re.MULTILINE)
    for location in LOCATIONS:
        unit = PROCESSES[location]
        writable = [path for line in unit.all("ReadWritePaths") for path in line.split()]
        named = [value for name, value in VARIABLES[f"{location}.env"].items() if name.endswith("_DIR")]
        assert sorted(writable) == sorted(named)
        assert set(named) <= set(made)


def test_the_image_holds_what_its_commands_name() -> None:
    text = (DEPLOY / "compose" / "Dockerfile").read_text(encoding="utf-8")
    assert "COPY deploy deploy" in text
    assert "cat dagster.yaml deploy/storage.yaml" in text
    folders = [value for file in VARIABLES.values() for name, value in file.items() if name.endswith("_DIR")]
    for folder in folders:
        if folder.startswith("/var/"):
            assert folder in text
    assert re.search(r"bench_pipeline ui|dagster-webserver", text)
