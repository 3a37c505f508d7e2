"""A server on a real socket that answers each path with what was recorded of another server.

Knows nothing of any API: what is recorded is in the tests. It speaks https when it is given a TLS context.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

NOT_FOUND: dict[str, str] = {"detail": "Not Found"}


@dataclass(frozen=True)
class Recorded:
    """An answer; a body that is not text or bytes is sent as JSON.

    After one that `closes`, the connection is closed as the next request arrives, without having said so.
    """

    body: object = ""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    closes: bool = False

    @property
    def content(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body
        return (self.body if isinstance(self.body, str) else json.dumps(self.body)).encode()


@dataclass(frozen=True)
class Asked:
    """A request as it arrived."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any


class RecordedServer:
    """The server: a context manager on a loopback port. Several answers for a path come in turn, the last one stays."""

    def __init__(
        self, answers: Mapping[str, Recorded | list[Recorded] | object], tls: ssl.SSLContext | None = None
    ) -> None:
        self.answers = {path: self._in_turn(answer) for path, answer in answers.items()}
        self.asked: list[Asked] = []
        self._scheme = "https" if tls else "http"
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.recorded = self
        if tls:
            # The handshake takes place in the thread of the connection.
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)

    @staticmethod
    def _in_turn(answer: object) -> list[Recorded]:
        several = answer if isinstance(answer, list) else [answer]
        return [one if isinstance(one, Recorded) else Recorded(one) for one in several]

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}"

    def paths(self) -> list[str]:
        return [one.path for one in self.asked]

    def bodies(self, path: str) -> list[Any]:
        return [one.body for one in self.asked if one.path == path]

    def answer_to(self, asked: Asked) -> Recorded:
        self.asked.append(asked)
        answers = self.answers.get(asked.path)
        if answers is None:
            return Recorded(NOT_FOUND, 404)
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    recorded: RecordedServer

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a client that speaks another protocol is what the tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        content = self.rfile.read(int(self.headers.get("content-length") or 0))
        body = json.loads(content) if content else None
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.server.recorded.answer_to(Asked(self.command, self.path, headers, body))
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)
        if answer.closes:
            self.rfile.peek(1)
            self.close_connection = True

    do_POST = do_GET  # noqa: N815 - the name that http.server looks for

    def log_message(self, *_: object) -> None:
        """Write no log."""


@contextmanager
def silent_port() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        yield listening.getsockname()[1]
