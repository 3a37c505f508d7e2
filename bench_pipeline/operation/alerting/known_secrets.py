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
            found |= set(_of_setting(name, value.get_secret_value()))
    found |= set(_passwords(settings.ollama_host))
    found |= {value for name, value in os.environ.items() if _NAME.search(name) and value.lower() not in _SWITCHES}
    return frozenset(one for one in found if one)


def _of_setting(name: str, value: str) -> Iterator[str]:
    """Yield the secret of a setting: of a database's address its passwords, of a receiver's whatever may be a token."""
    if name == "alert_urls":
        for address in re.split(r"\s*,\s*(?=\w+://)|\s+", value):
            yield address
            yield from _passwords(address)
            yield from (part for part in re.split(r"[/?&=:;,@]", address.partition("://")[2]) if _is_token(part))
    elif name.endswith("_url"):
        yield from _passwords(value)
    else:
        yield value


def _passwords(address: str) -> Iterator[str]:
    """Yield what stands where a password can, also where it was typed without encoding."""
    login = address.partition("://")[2].rpartition("@")[0]
    if ":" in login:
        yield login.partition(":")[2]
        yield login
    try:
        parsed = urlsplit(address)
        yield parsed.password or ""
    except ValueError:
        pass
    yield from (value for name, value in _URL_QUERY.findall(address) if _NAME.search(name))


def _is_token(part: str) -> bool:
    """Neither the host of a receiver nor a plain word in its address counts as a secret."""
    return len(part) >= _LEAST_TOKEN and "." not in part and part != "localhost" and not part.isdigit()
