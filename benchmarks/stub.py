"""A stub of an Ollama server with a known service time: one call at a time, every answer right.

It speaks as much of the native API as the measured programs use. Holds no failures; those are the tests' affair.
"""

from __future__ import annotations

import json
import socketserver
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Self

Json = dict[str, Any]
_SIZE_BYTES = 4_000_000_000
_DETAILS = {"family": "stub", "parameter_size": "7B", "quantization_level": "Q4_K_M"}
_CAPABILITIES = ["completion"]


@dataclass
class Request:
    """One request, with the time between its arrival and the first byte of the answer."""

    path: str
    with_prompt: bool
    arrived_ns: int
    answered_ns: int = 0
    loaded: bool = False


@dataclass
class Stub:
    """The server, as a context manager. Answers as `answer` says, `latency_ms` after a call was let in.

    With `work` it computes instead of waiting: `work` is called with the name of the model.
    """

    models: Sequence[str]
    latency_ms: float
    answer: Callable[[str], str]
    work: Callable[[str], None] | None = None
    log: list[Request] = field(default_factory=list)
    resident: dict[str, int] = field(default_factory=dict)
    flight: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Self:
        self._server = _Server(("127.0.0.1", 0), _Connection)
        self._server.stub = self
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """The address."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def busy_s(self) -> float:
        """How long the server was answering anything: the union of its requests' spans, in seconds."""
        return self._busy_ns(0, time.monotonic_ns()) / 1e9

    def busy_share(self, begun_ns: int, ended_ns: int) -> float:
        """The share of this stretch of time in which the server was answering anything."""
        return self._busy_ns(begun_ns, ended_ns) / (ended_ns - begun_ns)

    def _busy_ns(self, begun_ns: int, ended_ns: int) -> int:
        total, end = 0, begun_ns
        for begun, ended in sorted((request.arrived_ns, request.answered_ns) for request in self.log):
            total += max(0, min(ended, ended_ns) - max(begun, end))
            end = max(end, ended)
        return total

    @property
    def service_ms(self) -> float:
        """The median time that a call with a prompt took in the server, in milliseconds."""
        return median((request.answered_ns - request.arrived_ns) / 1e6 for request in self.log if request.with_prompt)

    @property
    def loads(self) -> int:
        """How often a model was loaded."""
        return sum(request.loaded for request in self.log)

    def load(self, name: str, num_ctx: int) -> bool:
        """Load a model unless it is loaded with this context; return whether it was loaded now."""
        if self.resident.get(name) == num_ctx:
            return False
        self.resident[name] = num_ctx
        return True

    def listed(self, name: str) -> Json:
        """A model as the server lists it."""
        digest = f"sha256:{self.models.index(name):064x}"
        return {
            "name": name,
            "model": name,
            "size": _SIZE_BYTES,
            "digest": digest,
            "details": _DETAILS,
            "capabilities": _CAPABILITIES,
        }


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    stub: Stub


class _Connection(socketserver.StreamRequestHandler):
    """Reads one request after another from a connection that stays open."""

    disable_nagle_algorithm = True
    server: _Server

    def handle(self) -> None:
        with suppress(OSError):
            while head := self.rfile.readline():
                path, body = head.split()[1].decode(), self._body()
                request = Request(path, bool(body.get("messages")), time.monotonic_ns())
                self._answer(request, body)
                self.server.stub.log.append(request)

    def _body(self) -> Json:
        length = 0
        while (line := self.rfile.readline().strip()) != b"":
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        return json.loads(self.rfile.read(length)) if length else {}

    def _answer(self, request: Request, body: Json) -> None:
        stub = self.server.stub
        match request.path:
            case "/api/version":
                self._send(request, {"version": "0.33.0"})
            case "/api/tags":
                self._send(request, {"models": [stub.listed(name) for name in stub.models]})
            case "/api/ps":
                loaded = list(stub.resident.items())
                sizes = {"size_vram": _SIZE_BYTES}
                residents = [stub.listed(name) | sizes | {"context_length": num_ctx} for name, num_ctx in loaded]
                self._send(request, {"models": residents})
            case "/api/show":
                shown = {"template": "{{ .Prompt }}", "parameters": "", "system": "", "details": _DETAILS}
                context = {"model_info": {"stub.context_length": 32768}, "capabilities": _CAPABILITIES}
                self._send(request, shown | context)
            case "/api/chat":
                self._chat(request, body)
            case _:
                self._send(request, {"error": "no such route"}, status=404)

    def _chat(self, request: Request, body: Json) -> None:
        stub, name = self.server.stub, body["model"]
        if body.get("keep_alive") == 0 and not request.with_prompt:
            stub.resident.pop(name, None)
            self._send(request, _last(name, done_reason="unload"))
            return
        with stub.flight:
            started_ns = time.monotonic_ns()
            request.loaded = stub.load(name, (body.get("options") or {}).get("num_ctx", 4096))
            if not request.with_prompt:
                self._send(request, _last(name, done_reason="load"))
                return
            if stub.work is None:
                time.sleep(stub.latency_ms / 1000)
            else:
                stub.work(name)
            prompt = "\n".join(message["content"] for message in body["messages"])
            self._reply(request, body, stub.answer(prompt), _metrics(prompt, started_ns))

    def _reply(self, request: Request, body: Json, reply: str, metrics: Json) -> None:
        last = _last(body["model"], done_reason="stop") | metrics
        if not body.get("stream", True):
            self._send(request, last | {"message": {"role": "assistant", "content": reply}})
            return
        tokens = [{"model": body["model"], "message": _message(f"{word} "), "done": False} for word in reply.split()]
        lines = [json.dumps(part).encode() + b"\n" for part in (*tokens, last)]
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(line), line) for line in lines)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
        request.answered_ns = time.monotonic_ns()
        self.wfile.write(head + chunks + b"0\r\n\r\n")

    def _send(self, request: Request, value: Json, status: int = 200) -> None:
        body = json.dumps(value).encode()
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        request.answered_ns = time.monotonic_ns()
        self.wfile.write(head.encode() + body)


def _message(content: str) -> Json:
    return {"role": "assistant", "content": content}


def _last(name: str, done_reason: str) -> Json:
    return {"model": name, "message": _message(""), "done": True, "done_reason": done_reason}


def _metrics(prompt: str, started_ns: int) -> Json:
    worked_ns = time.monotonic_ns() - started_ns
    return {
        "total_duration": worked_ns,
        "load_duration": 0,
        "prompt_eval_count": len(prompt.split()),
        "prompt_eval_duration": worked_ns // 4,
        "eval_count": 4,
        "eval_duration": worked_ns - worked_ns // 4,
    }
