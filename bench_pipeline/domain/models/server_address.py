"""Addresses of servers: the forms that `OLLAMA_HOST` may have, hosts with names, what is on this machine.

Which model is at an address is in model_ref.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import unquote

from bench_pipeline.domain.errors import InputError

OLLAMA_PORT = 11434
_DEFAULT_PORTS = {"http": 80, "https": 443}
_FORMS = "write HOST, HOST:PORT or http://HOST:PORT"
_NAMED_FORM = "write NAME=ADDRESS, with a comma between two hosts"
_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """An address for requests. `host` is lower case, IPv6 without brackets; `path` does not end in a slash."""

    scheme: str
    host: str
    port: int
    path: str = ""
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @property
    def url(self) -> str:
        """The address without user and password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"

    def machine(self, this_machine: str) -> str:
        """The machine of the server, the same text for every process that uses it by the machine's name."""
        return this_machine if is_this_machine(self.host) else self.host

    def place(self, this_machine: str) -> str:
        """The server on its machine, told apart from others there by its port."""
        return f"{self.machine(this_machine)}:{self.port}"


def is_host_name(text: str) -> bool:
    """Whether a host may be named so: a word without dots and colons, neither a number nor `localhost`."""
    return bool(_HOST_NAME.fullmatch(text)) and not text.isdecimal() and text.lower() != "localhost"


def is_this_machine(host: str) -> bool:
    """Whether a host name in lower case, or an address, is this machine's."""
    ip = _ip(host)
    return host == "localhost" or (ip is not None and (ip.is_loopback or ip.is_unspecified))


def parse_ollama_host(text: str) -> ServerAddress:
    """Read a value of `OLLAMA_HOST` as Ollama does: `HOST`, `HOST:PORT`, `:PORT`, `SCHEME://HOST[:PORT][/PATH]`.

    Quotes and blanks around it are ignored, an address for listening on every interface means this machine, and the
    default port is 11434, with a scheme that of the scheme. User and password may come before the host. Raises
    `InputError`, which never repeats the text, because it may contain a password.
    """
    value = text.strip().strip("\"'").strip()
    scheme, found, rest = value.partition("://")
    default = _DEFAULT_PORTS.get(scheme.lower(), OLLAMA_PORT) if found else OLLAMA_PORT
    if not found:
        scheme, rest = "http", value
    scheme = scheme.lower()
    if scheme not in _DEFAULT_PORTS:
        raise InputError(f"is not an address with http or https; {_FORMS}")
    place, _, path = rest.partition("/")
    credentials, _, place = place.rpartition("@")
    user, _, password = credentials.partition(":")
    host, port = _host_and_port(place, default)
    if set(host) & set("?#\\ \t\"'@") or "?" in path or "#" in path or not (host + path).isprintable():
        raise InputError(f"contains characters that an address cannot have; {_FORMS}")
    path = f"/{path.strip('/')}" if path.strip("/") else ""
    return ServerAddress(scheme, _reachable(host.lower()), port, path, unquote(user), unquote(password))


def parse_named_hosts(text: str) -> dict[str, ServerAddress]:
    """Read `NAME=ADDRESS,NAME=ADDRESS`, each address as `parse_ollama_host` does; names become lower case.

    Raises `InputError`, which repeats names but no address: no two hosts may have one name, or one address.
    """
    hosts: dict[str, ServerAddress] = {}
    for number, entry in enumerate(filter(None, map(str.strip, text.split(","))), start=1):
        name, equals, address = (part.strip() for part in entry.partition("="))
        if not equals or not is_host_name(name):
            raise InputError(f"host {number} has no name, a word of letters, digits, - and _; {_NAMED_FORM}")
        name = name.lower()
        if not address:
            raise InputError(f"{name} has no address; {_NAMED_FORM}")
        if name in hosts:
            raise InputError(f"names {name} twice; give each host a name of its own")
        try:
            found = parse_ollama_host(address)
        except InputError as error:
            raise InputError(f"{name} {error}") from None
        place = found.place("localhost")
        if alike := next((other for other, known in hosts.items() if known.place("localhost") == place), None):
            raise InputError(f"{alike} and {name} have one address; a server has one name")
        hosts[name] = found
    return hosts


def _host_and_port(place: str, default: int) -> tuple[str, int]:
    if place.startswith("["):
        host, closed, rest = place[1:].partition("]")
        is_ipv6 = isinstance(_ip(host.partition("%")[0]), IPv6Address)
        if not closed or not is_ipv6 or (rest and not rest.startswith(":")):
            raise InputError(f"contains a malformed IPv6 address; {_FORMS}")
        port = rest[1:]
    elif _ip(place.partition("%")[0]) is not None:  # an IPv6 address without brackets has colons of its own
        host, port = place, ""
    else:
        host, _, port = place.partition(":")
    if not port:
        return host, default
    if not port.isdecimal() or not port.isascii() or not 0 < int(port) < 65536:
        raise InputError(f"must have a port from 1 to 65535; {_FORMS}")
    return host, int(port)


def _reachable(host: str) -> str:
    ip = _ip(host)
    if not host or (ip is not None and ip.is_unspecified):
        return "::1" if isinstance(ip, IPv6Address) else "127.0.0.1"
    return host


def _ip(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
