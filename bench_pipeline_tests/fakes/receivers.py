"""Real receivers of alerts on this machine: a web hook and a mail server, which keep what they are sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Barrier, Thread
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult


@dataclass
class WebHook:
    """A web hook. It answers with `status`; with a `meeting` it answers once all its parties have called."""

    status: int = 200
    meeting: Barrier | None = None
    bodies: list[dict[str, Any]] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def titles(self) -> list[str]:
        return [body["title"] for body in self.bodies]

    def address(self, path: str = "path") -> str:
        return f"json://127.0.0.1:{self.port}/{path}"


@contextmanager
def web_hook() -> Iterator[WebHook]:
    hook = WebHook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            hook.requests.append(self.path)
            if hook.status == 200:
                hook.bodies.append({"title": body["title"], "message": body["message"]})
            if hook.meeting is not None:
                hook.meeting.wait(20)
            self.send_response(hook.status)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401 - the server's own signature
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hook.port = server.server_port
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield hook
        server.shutdown()
        thread.join()


@dataclass
class MailServer:
    """A mail server that asks for a login and takes any; `logins` are those that it was given."""

    mails: list[EmailMessage] = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)
    port: int = 0

    def address(self, user: str, password: str) -> str:
        return f"mailto://{user}:{password}@127.0.0.1:{self.port}?from=bench@example.org&to=ann@example.org"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: ANN401, ARG002, N802 - aiosmtpd's own signature
        mail = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        return "250 kept"

    def admit(self, server: Any, session: Any, envelope: Any, mechanism: str, login: Any) -> AuthResult:  # noqa: ANN401, ARG002 - aiosmtpd's own signature
        self.logins.append((login.login.decode(), login.password.decode()))
        return AuthResult(success=True)


class _OnAnyPort(Controller):
    """aiosmtpd tries its server with the port that it was asked for, which is none here."""

    def _trigger_server(self) -> None:
        assert self.server is not None
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@contextmanager
def mail_server() -> Iterator[MailServer]:
    mails = MailServer()
    controller = _OnAnyPort(
        mails, hostname="127.0.0.1", port=0, authenticator=mails.admit, auth_required=True, auth_require_tls=False
    )
    controller.start()
    mails.port = controller.port
    yield mails
    controller.stop()
