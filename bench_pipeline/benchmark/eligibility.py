"""Who takes part: the database's rules first, then what the runtime says. Nobody disappears without a reason."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from bench_pipeline.domain.actor import Actor, Candidate, Exclusion, exclusion_by_identity, exclusion_by_name
from bench_pipeline.domain.errors import FailureKind, RuntimeFailure
from bench_pipeline.domain.model_ref import UnknownExecutionPath, ollama_ref, parse_execution_path
from bench_pipeline.runtimes.registry import HostNotAllowed, Runtimes
from bench_pipeline.settings import Settings
from bench_pipeline.storage.database import Database
from bench_pipeline.storage.production import Production

_DATABASE_RULES = {
    Exclusion.TYPE: "its actor_type is {actor.actor_type!r}, not 'ai_model'",
    Exclusion.DISABLED: "it is not enabled",
    Exclusion.NAME_PATTERN: "its name is one of code-only or vision-only models (BENCH_EXCLUDED_NAMES)",
    Exclusion.SPECIALIST: "its name is one of embedding or special models (BENCH_SPECIALIST_NAMES)",
}


def candidates(
    settings: Settings, database: Database, production: Production | None, runtimes: Runtimes
) -> list[Candidate]:
    """Return a line for every actor: eligible with its identity, or excluded with the reason."""
    if production is None:
        return []
    with database.engine.connect() as connection:
        actors = production.actors(connection, settings.excluded_names, settings.specialist_names)
    return unique_names(_candidate(actor, settings, runtimes) for actor in actors)


def named_candidates(
    names: Sequence[str],
    settings: Settings,
    database: Database,
    production: Production | None,
    runtimes: Runtimes,
) -> list[Candidate]:
    """Return the candidates with these names, in this order.

    A name that is no actor is taken as an execution path, or else as a model of the Ollama server; it is
    measured and ranked, never promoted.
    """
    actors: list[Actor] = []
    if production is not None:
        with database.engine.connect() as connection:
            actors = production.actors(connection, settings.excluded_names, settings.specialist_names)
    by_name = {actor.name: actor for actor in actors}
    found = []
    for name in dict.fromkeys(names):
        if name in by_name:
            found.append(_candidate(by_name[name], settings, runtimes))
        else:
            found.append(_unregistered(name, settings, runtimes))
    return unique_names(found)


def unique_names(found: Iterable[Candidate]) -> list[Candidate]:
    """Give the second of two actors with one name its id, because results are kept by name."""
    taken: set[str] = set()
    unique = []
    for candidate in found:
        name = candidate.name if candidate.name not in taken else f"{candidate.name} (actor {candidate.actor_id})"
        taken.add(name)
        unique.append(replace(candidate, name=name))
    return unique


def _candidate(actor: Actor, settings: Settings, runtimes: Runtimes) -> Candidate:
    line = Candidate(actor.name or f"actor {actor.actor_id}", actor.actor_id, None)
    if actor.exclusion is not None:
        detail = _DATABASE_RULES[actor.exclusion].format(actor=actor)
        return replace(line, exclusion=actor.exclusion, detail=detail)
    try:
        line = replace(line, ref=parse_execution_path(actor.execution_path))
    except UnknownExecutionPath as error:
        return replace(line, exclusion=Exclusion.UNKNOWN_EXECUTION_PATH, detail=str(error))
    return _described(line, settings, runtimes)


def _unregistered(name: str, settings: Settings, runtimes: Runtimes) -> Candidate:
    line = Candidate(name, None, None)
    try:
        ref = parse_execution_path(name) if name.startswith(("llama_cpp:", "openai:", "ollama:")) else ollama_ref(name)
    except UnknownExecutionPath as error:
        return replace(line, exclusion=Exclusion.UNKNOWN_EXECUTION_PATH, detail=str(error))
    return _described(replace(line, ref=ref), settings, runtimes)


_RUNTIME_FAILURES = {FailureKind.NOT_FOUND: Exclusion.NOT_INSTALLED}


def _described(line: Candidate, settings: Settings, runtimes: Runtimes) -> Candidate:
    assert line.ref is not None  # noqa: S101 - the callers parsed it
    if excluded := exclusion_by_name(line.ref.address, settings.max_model_bytes):
        return replace(line, exclusion=excluded[0], detail=excluded[1])
    try:
        identity = runtimes.of(line.ref).describe(line.ref)
    except HostNotAllowed as failure:
        return replace(line, exclusion=Exclusion.HOST_NOT_ALLOWED, detail=str(failure))
    except RuntimeFailure as failure:
        reason = _RUNTIME_FAILURES.get(failure.kind, Exclusion.RUNTIME_UNAVAILABLE)
        return replace(line, exclusion=reason, detail=str(failure))
    line = replace(line, identity=identity)
    if excluded := exclusion_by_identity(identity, settings.max_model_bytes):
        return replace(line, exclusion=excluded[0], detail=excluded[1])
    return line
