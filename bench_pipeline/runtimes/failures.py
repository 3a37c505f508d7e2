"""What a failed request says: error bodies of every shape, the pause that a server asks for, why a connection failed.

Pure functions over bytes, headers and exceptions. Sending requests, and the kind of each failure, is in deadline.py.
"""

from __future__ import annotations

import html
import json
import re
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from bench_pipeline.domain.errors import FailureKind, RuntimeFailure

LOADING_PAUSE_S = 1.0
"""Pause before a server that loads its model is asked again, and the shortest pause that a server can ask for."""
_LONGEST_REASON = 200
_DEEPEST = 4
# In this order: where both exist, `error` is often the name of the status and `message` the text.
_TEXT_FIELDS = ("message", "msg", "error", "detail", "errors", "reason", "title")
_FIELDS_OF_ANSWERS = frozenset({"choices", "data", "models", "usage", "done"})
_QUOTE_BEGINS = re.compile(r"""[:'"`]""")
_LOADING = re.compile(
    r"\b(loading|starting|initiali[sz]ing|warming up|not (yet |currently )?(ready|loaded))\b", re.IGNORECASE
)
_TOO_LONG = re.compile(
    r"\bcontext\b|context_length|\btokens\b|\b(prompt|input)\b.*\b(long|length)\b|\btoo long\b", re.IGNORECASE
)
_NAME_OF_EXCEPTION = re.compile(r"^(?:[\w.]*(?:Error|Exception): )+")
_HTTP_TO_HTTPS = re.compile(r"HTTP request\b.*\bHTTPS\b", re.IGNORECASE)
_TITLE = re.compile(r"<(title|h1)\b[^>]*>(.*?)</\1>", re.IGNORECASE | re.DOTALL)
# What OpenSSL reports when the other side answers in something that is not TLS.
_NOT_TLS = frozenset(
    {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG"}
)


def error_in(body: bytes, known: bool = False) -> str | None:
    """Return the words of the error that `body` is, empty when it has none; None when it is not an error.

    With `known`, the server has said so already.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return words_of(body) if known else None
    return _words(value) if known or (isinstance(value, dict) and _is_error(value)) else None


def words_of(body: bytes) -> str:
    """Return what the body of a refusal says: JSON of any known shape, a web page's title, or the text itself."""
    try:
        return _words(json.loads(body))
    except (ValueError, RecursionError):
        text = body.decode("utf-8", errors="replace").strip()
    if text.startswith("data:"):
        return words_of(text.removeprefix("data:").splitlines()[0].encode())
    if is_web_page(body):
        found = _TITLE.search(text)
        return html.unescape(found[2]).strip() if found else ""
    return text if text.isprintable() or "\n" in text else ""


def is_web_page(body: bytes) -> bool:
    """Whether a body is HTML or XML, which no server of models sends as an answer."""
    return body.lstrip()[:1] == b"<"


def one_line(words: str, quote: bool, names: tuple[str, ...] = (), secret: str = "") -> str:
    """Return `words` on one line, shortened and without `secret`.

    Parsers quote the text that they cannot read. So without `quote` the words end where a quotation may begin. The
    `names` do not come from a case, so they are kept even in quotation marks.
    """
    if not quote:
        words = _NAME_OF_EXCEPTION.sub("", words)
        for number, name in enumerate(names):
            words = re.sub(rf"""(["'`]?){re.escape(name)}\1""", chr(number + 1), words)
        words = _QUOTE_BEGINS.split(words, maxsplit=1)[0]
        for number, name in enumerate(names):
            words = words.replace(chr(number + 1), name)
    if secret:
        words = words.replace(secret, "(key)")
    return " ".join(words.split())[:_LONGEST_REASON]


def is_about_length(words: str) -> bool:
    """Whether the words of a refusal say that the prompt is too long."""
    return _TOO_LONG.search(words) is not None


def wants_https(words: str) -> bool:
    """Whether the words of a refusal say that the port speaks https."""
    return _HTTP_TO_HTTPS.search(words) is not None


def pause_asked(status: int, headers: Mapping[str, str], words: str) -> float | None:
    """Return the seconds after which a server that says "not yet" is to be asked again; None if it says no such thing.

    `Retry-After` is a number of seconds or a date. A server that only says that it is loading is asked every second.
    """
    if status not in (429, 503):
        return None
    asked = headers.get("retry-after", "")
    seconds = float(asked) if re.fullmatch(r"\d{1,9}(\.\d+)?", asked.strip()) else _seconds_to(asked, headers)
    if seconds is not None:
        return max(seconds, LOADING_PAUSE_S)
    return LOADING_PAUSE_S if status == 503 and _LOADING.search(words) else None


def why_unreachable(error: BaseException) -> str | None:
    """Return why TLS failed and what to do; None when the reason is another one."""
    failed = next((reason for reason in _reasons(error) if isinstance(reason, ssl.SSLError)), None)
    if isinstance(failed, ssl.SSLCertVerificationError):
        why = failed.verify_message.rstrip(".")
        return f"its certificate is not trusted ({why}); name the file of its authority in SSL_CERT_FILE"
    if failed is None:
        return None
    if failed.reason in _NOT_TLS:
        return "it does not speak https; write http://"
    return f"TLS failed ({failed.reason or 'no reason given'})"


def redirect_target(asked: httpx.URL, path: str, location: str) -> str | None:
    """Return the address to set where `path` redirects to `location`; None for an invalid one.

    It has no credentials and no query, which may be one.
    """
    try:
        target = asked.join(location).copy_with(userinfo=b"", query=None, fragment=None)
    except httpx.InvalidURL:
        return None
    return str(target).removesuffix(path).rstrip("/")


def bad_response(model: str, problem: str) -> RuntimeFailure:
    """Return the failure for an answer that violates its API."""
    return RuntimeFailure(FailureKind.BAD_RESPONSE, f"{model}: the server's answer {problem}")


def _is_error(value: dict[str, object]) -> bool:
    if value.get("error") or value.get("errors") or value.get("object") == "error":
        return True
    says = isinstance(value.get("message"), str) or bool(value.get("detail"))
    return says and not _FIELDS_OF_ANSWERS & value.keys()


def _words(value: object, depth: int = _DEEPEST) -> str:
    match value:
        case str():
            return value
        case {"loc": [*place], "msg": str(words)}:  # FastAPI; its `input` is the request
            return f"at {'.'.join(map(str, place))}, {words}"
        case dict() if depth:
            return next((words for name in _TEXT_FIELDS if (words := _words(value.get(name), depth - 1))), "")
        case list() if depth:
            return "; ".join(words for part in value[:3] if (words := _words(part, depth - 1)))
    return ""


def _seconds_to(date: str, headers: Mapping[str, str]) -> float | None:
    """Return the seconds to a date by the server's own clock, which `Date` tells."""
    try:
        until = parsedate_to_datetime(date)
        now = parsedate_to_datetime(headers["date"]) if "date" in headers else datetime.now(UTC)
        return (until - now).total_seconds()
    except (ValueError, TypeError):  # not a date, or one without a time zone
        return None


def _reasons(error: BaseException) -> list[BaseException]:
    """Return the error and what led to it; an error that is raised anew from its own successor closes a circle."""
    found: list[BaseException] = []
    reason: BaseException | None = error
    while reason is not None and not any(reason is known for known in found):
        found.append(reason)
        reason = reason.__cause__ or reason.__context__
    return found
