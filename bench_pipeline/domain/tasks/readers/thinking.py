"""The forms in which models write their thinking into a reply, and its removal.

A new form is a new line of `THINKING_FORMS` and of docs/reference/replies.md. Thinking that a runtime returns in a
field of its own never gets here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench_pipeline.domain.tasks.readers.text import NoVerdict

_VLLM = "https://github.com/vllm-project/vllm/blob/main/vllm/reasoning"
_OPEN_WEBUI = "https://docs.openwebui.com/features/chat-features/reasoning-models"


@dataclass(frozen=True, slots=True)
class ThinkingForm:
    """The marks around thinking, in lower case, and the models that write them.

    `answer` are marks that these models put around what follows the thinking. A form that does not nest ends at its
    first closing mark. A form of `plain_words` counts only with both of its marks, because any model may write one.
    """

    opening: tuple[str, ...]
    closing: tuple[str, ...]
    families: str
    source: str
    answer: tuple[str, ...] = ()
    nests: bool = True
    plain_words: bool = False


def _tag(name: str, families: str, source: str, *answer: str) -> ThinkingForm:
    return ThinkingForm((f"<{name}>",), (f"</{name}>",), families, source, answer)


THINKING_FORMS = (
    _tag(
        "think",
        "DeepSeek R1, Qwen3, QwQ, GLM-4.5, MiniMax M2, ERNIE 4.5, Hunyuan A13B, SmolLM3 and most others",
        "https://docs.vllm.ai/en/stable/features/reasoning_outputs/",
        "<answer>",
        "</answer>",
        "<response>",
        "</response>",
    ),
    _tag("thinking", "fine-tuned models", _OPEN_WEBUI),
    _tag("thought", "EXAONE Deep", _OPEN_WEBUI),
    _tag("reasoning", "fine-tuned models", _OPEN_WEBUI),
    _tag("reason", "fine-tuned models", _OPEN_WEBUI),
    _tag("seed:think", "Seed-OSS", f"{_VLLM}/seedoss_reasoning_parser.py"),
    _tag("mm:think", "MiniMax M3", f"{_VLLM}/minimax_m3_reasoning_parser.py"),
    _tag("longcat_think", "LongCat", f"{_VLLM}/longcat_reasoning_parser.py"),
    _tag("think:opensource", "Hunyuan 3", "https://github.com/jundot/omlx/pull/2108"),
    ThinkingForm(
        ("[think]",),
        ("[/think]",),
        "Magistral, Ministral 3 Reasoning",
        "https://huggingface.co/mistralai/Magistral-Small-2507",
    ),
    ThinkingForm(("◁think▷",), ("◁/think▷",), "Kimi-VL, Kimi-Dev", "https://github.com/ggml-org/llama.cpp/pull/16364"),
    ThinkingForm(
        ("<|channel|>analysis<|message|>", "<|channel|>commentary<|message|>"),
        ("<|channel|>final<|message|>", "<|channel|>final <|constrain|>json<|message|>", "assistantfinal"),
        "gpt-oss (harmony)",
        "https://cookbook.openai.com/article/harmony",
        ("<|start|>assistant", "<|end|>", "<|return|>"),
        nests=False,
    ),
    ThinkingForm(
        ("<|channel>thought",),
        ("<channel|>",),
        "Gemma 4",
        "https://ai.google.dev/gemma/docs/core/prompt-formatting-gemma4",
        ("<turn|>",),
    ),
    ThinkingForm(("<unused94>thought",), ("<unused95>",), "MedGemma 1.5", "programs that call the model"),
    ThinkingForm(
        ("<|start_thinking|>",),
        ("<|end_thinking|>",),
        "Command R7B, Command A Reasoning",
        f"{_VLLM}/cohere_command_reasoning_parser.py",
        ("<|start_response|>", "<|end_response|>"),
    ),
    ThinkingForm(("<|inner_prefix|>",), ("<|inner_suffix|>",), "Apertus", f"{_VLLM}/apertus_reasoning_parser.py"),
    ThinkingForm(
        ("<|begin_of_thought|>",),
        ("<|end_of_thought|>",),
        "OpenThinker, Sky-T1",
        _OPEN_WEBUI,
        ("<|begin_of_solution|>", "<|end_of_solution|>"),
    ),
    ThinkingForm(("[unused16]",), ("[unused17]",), "Pangu", f"{_VLLM}/pangu_reasoning_parser.py"),
    ThinkingForm(
        ("here is my thought process:", "here's my thought process:"),
        ("here is my response:", "here's my response:"),
        "Granite 3.2",
        f"{_VLLM}/granite_reasoning_parser.py",
        plain_words=True,
    ),
)

_OPENED_BY = {mark: form for form in THINKING_FORMS for mark in form.opening}
_CLOSED_BY = {mark: form for form in THINKING_FORMS for mark in form.closing}
_MARKS = sorted({*_OPENED_BY, *_CLOSED_BY}, key=len, reverse=True)
_SIGNS = "<[◁"  # with which all marks begin, except those of letters only
_LETTERS = tuple(mark for mark in _MARKS if mark[0] not in _SIGNS)


def _after(sign: str) -> str:
    return rf"(?<={re.escape(sign)})(?:{'|'.join(re.escape(mark[1:]) for mark in _MARKS if mark[0] == sign)})"


# The set of signs comes first, because the search for one of few characters is fast.
_MARK = re.compile(rf"[{re.escape(_SIGNS)}](?:{'|'.join(map(_after, _SIGNS))})", re.IGNORECASE | re.ASCII)
_ANY_MARK = re.compile("|".join(re.escape(mark) for mark in _MARKS), re.IGNORECASE | re.ASCII)
_ANSWER_MARKS = tuple(mark for form in THINKING_FORMS for mark in form.answer)
_MOST_ANSWER_MARKS = 4
_LONGEST_ANSWER_MARK = max(map(len, _ANSWER_MARKS))
_QUOTES = "\"'`“”„‘’«»"
_FIRST_TAG = re.compile(
    r"\s*(<[^<>\n]{1,60}>|◁[^◁▷\n]{1,40}▷|\[(?:thinking|thoughts?|reasoning|scratchpad)\])", re.IGNORECASE
)
_LIKE_THINKING = re.compile(
    r"think|thought|reason|reflect|scratch|ponder|deliberat|analys|\bcot\b|monolog|channel", re.IGNORECASE
)


def without_thinking(text: str, answers: Callable[[str], bool], form: str = "") -> str:
    """Return the reply without its thinking. Raises `NoVerdict` where it is unclear what is thinking.

    `answers` says whether a text answers already. Thinking precedes the answer, so a mark after one is either quoted,
    or the model went on thinking. A mark that closes what was never opened ends thinking that the prompt began. A mark
    that occurs in `form`, the pattern of the reply, belongs to the answer. In place of thinking a space remains, so
    that words are not joined.
    """
    kept: list[str] = []
    position = depth = 0
    within: ThinkingForm | None = None
    for mark in _marks(text):
        name = mark[0].lower()
        opened, closed = _OPENED_BY.get(name), _CLOSED_BY.get(name)
        if within is not None:
            depth += (opened is within and within.nests) - (closed is within)
            if depth == 0:
                within, position = None, mark.end()
            continue
        if _is_quoted(text, mark) or _is_prose(text, mark) or _is_asked_for(form, mark[0]):
            continue
        before = text[position : mark.start()]
        if answers(before):
            raise NoVerdict(f"the thinking tag {mark[0]!r} follows the answer")
        if opened:
            kept.append(before)
        else:
            kept.clear()
        within, depth, position = opened, 1 if opened else 0, mark.end()
    if within is not None:
        raise NoVerdict("a thinking tag is not closed")
    said = _without_answer_marks(" ".join([*kept, text[position:]]))
    if (tag := unknown_form(said)) and f"/{tag[1:]}".lower() not in said.lower() and not _is_asked_for(form, tag):
        raise NoVerdict(unknown_reason(tag))
    return said


def _marks(text: str) -> Iterator[re.Match[str]]:
    small = text.lower()
    return (_ANY_MARK if any(mark in small for mark in _LETTERS) else _MARK).finditer(text)


def unknown_form(text: str) -> str | None:
    """Return the tag that `text` begins with if it looks like thinking in a form that is not listed."""
    first = _FIRST_TAG.match(text)
    return first[1] if first and _LIKE_THINKING.search(first[1]) else None


def unknown_reason(tag: str) -> str:
    """Return the reason for a reply that begins with an unlisted form of thinking."""
    return f"unknown thinking form {tag!r}"


def _is_asked_for(form: str, mark: str) -> bool:
    """Whether a pattern contains the mark; patterns are matched after `>` was removed, see `text.plain`."""
    return bool(form) and mark.rstrip(">").lower() in form.replace("\\", "").lower()


def _is_quoted(text: str, mark: re.Match[str]) -> bool:
    """Whether quotation marks stand around the tag. At the very beginning there is nothing that could quote it."""
    before, after = text[max(0, mark.start() - 1) : mark.start()], text[mark.end() : mark.end() + 1]
    return mark.start() > 1 and before in _QUOTES and after != "" and after in _QUOTES


def _is_prose(text: str, mark: re.Match[str]) -> bool:
    """Whether the mark is in plain words and stands alone, or not at the beginning."""
    opened, closed = _OPENED_BY.get(mark[0].lower()), _CLOSED_BY.get(mark[0].lower())
    if opened is not None and opened.plain_words:
        rest = text[mark.end() :].lower()
        return bool(text[: mark.start()].strip()) or not any(end in rest for end in opened.closing)
    return closed is not None and closed.plain_words


def _without_answer_marks(text: str) -> str:
    said = text.strip()
    for _ in range(_MOST_ANSWER_MARKS):
        small = said[:_LONGEST_ANSWER_MARK].lower(), said[-_LONGEST_ANSWER_MARK:].lower()
        start = next((len(mark) for mark in _ANSWER_MARKS if small[0].startswith(mark)), 0)
        end = next((len(mark) for mark in _ANSWER_MARKS if small[1].endswith(mark)), 0)
        if not start and not end:
            break
        said = said[start : max(start, len(said) - end)].strip()
    return said
