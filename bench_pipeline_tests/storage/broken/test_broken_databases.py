"""Each fault is named in one line with a remedy; once that is typed as it stands, the line is gone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import make_url

from bench_pipeline_tests.kit.shell import Typed
from bench_pipeline_tests.kit.world import as_role
from bench_pipeline_tests.storage.broken.conftest import OWNER, Broken
from bench_pipeline_tests.storage.broken.faults import FAULTS

pytestmark = pytest.mark.postgres

ABOUT_THE_DATABASE = {"database", "production tables", "promotion", "safety", "conversations"}
MOST_ROUNDS = 3


def faults_told(typed: Typed) -> dict[str, dict[str, Any]]:
    """What the doctor says has to be done about the database, by the text of the line."""
    found = json.loads(typed("doctor", "--json").stdout)
    return {
        one["text"]: one
        for one in found
        if one["what"] in ABOUT_THE_DATABASE and (one["needed"] or one["remedy"]) and not one["ok"]
    }


def refuses(typed: Typed, monkeypatch: pytest.MonkeyPatch, broken: Broken) -> bool:
    """Whether an installation is refused now, whose own remedy nobody types."""
    with monkeypatch.context() as patch:
        patch.setenv("BENCH_OWNER_URL", as_role(broken.url, OWNER))
        return typed("db", "install").returncode == 2


def test_no_fault_is_found_in_a_healthy_database(typed: Typed) -> None:
    assert faults_told(typed) == {}


@pytest.mark.parametrize("group", FAULTS)
def test_a_fault_is_named_with_a_remedy_that_works_as_it_stands(
    broken: Broken, typed: Typed, monkeypatch: pytest.MonkeyPatch, group: str
) -> None:
    """One remedy may bring the next to light, as tables that were out of sight lack their function."""
    wrong = {}
    for name, fault in FAULTS[group].items():
        broken.suffer(fault)
        for variable, value in fault.settings:
            is_address = variable.endswith("_URL")
            other = make_url(broken.settings[variable]).set(database=value) if is_address else value
            monkeypatch.setenv(variable, str(other))
        found = faults_told(typed)
        refused = refuses(typed, monkeypatch, broken) if fault.refused else True
        left = found
        for _ in range(MOST_ROUNDS):
            for line in left.values():
                if line["remedy"]:
                    broken.type(line["remedy"], typed, monkeypatch)
            before, left = left, faults_told(typed)
            if not left or before.keys() & left.keys():
                break
        named = [(line["what"], line["needed"]) for text, line in found.items() if fault.says in text]
        if named != [(fault.what, fault.stops)] or left or not refused:
            wrong[name] = list(found), list(left)

    assert wrong == {}
    monkeypatch.setenv("BENCH_OWNER_URL", as_role(broken.url, OWNER))
    rehearsed = typed("db", "rehearse", "--yes")
    assert (rehearsed.returncode, rehearsed.stderr) == (0, "")
