"""HTTP requests with a total time-out, and the mapping of their failures to `RuntimeFailure`.

Holds the transport and the only way to send a request. What the body of a failure says is in failures.py, the fields
of each API in ollama_wire.py and openai_wire.py.
"""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import httpcore
import httpx
from pydantic import BaseModel, ValidationError

from bench_pipeline.domain.errors import FailureKind, RuntimeFailure
from bench_pipeline.runtimes.failures import (
    bad_response,
    error_in,
    is_about_length,
    is_web_page,
    one_line,
    pause_asked,
    redirect_target,
    wants_https,
    why_unreachable,
    words_of,
)
from bench_pipeline.runtimes.wire import WireRequest, encoded

CONNECT_LIMIT_S = 5.0
LISTING_LIMIT_S = 8.0
"""Limit for listing a server's models; a dead server must not hold up a sensor's tick."""
QUESTION_LIMIT_S = 30.0
"""Limit for any other question that needs no model in memory."""
LONGEST_ANSWER_BYTES = 32 * 2**20
_PROBE_LIMIT_S = 2.0
# A host name that no DNS query can carry raises UnicodeError.
_UNREACHABLE = (httpcore.ConnectError, httpcore.ConnectTimeout, httpcore.UnsupportedProtocol, UnicodeError)
_KIND_OF_STATUS = {
    404: FailureKind.NOT_FOUND,
    429: FailureKind.BUSY,
    503: FailureKind.BUSY,
    # A proxy answers, and the server behind it does not.
    **dict.fromkeys((502, 504), FailureKind.UNAVAILABLE),
    # What the server refuses every time: a redirect, a field, a key, a host, a route, a prompt that is too long.
    **dict.fromkeys((301, 302, 303, 307, 308), FailureKind.UNSUPPORTED),
    **dict.fromkeys((400, 401, 403, 405, 407, 413, 414, 415, 422, 431, 501), FailureKind.UNSUPPORTED),
}

Wire = TypeVar("Wire", bound=BaseModel)


def _seconds_until(moment: float | None) -> float | None:
    if moment is None:
        return None
    left = moment - time.monotonic()
    if left <= 0:
        raise httpcore.TimeoutException
    return left


class _TotalStream(httpcore.NetworkStream):
    """A connection whose `timeout` arguments are points of the monotonic clock, not durations."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _seconds_until(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _seconds_until(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _TotalStream(self._inner.start_tls(ssl_context, server_hostname, _seconds_until(timeout)))

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - httpcore's signature
        return self._inner.get_extra_info(info)


class _TotalBackend(httpcore.SyncBackend):
    """Opens connections whose `timeout` arguments are points of the monotonic clock."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        left = _seconds_until(timeout)
        return _TotalStream(super().connect_tcp(host, port, left, local_address, socket_options))


class _AnswerTooLong(Exception):
    """The answer is longer than any real one."""


class _Body(httpx.SyncByteStream):
    """The bytes of an answer, up to `LONGEST_ANSWER_BYTES`."""

    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        room = LONGEST_ANSWER_BYTES
        for part in self._response.iter_stream():
            room -= len(part)
            if room < 0:
                raise _AnswerTooLong
            yield part

    def close(self) -> None:
        self._response.close()


