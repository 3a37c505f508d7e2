"""Who reaches a web server that has no login, in words."""

from __future__ import annotations

import pytest

from bench_pipeline.ui.server import who_reaches


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_on_loopback_it_is_this_machine(host: str) -> None:
    assert who_reaches(host) == "every process and every user of this machine"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "gpu-1", "localhost.example"])  # noqa: S104 - tested
def test_elsewhere_it_is_the_network_and_a_proxy_is_named(host: str) -> None:
    assert who_reaches(host).startswith("everyone whose network leads to this machine; put a proxy with a login")
