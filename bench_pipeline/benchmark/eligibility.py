"""Which models take part: the database's rules first, then the runtime's. Every excluded model has a reason.

How the runtimes are asked is in describing.py, which models are run or reused in one benchmark in field.py.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from bench_pipeline.benchmark.describing import Described, identities
from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.errors import FailureKind, RuntimeFailure
from bench_pipeline.domain.models.actor import (
    Actor,
    Candidate,
    Exclusion,
    HostedModel,
    HostLeftOut,
    exclusion_by_identity,
    exclusion_by_name,
)
from bench_pipeline.domain.models.ids import ActorId, short_name
from bench_pipeline.domain.models.model_ref import ModelRef, UnknownExecutionPath, ollama_ref, parse_execution_path
from bench_pipeline.runtimes.registry import HostNotAllowed

_DATABASE_RULES = {
    Exclusion.TYPE: "its actor_type is {actor.actor_type!r}, not {models}",
    Exclusion.DISABLED: "it is not enabled",
    Exclusion.NAME_PATTERN: "its name matches a code-only or vision-only model (BENCH_EXCLUDED_NAMES)",
    Exclusion.SPECIALIST: "its name matches an embedding or specialist model (BENCH_SPECIALIST_NAMES)",
}


def candidates(
    bench: Workbench,
    only: Collection[ActorId] | None = None,
    patience_s: float = 0.0,
    limit_s: float | None = None,
) -> list[Candidate]:
    """Return every actor as a candidate: eligible with its identity, or excluded with a reason.

    `only` limits this to the actors with these ids; no runtime is asked about the others. A server that is still
    loading is waited for, up to `patience_s` seconds; one that is silent is given up after `limit_s` seconds.
    """
    actors = _actors(bench)
    lines = unique_names(_line(actor) for actor in actors)
    chosen = [
        _addressed(bench, actor, line)
        for actor, line in zip(actors, lines, strict=True)
        if only is None or actor.actor_id in only
    ]
    return _described(chosen, bench, patience_s, limit_s)


def named_candidates(bench: Workbench, names: Sequence[str], patience_s: float = 0.0) -> list[Candidate]:
    """Return the candidates with these names, in this order.

    A name that is not an actor's is read as an execution path, else as a model of the Ollama server. Such a
    model is measured and ranked, never promoted. `patience_s` is as for `candidates`.
    """
    by_name = {name: actor for actor in _actors(bench) if actor.name for name in (actor.name, short_name(actor.name))}
    chosen = unique_names(
        _addressed(bench, actor, _line(actor)) if (actor := by_name.get(name)) else _unregistered(name)
        for name in dict.fromkeys(names)
    )
    return _described(chosen, bench, patience_s)


def unique_names(found: Iterable[Candidate]) -> list[Candidate]:
    """Append the actor's id to a name that is already taken, because results are keyed by name; shorten a long one."""
    taken: set[str] = set()
    unique = []
    for candidate in found:
        name = short_name(candidate.name)
        if name in taken:
            name = short_name(f"{candidate.name} (actor {candidate.actor_id})")
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


def _addressed(bench: Workbench, actor: Actor, line: Candidate) -> Candidate:
    if actor.exclusion is not None:
        models = " or ".join(map(repr, bench.settings.model_actor_types))
        detail = _DATABASE_RULES[actor.exclusion].format(actor=actor, models=models)
        return replace(line, exclusion=actor.exclusion, detail=detail)
    return _with_ref(line, parse_execution_path, actor.execution_path)


def _unregistered(name: str) -> Candidate:
    is_path = name.startswith(("llama_cpp:", "openai:", "ollama:"))
    return _with_ref(Candidate(name, None, None), parse_execution_path if is_path else ollama_ref, name)


def _with_ref(line: Candidate, read: Callable[[str], ModelRef], text: str) -> Candidate:
    try:
        return replace(line, ref=read(text))
    except UnknownExecutionPath as error:
        return replace(line, exclusion=Exclusion.UNKNOWN_EXECUTION_PATH, detail=str(error))


def _described(
    lines: Iterable[Candidate], bench: Workbench, patience_s: float, limit_s: float | None = None
) -> list[Candidate]:
    """Exclude what is too large by its name, then ask the runtimes about the others."""
    named = [_within_limit(line, bench) for line in lines]
    places = [bench.runtimes.places(line.ref) if line.ref and line.exclusion is None else () for line in named]
    described = identities([place for of_line in places for place in of_line], bench.runtimes, patience_s, limit_s)
    return [
        _judged(line, {place: described[place] for place in of_line}, bench) if of_line else line
        for line, of_line in zip(named, places, strict=True)
    ]


def _within_limit(line: Candidate, bench: Workbench) -> Candidate:
    if line.ref is None:
        return line
    excluded = exclusion_by_name(line.ref.address, bench.settings.max_model_bytes)
    return replace(line, exclusion=excluded[0], detail=excluded[1]) if excluded else line


def _judged(line: Candidate, described: Mapping[ModelRef, Described], bench: Workbench) -> Candidate:
    """Return the candidate on the servers that have it; if none has, with the reason of one that did not answer."""
    found = {place: one for place, one in described.items() if not isinstance(one, RuntimeFailure)}
    if not found:
        failures = [one for one in described.values() if isinstance(one, RuntimeFailure)]
        failure = min(failures, key=lambda one: one.kind is FailureKind.NOT_FOUND)
        if isinstance(failure, HostNotAllowed):
            return replace(line, exclusion=Exclusion.HOST_NOT_ALLOWED, detail=str(failure))
        missing = failure.kind is FailureKind.NOT_FOUND
        reason = Exclusion.NOT_INSTALLED if missing else Exclusion.RUNTIME_UNAVAILABLE
        return replace(line, exclusion=reason, detail="; ".join(dict.fromkeys(map(str, failures))))
    limit = bench.settings.max_model_bytes
    usable = {place: one for place, one in found.items() if exclusion_by_identity(one, limit) is None}
    line = replace(line, identity=next(iter((usable or found).values())))
    if line.identity and (excluded := exclusion_by_identity(line.identity, limit)):
        return replace(line, exclusion=excluded[0], detail=excluded[1])
    hosts = (HostedModel(at.host, one) for at, one in usable.items() if at.host and bench.runtimes.is_named(at))
    silent = (
        HostLeftOut(at.host, str(one))
        for at, one in described.items()
        if at.host and isinstance(one, RuntimeFailure) and one.kind is not FailureKind.NOT_FOUND
    )
    return replace(line, hosts=tuple(hosts), left_out=tuple(silent))
