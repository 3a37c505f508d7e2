"""Patterns among the names of models: `ollama:*` stands for the models that an Ollama server has.

Which of them are eligible is decided in eligibility.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.models.model_ref import ollama_ref
from bench_pipeline.runtimes.ollama import OllamaRuntime

_PREFIX = "ollama:"
_WILDCARDS = frozenset("*?[")


def expanded(bench: Workbench, names: Sequence[str]) -> list[str]:
    """Return the names, with each `ollama:PATTERN[@HOST]` replaced by the models of that server that match it.

    Without a host these are the models of all named hosts. Models that the settings exclude by name are left out.
    Raises `InputError` when a pattern matches nothing, and `RuntimeFailure` when a server does not answer.
    """
    found = [one for name in names for one in (_matching(bench, name) if _is_pattern(name) else [name])]
    return list(dict.fromkeys(found))


def _is_pattern(name: str) -> bool:
    return name.startswith(_PREFIX) and bool(_WILDCARDS & set(name))


def _matching(bench: Workbench, text: str) -> list[str]:
    pattern, at, host = text.removeprefix(_PREFIX).lower().partition("@")
    servers = [bench.runtimes.of(place) for place in bench.runtimes.places(ollama_ref(f"any{at}{host}"))]
    installed = sorted({name for one in servers if isinstance(one, OllamaRuntime) for name in one.installed()})
    settings = bench.settings
    excluded = (*settings.excluded_names, *settings.specialist_names)
    matching = [name for name in installed if fnmatchcase(name.lower(), pattern)]
    names = [name for name in matching if not any(fnmatchcase(name.lower(), one.lower()) for one in excluded)]
    if not names:
        why = f"the settings exclude {', '.join(matching)}" if matching else f"it has {', '.join(installed) or 'none'}"
        raise InputError(f"{text} matches no model of the server: {why}")
    return [f"{_PREFIX}{name}{at}{host}" if at else name for name in names]
