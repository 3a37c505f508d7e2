"""What Dagster loads: the graph that people inspect, and what starts by itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import dagster as dg
import pytest
import yaml

from bench_pipeline.definitions import build_definitions
from bench_pipeline.domain.models.partition import partition_key
from bench_pipeline.settings import load_settings

GOLDEN = Path(__file__).parent / "golden" / "asset_graph.txt"
ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    return build_definitions(load_settings())


def test_the_definitions_are_sound(definitions: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(definitions)


def test_the_asset_graph_is_the_one_that_was_reviewed(definitions: dg.Definitions) -> None:
    """BENCH_UPDATE_GOLDEN=1 renews the file, for a person to review."""
    graph = _graph(definitions)
    if os.environ.get("BENCH_UPDATE_GOLDEN"):
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(graph, encoding="utf-8")

    assert graph == GOLDEN.read_text(encoding="utf-8")


def _graph(definitions: dg.Definitions) -> str:
    """Every asset with its group, partitions and parents, every check, job, schedule and sensor."""
    graph = definitions.resolve_asset_graph()
    lines = []
    for key in sorted(graph.get_all_asset_keys(), key=str):
        node = graph.get(key)
        partitions = " [one partition per model]" if node.partitions_def else ""
        parents = ", ".join(sorted(parent.to_user_string() for parent in node.parent_keys)) or "nothing"
        lines.append(f"{key.to_user_string()} ({node.group_name}){partitions} <- {parents}")
    lines += sorted(f"check {k.asset_key.to_user_string()}: {k.name}" for k in graph.asset_check_keys)
    jobs = [job for job in definitions.resolve_all_job_defs() if not job.name.startswith("__")]
    lines += sorted(f"job {job.name}: {len(job.asset_layer.executable_asset_keys)} assets" for job in jobs)
    lines += [
        f"schedule {s.name}: {s.cron_schedule} {s.execution_timezone}"
        for s in definitions.schedules or []
        if isinstance(s, dg.ScheduleDefinition)
    ]
    lines += [f"sensor {sensor.name}" for sensor in definitions.sensors or []]
    return "\n".join(lines) + "\n"


def test_every_asset_is_described_owned_and_grouped(definitions: dg.Definitions) -> None:
    for spec in definitions.resolve_all_asset_specs():
        assert spec.description, spec.key
        assert spec.owners, spec.key
        assert spec.kinds, spec.key
        assert spec.group_name != "default", spec.key


def test_the_lineage_reads_from_left_to_right_and_begins_outside(definitions: dg.Definitions) -> None:
    """By groups: sources, models, the tasks, documents; no asset follows one of a later group, or of another task."""
    graph = definitions.resolve_asset_graph()
    fixed = {"production": 0, "models": 1, "documents": 3}
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        parents = [graph.get(parent) for parent in node.parent_keys]
        for parent in parents:
            before, after = (fixed.get(str(one.group_name), 2) for one in (parent, node))
            assert before <= after, (parent.key, key)
            assert before != 2 or after != 2 or parent.group_name == node.group_name, (parent.key, key)
        assert bool(parents) is (node.group_name != "production"), key


def test_no_kind_names_a_runtime_because_a_model_may_run_on_any(definitions: dg.Definitions) -> None:
    kinds = {kind for spec in definitions.resolve_all_asset_specs() for kind in spec.kinds}

    assert kinds == {"sql", "llm", "json", "markdown"}


def test_loading_opens_no_connection(tmp_path: Path) -> None:
    """The databases and servers that are named here do not exist."""
    environment = os.environ | {
        "BENCH_DATABASE_URL": "postgresql+psycopg2://nobody@127.0.0.1:1/none",
        "BENCH_OLLAMA_HOST": "http://127.0.0.1:1",
    }
    done = subprocess.run(
        [sys.executable, "-c", "import bench_pipeline.definitions"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert list(tmp_path.iterdir()) == []


def test_dg_checks_the_project_without_a_warning(tmp_path: Path) -> None:
    shutil.copyfile(ROOT / "dagster.yaml", tmp_path / "dagster.yaml")  # says that nothing is reported
    environment = {"DAGSTER_HOME": str(tmp_path), "VIRTUAL_ENV": sys.prefix}
    done = subprocess.run(
        [Path(sys.executable).with_name("dg"), "check", "defs"],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "All definitions loaded successfully."
    assert done.stderr == ""


def test_dg_and_the_workspace_name_the_code_location_alike() -> None:
    """Whether a schedule or a sensor is on is kept under this name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["dg"]["project"]
    [location] = yaml.safe_load((ROOT / "workspace.yaml").read_text(encoding="utf-8"))["load_from"]

    assert project["code_location_name"] == location["python_module"]["module_name"]


SUPERSEDED = ("dagster dev", "dagster definitions validate", "dagster asset materialize", "dagster job execute")


@pytest.mark.parametrize("command", SUPERSEDED)
def test_no_command_that_dagster_superseded_is_named(command: str) -> None:
    files = [ROOT / "Makefile", ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    files += [
        *(path for path in (ROOT / "deploy").rglob("*") if path.is_file()),
        *(ROOT / "bench_pipeline").rglob("*.py"),
    ]

    assert [str(file) for file in files if command in file.read_text(encoding="utf-8")] == []


@pytest.mark.parametrize(
    ("setting", "developing", "status"),
    [
        ("", "", "RUNNING"),
        ("", "1", "STOPPED"),
        ("on", "1", "RUNNING"),
        ("off", "", "STOPPED"),
    ],
)
def test_schedules_and_sensors_run_in_a_deployment_and_rest_under_dg_dev(
    setting: str, developing: str, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_AUTOMATION", setting)
    monkeypatch.setenv("DAGSTER_IS_DEV_CLI", developing)

    definitions = build_definitions(load_settings())

    for schedule in ("monthly_benchmark", "quarterly_review"):
        assert definitions.resolve_schedule_def(schedule).default_status is dg.DefaultScheduleStatus[status]
    for sensor in ("triggers", "deliveries"):
        assert definitions.resolve_sensor_def(sensor).default_status is dg.DefaultSensorStatus[status]


@pytest.mark.parametrize(
    "model", ["a...b", "", "tab\there", "a|b", "x" * 300, " padded", "../etc/passwd", "名:1b"], ids=repr
)
def test_any_model_name_makes_a_partition_that_dagster_carries(model: str) -> None:
    key = partition_key(model)

    assert key
    assert "..." not in key
    assert "|" not in key
    assert len(key) < 255
    assert key == key.strip()


def test_no_two_models_share_a_partition() -> None:
    names = ["MFDoom/x:1", "mfdoom/x:1", "a/b:c", "a-b:c", "a b:c", "a...b", "a.b", "a|b", "a||b", "hf.co/U/M-GGUF:Q4"]

    assert len({partition_key(name) for name in names}) == len(names)
