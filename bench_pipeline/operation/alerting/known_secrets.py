"""The secrets of this process, which no message may hold: those of the settings and those of the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from pydantic import SecretStr

from bench_pipeline.settings import Settings

_NAME = re.compile(r"PASSW|SECRET|TOKEN|API_?KEY|CREDENTIAL|PRIVATE", re.IGNORECASE)
_URL_QUERY = re.compile(r"[?&;]([^=&;]+)=([^&;]*)")
_SWITCHES = ("0", "1", "yes", "no", "on", "off", "true", "false")
_LEAST_TOKEN = 6


def known_secrets(settings: Settings) -> frozenset[str]:
    """Return every secret that this process was given, whole and in its parts."""
    found: set[str] = set()
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            found |= {value.get_secret_value(), *_parts(value.get_secret_value(), of_receivers=name == "alert_urls")}
    found |= set(_passwords(settings.ollama_host))
    found |= {value for name, value in os.environ.items() if _NAME.search(name) and value.lower() not in _SWITCHES}
    return frozenset(one for one in found if one)


def _parts(text: str, of_receivers: bool) -> Iterator[str]:
    """Yield the passwords in addresses; in those of receivers any part may be a token."""
    for address in re.split(r"[\s,]+(?=\w+://)|\s+", text):
        yield address
        yield from _passwords(address)
        if of_receivers:
            rest = address.partition("://")[2]
            yield from (part for part in re.split(r"[/?&=:;,]|@", rest) if _is_token(part))


def _passwords(address: str) -> Iterator[str]:
    """Yield what stands where a password can, also where it was typed without encoding."""
    login, at, _ = address.partition("://")[2].rpartition("@")
    if at:
        yield login.partition(":")[2]
        yield login
    try:
        parsed = urlsplit(address)
        yield parsed.password or ""
    except ValueError:
        pass
    yield from (value for name, value in _URL_QUERY.findall(address) if _NAME.search(name))


def _is_token(part: str) -> bool:
    """The host of a receiver is no secret, and words of an address are not either."""
    return len(part) >= _LEAST_TOKEN and "." not in part and part != "localhost" and not part.isdigit()