class TotalTimeoutTransport(httpx.BaseTransport):
    """httpx's transport with one difference: a request's time-out bounds the whole request, not each read.

    httpx restarts its read time-out with every chunk, so a server that sends slowly would never exceed it.
    Raises httpcore's exceptions unchanged, and `RuntimeFailure` for an unusable SSL_CERT_FILE.
    """

    def __init__(self, tls: bool) -> None:
        # Building a TLS context takes 17 ms and more, and http:// never uses it.
        context = _tls_context() if tls else None
        self._pool = httpcore.ConnectionPool(ssl_context=context, network_backend=_TotalBackend())

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request`; its time-out is the seconds from now to the last byte of the answer."""
        limit = request.extensions["timeout"]["read"]
        now = time.monotonic()
        moments = {
            "connect": now + min(limit, CONNECT_LIMIT_S),
            "read": now + limit,
            "write": now + limit,
            "pool": limit,
        }
        url = request.url
        response = self._sent(
            httpcore.Request(
                method=request.method,
                url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                headers=request.headers.raw,
                content=request.read(),
                extensions={"timeout": moments},
            )
        )
        return httpx.Response(response.status, headers=response.headers, stream=_Body(response))

    def _sent(self, request: httpcore.Request) -> httpcore.Response:
        """Send the request, once more if a kept connection turns out to be closed before anything was answered.

        llama.cpp's server closes connections that it announces to keep.
        """
        kept = any(connection.is_idle() for connection in self._pool.connections)
        try:
            return self._pool.handle_request(request)
        except (httpcore.RemoteProtocolError, httpcore.ReadError, httpcore.WriteError):
            if not kept:
                raise
            return self._pool.handle_request(request)

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer; `elapsed_ns` is from sending to the last byte on the monotonic clock.

    `arrivals` holds, for each piece that arrived, where it ends in `body` and the nanoseconds since sending.
    """

    body: bytes
    elapsed_ns: int
    arrivals: tuple[tuple[int, int], ...] = ()

    def lines(self) -> Iterator[tuple[bytes, int]]:
        """Yield each line with the nanoseconds from sending to its arrival."""
        end, pieces = 0, iter(self.arrivals)
        arrived = next(pieces, (len(self.body), self.elapsed_ns))
        for line in self.body.splitlines(keepends=True):
            end += len(line)
            while arrived[0] < end:
                arrived = next(pieces, (len(self.body), self.elapsed_ns))
            yield line.rstrip(b"\r\n"), arrived[1]


class Server:
    """One HTTP server and the texts for its failures.

    `if_down` and `if_missing` have the field `{address}`, the latter also `{model}`; `if_denied` says how to give the
    server a key.
    """

    def __init__(self, http: httpx.Client, if_down: str, if_missing: str, if_denied: str) -> None:
        self._http = http
        # Without the user name and password that an address may carry.
        self.address = str(http.base_url.copy_with(userinfo=b"")).rstrip("/")
        self._secret = http.headers.get("authorization", "").partition(" ")[2]
        self._if_down = if_down
        self._if_missing = if_missing
        self._if_denied = if_denied
        self._has_answered = False

    def exchange(
        self,
        method: str,
        path: str,
        model: str,
        limit_s: float,
        body: object = None,
        quote_errors: bool = True,
    ) -> Answer:
        """Send one request and read its whole answer within `limit_s` seconds.

        `quote_errors` must be False for a request with a prompt: parsers quote the text in their errors.
        Raises `RuntimeFailure`.
        """
        content = None if body is None else encoded(body)
        request = self._http.build_request(method, path, content=content, timeout=limit_s)
        begun = time.perf_counter_ns()
        try:
            response = self._http.send(request, stream=True)
            self._has_answered = True
            received, arrivals = _received(response, begun)
        except _UNREACHABLE as error:
            raise self._unreachable(error) from error
        except httpcore.TimeoutException as error:
            raise RuntimeFailure(
                FailureKind.DEADLINE, f"{model}: no complete answer from {self.address} within {limit_s:.1f} s"
            ) from error
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise self._lost(model, request.url) from error
        except (httpx.DecodingError, _AnswerTooLong) as error:
            raise bad_response(model, "is garbled or endless") from error
        elapsed_ns = time.perf_counter_ns() - begun
        if response.status_code != httpx.codes.OK:
            raise self._refusal(model, response, path, received, quote_errors)
        if is_web_page(received):
            text = one_line(f"{model}: {self.address} answered with a web page, {words_of(received)}", quote=True)
            raise RuntimeFailure(FailureKind.SERVER_ERROR, text.rstrip(", "))
        return Answer(received, elapsed_ns, arrivals)

    def wire(self, path: str, body: object, key_variable: str) -> WireRequest:
        """Return a POST of `body` as `exchange` sends it; the variable stands for the authorization's key."""
        headers = {name: self._http.headers[name] for name in ("content-type", "accept")}
        if kind := self._http.headers.get("authorization", "").partition(" ")[0]:
            # What Basic sends is the address's own user and password, in Base64.
            headers["authorization"] = f"{kind} ${'BASIC_CREDENTIALS' if kind == 'Basic' else key_variable}"
        return WireRequest("POST", f"{self.address}{path}", headers, encoded(body))

    def missing(self, model: str) -> RuntimeFailure:
        """Return the failure for a model that the server does not have."""
        return RuntimeFailure(FailureKind.NOT_FOUND, self._if_missing.format(model=model, address=self.address))

    def read(self, wire: type[Wire], body: bytes, model: str, quote_errors: bool = True) -> Wire:
        """Return `body`, a JSON object of an answer with status 200, as a `wire`.

        Once an answer has begun, its status is 200; a later failure is an object of its body. Raises `RuntimeFailure`,
        `server_error` for such an object, `bad_response` for one that does not follow the API.
        """
        if (words := error_in(body)) is not None:
            raise self.reported(model, words, quote_errors)
        try:
            return wire.model_validate_json(body)
        except ValidationError:
            # The validation's own text quotes the reply.
            raise bad_response(model, "does not follow its API") from None

    def reported(self, model: str, words: str, quote: bool) -> RuntimeFailure:
        """Return the failure for an error that the server reports in an answer with status 200."""
        text = self._with_reason(f"{model}: the server reported an error", words, quote, model)
        return RuntimeFailure(FailureKind.SERVER_ERROR, text)

    def close(self) -> None:
        """Close every connection."""
        self._http.close()

    def _with_reason(self, text: str, words: str, quote: bool, model: str) -> str:
        """Return `text` and the server's `words` on one line; without `quote`, only up to what may be a prompt."""
        names = (model, model.removesuffix(":latest"))
        reason = one_line(words, quote, names, self._secret).rstrip(" ;,.")
        return f"{text}: {reason}" if reason else text

    def _unreachable(self, error: Exception) -> RuntimeFailure:
        why = why_unreachable(error)
        text = f"{self.address}: {why}" if why else self._if_down.format(address=self.address)
        return RuntimeFailure(FailureKind.UNAVAILABLE, text)

    def _lost(self, model: str, url: httpx.URL) -> RuntimeFailure:
        if not self._has_answered and url.scheme == "http" and _speaks_tls(url.host, url.port or 80):
            return self._speaks_https()
        return RuntimeFailure(FailureKind.CONNECTION_LOST, f"{model}: the connection to {self.address} was lost")

    def _speaks_https(self) -> RuntimeFailure:
        return RuntimeFailure(FailureKind.UNAVAILABLE, f"{self.address} speaks https; write https:// in its address")

    def _refusal(self, model: str, response: httpx.Response, path: str, body: bytes, quote: bool) -> RuntimeFailure:
        status, words = response.status_code, words_of(body)
        kind = _KIND_OF_STATUS.get(status, FailureKind.SERVER_ERROR)
        if status == 400 and wants_https(words):
            return self._speaks_https()
        if kind is FailureKind.NOT_FOUND:
            return RuntimeFailure(kind, self._with_reason(f"{self.missing(model)}; its answer", words, quote, model))
        text = self._with_reason(f"{model}: {self.address} answered {status}", words, quote, model)
        if hint := self._hint(response, path, words):
            text = f"{text}; {hint}"
        return RuntimeFailure(kind, text, pause_asked(status, response.headers, words))

    def _hint(self, response: httpx.Response, path: str, words: str) -> str | None:
        """Return what to do about a refusal; None where nothing more is known than its words."""
        match response.status_code:
            case 301 | 302 | 303 | 307 | 308:
                target = redirect_target(response.request.url, path, response.headers.get("location", ""))
                return (
                    f"it redirects to {target}; set that address" if target else "it redirects, and does not say where"
                )
            case 401 | 403:
                return self._if_denied
            case 407:
                return "a proxy answers there and wants a login; set the server's own address"
            case 502 | 504:
                return "a proxy answers there, but the server behind it does not"
            case 413 | 414:
                return "shorten the prompt"
            case 400 | 422 if is_about_length(words):
                return "raise decoding.num_ctx or shorten the prompt"
        return None


def _tls_context() -> ssl.SSLContext:
    try:
        return httpx.create_ssl_context()
    except (OSError, ssl.SSLError) as error:
        file = os.environ.get("SSL_CERT_FILE")
        text = f"SSL_CERT_FILE names {file}, which cannot be read as certificates; correct the path or unset it"
        raise RuntimeFailure(FailureKind.UNSUPPORTED, text) from error


def _speaks_tls(host: str, port: int) -> bool:
    """Whether a server that hangs up on plain HTTP takes part in a TLS handshake; its certificate does not matter."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((host, port), timeout=_PROBE_LIMIT_S) as plain,
            context.wrap_socket(plain, server_hostname=host),
        ):
            return True
    except (OSError, ValueError):
        return False


def _received(response: httpx.Response, begun: int) -> tuple[bytes, tuple[tuple[int, int], ...]]:
    """Read the whole answer; return it with the arrivals of its pieces, in nanoseconds since `begun`."""
    pieces: list[bytes] = []
    arrivals: list[tuple[int, int]] = []
    end = 0
    try:
        for piece in response.iter_bytes():
            pieces.append(piece)
            end += len(piece)
            arrivals.append((end, time.perf_counter_ns() - begun))
    finally:
        response.close()
    return b"".join(pieces), tuple(arrivals)
