"""A fake Ollama server on a real socket that answers, stalls and breaks as the real one does.

Serves Ollama's native API and OpenAI's from the same models; also a program for measurements.
"""

from __future__ import annotations

import argparse
import json
import select
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import Self

from bench_pipeline_tests.fakes.dialects import Dialect, GenerateDialect, Metrics, NativeDialect, OpenAIDialect
from bench_pipeline_tests.fakes.faults import SCRIPTS, Fault, Finish, Script, Tail
from bench_pipeline_tests.fakes.ollama_state import FakeModel, OllamaState, Record, Resident

__all__ = ["FakeModel", "FakeOllama", "Fault", "Record", "Resident"]

DRIP_S = 0.1
_DIALECTS: dict[str, Dialect] = {
    "/api/chat": NativeDialect(),
    "/api/generate": GenerateDialect(),
    "/v1/chat/completions": OpenAIDialect(),
}


class _ClientGoneError(Exception):
    """The client hung up, or the server is being closed."""


class FakeOllama(OllamaState):
    """The server: a context manager on a loopback port, a free one unless `port` says which.

    `single_flight` serves one call at a time; `linger_polls` is for how many looks at `/api/ps` an unloaded
    model still shows. A prompt of more words than the window is refused when the request says so and the server
    `knows_truncate`; else half of the window is read of it. Paths that are `broken` answer 500,
    those in `answers` with that object and status 200, those in `refusals` with each refusal once.
    """

    def __init__(
        self,
        models: Mapping[str, FakeModel] | None = None,
        *,
        port: int = 0,
        single_flight: bool = False,
        linger_polls: int = 0,
        version: str = "0.33.0",
    ) -> None:
        super().__init__(models or {}, version, linger_polls)
        self.flight = threading.Lock() if single_flight else nullcontext()
        self.connections: set[socket.socket] = set()
        self._server = _TcpServer(("127.0.0.1", port), _Connection)
        self._server.fake = self

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self.connections):
            _hang_up(connection)

    def serve_forever(self) -> None:
        self._server.serve_forever()


class _TcpServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    fake: FakeOllama


@dataclass
class _Talk:
    """One request for a reply, on its way."""

    record: Record
    dialect: Dialect
    name: str
    model: FakeModel
    script: Script
    prompt: str
    started_ns: int
    loaded_ns: int = 0
    window: int = 0

    @property
    def overflows(self) -> bool:
        return len(self.prompt.split()) > self.window


