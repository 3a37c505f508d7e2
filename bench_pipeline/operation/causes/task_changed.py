"""What a task measures changed: suite, labels, prompt, reading of replies, or protocol. All is measured again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from bench_pipeline.benchmark.preparation import PreparedTask, prepare
from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.models.actor import Candidate
from bench_pipeline.domain.tasks.verdict import READER_VERSION
from bench_pipeline.domain.triggers.trigger import Cause, Finding
from bench_pipeline.storage.benchmarks import BenchmarkRow, last_benchmarks
from bench_pipeline.storage.measured import measured_hardware

_GOLD = frozenset({"type", "expected_verdict", "expected_scores", "expected_output"})
_LOOKED_AT = 20


def find_task_changed(bench: Workbench, task: str, roster: Sequence[Candidate], now: datetime) -> list[Finding]:  # noqa: ARG001
    """Return a finding when no benchmark that ended measured the task as it is now; it says what changed.

    The benchmark that it names is the one of the last ones that differs least: one with another suite or protocol that
    a person ran in between does not count as the task's own. A task that was never measured is left to a person.
    Raises `FileRefused` as `prepare` does.
    """
    prepared = prepare(bench, task)
    with bench.database.engine.connect() as connection:
        measured = measured_hardware(connection, task)
        if not measured or any(prepared.evidence_key(hardware) == key for key, hardware in measured.items()):
            return []
        rows = last_benchmarks(connection, task, _LOOKED_AT)
    row, changes = min(((row, list(_changes(row, prepared))) for row in rows), key=lambda pair: len(pair[1]))
    if not changes:
        return []
    why = f"changed since benchmark {row.benchmark_id}: {'; '.join(changes)}"
    return [Finding(task=task, cause=Cause.TASK_CHANGED, why=why, wanted=prepared.evidence_key(None))]


def _changes(row: BenchmarkRow, prepared: PreparedTask) -> Iterator[str]:
    suite = prepared.suite.model_dump(mode="json")
    if row.suite_hash != prepared.suite.hash:
        yield from _suite_changes(row.suite, suite)
    if row.prompt_hash != prepared.prompt_hash:
        yield f"the prompt ({prepared.prompt_source})"
    before, after = row.task["verdict"], prepared.task.verdict.model_dump(mode="json")
    if before != after:
        only_labels = {**before, "labels": None} == {**after, "labels": None}
        yield "the labels of the verdict" if only_labels else "how a verdict is read (verdict in task.yaml)"
    if row.reader_version != READER_VERSION:
        yield f"the reader of verdicts, version {READER_VERSION} instead of {row.reader_version}"
    protocol = prepared.protocol.model_dump(mode="json")
    for name in sorted({*row.protocol, *protocol}):
        if row.protocol.get(name) != protocol.get(name):
            yield f"the protocol: {_term(name, row.protocol.get(name), protocol.get(name))}"


def _suite_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    old, new = ({case["id"]: case for case in suite["test_cases"]} for suite in (before, after))
    differing = [
        {name for name in {*old[number], *new[number]} if old[number].get(name) != new[number].get(name)}
        for number in old.keys() & new.keys()
    ]
    relabelled = sum(bool(names & _GOLD) for names in differing)
    counts = {
        "added": len(new.keys() - old.keys()),
        "removed": len(old.keys() - new.keys()),
        "changed": sum(bool(names - _GOLD) for names in differing),
    }
    if any(counts.values()):
        said = (f"{_cases(count)} {what}" for what, count in counts.items() if count)
        yield f"the suite: {', '.join(said)}"
    if relabelled:
        yield f"the gold labels of {_cases(relabelled)}"
    if not relabelled and not any(counts.values()):
        yield f"the suite, version {after['version']} instead of {before['version']}"


def _cases(count: int) -> str:
    return "1 case" if count == 1 else f"{count} cases"


def _term(name: str, before: object, after: object) -> str:
    """Return a changed term; what is a group of terms is named by those that changed."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        names = sorted(key for key in {*before, *after} if before.get(key) != after.get(key))
        return ", ".join(f"{name}.{key} {after.get(key)} instead of {before.get(key)}" for key in names)
    return f"{name} {after} instead of {before}"
