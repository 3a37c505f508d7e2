"""What Dagster's web server refuses: it has no login, so any page of a browser could start a run through it.

Pure ASGI, with no Dagster in it. Who may log in is decided by the proxy before it; who started a run is in clicks.py.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_READING = ("GET", "HEAD")
_SHOWN_CHARS = 100
_OPERATION = re.compile(rb"op=[A-Za-z0-9_]+")
"""The name of a query, which Dagster's pages add to the address."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is refused, in words for the sender."""

    status: int
    text: str


class Guard:
    """Middleware that lets only the server's own pages change something, and only by GraphQL as JSON.

    `names` are the names under which people reach the server, with or without a port, besides `localhost` and IP
    addresses. `prefix` is the server's path prefix.
    """

    def __init__(self, app: ASGIApp, names: Collection[str] = (), prefix: str = "") -> None:
        self._app = app
        self._names = frozenset(name.lower() for name in names)
        self._graphql = f"{prefix}/graphql"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that is refused; hand on every other."""
        refusal = self.refusal(scope) if scope["type"] in ("http", "websocket") else None
        if refusal is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": refusal.text})
        else:
            # The shape of GraphQL's errors, so that Dagster's pages show the text.
            answer = JSONResponse({"errors": [{"message": refusal.text}]}, status_code=refusal.status)
            await answer(scope, receive, send)

    def refusal(self, scope: Scope) -> Refusal | None:
        """Return why the request of this scope is refused, None when it is not."""
        headers = Headers(scope=scope)
        return self._foreign(headers) or (
            self._wrong_socket(scope) if scope["type"] == "websocket" else self._wrong_request(scope, headers)
        )

    def _foreign(self, headers: Headers) -> Refusal | None:
        """A page of another site reaches this server from inside the browser: by its address, or by a name of its own.

        The name is that of DNS rebinding: it leads here only after the page was loaded, so the browser takes both for
        one site. An IP address cannot be redirected like that.
        """
        host = headers.get("host", "").lower()
        if not (_is_local(_hostname(host)) or self._is_ours(host)):
            return Refusal(403, f"{_shown(host)} is not a name of this server; add it to BENCH_UI_NAMES if it is")
        for origin in headers.getlist("origin"):
            scheme, _, site = origin.lower().partition("://")
            if scheme not in ("http", "https") or not (site == host or self._is_ours(site)):
                return Refusal(403, f"pages of {_shown(origin)} may not use this server; open it directly")
        return None

    def _is_ours(self, host: str) -> bool:
        return host in self._names or _hostname(host) in self._names

    def _wrong_socket(self, scope: Scope) -> Refusal | None:
        return None if scope["path"] == self._graphql else Refusal(403, "only GraphQL uses a WebSocket here")

    def _wrong_request(self, scope: Scope, headers: Headers) -> Refusal | None:
        if scope["path"] != self._graphql:
            if scope["method"] in _READING:
                return None
            return Refusal(403, "only runs record events, and only GraphQL changes anything here")
        if scope["query_string"] and not _OPERATION.fullmatch(scope["query_string"]):
            return Refusal(405, "send GraphQL in the body of a POST; an address must not start anything")
        if scope["method"] in _READING:
            return None
        if scope["method"] != "POST":
            return Refusal(405, "send GraphQL by POST")
        # A type that merely contains the words is one that any page may send without asking.
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return Refusal(415, "send GraphQL as JSON, with Content-Type: application/json")
        return None


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:  # the brackets do not hold an IPv6 address
        return ""


def _is_local(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        return bool(ip_address(name))
    except ValueError:
        return False


def _shown(text: str) -> str:
    return repr(text[:_SHOWN_CHARS])
