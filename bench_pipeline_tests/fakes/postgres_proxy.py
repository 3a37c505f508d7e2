"""A proxy before a PostgreSQL server that cuts a client off where it cannot know what came of its transaction.

Reads the simple query protocol, which psycopg2 speaks; holds no server and changes no message. psycopg2's `cancel`
holds the interpreter's lock while it waits, so through a proxy in the same process it waits for ever.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from io import BufferedReader
from queue import SimpleQueue
from typing import Self

from sqlalchemy import make_url

_ENCRYPTION_REQUESTS = (80877103, 80877104)  # TLS and GSSAPI
_QUERY = b"Q"
_READY = b"Z"
_OUTCOMES = (b"C", b"E")  # done, failed
_COMMITTED = b"C\0\0\0\x0bCOMMIT\0"
_BEGINNINGS = (b"BEGIN", b"START TRANSACTION")


class Cut(StrEnum):
    """Where a client is cut off."""

    BEFORE_COMMIT = "before_commit"
    AFTER_COMMIT = "after_commit"
    DURING_STATEMENT = "during_statement"


@dataclass
class _Plan:
    at: Cut
    left: int
    containing: bytes
    then_refuse: bool

    def fits(self, transaction: list[bytes]) -> bool:
        """Say whether to cut at the last statement of `transaction`, which the server has not seen yet."""
        if self.at is Cut.DURING_STATEMENT:
            # Whole words: an isolation level is READ COMMITTED.
            return re.search(rb"\b" + re.escape(self.containing) + rb"\b", transaction[-1]) is not None
        return _is_commit(transaction[-1]) and any(self.containing in statement for statement in transaction)


class PostgresProxy:
    """The proxy: a context manager on a free loopback port; clients use its `url` instead of the server's.

    `cuts` counts the cuts made, each before its client sees it. While `refuse` is set, new connections are closed
    at once, as by a server that is down. No connection is encrypted: the proxy has to read it.
    """

    def __init__(self, url: str) -> None:
        address = make_url(url)
        self._server = (address.host or "127.0.0.1", address.port or 5432)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        host, port = self._listener.getsockname()
        self.url = address.set(host=host, port=port).render_as_string(hide_password=False)
        self.cuts = 0
        self.refuse = False
        self._plan: _Plan | None = None
        self._lock = threading.Lock()
        self._closing = False
        self._connections: list[_Connection] = []
        self._acceptor = threading.Thread(target=self._accept, name="postgres-proxy", daemon=True)

    def __enter__(self) -> Self:
        self._acceptor.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._closing = True
        with suppress(OSError):
            socket.create_connection(self._listener.getsockname()).close()  # wakes the acceptor on every system
        self._acceptor.join()
        self._listener.close()
        for connection in self._connections:
            connection.hang_up()
            connection.join()

    def cut(self, at: Cut, times: int = 1, containing: str = "", *, then_refuse: bool = False) -> None:
        """Cut connections at `at`, the next `times` that it fits; a later call takes the place of an earlier one.

        `BEFORE_COMMIT`: the server never gets the COMMIT, and has rolled back when the client sees the cut.
        `AFTER_COMMIT`: the server has committed when the client sees the cut; a COMMIT that fails is not cut.
        Both are for a transaction with a statement that contains `containing`, which may be one of its values.
        `DURING_STATEMENT`: the server gets the statement that contains it, and may still be at it; see `settle`.
        `then_refuse` sets `refuse` together with the last of the cuts.
        """
        with self._lock:
            self._plan = _Plan(at, times, containing.encode(), then_refuse)

    def settle(self) -> None:
        """Wait until the server is through with the statements that were cut, and has ended their connections."""
        for connection in list(self._connections):
            if connection.is_unheard:
                connection.join()

    def claim(self, transaction: list[bytes]) -> _Plan | None:
        """Take one cut from the plan if it is due at the last statement of `transaction`."""
        with self._lock:
            if self._plan is None or not self._plan.left or not self._plan.fits(transaction):
                return None
            self._plan.left -= 1
            return self._plan

    def give_back(self, plan: _Plan) -> None:
        """Return a cut that was claimed and not made."""
        with self._lock:
            plan.left += 1

    def count(self, plan: _Plan) -> None:
        """Note a cut; its client must not have seen it yet."""
        with self._lock:
            self.cuts += 1
            self.refuse = self.refuse or (plan.then_refuse and not plan.left)

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            if self._closing:
                client.close()
                return
            self._connections = [connection for connection in self._connections if connection.is_alive()]
            if server := self._reach_server():
                connection = _Connection(self, client, server)
                self._connections.append(connection)
                connection.start()
            else:
                client.close()

    def _reach_server(self) -> socket.socket | None:
        if self.refuse:
            return None
        try:
            return socket.create_connection(self._server)
        except OSError:
            return None


class _Connection(threading.Thread):
    """One client and its server: this thread forwards the answers, a second one the questions.

    It lasts until the server has ended its side, and only then hangs up on a client whose commit was cut.
    """

    def __init__(self, proxy: PostgresProxy, client: socket.socket, server: socket.socket) -> None:
        super().__init__(name="postgres-proxy-answers", daemon=True)
        self._proxy = proxy
        self._client = client
        self._server = server
        self._transaction: list[bytes] = []
        self._asked = 1  # the startup is a question too
        self._answered = 0
        self._awaits_commit = False
        self._committed: SimpleQueue[bool] = SimpleQueue()
        self.is_unheard = False  # what the server still says is dropped
        for side in (client, server):
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def run(self) -> None:
        questions = threading.Thread(target=self._carry_questions, name="postgres-proxy-questions", daemon=True)
        questions.start()
        with self._client, self._server:
            with suppress(OSError), self._server.makefile("rb") as stream:
                self._forward_answers(stream)
            self.hang_up()
            self._committed.put(False)
            questions.join()

    def hang_up(self) -> None:
        """End both sides at once."""
        for side in (self._client, self._server):
            _shut(side, socket.SHUT_RDWR)

    def _carry_questions(self) -> None:
        with suppress(OSError), self._client.makefile("rb") as stream:
            self._server.sendall(startup(stream, self._client))
            self._forward_questions(stream)
        _shut(self._server, socket.SHUT_WR)

    def _forward_questions(self, stream: BufferedReader) -> None:
        """Forward what the client sends until it ends or is cut off; the server then ends when it is through."""
        for message in messages(stream):
            plan = self._note_question(message)
            if plan is None:
                self._server.sendall(message)
            elif self._is_cut_at(plan, message):
                return

    def _note_question(self, message: bytes) -> _Plan | None:
        if message[:1] != _QUERY:
            return None
        self._asked += 1
        statement = message[5:-1]
        if statement.upper().startswith(_BEGINNINGS):
            self._transaction.clear()
        self._transaction.append(statement)
        return self._proxy.claim(self._transaction)

    def _is_cut_at(self, plan: _Plan, message: bytes) -> bool:
        """Send `message` on or not, as planned, and say whether that was the client's last."""
        if plan.at is Cut.AFTER_COMMIT:
            self._awaits_commit = True
            self._server.sendall(message)
            if not self._committed.get():
                self._proxy.give_back(plan)
                return False
        self.is_unheard = plan.at is not Cut.BEFORE_COMMIT
        self._proxy.count(plan)
        if plan.at is Cut.DURING_STATEMENT:
            self._server.sendall(message)
            _shut(self._client, socket.SHUT_RDWR)
        return True

    def _forward_answers(self, stream: BufferedReader) -> None:
        """Forward what the server sends until it ends, except the answer to what was cut."""
        for message in messages(stream):
            kind = message[:1]
            if self._awaits_commit and self._answered == self._asked - 1 and kind in _OUTCOMES:
                self._awaits_commit = False
                self.is_unheard = message == _COMMITTED
                self._committed.put(self.is_unheard)
            self._answered += kind == _READY
            if not self.is_unheard:
                self._client.sendall(message)


def startup(stream: BufferedReader, client: socket.socket) -> bytes:
    """Return the client's first message, the only one without a type; before it, decline encryption."""
    while True:
        head = stream.read(8)
        if int.from_bytes(head[4:]) not in _ENCRYPTION_REQUESTS:
            return head + stream.read(max(0, int.from_bytes(head[:4]) - len(head)))
        client.sendall(b"N")


def messages(stream: BufferedReader) -> Iterator[bytes]:
    """Yield each whole message: a letter, the length of the rest in four bytes, the rest."""
    while len(head := stream.read(5)) == 5:
        size = int.from_bytes(head[1:]) - 4
        body = stream.read(size)
        if len(body) < size:
            return
        yield head + body


def _is_commit(statement: bytes) -> bool:
    return statement.strip(b" ;\n").upper() == b"COMMIT"


def _shut(side: socket.socket, how: int) -> None:
    # Either side may have ended it already.
    with suppress(OSError):
        side.shutdown(how)
