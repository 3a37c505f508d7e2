"""A pooler before PostgreSQL that gives each transaction another session, as PgBouncer does in transaction mode.

Reads the simple query protocol, which psycopg2 speaks, and knows no COPY. Each client has two sessions to itself.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from io import BufferedReader

from sqlalchemy import make_url

from bench_pipeline_tests.fakes.postgres_proxy import messages, startup

_SESSIONS = 2
_READY, _IDLE = b"Z", b"I"
_TERMINATE = b"X"
_UNSUPPORTED = b"SFATAL\0C08P01\0Munsupported startup parameter: options\0\0"


@contextmanager
def transaction_pooler(url: str) -> Iterator[str]:
    """Yield the address of a pooler before the server of `url`, where every login is trusted."""
    address = make_url(url)
    server = (address.host or "127.0.0.1", address.port or 5432)
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listener:
        acceptor = threading.Thread(target=_accept, args=(listener, server), name="transaction-pooler", daemon=True)
        acceptor.start()
        host, port = listener.getsockname()
        yield address.set(host=host, port=port).render_as_string(hide_password=False)
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket, server: tuple[str, int]) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            threading.Thread(target=_serve, args=(client, server), name="pooled-client", daemon=True).start()


def _serve(client: socket.socket, server: tuple[str, int]) -> None:
    sessions = [_Session(server) for _ in range(_SESSIONS)]
    with suppress(OSError), closing(client), client.makefile("rb") as stream:
        _serve_transactions(client, stream, sessions)
    for session in sessions:
        session.close()


def _serve_transactions(client: socket.socket, stream: BufferedReader, sessions: list[_Session]) -> None:
    login = startup(stream, client)
    if b"\0options\0" in login:
        client.sendall(b"E" + (4 + len(_UNSUPPORTED)).to_bytes(4) + _UNSUPPORTED)
        return
    greetings = [session.ask(login) for session in sessions]
    client.sendall(greetings[0])
    turn = 0
    for message in messages(stream):
        if message[:1] == _TERMINATE:
            return
        session = sessions[turn % _SESSIONS]
        client.sendall(session.ask(message))
        turn += session.is_idle


class _Session:
    """A session with the server."""

    def __init__(self, server: tuple[str, int]) -> None:
        self._socket = socket.create_connection(server)
        self._stream = self._socket.makefile("rb")
        self.is_idle = True

    def ask(self, message: bytes) -> bytes:
        """Send a message and return the whole answer."""
        self._socket.sendall(message)
        answer = b""
        for part in messages(self._stream):
            answer += part
            if part[:1] == _READY:
                self.is_idle = part[5:] == _IDLE
                break
        return answer

    def close(self) -> None:
        self._stream.close()
        self._socket.close()
