"""Actors, candidates, and the rules that exclude a model from a benchmark.

Applying the rules, which needs the database and the runtimes, is in benchmark/eligibility.py.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from bench_pipeline.domain.models.identity import ModelIdentity
from bench_pipeline.domain.models.ids import ActorId
from bench_pipeline.domain.models.model_ref import ModelRef

MODEL_ACTOR_TYPE = "ai_model"
"""What `actor_type` of a model is unless BENCH_MODEL_ACTOR_TYPES says otherwise."""


class Exclusion(StrEnum):
    """Why a model is not run. Stored, displayed and counted."""

    TYPE = "type"
    DISABLED = "disabled"
    NAME_PATTERN = "name_pattern"
    SPECIALIST = "specialist"
    UNKNOWN_EXECUTION_PATH = "unknown_execution_path"
    HOST_NOT_ALLOWED = "host_not_allowed"
    NOT_INSTALLED = "not_installed"
    TOO_LARGE = "too_large"
    REMOTE = "remote"
    RUNTIME_UNAVAILABLE = "runtime_unavailable"
    PROTOCOL = "protocol"
    OTHER_HARDWARE = "other_hardware"

    @property
    def lasting(self) -> bool:
        """Whether it lasts until the model or its actor changes; an outage or a protocol term may be temporary."""
        return self not in (Exclusion.RUNTIME_UNAVAILABLE, Exclusion.PROTOCOL, Exclusion.OTHER_HARDWARE)


@dataclass(frozen=True, slots=True)
class Actor:
    """A row of `actors` with the database rule that excludes it, if any."""

    actor_id: ActorId
    name: str
    actor_type: str
    execution_path: str
    enabled: bool
    exclusion: Exclusion | None = None


@dataclass(frozen=True, slots=True)
class ActorNow:
    """An actor's row as it is at this moment."""

    name: str | None
    kind: str
    execution_path: str
    enabled: bool
    is_model: bool


@dataclass(frozen=True, slots=True)
class HostedModel:
    """A model on a named host, with its identity there."""

    host: str
    identity: ModelIdentity


@dataclass(frozen=True, slots=True)
class HostLeftOut:
    """A named host on which no model, or not this one, is measured, and why."""

    host: str
    why: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that may take part, or the reason why it may not.

    `actor_id` is None for a model that was named explicitly and is not an actor: it is measured, never promoted.
    `hosts` are the named hosts that have it; empty for a model on another server. `identity` is that on the first.
    `left_out` are named hosts that might have been used as well.
    """

    name: str
    actor_id: ActorId | None
    ref: ModelRef | None
    identity: ModelIdentity | None = None
    exclusion: Exclusion | None = None
    detail: str = ""
    hosts: tuple[HostedModel, ...] = ()
    left_out: tuple[HostLeftOut, ...] = ()

    @property
    def eligible(self) -> bool:
        """Whether it may be run."""
        return self.exclusion is None

    @property
    def entrant(self) -> Entrant | None:
        """The entrant of an eligible candidate; None for an excluded one."""
        if self.exclusion is not None or self.ref is None or self.identity is None:
            return None
        return Entrant(self.name, self.actor_id, self.ref, self.identity, tuple(one.host for one in self.hosts))

    @property
    def places(self) -> tuple[ModelRef, ...]:
        """The model on each server that has it."""
        if self.ref is None:
            return ()
        return tuple(self.ref.at(one.host) for one in self.hosts) or (self.ref,)

    def without(self, left_out: Sequence[HostLeftOut]) -> Candidate:
        """Return the candidate without these hosts; at least one is left."""
        gone = {one.host for one in left_out}
        hosts = tuple(one for one in self.hosts if one.host not in gone)
        return replace(self, identity=hosts[0].identity, hosts=hosts, left_out=(*self.left_out, *left_out))


@dataclass(frozen=True, slots=True)
class Entrant:
    """A model that is run in a benchmark, with its address and its identity before the run.

    `hosts` are the named hosts on which it can be measured; empty for a model on another server.
    """

    name: str
    actor_id: ActorId | None
    ref: ModelRef
    identity: ModelIdentity
    hosts: tuple[str, ...] = ()


_PARAMETERS = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)b(?![a-z0-9])", re.IGNORECASE)


def exclusion_by_name(name: str, max_model_bytes: int) -> tuple[Exclusion, str] | None:
    """Return the exclusion of a model that is too large by the parameters in its tag (`:70b`) at 2 bits each, or None.

    This lower bound saves a request for models that can never fit; for the others the size from the runtime decides.
    """
    found = _PARAMETERS.search(name.rpartition(":")[2])
    if found is None:
        return None
    at_least_bytes = float(found.group(1)) * 1e9 * 2 / 8
    if at_least_bytes <= max_model_bytes:
        return None
    limit = f"the limit is {max_model_bytes / 1e9:.1f} GB"
    needed = f"{found.group(1)} billion parameters need more than {at_least_bytes / 1e9:.1f} GB"
    return Exclusion.TOO_LARGE, f"{needed}, {limit}"


def exclusion_by_identity(identity: ModelIdentity, max_model_bytes: int) -> tuple[Exclusion, str] | None:
    """Return the exclusion that follows from a model's identity, or None."""
    if identity.remote:
        return Exclusion.REMOTE, "it runs on a remote server, to which texts would be sent"
    if "embedding" in identity.capabilities and "completion" not in identity.capabilities:
        return Exclusion.SPECIALIST, "its runtime lists it as an embedding model"
    if identity.size_bytes is not None and identity.size_bytes > max_model_bytes:
        size_gb, limit_gb = identity.size_bytes / 1e9, max_model_bytes / 1e9
        return Exclusion.TOO_LARGE, f"{size_gb:.1f} GB, the limit is {limit_gb:.1f} GB"
    return None
