"""The workflow documents and the registry, written from a real database."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

from bench_pipeline.reporting.workflow_docs import (
    Batch,
    champion_registry,
    render_registry,
    render_workflow,
    write_documents,
)
from bench_pipeline_tests.reporting.reading import links, rows
from bench_pipeline_tests.reporting.source import (
    AT,
    DISABLED,
    EXTRACT,
    FAST,
    GRADE_A,
    GRADE_B,
    HUGE,
    LIMIT,
    REGRADE,
    SLOW,
    TICKET,
    Source,
)


def write(source: Source, folder: Path) -> list[str]:
    changed = write_documents(source.database, source.production, folder, LIMIT)
    return sorted(path.relative_to(folder).as_posix() for path in changed)


# Steps


def test_the_steps_stand_in_execution_order(source: Source) -> None:
    steps = source.workflow().steps
    assert [(step.number, step.conversation_id) for step in steps] == [
        (1, EXTRACT),
        (2, GRADE_A),
        (3, GRADE_B),
        (4, TICKET),
        (5, REGRADE),
    ]


def test_the_champion_in_its_place_is_in_production_and_has_no_issue(source: Source) -> None:
    step = source.step(GRADE_A)
    assert (step.status, step.champion, step.runner_up) == ("in production", "fast", "slow")
    assert step.issues == ()


def test_an_actor_that_is_not_the_champion_is_an_issue(source: Source) -> None:
    step = source.step(GRADE_B)
    assert step.status == "differs from the champion"
    assert step.issues == ("slow is not the champion, fast",)


def test_a_step_that_no_task_serves_is_not_benchmarked(source: Source) -> None:
    step = source.step(EXTRACT)
    assert (step.status, step.benchmark, step.avg_latency_ms) == ("not benchmarked", None, None)
    assert step.issues == ("no benchmark has measured this step",)


def test_a_benchmark_that_registered_nobody_is_told_from_none(source: Source) -> None:
    source.run("DELETE FROM benchmark_champions WHERE conversation_id = :number", number=GRADE_A)
    assert source.step(GRADE_A).status == "benchmarked, no champion"


def test_a_script_is_no_model_and_no_issue(source: Source) -> None:
    step = source.step(TICKET)
    assert (step.status, step.model, step.issues) == ("script", None, ())


def test_a_step_without_an_actor_is_an_issue(source: Source) -> None:
    source.give(GRADE_A, None)
    assert source.step(GRADE_A).status == "no actor"
    assert source.step(GRADE_A).issues == ("no actor; this step cannot run",)


def test_an_actor_that_is_gone_is_an_issue(source: Source) -> None:
    source.give(GRADE_A, 99)
    assert source.step(GRADE_A).issues == ("actor 99 was deleted; this step cannot run",)


def test_a_disabled_actor_is_an_issue(source: Source) -> None:
    source.give(GRADE_A, DISABLED)
    assert source.step(GRADE_A).status == "actor disabled"
    assert "old is disabled" in source.step(GRADE_A).issues


def test_a_missing_runner_up_is_an_issue(source: Source) -> None:
    source.register(GRADE_A, FAST, None)
    assert source.step(GRADE_A).issues == ("no runner-up: no model can replace the champion",)


def test_a_model_above_the_limit_is_an_issue_by_its_measured_size(source: Source) -> None:
    assert "fast exceeds the GPU limit: 2.0 GB, the limit is 1.5 GB" in source.step(GRADE_A, 1_500_000_000).issues


def test_a_model_that_was_never_run_because_it_is_too_large_is_an_issue(source: Source) -> None:
    source.give(EXTRACT, HUGE)
    assert "huge exceeds the GPU limit: 40.0 GB, the limit is 8.0 GB" in source.step(EXTRACT).issues


def test_the_last_benchmark_is_the_latest_one_with_the_actors_own_latency(source: Source) -> None:
    source.measure("grading-2", AT + timedelta(days=31), {FAST: 110.0, SLOW: 470.0})
    step = source.step(GRADE_B)
    assert step.benchmark is not None
    assert (step.benchmark.benchmark_id, step.avg_latency_ms) == ("grading-2", 470.0)


# Batches


def test_neighbours_that_share_a_model_need_one_load_and_a_script_between_them_none(source: Source) -> None:
    source.give(GRADE_B, FAST)
    facts = source.workflow()
    assert facts.loads == (Batch("ollama:slow:7b", (1,)), Batch("ollama:fast:1b", (2, 3, 5)))
    assert facts.saved_ms == 0
    assert "batching would save no load" in render_workflow(facts)


def test_batching_saves_the_loads_of_a_model_that_comes_back(source: Source) -> None:
    facts = source.workflow()
    assert [batch.steps for batch in facts.loads] == [(1,), (2,), (3,), (5,)]
    assert [batch.steps for batch in facts.models] == [(2, 5), (1, 3)]
    assert facts.saved_ms == 3000
    assert "can share one load: 2 instead of 4, which saves 3,000 ms" in render_workflow(facts)


def test_a_bare_name_and_its_full_path_are_one_model(source: Source) -> None:
    source.run("UPDATE actors SET execution_path = 'slow:7b' WHERE actor_id = :number", number=FAST)
    assert len(source.workflow().loads) == 1


def test_a_workflow_without_steps_says_so(source: Source) -> None:
    source.run("DELETE FROM workflow_conversations")
    document = render_workflow(source.workflow())
    assert "This workflow has no steps." in document
    assert "No step uses a model." in document


# Documents


def test_a_document_tells_each_step_and_each_issue(source: Source) -> None:
    document = render_workflow(source.workflow())
    assert "| 2 | Grade A (3336) | fast (1) | fast | slow | in production | grading-1 | 2025-03-01 | 120 |" in document
    assert "- Step 3, Grade B (3337): slow is not the champion, fast" in document


def test_hostile_names_break_no_document(source: Source) -> None:
    source.run("UPDATE actors SET actor_name = 'a|b ![x](http://e.vil) <img src=x>' || char(10) || '# T'")
    source.run("UPDATE conversations SET conversation_name = '| www.e.vil'")
    source.run("UPDATE workflows SET workflow_name = '../../x|<b>'")
    document = render_workflow(source.workflow())
    registry = render_registry(champion_registry(source.database, source.production))
    assert set(rows(document)) == {9}
    assert set(rows(registry)) == {8}
    assert links(document) + links(registry) == []


def test_the_registry_names_champion_and_runner_up_with_their_evidence(source: Source) -> None:
    registry = champion_registry(source.database, source.production)
    assert registry["champions"][0] == {
        "conversation_id": GRADE_A,
        "conversation": "Grade A",
        "task": "grading",
        "champion": {"actor_id": FAST, "name": "fast", "execution_path": "fast:1b"},
        "runner_up": {"actor_id": SLOW, "name": "slow", "execution_path": "ollama:slow:7b"},
        "in_production": True,
        "benchmark_id": "grading-1",
        "avg_latency_ms": 120.0,
        "decided_at": "2025-03-01T03:00:00+00:00",
    }
    assert [row["in_production"] for row in registry["champions"]] == [True, False]


def test_an_empty_registry_says_so(source: Source) -> None:
    source.run("DELETE FROM benchmark_champions")
    assert "No champion is registered yet." in render_registry(champion_registry(source.database, source.production))


def test_documents_are_written_once_and_again_only_when_the_database_changed(source: Source, tmp_path: Path) -> None:
    folder = tmp_path / "production"
    first = write(source, folder)
    assert [name.partition("-")[0] for name in first] == [
        "champions.json",
        "champions.md",
        "conversations.md",
        "workflows/3001",
    ]
    assert json.loads((folder / "champions.json").read_text())["champions"]
    assert write(source, folder) == []
    source.give(GRADE_B, FAST)
    assert write(source, folder) == [name for name in first if name != "conversations.md"]


def test_a_workflow_name_is_no_path(source: Source, tmp_path: Path) -> None:
    source.run("UPDATE workflows SET workflow_name = '../../../etc/x'")
    write(source, tmp_path / "production")
    assert [path.parent.name for path in (tmp_path / "production").glob("*/*.md")] == ["workflows"]
