# ruff: noqa: S104 - addresses as OLLAMA_HOST may say them; nothing is bound
"""`OLLAMA_HOST` is read as Ollama reads it.

The forms are those of Ollama's `envconfig.Host`; reports of clients that read them otherwise: ollama/ollama-python 61,
ollama/ollama 562, moby/moby 46773, Fosowl/agenticSeek 276.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.models.server_address import (
    is_host_name,
    is_this_machine,
    parse_named_hosts,
    parse_ollama_host,
)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("gpu-box", "http://gpu-box:11434"),
        ("gpu-box:8080", "http://gpu-box:8080"),
        ("http://gpu-box", "http://gpu-box:80"),
        ("https://gpu-box", "https://gpu-box:443"),
        ("HTTPS://GPU-Box:8443/ollama/", "https://gpu-box:8443/ollama"),
        ("gpu-box/ollama/api", "http://gpu-box:11434/ollama/api"),
        (":8080", "http://127.0.0.1:8080"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:8080", "http://127.0.0.1:8080"),
        ("::", "http://[::1]:11434"),
        ("[::]:8080", "http://[::1]:8080"),
        ("::1", "http://[::1]:11434"),
        ("[::1]", "http://[::1]:11434"),
        ("http://[fe80::1]:8080/x", "http://[fe80::1]:8080/x"),
        ("  gpu-box \n", "http://gpu-box:11434"),
        ('"http://127.0.0.1:11434"', "http://127.0.0.1:11434"),
        (" 'gpu-box:8080' ", "http://gpu-box:8080"),
        ("http://gpu-box:8080/", "http://gpu-box:8080"),
    ],
)
def test_every_form_that_ollama_takes_leads_to_an_address(text: str, url: str) -> None:
    assert parse_ollama_host(text).url == url


def test_user_and_password_are_kept_apart_and_decoded() -> None:
    address = parse_ollama_host("http://me:p%40ss%2Fword@gpu-box")
    assert (address.url, address.user, address.password) == ("http://gpu-box:80", "me", "p@ss/word")


def test_a_password_does_not_show() -> None:
    assert "hunter2" not in repr(parse_ollama_host("http://me:hunter2@gpu-box"))


@pytest.mark.parametrize(
    "text",
    [
        "ftp://gpu-box",
        "unix:///run/ollama.sock",
        "gpu-box:99999",
        "gpu-box:0",
        "gpu-box:port",
        "gpu-box:١١",
        "http://[::1",
        "[gpu-box]:80",
        "[::1]8080",
        "gpu box",
        "gpu-box?x=1",
        "gpu-box/x#y",
        "http://me:hunter2@gpu-box:port",
    ],
)
def test_an_impossible_address_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(InputError) as refused:
        parse_ollama_host(text)
    assert "write HOST, HOST:PORT or http://HOST:PORT" in str(refused.value)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "local"),
    [
        ("", True),
        ("localhost", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("0.0.0.0", True),
        ("gpu-box", False),
        ("192.168.1.7", False),
        ("localhost.example.org", False),
    ],
)
def test_a_loopback_address_is_on_this_machine(text: str, local: bool) -> None:
    assert is_this_machine(parse_ollama_host(text).host) is local


@given(st.text())
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        address = parse_ollama_host(text)
    except InputError:
        return
    assert parse_ollama_host(address.url).url == address.url


# Hosts with names


def test_named_hosts_keep_their_order_and_names_are_lower_case() -> None:
    hosts = parse_named_hosts(" GPU1 = http://10.0.0.1 , gpu-2=https://me:p%2Cw@box/ollama,,gpu_3=:11435")
    assert {name: address.url for name, address in hosts.items()} == {
        "gpu1": "http://10.0.0.1:80",
        "gpu-2": "https://box:443/ollama",
        "gpu_3": "http://127.0.0.1:11435",
    }
    assert list(hosts) == ["gpu1", "gpu-2", "gpu_3"]
    assert (hosts["gpu-2"].user, hosts["gpu-2"].password) == ("me", "p,w")


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        pytest.param("http://secret@gpu:1", "host 1 has no name", id="no name"),
        pytest.param("a=gpu,http://secret@gpu=b", "host 2 has no name", id="an address for a name"),
        pytest.param("localhost=gpu", "host 1 has no name", id="a name that is this machine"),
        pytest.param("10=gpu", "host 1 has no name", id="a number"),
        pytest.param("gpu.example=gpu", "host 1 has no name", id="a name with a dot"),
        pytest.param("a=", "a has no address", id="no address"),
        pytest.param("a=secret:port", "a must have a port", id="an address that is none"),
        pytest.param("a=gpu:1,A=gpu:2", "names a twice", id="one name twice"),
        pytest.param("a=gpu:1,b=http://gpu:1", "a and b have one address", id="one address twice"),
        pytest.param("a=localhost:1,b=127.0.0.1:1", "a and b have one address", id="this machine by two names"),
    ],
)
def test_a_faulty_list_of_hosts_is_refused_without_its_addresses(text: str, refusal: str) -> None:
    with pytest.raises(InputError) as refused:
        parse_named_hosts(text)
    assert str(refused.value).startswith(refusal)
    assert "secret" not in str(refused.value)


@given(st.text(alphabet="ab1-_.=,:@/[] ", max_size=24) | st.text(max_size=24))
def test_a_list_of_hosts_is_read_or_refused_and_read_again_is_the_same(text: str) -> None:
    try:
        hosts = parse_named_hosts(text)
    except InputError:
        return
    assert all(is_host_name(name) for name in hosts)
    again = parse_named_hosts(",".join(f"{name}={address.url}" for name, address in hosts.items()))
    assert [address.url for address in again.values()] == [address.url for address in hosts.values()]
