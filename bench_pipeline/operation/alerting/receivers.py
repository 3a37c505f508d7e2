"""Receivers of alerts: the addresses of BENCH_ALERT_URLS, each delivered to by apprise.

An address is named by its position and its scheme and never shown, because most addresses contain a token.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench_pipeline.settings import Settings

if TYPE_CHECKING:
    from apprise import Apprise

_STATUS = re.compile(r"\berror[=: ]+(\d{3})\b")
_TALKATIVE = ("apprise", "urllib3", "requests", "requests_oauthlib", "oauthlib")
_BETWEEN = re.compile(r"\s*,\s*(?=\w+://)|\s+")


@dataclass(frozen=True, slots=True)
class Receiver:
    """One address. `fault` says why it cannot be used, in words without the address; None when it can."""

    name: str
    fault: str | None
    _service: Apprise | None = field(repr=False)

    def deliver(self, title: str, body: str) -> str | None:
        """Send a message. Return None when the receiver accepted it, else why not, without the address."""
        if self._service is None:
            return self.fault
        with _overheard() as said:
            try:
                accepted = self._service.notify(title=title, body=body, body_format="text")
            except Exception as error:  # noqa: BLE001 - seventy services, each with its own; the text may hold the address
                return f"failed with {type(error).__name__}"
        if accepted:
            return None
        status = next((found[1] for line in said if (found := _STATUS.search(line))), None)
        return f"refused it with status {status}" if status else "could not be reached or refused it"


def receivers(settings: Settings) -> list[Receiver]:
    """Return the receivers in the order of the setting; those with a malformed address have a `fault`."""
    if settings.alert_urls is None:
        return []
    addresses = [one for one in _BETWEEN.split(settings.alert_urls.get_secret_value().strip(" \t\r\n,")) if one]
    return [_receiver(position, address) for position, address in enumerate(addresses, start=1)]


def _receiver(position: int, address: str) -> Receiver:
    import apprise

    scheme = address.partition("://")[0].lower()
    known = "://" in address and scheme in apprise.plugins.N_MGR.schemas()  # type: ignore[no-untyped-call]
    name = f"receiver {position} ({scheme})" if known else f"receiver {position}"
    if not known:
        return Receiver(name, "its address has no known scheme; write one such as mailto:// or json://", None)
    asset = apprise.AppriseAsset(app_id="bench", app_desc="bench_pipeline", app_url="", async_mode=False)
    with _overheard():
        service = apprise.Apprise.instantiate(address, asset=asset)
    if service is None:
        return Receiver(name, f"its address is malformed; see the form of {scheme}:// in the manual of apprise", None)
    sender = apprise.Apprise(asset=asset)
    sender.add(service)
    return Receiver(name, None, sender)


@contextmanager
def _overheard() -> Iterator[list[str]]:
    """Keep what the senders say out of every log, because it shows parts of addresses; yield it."""
    said: list[str] = []

    class _Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    listener = _Listener(logging.WARNING)
    before = [(logger, logger.propagate, logger.handlers[:]) for logger in map(logging.getLogger, _TALKATIVE)]
    for logger, _, _ in before:
        logger.propagate, logger.handlers = False, [listener]
    try:
        yield said
    finally:
        for logger, propagated, handlers in before:
            logger.propagate, logger.handlers = propagated, handlers
