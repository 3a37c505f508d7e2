"""The texts of an imported task's two files: task.yaml with production's prompt, and suite.json with drafts.

What is in them is decided in case_import.py. Every text comes from production and may hold anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import yaml
from pydantic import ValidationError

from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.models.decoding import DecodingOptions
from bench_pipeline.domain.models.ids import ConversationId
from bench_pipeline.domain.strict_json import MAX_JSON_BYTES
from bench_pipeline.domain.tasks.strict_yaml import LEADING_ZERO
from bench_pipeline.domain.text import storable
from bench_pipeline.storage.production_texts import ConversationPrompt

_LONGEST_PLAIN = 90
_MAX_YAML_BYTES = 256 * 1024  # a task.yaml that is larger is not read
_UNUSUAL_BREAK = re.compile("[\x85\u2028\u2029\ufeff]")  # lost by the emitter's other styles
_ABOUT_READERS = """\
# How the verdict is read from a reply. leading_tag: the reply begins with [PASS] or [FAIL]. The others are
# final_line, json, pattern, json_fields and template; `labels` names other words. See docs/how-to/your-own-task.md.
"""
_ABOUT_SERVING = "# Conversations that a promotion may change. Another task serves this one already.\n"


@dataclass(frozen=True, slots=True)
class PromptTexts:
    """A conversation with its prompt; `serves` says whether the task may change the conversation's actor."""

    conversation_id: ConversationId
    name: str | None
    prompt: ConversationPrompt
    syntax: str | None
    serves: bool


@dataclass(frozen=True, slots=True)
class ImportedDraft:
    """A draft whose texts are masked; `fields` are the named texts of its input."""

    case_id: str
    interaction_id: int | str
    posting_id: int | str | None
    texts: Mapping[str, str]
    fields: Mapping[str, str]


class _Readable(yaml.SafeDumper):
    """Writes long texts as literal blocks; the emitter falls back to quotes where a block would change the text."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    quoted = _UNUSUAL_BREAK.search(text) or LEADING_ZERO.fullmatch(text)
    style = '"' if quoted else "|" if "\n" in text or len(text) > _LONGEST_PLAIN else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Readable.add_representer(str, _represent_text)


def task_text(name: str, texts: PromptTexts) -> str:
    """Return a `task.yaml`. Raises `InputError` for options that no decoding can have, and for a text too long."""
    head = {
        "task": name,
        "description": " ".join(storable(f"Conversation {texts.conversation_id} {texts.name or ''}").split()),
    }
    tail: dict[str, object] = {"decoding": _decoding(texts)}
    if texts.prompt.time_limit_s is not None:
        tail["time_limit_s"] = texts.prompt.time_limit_s
    served = [texts.conversation_id] if texts.serves else []
    text = "".join(
        [
            yaml_text(head),
            "" if texts.serves else _ABOUT_SERVING,
            f"conversations: {yaml.dump(served, Dumper=_Readable, default_flow_style=True, allow_unicode=True)}",
            yaml_text({"prompt": _prompt(texts)}),
            _ABOUT_READERS,
            yaml_text({"verdict": {"reader": "leading_tag"}}),
            yaml_text(tail) if any(tail.values()) else "",
        ]
    )
    if len(text.encode()) > _MAX_YAML_BYTES:
        raise InputError(f"the prompt of conversation {texts.conversation_id} is larger than {_MAX_YAML_BYTES} bytes")
    return text


def suite_text(name: str, conversation_id: ConversationId, drafts: Sequence[ImportedDraft]) -> str:
    """Return a `suite.json` of drafts. The fields that a person must set are null."""
    document = {
        "task_type": name,
        "version": "0.1.0",
        "created": f"{datetime.now(UTC):%Y-%m-%d}",
        "test_cases": [_case(draft, conversation_id) for draft in drafts],
    }
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    if len(text.encode()) > MAX_JSON_BYTES:
        raise InputError(f"the cases are larger than {MAX_JSON_BYTES} bytes together; lower --limit")
    return text


def yaml_text(value: Mapping[str, object]) -> str:
    """Return the value as YAML for people, which reads back to exactly the same."""
    return yaml.dump(dict(value), Dumper=_Readable, sort_keys=False, allow_unicode=True, width=110)


def _prompt(texts: PromptTexts) -> dict[str, object]:
    template, system = storable(texts.prompt.template), texts.prompt.system
    prompt: dict[str, object] = {"conversation": texts.conversation_id}
    if texts.syntax is not None:
        prompt["syntax"] = texts.syntax
    if system is None:
        return prompt | {"template": template}
    return prompt | {
        "messages": [{"role": "system", "content": storable(system)}, {"role": "user", "content": template}]
    }


def _decoding(texts: PromptTexts) -> dict[str, object]:
    try:
        decoding = DecodingOptions().with_options(texts.prompt.options)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg'].lower()}" for fault in error.errors()]
        raise InputError(
            f"prompt_templates, options of conversation {texts.conversation_id}: {'; '.join(faults)}; correct them"
        ) from None
    return decoding.model_dump(mode="json", exclude_unset=True, exclude_defaults=True)


def _case(draft: ImportedDraft, conversation_id: ConversationId) -> dict[str, Any]:
    texts = draft.texts
    case: dict[str, Any] = {
        "id": draft.case_id,
        "draft": True,
        "type": None,
        "difficulty": None,
        "posting_id": draft.posting_id if draft.posting_id is not None else f"interaction-{draft.interaction_id}",
        "summary": texts.get("summary"),
        "expected_verdict": None,
        "expected_scores": None,
        "reasoning": None,
        "posting": texts.get("posting"),
        "input": dict(draft.fields) or texts.get("input"),
        "observed_output": texts.get("observed_output"),
        "provenance": {
            "source": f"conversation {conversation_id}",
            "interaction": draft.interaction_id,
            "checked_by": None,
        },
    }
    optional = ("posting", "input", "observed_output")
    return {name: value for name, value in case.items() if value is not None or name not in optional}
