"""Which models take part: the database's rules first, then the runtime's. Every excluded model has a reason.

Which of them are run or reused in one benchmark is in field.py.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.errors import FailureKind, RuntimeFailure
from bench_pipeline.domain.models.actor import Actor, Candidate, Exclusion, exclusion_by_identity, exclusion_by_name
from bench_pipeline.domain.models.model_ref import ModelRef, UnknownExecutionPath, ollama_ref, parse_execution_path
from bench_pipeline.runtimes.registry import HostNotAllowed

_DATABASE_RULES = {
    Exclusion.TYPE: "its actor_type is {actor.actor_type!r}, not 'ai_model'",
    Exclusion.DISABLED: "it is not enabled",
    Exclusion.NAME_PATTERN: "its name matches a code-only or vision-only model (BENCH_EXCLUDED_NAMES)",
    Exclusion.SPECIALIST: "its name matches an embedding or specialist model (BENCH_SPECIALIST_NAMES)",
}


def candidates(bench: Workbench, only: Collection[int] | None = None) -> list[Candidate]:
    """Return every actor as a candidate: eligible with its identity, or excluded with a reason.

    `only` limits this to the actors with these ids; no runtime is asked about the others.
    """
    actors = _actors(bench)
    lines = unique_names(_line(actor) for actor in actors)
    return [
        _candidate(actor, line, bench)
        for actor, line in zip(actors, lines, strict=True)
        if only is None or actor.actor_id in only
    ]


def named_candidates(bench: Workbench, names: Sequence[str]) -> list[Candidate]:
    """Return the candidates with these names, in this order.

    A name that is not an actor's is read as an execution path, else as a model of the Ollama server. Such a
    model is measured and ranked, never promoted.
    """
    by_name = {actor.name: actor for actor in _actors(bench)}
    return unique_names(
        _candidate(actor, _line(actor), bench) if (actor := by_name.get(name)) else _unregistered(name, bench)
        for name in dict.fromkeys(names)
    )


def unique_names(found: Iterable[Candidate]) -> list[Candidate]:
    """Append the actor's id to a name that is already taken, because results are keyed by name."""
    taken: set[str] = set()
    unique = []
    for candidate in found:
        name = candidate.name if candidate.name not in taken else f"{candidate.name} (actor {candidate.actor_id})"
        taken.add(name)
        unique.append(replace(candidate, name=name))
    return unique


def _actors(bench: Workbench) -> list[Actor]:
    if bench.application is None:
        return []
    with bench.database.engine.connect() as connection:
        return bench.application.actors(connection, bench.settings.excluded_names, bench.settings.specialist_names)


def _line(actor: Actor) -> Candidate:
    return Candidate(actor.name or f"actor {actor.actor_id}", actor.actor_id, None)


def _candidate(actor: Actor, line: Candidate, bench: Workbench) -> Candidate:
    if actor.exclusion is not None:
        detail = _DATABASE_RULES[actor.exclusion].format(actor=actor)
        return replace(line, exclusion=actor.exclusion, detail=detail)
    try:
        ref = parse_execution_path(actor.execution_path)
    except UnknownExecutionPath as error:
        return replace(line, exclusion=Exclusion.UNKNOWN_EXECUTION_PATH, detail=str(error))
    return _described(line, ref, bench)


def _unregistered(name: str, bench: Workbench) -> Candidate:
    line = Candidate(name, None, None)
    try:
        ref = parse_execution_path(name) if name.startswith(("llama_cpp:", "openai:", "ollama:")) else ollama_ref(name)
    except UnknownExecutionPath as error:
        return replace(line, exclusion=Exclusion.UNKNOWN_EXECUTION_PATH, detail=str(error))
    return _described(line, ref, bench)


def _described(line: Candidate, ref: ModelRef, bench: Workbench) -> Candidate:
    line = replace(line, ref=ref)
    if excluded := exclusion_by_name(ref.address, bench.settings.max_model_bytes):
        return replace(line, exclusion=excluded[0], detail=excluded[1])
    try:
        identity = bench.runtimes.of(ref).describe(ref)
    except HostNotAllowed as failure:
        return replace(line, exclusion=Exclusion.HOST_NOT_ALLOWED, detail=str(failure))
    except RuntimeFailure as failure:
        missing = failure.kind is FailureKind.NOT_FOUND
        reason = Exclusion.NOT_INSTALLED if missing else Exclusion.RUNTIME_UNAVAILABLE
        return replace(line, exclusion=reason, detail=str(failure))
    line = replace(line, identity=identity)
    if excluded := exclusion_by_identity(identity, bench.settings.max_model_bytes):
        return replace(line, exclusion=excluded[0], detail=excluded[1])
    return line
