"""The receivers of BENCH_ALERT_URLS: a web hook, a mail server, and addresses with mistakes."""

from __future__ import annotations

import logging
import socket

import pytest
from pydantic import SecretStr

from bench_pipeline.operation.alerting.known_secrets import known_secrets
from bench_pipeline.operation.alerting.receivers import receivers
from bench_pipeline.settings import Settings
from bench_pipeline_tests.fakes.receivers import mail_server, web_hook

CANARY = "c4n4ry"


def with_urls(urls: str) -> Settings:
    return Settings.model_construct(alert_urls=SecretStr(urls))


def test_a_message_reaches_a_web_hook_and_a_mail_server() -> None:
    with web_hook() as hook, mail_server() as mails:
        to = receivers(with_urls(f"{hook.address()}, {mails.address('ann', CANARY)}"))
        refusals = [one.deliver("Two models", "What happened: a → b\nWhat to do: nothing") for one in to]

    assert refusals == [None, None]
    assert hook.bodies == [{"title": "Two models", "message": "What happened: a → b\nWhat to do: nothing"}]
    (mail,) = mails.mails
    assert mail["Subject"] == "Two models"
    assert "a → b" in mail.get_content()
    assert mails.logins == [("ann", CANARY)]
    assert CANARY not in mail.as_string()


@pytest.mark.parametrize("between", [",", " , ", "\n", "  ", ",\n"])
def test_addresses_are_separated_by_commas_or_spaces(between: str) -> None:
    found = receivers(with_urls(f"json://a.example/x{between}mailto://u:p@b.example?to=c@d.example,e@f.example"))

    assert [(one.name, one.fault) for one in found] == [("receiver 1 (json)", None), ("receiver 2 (mailto)", None)]


def test_no_addresses_are_no_receivers() -> None:
    assert receivers(Settings.model_construct(alert_urls=None)) == []
    assert receivers(with_urls(" , ")) == []


@pytest.mark.parametrize(
    ("address", "name"),
    [
        (f"{CANARY}", "receiver 2"),
        (f"{CANARY}://token", "receiver 2"),
        (f"slack://{CANARY}", "receiver 2 (slack)"),
        (f"json://user:{CANARY}@", "receiver 2 (json)"),
        (f"mailto:{CANARY}", "receiver 2"),
    ],
)
def test_a_malformed_address_is_named_by_position_and_scheme_and_never_shown(
    address: str, name: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    first, second = receivers(with_urls(f"json://a.example/x {address}"))

    assert first.fault is None
    assert second.name == name
    assert second.fault
    assert second.deliver("title", "body") == second.fault
    assert CANARY not in f"{second!r}{second.fault}{caplog.text}{''.join(capfd.readouterr())}"


def test_a_refusal_tells_the_status_and_nothing_of_the_address(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    with web_hook() as hook:
        hook.status = 503
        (receiver,) = receivers(with_urls(hook.address(CANARY)))
        refusal = receiver.deliver("title", "body")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    (down,) = receivers(with_urls(f"json://u:{CANARY}@127.0.0.1:{port}/{CANARY}"))

    assert refusal == "refused it with status 503"
    assert down.deliver("title", "body") == "could not be reached or refused it"
    assert CANARY not in f"{receiver!r}{down!r}{caplog.text}{''.join(capfd.readouterr())}"


def test_the_secrets_of_this_process_are_those_of_settings_and_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_PG_PASSWORD", "of-dagster")
    settings = Settings.model_construct(
        database_url=SecretStr("postgresql+psycopg2://u:of%40base@h/d?sslpassword=of-key"),
        promoter_url=SecretStr("postgresql://u:of@promoter@h/d"),
        openai_api_key=SecretStr("sk-of-api"),
        alert_urls=SecretStr("slack://TokenA1/TokenB2/TokenC3, mailto://u:of-mail@mail.example"),
        ollama_host="http://someone:of-ollama@gpu:11434",
    )
    secrets = known_secrets(settings)

    wanted = "of-dagster of%40base of-key of@promoter sk-of-api TokenA1 TokenB2 TokenC3 of-mail of-ollama"
    assert set(wanted.split()) <= secrets
    assert not {"mail.example", "gpu", "h", "u", "d"} & secrets


def test_the_path_of_a_database_is_no_secret() -> None:
    settings = Settings.model_construct(database_url=SecretStr("sqlite:///.bench/bench.db"))

    assert not {one for one in known_secrets(settings) if "bench" in one}
