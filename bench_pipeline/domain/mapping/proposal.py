"""Guesses which of a database's tables and columns are the ones that are relied on, with a reason for each guess.

By names, types and foreign keys. A person decides; what the tables hold is asked only where a column's values matter.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bench_pipeline.domain.mapping.live import ColumnKind, LiveColumn, LiveTable, words_of
from bench_pipeline.domain.mapping.names import ENABLED, OPTIONAL, REQUIRED, written_column, written_relation

Values = Callable[[LiveTable, LiveColumn], Sequence[str]]
"""Returns the few distinct values of a column as texts; none when there are many or they cannot be read."""

_TABLES = {
    "actors": ("actor", "model", "agent", "llm", "assistant", "bot", "worker", "engine"),
    "conversations": ("conversation", "step", "prompt", "node", "stage", "task", "chat", "action"),
    "workflows": ("workflow", "pipeline", "flow", "process", "chain", "graph"),
    "workflow_conversations": ("workflow conversation", "workflow step", "pipeline step", "flow step", "flow prompt"),
    "prompt_templates": ("prompt template", "template", "prompt"),
    "postings": ("posting", "job posting", "job ad", "job", "vacancy"),
    "interactions": ("interaction", "call", "completion", "llm call", "request", "run"),
}
# `*` stands for the words of the table's own name.
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "actors.actor_id": ("actor id", "* id", "id", "* uuid", "uuid", "* key", "key", "guid"),
    "actors.actor_name": ("actor name", "* name", "name", "display name", "title", "label", "slug"),
    "actors.actor_type": ("actor type", "* type", "type", "kind", "* kind", "category", "class", "role"),
    "actors.execution_path": (
        "execution path", "* path", "path", "target", "endpoint", "* endpoint", "runtime", "address", "model ref",
        "model", "model name", "uri", "url", "command", "tag",
    ),
    "actors.enabled": (
        "enabled", "is enabled", "active", "is active", "available", "is available", "live", "is live", "in use",
        "status", "* status", "state", "* state",
    ),
    "conversations.conversation_id": ("conversation id", "* id", "id", "* uuid", "uuid", "* key", "key", "guid"),
    "conversations.conversation_name": ("conversation name", "* name", "name", "display name", "title", "label"),
    "conversations.actor_id": ("actor id", "actor", "model id", "agent id", "llm id", "model", "agent", "llm"),
    "workflows.workflow_id": ("workflow id", "* id", "id", "* uuid", "uuid", "* key", "key"),
    "workflows.workflow_name": ("workflow name", "* name", "name", "display name", "title", "label", "slug"),
    "workflow_conversations.workflow_id": ("workflow id", "pipeline id", "flow id", "process id"),
    "workflow_conversations.conversation_id": ("conversation id", "step id", "prompt id", "node id", "task id"),
    "workflow_conversations.execution_order": (
        "execution order", "position", "step order", "order", "order no", "sequence", "seq", "ordinal",
        "sort order", "rank", "idx", "index", "number", "no",
    ),
    "prompt_templates.conversation_id": ("conversation id", "step id", "prompt id", "node id", "task id"),
    "prompt_templates.template": ("template", "prompt template", "prompt", "text", "body", "content"),
    "postings.posting_id": ("posting id", "* id", "id", "uuid"),
    "postings.posting_text": ("posting text", "text", "body", "description", "content", "raw text"),
    "interactions.interaction_id": ("interaction id", "* id", "id", "uuid"),
    "interactions.conversation_id": ("conversation id", "step id", "prompt id", "node id", "task id"),
    "interactions.actor_id": ("actor id", "model id", "agent id", "llm id"),
    "interactions.latency_ms": ("latency ms", "duration ms", "latency", "duration", "took ms", "elapsed ms"),
    "interactions.created_at": ("created at", "called at", "started at", "created", "timestamp", "time", "at"),
}  # fmt: skip
_KINDS: Mapping[str, tuple[ColumnKind, ...]] = {
    "id": ("number", "uuid", "text", "any"),
    "enabled": ("boolean", "number", "text", "any"),
    "order": ("number", "any"),
    "ms": ("number", "any", "other"),
    "at": ("moment",),
}
_RULE = frozenset(["1", "t", "true", "y", "yes", "on", "0", "f", "false", "n", "no", "off"])
_ENABLED_WORDS = frozenset({"active", "enabled", "available", "live", "on", "ready", "online", "published"})
_MODEL_WORDS = frozenset(["ai", "llm", "slm", "lm", "model"])
_MODEL_TYPE = "ai_model"
_REFERS = 40


@dataclass(frozen=True, slots=True)
class Choice:
    """One name of ours, what was found for it as BENCH_PRODUCTION_NAMES has it, and why."""

    name: str
    found: str
    reason: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """What was found.

    `names` holds only what differs from the defaults; `missing` what is required and was not found. `model_types` is
    what to set BENCH_MODEL_ACTOR_TYPES to, None for its default.
    """

    names: Mapping[str, str | dict[str, object]]
    choices: tuple[Choice, ...]
    missing: tuple[str, ...]
    unclear: tuple[str, ...]
    model_types: tuple[str, ...] | None = None

    @property
    def lines(self) -> list[str]:
        """The lines for `.env`, which a shell reads in the same way."""
        found = [env_line("BENCH_PRODUCTION_NAMES", self.names)]
        return found + ([env_line("BENCH_MODEL_ACTOR_TYPES", self.model_types)] if self.model_types else [])


@dataclass(slots=True)
class _Fit:
    """A table as a candidate for one of ours: its columns by our names, with the reasons, and how well it fits."""

    ours: str
    table: LiveTable
    score: int
    columns: dict[str, tuple[LiveColumn, str]] = field(default_factory=dict)

    @property
    def lacks(self) -> list[str]:
        return [column for column in (REQUIRED | OPTIONAL)[self.ours] if column not in self.columns]


def env_line(variable: str, value: object) -> str:
    """Return `NAME='JSON'` with every character escaped that a shell or `.env` reads otherwise in single quotes."""
    text = json.dumps(value).replace("\\\\", "\\u005c")
    return f"{variable}='{text.replace(chr(39), chr(92) + 'u0027').replace('$', chr(92) + 'u0024')}'"


def propose(tables: Sequence[LiveTable], values: Values) -> Proposal:
    """Return the names that fit best, and what stays unclear."""
    fits = _main_pair(tables)
    fits.update(_further(tables, fits))
    names: dict[str, str | dict[str, object]] = {}
    choices: list[Choice] = []
    for ours in (ours for ours in REQUIRED | OPTIONAL if ours in fits):
        for choice in _choices(fits[ours]):
            choices.append(choice)
            if choice.found != choice.name.rpartition(".")[2]:
                names[choice.name] = choice.found
    missing = [missed for ours in REQUIRED for missed in _missing(fits.get(ours), ours)]
    found = Proposal(names, tuple(choices), tuple(missing), tuple(_rivals(tables, fits)))
    return _with_values(found, fits.get("actors"), values)


def _main_pair(tables: Sequence[LiveTable]) -> dict[str, _Fit]:
    """Return the best actors and conversations: together, because one refers to the other."""
    actors = [_fit("actors", table, {}) for table in tables]
    pairs = [
        (actor.score + step.score, actor, step)
        for actor in actors
        if not actor.lacks
        for table in tables
        if table.place != actor.table.place
        for step in [_fit("conversations", table, {"actor_id": actor})]
        if not step.lacks and step.score > 0
    ]
    if pairs:
        _, actor, step = max(pairs, key=lambda pair: pair[0])
        return {"actors": actor, "conversations": step}
    found = {}
    for ours in REQUIRED:
        nearest = max((_fit(ours, table, {}) for table in tables), key=lambda fit: fit.score, default=None)
        if nearest is not None and nearest.score > 0 and _name_score(ours, nearest.table):
            found[ours] = nearest
    return found


def _further(tables: Sequence[LiveTable], fits: Mapping[str, _Fit]) -> dict[str, _Fit]:
    """Return the optional tables that fit, each by its name and with all its columns."""
    if fits.keys() != REQUIRED.keys() or any(fit.lacks for fit in fits.values()):
        return {}
    steps = fits["conversations"]
    taken = {fit.table.place for fit in fits.values()}
    free = [table for table in tables if table.place not in taken]
    links = [
        (flow.score + link.score, flow, link)
        for flow in _fitting("workflows", free, {})
        for link in _fitting("workflow_conversations", free, {"workflow_id": flow, "conversation_id": steps})
        if flow.table.place != link.table.place
    ]
    found: dict[str, _Fit] = {}
    if links:
        _, flow, link = max(links, key=lambda one: one[0])
        found = {"workflows": flow, "workflow_conversations": link}
    taken = {fit.table.place for fit in found.values()}
    for ours in ("prompt_templates", "postings", "interactions"):
        others = [table for table in free if table.place not in taken]
        hints = {"conversation_id": steps, "actor_id": fits["actors"]}
        best = max(_fitting(ours, others, hints), key=lambda fit: fit.score, default=None)
        if best is not None:
            found[ours] = best
            taken.add(best.table.place)
    return found


def _fitting(ours: str, tables: Sequence[LiveTable], hints: Mapping[str, _Fit]) -> list[_Fit]:
    fits = [_fit(ours, table, hints) for table in tables]
    return [fit for fit in fits if not fit.lacks and (_name_score(ours, fit.table) or _refers_twice(fit, hints))]


def _refers_twice(fit: _Fit, hints: Mapping[str, _Fit]) -> bool:
    refer = [
        fit.table.refers(fit.columns[column][0], other.table)
        for column, other in hints.items()
        if column in fit.columns
    ]
    return len(refer) > 1 and all(refer)


def _fit(ours: str, table: LiveTable, hints: Mapping[str, _Fit]) -> _Fit:
    """Return how a table fits; `hints` are the tables that columns of it should refer to, by our names."""
    fit = _Fit(ours, table, 2 * _name_score(ours, table))
    left = list(table.columns)
    for column in (REQUIRED | OPTIONAL)[ours]:
        best = max(
            ((*_column_score(f"{ours}.{column}", one, table, hints.get(column)), one) for one in left),
            key=lambda found: found[0],
            default=None,
        )
        if best is not None and best[0] > 0:
            score, reason, one = best
            left.remove(one)
            fit.columns[column] = one, reason
            fit.score += score
    return fit


def _name_score(ours: str, table: LiveTable) -> int:
    if table.name == ours:
        return 60
    words = words_of(table.name)
    for place, known in enumerate(_TABLES[ours]):
        wanted = tuple(known.split())
        if words == wanted:
            return 40 - 2 * place
        if set(wanted) <= set(words):
            return 15 - place
    return 0


def _column_score(name: str, column: LiveColumn, table: LiveTable, hint: _Fit | None) -> tuple[int, str]:
    """Return points above 0 and the reason, or 0 for a column that cannot be it."""
    ours, plain = name.partition(".")[0], name.partition(".")[2]
    allowed = _KINDS.get(plain.rpartition("_")[2], ("text", "any"))
    key = hint.columns.get(plain) if hint is not None else None
    if column.kind not in allowed or (key is not None and not _comparable(key[0], column)):
        return 0, ""
    if hint is not None and table.refers(column, hint.table):
        return _REFERS, f"refers to {hint.table.name}"
    known = _known_names(name, table, hint)
    words = " ".join(words_of(column.name))
    if column.name == plain:
        return 30, "has the default name"
    if words in known:
        return 25 - known.index(words), f"is named like it and is {column.type}"
    if not plain.endswith("_id") and (last := words.rpartition(" ")[2]) in known:
        return max(15 - known.index(last), 1), f"ends like it and is {column.type}"
    if plain.endswith("_id") and column.key and ours not in ("workflow_conversations", "prompt_templates"):
        return 5, "is the primary key"
    return 0, ""


def _known_names(name: str, table: LiveTable, hint: _Fit | None) -> list[str]:
    own, of_hint = _own_names(table), _own_names(hint.table) if hint is not None else []
    known = [one.replace("*", name) for one in _COLUMNS[name] for name in (own if "*" in one else own[:1])]
    return [*(f"{one}{ending}" for one in of_hint for ending in (" id", "", " uuid")), *known]


def _own_names(table: LiveTable) -> list[str]:
    """Return what columns call a table: by all words of its name, and by the last."""
    words = words_of(table.name)
    return list(dict.fromkeys([" ".join(words), *words[-1:]]))


def _comparable(one: LiveColumn, other: LiveColumn) -> bool:
    return one.kind == other.kind or "any" in (one.kind, other.kind)


def _choices(fit: _Fit) -> Iterator[Choice]:
    table = fit.table
    schema = None if table.schema == "public" else table.schema
    by_name = "has the default name" if table.name == fit.ours else "is named like it"
    reason = f"{by_name if _name_score(fit.ours, table) else 'has the columns'}, {len(fit.columns)} columns fit"
    yield Choice(fit.ours, written_relation(schema, table.name), reason)
    for name, (column, why) in fit.columns.items():
        yield Choice(f"{fit.ours}.{name}", written_column(column.name), why)


def _missing(fit: _Fit | None, ours: str) -> list[str]:
    if fit is None:
        return [f"a table for {ours}"]
    return [f"{ours}.{column} (in {written_relation(*fit.table.place)})" for column in fit.lacks]


def _rivals(tables: Sequence[LiveTable], fits: Mapping[str, _Fit]) -> Iterator[str]:
    taken = {fit.table.place for fit in fits.values()}
    for ours in REQUIRED:
        fit = fits.get(ours)
        hints = {"actor_id": fits["actors"]} if ours == "conversations" and "actors" in fits else {}
        for table in tables if fit is not None and not fit.lacks else ():
            rival = _fit(ours, table, hints)
            if table.place not in taken and not rival.lacks and fit is not None and rival.score >= fit.score - 15:
                yield f"{ours} may also be {written_relation(*table.place)}"


def _with_values(found: Proposal, actors: _Fit | None, values: Values) -> Proposal:
    """Return the proposal with the values that mean enabled, and a model."""
    if actors is None:
        return found
    for column, settle in (("enabled", _enabled), ("actor_type", _model_types)):
        if column in actors.columns:
            live = actors.columns[column][0]
            held = live.labels or tuple(values(actors.table, live)) if live.kind in ("text", "any") else ()
            found = settle(found, live, held)
    return found


def _enabled(found: Proposal, column: LiveColumn, held: Sequence[str]) -> Proposal:
    if all(value.strip().lower() in _RULE for value in held):
        return found
    true = [value for value in held if value.strip().lower() in _ENABLED_WORDS]
    if not true:
        names = {name: value for name, value in found.names.items() if name != ENABLED}
        unclear = f"which values of {column.name} mean enabled: {', '.join(held)}"
        return replace(found, names=names, missing=(*found.missing, ENABLED), unclear=(*found.unclear, unclear))
    named: dict[str, object] = {"column": written_column(column.name), "true_values": true}
    unclear = f"{', '.join(true)} in {column.name} is taken to mean enabled (of {', '.join(held)})"
    return replace(found, names={**found.names, ENABLED: named}, unclear=(*found.unclear, unclear))


def _model_types(found: Proposal, column: LiveColumn, held: Sequence[str]) -> Proposal:
    plain = [value.rstrip(" ") for value in held]
    if not plain or _MODEL_TYPE in plain:
        return found
    types = tuple(value for value in plain if _MODEL_WORDS & set(words_of(value)))
    if not types:
        unclear = f"which values of {column.name} mean a model: {', '.join(plain)}; set BENCH_MODEL_ACTOR_TYPES"
        return replace(found, unclear=(*found.unclear, unclear))
    unclear = f"{', '.join(types)} in {column.name} is taken to mean a model (of {', '.join(plain)})"
    return replace(found, model_types=types, unclear=(*found.unclear, unclear))
