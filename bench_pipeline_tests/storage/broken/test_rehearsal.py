"""`bench db rehearse` makes a promotion and rolls it back: what works and what does not, with nothing left behind."""

from __future__ import annotations

import io
import json

import pytest
from sqlalchemy import create_engine, make_url, text

from bench_pipeline_tests.kit.shell import Typed
from bench_pipeline_tests.kit.world import as_role
from bench_pipeline_tests.storage.broken.conftest import OWNER, Broken
from bench_pipeline_tests.storage.broken.test_broken_databases import faults_told
from bench_pipeline_tests.storage.broken.unusual import FAILING, OTHER_NAMES, UNUSUAL

pytestmark = pytest.mark.postgres


@pytest.fixture
def as_owner(broken: Broken, typed: Typed, monkeypatch: pytest.MonkeyPatch) -> Broken:
    """The database with the owner's address set, as for an installation."""
    monkeypatch.setenv("BENCH_OWNER_URL", as_role(broken.url, OWNER))
    return broken


class Terminal(io.StringIO):
    """A person at a terminal who types these lines."""

    def isatty(self) -> bool:
        return True


def rows(broken: Broken) -> dict[str, list[str]]:
    """Every row of every table that is not the system's."""
    engine = create_engine(broken.url)
    with engine.connect() as connection:
        names = connection.scalars(text("SELECT relid::regclass::text FROM pg_stat_user_tables")).all()
        found = {
            name: sorted(connection.scalars(text(f"SELECT t::text FROM {name} t")))  # noqa: S608 - a name of the server
            for name in names
        }
    engine.dispose()
    return found


@pytest.mark.parametrize("name", UNUSUAL)
def test_an_unusual_database_has_no_fault_and_lets_a_promotion_work(
    as_owner: Broken, typed: Typed, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    as_owner.run(UNUSUAL[name].replace("{db}", str(make_url(as_owner.url).database)))
    if "names" in name:
        monkeypatch.setenv("BENCH_PRODUCTION_NAMES", OTHER_NAMES)
    installed = typed("db", "install", "--no-rehearse")
    before = rows(as_owner)

    rehearsed = typed("db", "rehearse", "--yes", "--json")

    assert (installed.returncode, installed.stderr, rehearsed.returncode, rehearsed.stderr) == (0, "", 0, "")
    assert json.loads(rehearsed.stdout)["conversation_id"] == 3336
    assert faults_told(typed) == {}
    assert rows(as_owner) == before


@pytest.mark.parametrize("name", FAILING)
def test_a_promotion_that_would_fail_is_found_and_leaves_nothing(as_owner: Broken, typed: Typed, name: str) -> None:
    statements, says = FAILING[name]
    as_owner.run(statements)
    before = rows(as_owner)

    done = typed("db", "rehearse", "--yes")

    assert (done.returncode in (1, 2), says in done.stderr, done.stdout) == (True, True, ""), done.stderr
    assert rows(as_owner) == before


def test_the_triggers_are_named_before_they_run_and_a_person_may_decline(
    as_owner: Broken, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_owner.run(UNUSUAL["foreign keys, constraints and a trigger that notes the time"])

    refused = typed("db", "rehearse")
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    declined = typed("db", "rehearse")
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    agreed = typed("db", "rehearse")

    named = "these triggers of conversations run: notes"
    assert (refused.returncode, f"{named}; add --yes to rehearse without a question" in refused.stderr) == (2, True)
    assert (declined.returncode, named in declined.stdout, "✅" in declined.stdout) == (1, True, False)
    assert (agreed.returncode, f"all of it was rolled back; {named}" in agreed.stdout) == (0, True)


def test_an_installation_ends_with_a_rehearsal_when_it_is_wanted(
    as_owner: Broken, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = typed("db", "install")
    wanted = typed("db", "install", "--rehearse")
    as_json = typed("db", "install", "--rehearse", "--json")
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    asked = typed("db", "install")

    assert "nothing was rehearsed; `bench db rehearse` tries a promotion" in alone.stdout
    assert "✅ a promotion works: conversation 3336 (Grade A) went from actor 2 (slow) to 1 (fast)" in wanted.stdout
    assert json.loads(as_json.stdout)["rehearsal"]["new_actor"] == "fast"
    assert ("Continue?" in asked.stdout, "✅ a promotion works" in asked.stdout) == (True, True)
    assert [done.returncode for done in (alone, wanted, as_json, asked)] == [0] * 4


def test_a_rehearsal_that_cannot_be_made_says_what_is_missing(
    broken: Broken, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_recorder = typed("db", "rehearse", "--yes")
    monkeypatch.setenv("BENCH_OWNER_URL", as_role(broken.url, OWNER))
    broken.run("UPDATE actors SET enabled = false WHERE actor_id <> 2")
    alone = typed("db", "rehearse", "--yes")
    broken.run("UPDATE benchmark_schema_version SET version_num = '0005'")
    older = typed("db", "rehearse", "--yes")

    assert (
        f"only the owner of conversations can rehearse; set BENCH_OWNER_URL to the login of {OWNER}"
        in as_recorder.stderr
    )
    assert "a rehearsal needs a conversation with an actor, and another ai_model that is enabled" in alone.stderr
    assert "run `bench db install` first" in older.stderr
    assert [done.returncode for done in (as_recorder, alone, older)] == [2] * 3
