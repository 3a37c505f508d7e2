"""Makes a task's folder from a conversation of production: its prompt, and drafts of cases with personal data masked.

Which calls become drafts is decided in domain/tasks/drafting.py; the files' texts are made in imported_files.py.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from bench_pipeline.benchmark.imported_files import ImportedDraft, PromptTexts, suite_text, task_text
from bench_pipeline.benchmark.task_folders import RESERVED_NAMES, own_testcases_dir, task_folders
from bench_pipeline.benchmark.task_keys import served_by
from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.models.ids import ConversationId
from bench_pipeline.domain.tasks.drafting import Drafted, Observation, drafted, pick, placeholders_of
from bench_pipeline.domain.tasks.masking.mask import Replacement, mask
from bench_pipeline.domain.tasks.suite import TASK_NAME
from bench_pipeline.domain.text import storable
from bench_pipeline.settings import Settings
from bench_pipeline.storage.production import Conversation

MAX_CASES = 500
# Calls that are looked at for one draft: repeated inputs are dropped, and tags take turns.
_READ_PER_CASE = 50


@dataclass(frozen=True, slots=True)
class ImportedTask:
    """A task's folder that is not written yet, and what a person must know about it."""

    folder: Path
    task_yaml: str
    suite_json: str
    case_ids: tuple[str, ...]
    replacements: tuple[Replacement, ...]
    notes: tuple[str, ...]

    def write(self) -> None:
        """Write the folder. Raises `InputError` if it exists or cannot be written; nothing is overwritten."""
        _refuse_existing(self.folder)
        try:
            self.folder.mkdir(parents=True)
            for name, text in (("task.yaml", self.task_yaml), ("suite.json", self.suite_json)):
                with (self.folder / name).open("x", encoding="utf-8", newline="\n") as file:
                    file.write(text)
        except OSError as error:
            raise InputError(f"{self.folder}: cannot be written: {error.strerror}") from None


@dataclass(frozen=True, slots=True)
class ImportTerms:
    """What a person asks for: the task's name or None for the conversation's, how many drafts, the phones' regions."""

    task: str | None
    limit: int
    regions: tuple[str, ...]


def import_cases(bench: Workbench, conversation_id: ConversationId, terms: ImportTerms) -> ImportedTask:
    """Read a conversation's prompt and its newest interactions; writes nothing.

    Raises `InputError` when the name is taken or invalid, and when the conversation, its template or its interactions
    are missing.
    """
    with bench.database.engine.connect() as connection:
        conversation = _conversation(bench, connection, conversation_id)
        folder = _folder(bench.settings, terms.task or _name_of(conversation))
        prompt = bench.production.prompt_of(connection, conversation_id)
        if prompt is None:
            raise InputError(f"conversation {conversation_id} has no template in the table prompt_templates; add one")
        seen = _observations(bench, connection, conversation_id, terms.limit * _READ_PER_CASE)
    placeholders = placeholders_of(prompt.template, prompt.system or "")
    made = {one.interaction_id: drafted(one, placeholders.names, prompt.template) for one in seen}
    drafts, left_out = _drafts(seen, made, terms.limit)
    if not drafts:
        raise InputError(_no_drafts(conversation_id, left_out))
    masked = mask({case_id: _texts(draft) for case_id, draft in drafts.items()}, terms.regions)
    server = served_by(bench, task_folders(bench.settings).valid, conversation_id)
    texts = PromptTexts(conversation_id, conversation.name, prompt, placeholders.syntax, serves=server is None)
    return ImportedTask(
        folder,
        task_text(folder.name, texts),
        suite_text(folder.name, conversation_id, _masked(drafts, masked.texts)),
        tuple(drafts),
        masked.replacements,
        tuple(_notes(bench.settings, folder, left_out, server, _personal(prompt.template, prompt.system, terms))),
    )


def _conversation(bench: Workbench, connection: Connection, number: ConversationId) -> Conversation:
    found = bench.production.conversations(connection, [number])
    if not found:
        known = [str(one.conversation_id) for one in bench.production.conversations(connection)]
        raise InputError(f"conversation {number} does not exist; known conversations: {', '.join(known) or 'none'}")
    return found[0]


