"""Ids of production as opaque types: they are passed on and compared, nothing else. Ids of our own are not here."""

from __future__ import annotations

from typing import NewType

ActorId = NewType("ActorId", int)
ConversationId = NewType("ConversationId", int)
WorkflowId = NewType("WorkflowId", int)
