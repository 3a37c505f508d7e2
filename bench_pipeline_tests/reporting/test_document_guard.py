"""A reading that did not see production leaves every document as it is and says why."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from sqlalchemy import text

from bench_pipeline.domain.errors import InputError
from bench_pipeline.reporting.workflow_docs import champion_registry, write_documents
from bench_pipeline.storage.visibility import hidden_rows
from bench_pipeline_tests.kit.engines import ONE_ENGINE, ONLY_POSTGRESQL
from bench_pipeline_tests.kit.shell import Typed
from bench_pipeline_tests.kit.world import World
from bench_pipeline_tests.promotion.guarantees.dying import documents, open_intents, written
from bench_pipeline_tests.reporting.source import LIMIT, Source

READ = ("workflows", "workflow_conversations", "conversations", "actors", "benchmark_champions")


@pytest.fixture
def before(typed: Typed, world: World) -> dict[str, bytes]:
    """The documents of a production with a champion."""
    world.promoted()
    typed("docs")
    return written(world)


# Tables that show no row


@ONE_ENGINE
@pytest.mark.parametrize(
    ("table", "names"),
    [
        ("workflows", "production/workflows"),
        ("workflow_conversations", "production/workflows"),
        ("conversations", "production/workflows"),
    ],
)
def test_a_table_without_rows_empties_no_document_that_lists_some(
    typed: Typed, world: World, before: dict[str, bytes], table: str, names: str
) -> None:
    world.change(text(f"DELETE FROM {table}"))  # noqa: S608 - of this module

    done = typed("docs")

    assert done.returncode == 2
    assert f"{names} lists some; no document is written" in done.stderr
    assert written(world) == before


def test_a_registry_that_no_change_emptied_empties_no_document(source: Source, tmp_path: Path) -> None:
    folder = tmp_path / "production"
    write_documents(source.database, source.production, folder, LIMIT)
    before = documents(folder)
    source.run("DELETE FROM benchmark_champions")

    with pytest.raises(InputError, match=r"table benchmark_champions shows this login no row, but .*champions\.json"):
        write_documents(source.database, source.production, folder, LIMIT)

    assert documents(folder) == before


@ONE_ENGINE
def test_a_registry_that_a_rollback_emptied_is_written(typed: Typed, world: World, before: dict[str, bytes]) -> None:
    assert typed("rollback").returncode == 0
    assert "No champion is registered yet." in (world.folder / "production" / "champions.md").read_text()


@ONE_ENGINE
def test_documents_that_list_nothing_any_more_are_written_once_the_old_ones_are_moved_away(
    typed: Typed, world: World, before: dict[str, bytes]
) -> None:
    world.change(text("DELETE FROM workflow_conversations"), text("DELETE FROM workflows"))
    (said,) = re.findall(r"move (\S+) away", typed("docs").stderr)
    shutil.rmtree(world.folder / said)

    assert typed("docs").returncode == 0
    assert "Extract" in (world.folder / "production" / "conversations.md").read_text()


@ONE_ENGINE
def test_conversations_whose_actors_are_not_shown_are_not_documented_as_without_actors(
    typed: Typed, world: World
) -> None:
    world.change(text("DELETE FROM actors"))

    done = typed("docs")

    assert (done.returncode, "table actors shows this login no row" in done.stderr) == (2, True)
    assert written(world) == {}


@ONE_ENGINE
def test_what_a_promotion_owes_stays_owed(typed: Typed, world: World, before: dict[str, bytes]) -> None:
    world.change(text("UPDATE benchmark_intents SET done_at = NULL"), text("DELETE FROM workflow_conversations"))

    assert typed("reconcile").returncode == 2
    assert open_intents(world) == 1


def test_one_workflow_may_lose_its_steps(typed: Typed, world: World, before: dict[str, bytes]) -> None:
    world.change(
        text("INSERT INTO workflows (workflow_id, workflow_name) VALUES (2, 'Other')"),
        text("INSERT INTO workflow_conversations VALUES (2, 3336, 1)"),
    )
    assert typed("docs").returncode == 0
    world.change(text("DELETE FROM workflow_conversations WHERE workflow_id = 2"))

    assert typed("docs").returncode == 0
    assert "This workflow has no steps." in (world.folder / "production" / "workflows" / "2-Other.md").read_text()


# Row-level security and rights


@ONLY_POSTGRESQL
def test_row_level_security_that_may_hide_rows_is_refused_until_its_remedy_is_applied(
    typed: Typed, world: World, before: dict[str, bytes]
) -> None:
    for table in READ:
        hides_some = f"CREATE POLICY partly ON {table} FOR SELECT TO bench_recorder USING (random() < 2)"
        world.change(text(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"), text(hides_some))

        done = typed("docs")

        assert (table, done.returncode) == (table, 2)
        assert f"row-level security may hide rows of {table} from bench_recorder" in done.stderr
        with pytest.raises(InputError, match=f"rows of {table} from bench_recorder"):
            champion_registry(world.database, world.production)
        (remedy,) = re.findall(r"run: (CREATE POLICY .*)$", done.stderr.strip())
        world.change(text(remedy))
        assert (table, typed("docs").returncode, written(world)) == (table, 0, before)


ALTERED = ["""ALTER POLICY "Tenants only" ON actors USING (((actor_id > 0)) OR current_user = 'bench_recorder')"""]


def remedies_of(world: World) -> list[str]:
    with world.database.engine.connect() as connection:
        return [one.remedy for one in hidden_rows(connection, world.production.tables)]


@ONLY_POSTGRESQL
@pytest.mark.parametrize(
    ("policy", "refused"),
    [
        ("AS RESTRICTIVE FOR SELECT TO PUBLIC USING (actor_id > 0)", True),
        ("AS RESTRICTIVE FOR SELECT TO bench_promoter USING (false)", False),
        ("AS RESTRICTIVE FOR SELECT TO PUBLIC USING (true)", False),
        ("FOR UPDATE TO PUBLIC USING (false)", False),
    ],
)
def test_of_restrictive_policies_only_one_that_holds_for_this_login_and_may_hide_rows_counts(
    world: World, policy: str, refused: bool
) -> None:
    world.change(
        text("ALTER TABLE actors ENABLE ROW LEVEL SECURITY"),
        text("CREATE POLICY everything ON actors USING (true)"),
        text(f'CREATE POLICY "Tenants only" ON actors {policy}'),
    )
    remedies = remedies_of(world)

    assert remedies == (ALTERED if refused else [])
    world.change(*map(text, remedies))
    assert remedies_of(world) == []


@ONLY_POSTGRESQL
def test_a_missing_right_leaves_the_documents_as_they_are(typed: Typed, world: World, before: dict[str, bytes]) -> None:
    world.change(text("REVOKE SELECT ON workflow_conversations FROM bench_recorder"))

    done = typed("docs")

    assert (done.returncode, "permission denied for table workflow_conversations" in done.stderr) == (2, True)
    assert written(world) == before


# Conversations without a workflow


def test_conversations_outside_all_workflows_have_a_document_of_their_own(source: Source, tmp_path: Path) -> None:
    source.run("DELETE FROM workflow_conversations WHERE conversation_id IN (3336, 3340)")

    document = source.others_document()

    assert "| Grade A (3336) | fast (1) | fast | slow | in production | grading-1 | 2025-03-01 | 120 |" in document
    assert "| Ticket (3340) |" in document
    assert "Extract" not in document
    assert document.endswith("## Issues\n\nNone.\n")


def test_the_document_of_conversations_without_a_workflow_tells_their_issues(source: Source) -> None:
    source.run("DELETE FROM workflow_conversations WHERE conversation_id = 3337")

    assert "- Grade B (3337): slow is not the champion, fast" in source.others_document()


def test_when_every_conversation_has_a_workflow_the_document_says_so(source: Source) -> None:
    assert "Every conversation is a step of a workflow." in source.others_document()
