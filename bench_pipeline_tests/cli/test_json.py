"""The JSON of every command has a published schema, and fits it.

The fixtures that type commands check whatever a test prints with --json; here each command is typed at least once.
"""

from __future__ import annotations

import json
import re

import pytest
from jsonschema import Draft202012Validator
from sqlalchemy import insert

from bench_pipeline.cli.demo import JobResult, _facts
from bench_pipeline.cli.output import print_json
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.json_schemas import ERROR, SCHEMAS, assert_fits, commands, schema_file
from bench_pipeline_tests.kit.production import interactions
from bench_pipeline_tests.kit.shell import Typed
from bench_pipeline_tests.kit.tasks import EXTRACT, GRADE_A, TEMPLATE
from bench_pipeline_tests.kit.world import World

LOOKING = (
    "models", "doctor", "completion bash", "db map", "db rehearse --yes",
    "cases check", "cases show PASS_001 --model fast", "cases show PASS_001 --model fast --curl",
    f"cases import {EXTRACT} --yes", "triggers", "retry", "heal", "alerts",
)  # fmt: skip
PROMOTING = (
    "plan --task grading", "decide --task grading", "approve {plan}", "promote --plan {plan} --no-validate",
    "validate --task grading", "decide --replay 1", "log", "log --plans", f"blame {GRADE_A}", "docs", "reconcile",
    f"failover {GRADE_A}", "rollback", "freeze --reason test", "thaw",
)  # fmt: skip
MEASURING = (
    "run --task grading --models fast,wrong,broken,slow", "run --task grading --models fast --against champion",
    "history --task grading", "why fast", "why broken", "rescore --task grading",
    "db prune --keep 24m --yes", "db prune --keep 24m --dry-run", "db uninstall --yes",
)  # fmt: skip
ELSEWHERE = {"ui": "test_ui.py", "db install": "storage/test_installation_script.py"}
"""Commands that start a server or need PostgreSQL, with the tests that check their JSON."""


@ONE_ENGINE
def test_every_command_prints_json_that_fits_its_schema(
    typed: Typed, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.set_template(EXTRACT, TEMPLATE.replace("{posting}", "a post"))
    call = {"conversation_id": EXTRACT, "actor_id": 2, "latency_ms": 9.0, "input": "a", "output": "[PASS] b"}
    world.change(insert(interactions).values(call))
    printed = [shown(typed, line) for line in LOOKING]
    monkeypatch.setenv("BENCH_APPROVAL", "required")
    world.ranked("fast", "slow")
    refused = typed("promote", "--task", "grading", "--json")
    assert json.loads(refused.stdout).keys() == {"error"}
    plan = world.rows("benchmark_plans", "plan_hash")[0][0][:12]
    printed += [shown(typed, line.format(plan=plan)) for line in (*PROMOTING, *MEASURING)]

    assert {*printed, "demo", *ELSEWHERE} == {name for name, _ in commands()}


@ONE_ENGINE
def test_what_the_demo_says_at_its_end_fits_its_schema(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Its job runs with real models in `make demo`."""
    plan = world.plan()
    assert world.apply(plan) is not None

    print_json(
        {"grading": _facts(world.bench, "grading", JobResult(plan.evidence[0].benchmark_id, plan.hash, {"7": "2 min"}))}
    )

    assert_fits("demo", json.loads(capsys.readouterr().out))


def shown(typed: Typed, line: str) -> str:
    """Type a command with --json, whose fixture checks what it prints, and return its name."""
    done = typed(*line.split(), "--json")
    value = json.loads(done.stdout)
    assert not (isinstance(value, dict) and "error" in value), f"{line}: {done.stdout}"
    return next(name for name, _ in commands() if f"{line} ".startswith(f"{name} "))


def test_every_command_has_a_schema_and_every_schema_a_command() -> None:
    wanted = {schema_file(name) for name, _ in commands()} | {schema_file(ERROR)}

    assert set(SCHEMAS.iterdir()) == wanted


@pytest.mark.parametrize("name", [*(name for name, _ in commands()), ERROR])
def test_a_schema_is_sound_and_names_every_key(name: str) -> None:
    """An object either lists its keys, and a further one is a fault, or is a mapping whose values have one form."""
    schema = json.loads(schema_file(name).read_text(encoding="utf-8"))

    Draft202012Validator.check_schema(schema)
    assert schema["title"] == ("error" if name == ERROR else f"bench {name} --json")
    for part in parts(schema):
        if "properties" in part:
            assert part["additionalProperties"] is False, part
            assert set(part["required"]) <= part["properties"].keys()
        elif part.get("type") == "object":
            assert "additionalProperties" in part, part


def parts(value: object) -> list[dict[str, object]]:
    if isinstance(value, list):
        return [part for item in value for part in parts(item)]
    if isinstance(value, dict):
        own = [value] if "type" in value or "properties" in value else []
        return own + [part for item in value.values() for part in parts(item)]
    return []


@pytest.mark.parametrize("change", ["lost", "gained"])
def test_a_key_that_is_lost_or_gained_is_noticed(change: str) -> None:
    value = {"shell": "bash", "script": "…"}
    value = {"shell": "bash"} if change == "lost" else value | {"more": "…"}

    with pytest.raises(AssertionError, match=re.escape("completion: the whole: ")):
        assert_fits("completion", value)


def test_the_index_of_schemas_names_each_with_its_command() -> None:
    text = (SCHEMAS.parent / "json.md").read_text(encoding="utf-8")

    listed = dict(
        re.findall(
            r"^\| `bench ([a-z ]+) --json` \| \[\w[\w-]*\.json\]\(schemas/([\w-]+)\.json\) \|", text, re.MULTILINE
        )
    )
    assert listed == {name: schema_file(name).stem for name, _ in commands()}
    assert f"(schemas/{ERROR}.json)" in text
