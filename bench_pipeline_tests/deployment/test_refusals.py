"""What `make up` and `make down` do before anything starts."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from bench_pipeline.domain.errors import InputError
from bench_pipeline_tests.kit.rehearsal import Rehearsal
from bench_pipeline_tests.kit.rehearsal.rehearsal import HOST


def fill(url: str) -> None:
    raise AssertionError(f"{url} must not be reached")


def test_without_nginx_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(InputError, match=r"^nginx is not on this machine's PATH; install it \(apt-get install nginx"):
        Rehearsal(tmp_path / "up", fill).up()
    assert not (tmp_path / "up").exists()


@pytest.mark.postgres
def test_a_port_that_is_taken_is_named_with_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench_pipeline_tests.kit.rehearsal.rehearsal.nginx_program", lambda: "/usr/sbin/nginx")
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        rehearsal = Rehearsal(tmp_path / "up", fill, port=other.getsockname()[1])
        with pytest.raises(InputError) as refused:
            rehearsal.up()
        rehearsal.remove()
    assert str(refused.value) == (
        f"port {rehearsal.port} is taken: Address already in use; choose another: make up PORT=9443"
    )


def test_where_nothing_is_up_nothing_is_stopped_or_made(tmp_path: Path) -> None:
    Rehearsal(tmp_path / "up", fill).down()
    assert not (tmp_path / "up").exists()