class _Connection(socketserver.StreamRequestHandler):
    """Reads requests off one connection, which stays open between them, and answers each."""

    disable_nagle_algorithm = True
    server: _TcpServer

    def setup(self) -> None:
        super().setup()
        self.fake = self.server.fake
        self.fake.connections.add(self.connection)

    def finish(self) -> None:
        self.fake.connections.discard(self.connection)
        with suppress(OSError):
            super().finish()

    def handle(self) -> None:
        # A client that hangs up ends its connection; there is nobody left to tell.
        with suppress(_ClientGoneError, OSError):
            while head := self.rfile.readline():
                path = head.split()[1].decode()
                headers, raw = self._read_headers_and_body()
                body = json.loads(raw) if raw else {}
                record = Record(path, body.get("model"), body, time.monotonic_ns(), headers, raw)
                self.fake.log.append(record)
                self._route(record)

    def _read_headers_and_body(self) -> tuple[dict[str, str], bytes]:
        headers = {}
        while (line := self.rfile.readline().strip()) != b"":
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        return headers, self.rfile.read(int(headers.get("content-length", 0)))

    def _route(self, record: Record) -> None:
        if self._is_scripted(record):
            return
        match record.path:
            case "/api/tags":
                self._json(record, self.fake.tags())
            case "/api/version":
                self._json(record, {"version": self.fake.version})
            case "/api/ps":
                self._json(record, self.fake.residents())
            case "/api/show":
                self._show(record)
            case "/v1/models":
                self._json(record, {"object": "list", "data": [{"id": name} for name in self.fake.models]})
            case path if path in _DIALECTS:
                self._chat(record, _DIALECTS[path])
            case _:
                self._json(record, {"error": "no such route"}, 404)

    def _is_scripted(self, record: Record) -> bool:
        """Send what the test has laid down for this path, if anything."""
        if refusal := self.fake.next_refusal(record.path):
            self._json(record, refusal.body, refusal.status, refusal.headers)
        elif record.path in self.fake.broken:
            self._json(record, {"error": "something went wrong"}, 500)
        elif record.path in self.fake.answers:
            self._json(record, self.fake.answers[record.path])
        else:
            return False
        return True

    def _show(self, record: Record) -> None:
        name = self.fake.find(record.body["model"])
        if name is None:
            self._json(record, {"error": "model not found"}, 404)
        else:
            self._json(record, self.fake.show(name))

    def _chat(self, record: Record, dialect: Dialect) -> None:
        started_ns = time.monotonic_ns()
        body = record.body
        name = self.fake.find(body["model"])
        if name is None:
            self._json(record, {"error": "model not found"}, 404)
            return
        model = self.fake.models[name]
        if body.get("think") and "thinking" not in model.capabilities:
            self._json(record, {"error": "model does not support thinking"}, 400)
            return
        if not (body.get("messages") or body.get("prompt")):
            self._load_or_unload(record, name, model)
            return
        script = model.script_of_next_call()
        if script.status != HTTPStatus.OK:
            self._json(record, {"error": script.error}, script.status)
            return
        texts = [message["content"] for message in body.get("messages", [])] or [body.get("system", ""), body["prompt"]]
        prompt = "\n".join(texts)
        talk = _Talk(record, dialect, name, model, script, prompt, started_ns)
        with self.fake.flight:
            self._generate(talk)

    def _load_or_unload(self, record: Record, name: str, model: FakeModel) -> None:
        last = {"model": name, "message": {"role": "assistant", "content": ""}, "done": True}
        if record.body.get("keep_alive") == 0:
            self.fake.unload(name)
            self._json(record, last | {"done_reason": "unload"})
            return
        with self.fake.flight:
            if self._load(record, name, model):
                self._json(record, last | {"done_reason": "load"})

    def _load(self, record: Record, name: str, model: FakeModel) -> bool:
        """Load the model unless it is loaded; say whether it is now, else the refusal has been sent."""
        num_ctx = (record.body.get("options") or {}).get("num_ctx")
        record.switched = self.fake.use(name)
        if self.fake.is_loaded(name, num_ctx):
            return True
        if model.refuses_next_load():
            script = SCRIPTS[Fault.LOADING_REFUSED]
            self._json(record, {"error": script.error}, script.status)
            return False
        self._pause(model.load_ms / 1000)
        self.fake.load(name, num_ctx)
        record.loaded = True
        return True

    def _generate(self, talk: _Talk) -> None:
        if not self._load(talk.record, talk.name, talk.model):
            return
        talk.loaded_ns = time.monotonic_ns()
        talk.window = self.fake.resident[talk.name].context_length
        if talk.overflows and self.fake.knows_truncate and talk.record.body.get("truncate") is False:
            self._json(talk.record, {"error": "the prompt is longer than the context length"}, 400)
            return
        self._pause(talk.model.latency_ms / 1000)
        talk.record.answered_ns = time.monotonic_ns()
        if talk.record.body.get("keep_alive") == 0:
            self.fake.unload(talk.name)
        _FINISHES[talk.script.finish](self, talk)

    def _end(self, talk: _Talk) -> None:
        if talk.record.body.get("stream", True):
            self._send_stream(talk)
        else:
            self._send_whole(talk)

    def _send_whole(self, talk: _Talk) -> None:
        """One object instead of a stream, as Ollama answers `stream: false`."""
        reply = talk.model.reply_to(talk.prompt, talk.record.body)
        message = {"role": "assistant", "content": reply}
        if talk.script.tail is Tail.NOT_DONE:
            self._json(talk.record, {"model": talk.name, "message": message, "done": False})
            return
        head = {"model": talk.name, "message": message, "done": True, "done_reason": talk.script.done_reason}
        self._json(talk.record, head | self._metrics(talk, len(reply.split())).native())

    def _send_stream(self, talk: _Talk, end: bytes = b"0\r\n\r\n") -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {talk.dialect.content_type}\r\n"
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in self._pieces(talk))
        self.wfile.write(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + end)

    def _pieces(self, talk: _Talk) -> Iterator[bytes]:
        reply = talk.model.reply_to(talk.prompt, talk.record.body)
        words = reply[: round(len(reply) * talk.script.share)].split(" ")
        if talk.model.thinking:
            yield talk.dialect.token(talk.name, "", talk.model.thinking)
        for index, word in enumerate(words):
            yield talk.dialect.token(talk.name, word if index == 0 else f" {word}")
        match talk.script.tail:
            case Tail.DONE:
                metrics = self._metrics(talk, len(words))
                yield talk.dialect.done(talk.name, talk.script.done_reason, metrics)
            case Tail.NOT_DONE:
                yield talk.dialect.not_done(talk.name)
            case Tail.ERROR:
                yield talk.dialect.error(talk.script.error)
            case Tail.JUNK:
                yield talk.script.junk
            case Tail.NOTHING:
                return

    def _metrics(self, talk: _Talk, reply_tokens: int) -> Metrics:
        ended_ns = time.monotonic_ns()
        working = ended_ns - talk.loaded_ns
        metrics = Metrics(
            total=ended_ns - talk.started_ns,
            load=talk.loaded_ns - talk.started_ns,
            prompt=working // 4,
            generation=working - working // 4,
            prompt_tokens=talk.window // 2 + 2 if talk.overflows else len(talk.prompt.split()),
            reply_tokens=reply_tokens,
            cached_tokens=talk.model.cached_tokens,
        )
        return replace(metrics, **talk.script.account)

    def _cut(self, talk: _Talk) -> None:
        self._send_stream(talk, end=b"")
        _hang_up(self.connection)

    def _drip(self, talk: _Talk) -> None:
        token = talk.dialect.token(talk.name, "drip ")
        self._send_stream(talk, end=b"")
        self._repeat(b"%x\r\n%b\r\n" % (len(token), token))

    def _drip_headers(self, _: _Talk) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        self._repeat(b"X-Drip: 1\r\n")

    def _stay_silent(self, talk: _Talk) -> None:
        talk.record.answered_ns = None
        self._pause(None)

    def _send_body(self, talk: _Talk) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {talk.dialect.content_type}\r\n"
        length = f"Content-Length: {len(talk.script.junk)}\r\n\r\n"
        self.wfile.write(head.encode() + length.encode() + talk.script.junk)

    def _repeat(self, piece: bytes) -> None:
        while True:
            self.wfile.write(piece)
            self._pause(DRIP_S)

    def _pause(self, seconds: float | None) -> None:
        """Wait, for ever without `seconds`, but end at once when the client hangs up as the real server does."""
        if seconds != 0 and select.select([self.connection], [], [], seconds)[0]:
            raise _ClientGoneError

    def _json(
        self, record: Record, value: object, status: int = 200, headers: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        body = json.dumps(value).encode()
        known = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        lines = [f"HTTP/1.1 {status} X", *(f"{name}: {text}" for name, text in (known | dict(headers)).items())]
        record.answered_ns = time.monotonic_ns()
        self.wfile.write("\r\n".join([*lines, "", ""]).encode() + body)


_FINISHES: dict[Finish, Callable[[_Connection, _Talk], None]] = {
    Finish.END: _Connection._end,
    Finish.WHOLE: _Connection._send_whole,
    Finish.CUT: _Connection._cut,
    Finish.DRIP: _Connection._drip,
    Finish.DRIP_HEADERS: _Connection._drip_headers,
    Finish.SILENCE: _Connection._stay_silent,
    Finish.BODY: _Connection._send_body,
}


def _hang_up(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def main(arguments: list[str] | None = None) -> None:
    """Serve models m000, m001, … until interrupted; the first line printed is the address."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--models", type=int, default=10, help="how many models")
    parser.add_argument("--latency-ms", type=float, default=0.0, help="service time of a call")
    parser.add_argument("--load-ms", type=float, default=0.0, help="time to load a model")
    parser.add_argument("--single-flight", action="store_true", help="one call at a time")
    parser.add_argument("--answers", type=Path, help="JSON file: part of the prompt -> reply")
    given = parser.parse_args(arguments)
    answers = json.loads(given.answers.read_text(encoding="utf-8")) if given.answers else {}
    models = {
        f"m{index:03d}:latest": FakeModel(
            digest=f"sha256:{index:064x}",
            answers=answers,
            latency_ms=given.latency_ms,
            load_ms=given.load_ms,
        )
        for index in range(given.models)
    }
    server = FakeOllama(models, port=given.port, single_flight=given.single_flight)
    sys.stdout.write(f"{server.url}\n")
    sys.stdout.flush()
    with suppress(KeyboardInterrupt):
        server.serve_forever()


if __name__ == "__main__":
    main()
