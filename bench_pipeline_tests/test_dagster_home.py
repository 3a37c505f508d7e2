"""DAGSTER_HOME is used, or refused in one line that says what to write."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench_pipeline.demo.home import dagster_home, open_instance
from bench_pipeline.domain.errors import InputError


@pytest.fixture(autouse=True)
def _somewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")


def refusal(monkeypatch: pytest.MonkeyPatch, value: str) -> str:
    monkeypatch.setenv("DAGSTER_HOME", value)
    with pytest.raises(InputError) as refused:
        dagster_home()
    text = str(refused.value)
    assert text.startswith(f"DAGSTER_HOME={value}: ")
    assert "\n" not in text
    return text


def test_an_existing_folder_is_used_as_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    assert dagster_home() == tmp_path
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [None, ""], ids=["not set", "empty"])
def test_without_a_value_the_folder_of_this_project_is_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str | None
) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    if value is not None:
        monkeypatch.setenv("DAGSTER_HOME", value)
    assert dagster_home() == tmp_path / ".dagster"
    assert (tmp_path / ".dagster/dagster.yaml").is_file()


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ("~/dagster", "/home/somebody/dagster"),
        ("state/dagster", "{folder}/state/dagster"),
        ('"/var/dagster"', "/var/dagster"),
    ],
)
def test_a_path_that_is_not_absolute_is_refused_with_the_one_to_write(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str, meant: str
) -> None:
    """dagster-io/dagster #2609 and #2920; `docker --env-file` keeps quotation marks (moby/moby #46773)."""
    assert refusal(monkeypatch, value).endswith(f"write DAGSTER_HOME={meant.format(folder=tmp_path)}")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("/nope/dagster", "does not exist; create it (mkdir -p)"),
        ("/etc/passwd", "is not a folder"),
        ("/proc", "cannot be written: "),
    ],
    ids=["missing", "a file", "not writable, even for root"],
)
def test_a_folder_that_cannot_be_used_is_refused(monkeypatch: pytest.MonkeyPatch, value: str, says: str) -> None:
    assert says in refusal(monkeypatch, value)


def test_a_project_folder_that_cannot_be_made_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    (tmp_path / ".dagster").touch()
    with pytest.raises(InputError, match=r"\.dagster: cannot be written: .*; correct that or set DAGSTER_HOME"):
        dagster_home()


@pytest.mark.parametrize(
    "configuration",
    [
        pytest.param(b"storage: {nonsense: 1}\n", id="an unknown key"),
        pytest.param(b"storage: [\n", id="no YAML"),
        pytest.param("storage: {}\n".encode("utf-16"), id="not UTF-8"),
        pytest.param(b"storage: {custom: {module: absent.package, class: X}}\n", id="a plugin that is not installed"),
        pytest.param(
            b"storage: {postgres: {postgres_url: {env: ABSENT_URL}}}\n", id="a variable that is not set"
        ),
        pytest.param(
            b"storage: {postgres: {postgres_url: 'postgresql://u:s3cret@127.0.0.1:1/d'}}\n", id="no server there"
        ),
    ],
)  # fmt: skip
def test_a_configuration_that_dagster_refuses_is_one_line_that_names_the_folder(
    tmp_path: Path, configuration: bytes
) -> None:
    (tmp_path / "dagster.yaml").write_bytes(configuration)
    with pytest.raises(InputError) as refused, open_instance(tmp_path) as instance:
        instance.get_runs()
    text = str(refused.value)
    assert text.startswith(f"{tmp_path}: Dagster cannot open its instance: ")
    assert text.endswith("; correct dagster.yaml there or set DAGSTER_HOME")
    assert "\n" not in text
    assert "s3cret" not in text
