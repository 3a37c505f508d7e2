"""The answer within a reply: a finished reply in one form of characters, without thinking.

The forms of thinking are in thinking.py, the reading of the answer in lines.py and structured.py.
"""

from __future__ import annotations

from collections.abc import Callable

from bench_pipeline.domain.models.reply import Reply
from bench_pipeline.domain.tasks.readers.text import MAX_REPLY_CHARS, NoVerdict, visible, without_invisible
from bench_pipeline.domain.tasks.readers.thinking import without_thinking

Answers = Callable[[str], bool]
_CUT_OFF = "cut off: the reply reached num_predict or the end of the context"
_CUT_WHILE_THINKING = (
    "cut off while thinking: no token was left for the answer; raise decoding.num_predict, or set decoding.think to off"
)


def normal_answer(reply: Reply, answers: Answers, form: str = "") -> str:
    """Return the answer in NFKC; `answers` says whether a text answers, so that nothing after it is thinking.

    A mark of thinking that occurs in `form`, the pattern of the answer, belongs to the answer.

    Raises `NoVerdict` for a reply that is unfinished, too long or empty, or whose thinking cannot be told apart.
    """
    return _not_empty(reply, without_thinking(visible(_finished(reply)), answers, form))


def written_answer(reply: Reply, answers: Answers) -> str:
    """Return the answer as written, for JSON, where a full-width quotation mark must not end a value.

    A reply that answers from its first character on is not searched for thinking: its values may hold any text.
    """
    text = without_invisible(_finished(reply))
    return _not_empty(reply, text if answers(text) else without_thinking(text, answers))


def _finished(reply: Reply) -> str:
    if not reply.complete:
        raise NoVerdict("incomplete: the runtime did not mark the reply as finished")
    if reply.done_reason == "length":
        raise NoVerdict(_CUT_WHILE_THINKING if _only_thought(reply) else _CUT_OFF)
    if reply.done_reason != "stop":
        raise NoVerdict(f"the runtime ended the reply with {reply.done_reason[:40]!r}")
    if len(reply.text) > MAX_REPLY_CHARS:
        raise NoVerdict(f"longer than {MAX_REPLY_CHARS} characters")
    return reply.text


def _only_thought(reply: Reply) -> bool:
    """Whether all of a reply that was cut off is thinking, in its own field or not closed in the text."""
    if not reply.text.strip():
        return bool(reply.thinking.strip())
    try:
        return not without_thinking(visible(reply.text[:MAX_REPLY_CHARS]), lambda _: False).strip()
    except NoVerdict:  # thinking that is not closed, or in a form that is not known
        return True


def _not_empty(reply: Reply, text: str) -> str:
    if not (said := text.strip()):
        raise NoVerdict("empty reply" + (", only thinking" if reply.thinking or reply.text.strip() else ""))
    return said
