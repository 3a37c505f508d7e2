"""What the models run on changed: the hardware, or the version of a server. What production uses is measured first."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from bench_pipeline.benchmark.field import incumbent_models
from bench_pipeline.benchmark.hardware import Fingerprint, Hardware, common_fingerprint, comparable
from bench_pipeline.benchmark.preparation import prepare
from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.models.actor import Candidate, Exclusion
from bench_pipeline.domain.models.ids import ActorId
from bench_pipeline.domain.triggers.trigger import Cause, Finding
from bench_pipeline.storage.champions import champions_of
from bench_pipeline.storage.measured import measured_hardware, measured_versions


def find_server_changed(bench: Workbench, task: str, roster: Sequence[Candidate], now: datetime) -> list[Finding]:  # noqa: ARG001
    """Return a finding when the task was measured on other hardware, or one per server that has another version.

    Only benchmarks under the task's present terms count: after a change of the task everything is measured anyway.
    While a server of an incumbent does not answer, nothing is known. Raises `FileRefused` as `prepare` does.
    """
    prepared = prepare(bench, task)
    incumbents = frozenset(incumbent_models(bench, prepared.task))
    present = _present_fingerprint(bench, roster, incumbents)
    if present is None:
        return []
    hardware = present.hardware
    present_key = prepared.evidence_key(hardware)
    with bench.database.engine.connect() as connection:
        by_key = measured_hardware(connection, task)
        before = [found for key, found in by_key.items() if key == prepared.evidence_key(found)]
        versions = measured_versions(connection, present_key)
        registry = champions_of(connection, task)
    if not before:
        return []
    first = {line.champion_actor_id for line in registry} | {line.runner_up_actor_id for line in registry}
    ordered = _in_order(comparable(bench, roster, present), incumbents, first)
    if present_key not in by_key:
        return [_other_hardware(task, before[-1], hardware, ordered)]
    return _other_versions(bench, task, versions, ordered)


def _present_fingerprint(
    bench: Workbench, roster: Sequence[Candidate], incumbents: Collection[str]
) -> Fingerprint | None:
    """Return the fingerprint of the incumbents, without any that of most models; None while it is not known."""
    used = [one for one in roster if one.name in incumbents]
    if any(one.exclusion is Exclusion.RUNTIME_UNAVAILABLE for one in used or roster):
        return None
    return common_fingerprint(bench, roster, incumbents) if any(one.eligible for one in roster) else None


def _in_order(
    roster: Sequence[Candidate], incumbents: Collection[str], first: Collection[ActorId | None]
) -> list[Candidate]:
    """Return the eligible models: incumbents, champions and runners-up, then the others."""
    eligible = [one for one in roster if one.eligible]
    return sorted(eligible, key=lambda one: (one.name not in incumbents, one.actor_id not in first))


def _other_hardware(task: str, before: Hardware, now: Hardware, ordered: Sequence[Candidate]) -> Finding:
    parts = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    said = "; ".join(f"{name} {now.get(name, 'unknown')} instead of {before.get(name, 'unknown')}" for name in parts)
    return Finding(
        task=task,
        cause=Cause.SERVER_CHANGED,
        subject="hardware",
        why=f"the hardware changed: {said.replace('_', ' ')}; what production uses is measured first",
        wanted={"hardware": now},
        models=tuple(one.name for one in ordered),
    )


def _other_versions(
    bench: Workbench, task: str, measured: Mapping[str, str], ordered: Sequence[Candidate]
) -> list[Finding]:
    changed: dict[tuple[str, str], list[Candidate]] = {}
    for one in ordered:
        version = one.identity.runtime_version if one.identity else None
        if one.ref is not None and version is not None and measured.get(one.name, version) != version:
            address = bench.runtimes.address_of(one.places[0])
            server = address.url if address else "llama.cpp in this process"
            changed.setdefault((server, version), []).append(one)
    return [
        Finding(
            task=task,
            cause=Cause.SERVER_CHANGED,
            subject=server,
            why=f"{server} has version {version} instead of {measured[models[0].name]}; "
            "what production uses is measured first",
            wanted={"version": version, "models": sorted(one.name for one in models)},
            models=tuple(one.name for one in models),
        )
        for (server, version), models in changed.items()
    ]
