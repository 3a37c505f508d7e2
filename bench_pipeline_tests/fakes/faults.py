"""The ways in which a model server fails, as one table from a fault to how its reply goes.

Holds no server: any fake that can follow a script can use it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Fault(StrEnum):
    GOOD = "good"
    NOT_FOUND = "not_found"
    BUSY = "busy"
    SERVER_ERROR = "server_error"
    DRIP = "drip"
    DRIP_HEADERS = "drip_headers"
    CUT_STREAM = "cut_stream"
    ENDED_WITHOUT_DONE = "ended_without_done"
    DONE_FALSE = "done_false"
    ERROR_IN_STREAM = "error_in_stream"
    EMPTY_CONTENT = "empty_content"
    NEVER_ANSWERS = "never_answers"
    LENGTH = "length"
    JUNK = "junk"
    LOADING_REFUSED = "loading_refused"
    WHOLE_WITHOUT_DONE = "whole_without_done"
    ONLY_THINKING = "only_thinking"
    FEW_TOKENS = "few_tokens"
    WARM_PROMPT = "warm_prompt"
    LOADED_IN_CALL = "loaded_in_call"
    QUEUED = "queued"
    NO_TOKENS = "no_tokens"
    LOAD_FOR_A_REPLY = "load_for_a_reply"
    ABORTED = "aborted"
    BODY = "body"


class Tail(StrEnum):
    """What the last object of a reply is."""

    DONE = "done"
    NOT_DONE = "not_done"
    ERROR = "error"
    JUNK = "junk"
    NOTHING = "nothing"


class Finish(StrEnum):
    """What happens to the connection."""

    END = "end"
    WHOLE = "whole"
    CUT = "cut"
    DRIP = "drip"
    DRIP_HEADERS = "drip_headers"
    SILENCE = "silence"
    BODY = "body"


@dataclass(frozen=True)
class Script:
    """How a reply goes; `share` is how much of the text is sent, `account` what the server's figures say instead.

    `junk` is the last object, or with `Finish.BODY` all that is sent, with status 200.
    """

    status: int = 200
    error: str = ""
    share: float = 1.0
    tail: Tail = Tail.DONE
    done_reason: str = "stop"
    junk: bytes = b"data: <html>junk</html>\n"
    finish: Finish = Finish.END
    account: Mapping[str, int] = field(default_factory=dict)


SCRIPTS: dict[Fault, Script] = {
    Fault.GOOD: Script(),
    Fault.NOT_FOUND: Script(404, "model not found"),
    Fault.BUSY: Script(503, "server busy, please try again. maximum pending requests exceeded"),
    Fault.SERVER_ERROR: Script(500, "model runner has unexpectedly stopped"),
    Fault.DRIP: Script(finish=Finish.DRIP),
    Fault.DRIP_HEADERS: Script(finish=Finish.DRIP_HEADERS),
    Fault.CUT_STREAM: Script(share=0.5, tail=Tail.NOTHING, finish=Finish.CUT),
    Fault.ENDED_WITHOUT_DONE: Script(share=0.5, tail=Tail.NOTHING),
    Fault.DONE_FALSE: Script(tail=Tail.NOT_DONE),
    Fault.ERROR_IN_STREAM: Script(share=0.5, error="prediction aborted, token repeat limit", tail=Tail.ERROR),
    Fault.EMPTY_CONTENT: Script(share=0.0),
    Fault.NEVER_ANSWERS: Script(finish=Finish.SILENCE),
    Fault.LENGTH: Script(share=0.5, done_reason="length"),
    Fault.JUNK: Script(share=0.0, tail=Tail.JUNK),
    Fault.LOADING_REFUSED: Script(500, "cudaMalloc failed: out of memory"),
    Fault.WHOLE_WITHOUT_DONE: Script(tail=Tail.NOT_DONE, finish=Finish.WHOLE),
    Fault.ONLY_THINKING: Script(share=0.0, done_reason="length"),
    Fault.FEW_TOKENS: Script(account={"prompt_tokens": 2}),
    Fault.WARM_PROMPT: Script(account={"prompt": 1}),
    Fault.LOADED_IN_CALL: Script(account={"load": 9_000_000_000, "total": 9_100_000_000}),
    Fault.QUEUED: Script(account={"total": 5_000_000_000}),
    Fault.NO_TOKENS: Script(share=0.0, account={"reply_tokens": 0}),
    Fault.LOAD_FOR_A_REPLY: Script(share=0.0, done_reason="load", account={"reply_tokens": 0}),
    Fault.ABORTED: Script(share=0.5, done_reason="abort"),
    Fault.BODY: Script(finish=Finish.BODY, junk=b""),
}