def _name_of(conversation: Conversation) -> str:
    """Return a task's name made of the conversation's name, or of its id."""
    plain = unicodedata.normalize("NFKD", conversation.name or "").encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")[:60]
    return name if re.fullmatch(TASK_NAME, name) else f"conversation_{conversation.conversation_id}"


def _folder(settings: Settings, name: str) -> Path:
    if not re.fullmatch(TASK_NAME, name) or len(name) > 60 or name in RESERVED_NAMES:
        raise InputError(
            f"{name!r} cannot be the name of a task; with --task give a lower-case letter, then lower-case letters, "
            "digits and _, at most 60 characters"
        )
    folder = own_testcases_dir(settings) / name
    _refuse_existing(folder)
    return folder


def _refuse_existing(folder: Path) -> None:
    if os.path.lexists(folder):
        raise InputError(f"{folder} exists and is not overwritten; give another name with --task, or remove it")


def _observations(
    bench: Workbench, connection: Connection, conversation_id: ConversationId, limit: int
) -> list[Observation]:
    calls = bench.production.interactions_of(connection, conversation_id, limit)
    postings = bench.production.postings(connection, {one.posting_id for one in calls if one.posting_id is not None})
    return [
        Observation(one.interaction_id, one.posting_id, postings.get(str(one.posting_id)), one.input, one.output)
        for one in calls
    ]


def _drafts(
    seen: Sequence[Observation], made: Mapping[int | str, Drafted | str], limit: int
) -> tuple[dict[str, Drafted], Counter[str]]:
    """Return the drafts by their case ids, and how many observations cannot be one for which reason.

    `made` has for each observation its draft or that reason.
    """
    left_out = Counter(result for result in made.values() if isinstance(result, str))
    picked = pick([one for one in seen if isinstance(made[one.interaction_id], Drafted)], limit)
    drafts = [draft for one in picked if isinstance(draft := made[one.interaction_id], Drafted)]
    return {f"DRAFT_{number:03}": draft for number, draft in enumerate(drafts, start=1)}, left_out


def _no_drafts(conversation_id: ConversationId, left_out: Counter[str]) -> str:
    if left_out:
        reason = left_out.most_common(1)[0][0]
        return f"no interaction of conversation {conversation_id} can be a case: {reason}"
    return (
        f"conversation {conversation_id} has no interactions; the table interactions holds them, under its own name if "
        "BENCH_PRODUCTION_NAMES says so"
    )


def _texts(draft: Drafted) -> list[str]:
    return [*draft.texts.values(), *draft.fields.values()]


def _masked(drafts: Mapping[str, Drafted], texts: Mapping[str, tuple[str, ...]]) -> list[ImportedDraft]:
    result = []
    for case_id, draft in drafts.items():
        own = dict(zip(draft.texts, texts[case_id], strict=False))
        fields = dict(zip(draft.fields, texts[case_id][len(own) :], strict=True))
        result.append(ImportedDraft(case_id, draft.interaction_id, draft.posting_id, own, fields))
    return result


def _personal(template: str, system: str | None, terms: ImportTerms) -> list[str]:
    """Return what looks like personal data in the prompt, which is written as it is."""
    found = mask({"prompt": [storable(text) for text in (template, system) if text]}, terms.regions).replacements
    return [f"{one.kind} {one.original!r}" for one in found]


def _notes(
    settings: Settings, folder: Path, left_out: Counter[str], server: str | None, personal: list[str]
) -> list[str]:
    notes = [f"{count} interaction{'s' * (count != 1)} left out: {reason}" for reason, count in left_out.items()]
    if server is not None:
        notes.append(f"the task {server} serves this conversation, so the new task serves none: see its task.yaml")
    if personal:
        notes.append(f"the prompt is written as it is; it may hold personal data: {', '.join(personal)}")
    if settings.testcases_dir is None and not folder.parent.is_dir():
        notes.append(f"the folder {folder.parent} is new; from now on, its tasks are used instead of the bundled ones")
    return notes
