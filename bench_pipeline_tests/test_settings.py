"""The knobs: each that is wrong is named, and none tells a secret."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.promoting.policy import PromotionPolicy
from bench_pipeline.settings import Settings, load_settings


def variables() -> Iterator[tuple[str, str]]:
    """Every variable of every field, also a second name."""
    for field, about in Settings.model_fields.items():
        names = getattr(about.validation_alias, "choices", None) or [f"BENCH_{field.upper()}"]
        yield from ((field, str(name)) for name in names)


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide the variables and the `.env` of whoever runs the tests."""
    for name in os.environ:
        if name.upper().startswith(("BENCH_", "OLLAMA_", "OPENAI_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_without_variables_the_stated_defaults_hold() -> None:
    settings = load_settings()
    assert settings.database_url.get_secret_value() == "sqlite:///.bench/bench.db"
    assert settings.ollama_host == "http://127.0.0.1:11434"
    assert (settings.max_model_bytes, settings.batch_size, settings.repeats, settings.min_gain) == (
        8 * 10**9,
        5,
        1,
        0.05,
    )
    assert settings.hosts == {"localhost", "127.0.0.1", "::1"}


def test_the_promotion_policy_is_what_the_variables_say(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().promotion_policy == PromotionPolicy()
    monkeypatch.setenv("BENCH_MIN_GAIN", "0.1")
    monkeypatch.setenv("BENCH_ALPHA", "0.02")
    assert load_settings().promotion_policy == PromotionPolicy(min_gain=0.1, alpha=0.02)


def test_hosts_have_names(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().named_hosts == {}
    monkeypatch.setenv("BENCH_OLLAMA_HOSTS", "gpu1=http://10.0.0.1:11434,gpu2=10.0.0.2")
    urls = {name: address.url for name, address in load_settings().named_hosts.items()}
    assert urls == {"gpu1": "http://10.0.0.1:11434", "gpu2": "http://10.0.0.2:11434"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BENCH_OLLAMA_HOSTS", "http://10.0.0.1:11434"),
        ("BENCH_MAX_MODEL_GB", "0"),
        ("BENCH_MAX_MODEL_GB", "eight"),
        ("BENCH_BATCH_SIZE", "0"),
        ("BENCH_BATCH_SIZE", "2.5"),
        ("BENCH_REPEATS", "-1"),
        ("BENCH_LOAD_TIME_LIMIT_S", "0"),
        ("BENCH_RESUME_HOURS", "-1"),
        ("BENCH_REUSE_DAYS", "soon"),
        ("BENCH_MIN_GAIN", "1"),
        ("BENCH_MIN_GAIN", "-0.1"),
        ("BENCH_ALPHA", "0"),
        ("BENCH_ALPHA", "0.5"),
        ("BENCH_LLAMA_CPP_THREADS", "0"),
        ("BENCH_PRODUCTION_NAMES", '["actors"]'),
        ("BENCH_DATABASE_URL", "sqlite:///a\udcffb.db"),
        ("BENCH_PROMOTER_URL", "postgresql://a\udcffb@h/d"),
        ("BENCH_EXCLUDED_NAMES", '{"a": 1}'),
        ("BENCH_ALERT_URLS", "json://a\udcffb"),
        ("BENCH_UI_URL", "dagster.example.org"),
        ("BENCH_UI_URL", "https://ann:secret@dagster.example.org"),
    ],
)
def test_a_wrong_variable_is_named_in_one_line(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InputError) as refused:
        load_settings()
    assert str(refused.value).startswith(f"{name}: ")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("kept_in", ["environment", ".env"])
def test_a_variable_of_another_name_now_is_refused_with_that_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kept_in: str
) -> None:
    """Ignored, it would change what is measured or promoted without a word."""
    if kept_in == "environment":
        monkeypatch.setenv("BENCH_POLICY", "race")
    else:
        (tmp_path / ".env").write_text("BENCH_POLICY=race\n", encoding="utf-8")
    with pytest.raises(InputError) as refused:
        load_settings()
    assert str(refused.value) == "BENCH_POLICY: has another name now; write BENCH_STRATEGY"


def test_all_wrong_variables_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BENCH_REPEATS", "BENCH_MIN_GAIN", "BENCH_BATCH_SIZE"):
        monkeypatch.setenv(name, "x")
    with pytest.raises(InputError) as refused:
        load_settings()
    assert {line.partition(":")[0] for line in str(refused.value).splitlines()} == {
        "BENCH_REPEATS",
        "BENCH_MIN_GAIN",
        "BENCH_BATCH_SIZE",
    }


@pytest.mark.parametrize("name", ["BENCH_PRODUCTION_NAMES", "BENCH_EXCLUDED_NAMES", "BENCH_SPECIALIST_NAMES"])
def test_a_variable_that_is_no_json_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "a, b")
    with pytest.raises(InputError, match=f"^{name}: "):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BENCH_MAX_MODEL_GB", "inf"),
        ("BENCH_LOAD_TIME_LIMIT_S", "inf"),
        ("BENCH_REPEATS", "101"),
        ("BENCH_BATCH_SIZE", "1001"),
    ],
)
def test_a_variable_that_no_benchmark_can_use_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=f"^{name}: "):
        load_settings()


@pytest.mark.parametrize(
    ("variables", "host"),
    [
        ({"OLLAMA_HOST": "http://gpu:1"}, "http://gpu:1"),
        ({"BENCH_OLLAMA_HOST": "http://gpu:2"}, "http://gpu:2"),
        ({"OLLAMA_HOST": "http://gpu:1", "BENCH_OLLAMA_HOST": "http://gpu:2"}, "http://gpu:2"),
    ],
    ids=["Ollama's own", "ours", "ours before Ollama's own"],
)
def test_the_ollama_server_is_the_one_that_the_variables_name(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], host: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert load_settings().ollama_host == host


@pytest.mark.parametrize("name", ["BENCH_OPENAI_API_KEY", "OPENAI_API_KEY"])
def test_the_key_is_read_and_never_shown(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "sk-s3cret")
    settings = load_settings()
    assert settings.openai_api_key is not None
    assert settings.openai_api_key.get_secret_value() == "sk-s3cret"
    assert "s3cret" not in shown(settings)


def test_the_password_of_the_database_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DATABASE_URL", "postgresql://u:s3cret@h/db")
    settings = load_settings()
    assert settings.database_url.get_secret_value() == "postgresql://u:s3cret@h/db"
    assert "s3cret" not in shown(settings)


def shown(settings: Settings) -> str:
    return f"{settings} {settings!r} {settings.model_dump()} {settings.model_dump_json()}"


def test_a_wrong_variable_beside_a_secret_does_not_tell_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-s3cret")
    monkeypatch.setenv("BENCH_DATABASE_URL", "postgresql://u:s3cret@h/db")
    monkeypatch.setenv("BENCH_REPEATS", "s3cret")
    with pytest.raises(InputError) as refused:
        load_settings()
    assert "s3cret" not in str(refused.value)


def test_names_and_patterns_are_read_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_PRODUCTION_NAMES", '{"actors.enabled": "is_active"}')
    monkeypatch.setenv("BENCH_EXCLUDED_NAMES", '["*tiny*"]')
    settings = load_settings()
    assert (settings.production_names, settings.excluded_names) == ({"actors.enabled": "is_active"}, ("*tiny*",))


def test_the_env_file_of_the_folder_is_read_and_a_variable_comes_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("BENCH_REPEATS=3\nBENCH_BATCH_SIZE=7\nUNRELATED=1\n")
    monkeypatch.setenv("BENCH_REPEATS", "4")
    settings = load_settings()
    assert (settings.repeats, settings.batch_size) == (4, 7)


def test_allowed_hosts_are_read_without_spaces_and_capitals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_ALLOWED_HOSTS", " GPU-1 ,, localhost,")
    assert load_settings().hosts == {"gpu-1", "localhost"}


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().repeats = 2  # type: ignore[misc]


@pytest.mark.parametrize(("field", "name"), list(variables()))
@pytest.mark.parametrize("kept_in", ["environment", ".env"])
def test_an_empty_variable_counts_as_not_set(
    monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder, field: str, name: str, kept_in: str
) -> None:
    """What `VARIABLE=${VARIABLE:-}` in a compose file sets (OpenCTI-Platform/connectors #4859)."""
    default = getattr(load_settings(), field)
    if kept_in == "environment":
        monkeypatch.setenv(name, "")
    else:
        Path(".env").write_text(f"{name}=\n", encoding="utf-8")
    assert getattr(load_settings(), field) == default
    assert recwarn.list == []


@pytest.mark.parametrize(
    ("empty", "good", "field", "value"),
    [
        ("BENCH_OPENAI_API_KEY", "OPENAI_API_KEY", "openai_api_key", "sk-1"),
        ("BENCH_OLLAMA_HOST", "OLLAMA_HOST", "ollama_host", "http://gpu:1"),
        ("BENCH_OLLAMA_API_KEY", "OLLAMA_API_KEY", "ollama_api_key", "sk-2"),
    ],
)
def test_an_empty_first_name_leaves_the_second_in_force(
    monkeypatch: pytest.MonkeyPatch, empty: str, good: str, field: str, value: str
) -> None:
    monkeypatch.setenv(empty, "")
    monkeypatch.setenv(good, value)
    found = getattr(load_settings(), field)
    assert (found.get_secret_value() if field.endswith("api_key") else str(found)) == value


def test_an_empty_variable_leaves_the_line_of_the_env_file_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("BENCH_REPEATS=3\n", encoding="utf-8")
    monkeypatch.setenv("BENCH_REPEATS", "")
    assert load_settings().repeats == 3


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param("BENCH_REPEATS=3\n".encode("utf-8-sig"), id="a byte order mark"),
        pytest.param(b"BENCH_REPEATS=3\r\nBENCH_ANCHOR=\r\n", id="lines of Windows"),
        pytest.param(b"BENCH_REPEATS=3", id="no line end"),
        pytest.param("# größer\nexport BENCH_REPEATS=3\n".encode(), id="as a shell writes it"),
        pytest.param(b"BENCH_REPEATS=3 # passes\n\nUNRELATED\n", id="comments and a name alone"),
    ],
)
def test_an_env_file_is_read_as_editors_write_it(raw: bytes) -> None:
    Path(".env").write_bytes(raw)
    assert load_settings().repeats == 3


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        pytest.param("BENCH_REPEATS=3\n".encode("utf-16"), "is UTF-16 or binary", id="PowerShell's >"),
        pytest.param("BENCH_REPEATS=3\n".encode("utf-16-be"), "is UTF-16 or binary", id="UTF-16 without a mark"),
        pytest.param("BENCH_REPEATS=3\n".encode("utf-32"), "is UTF-16 or binary", id="UTF-32"),
        pytest.param(
            "A=1\nBENCH_ANCHOR=größer\n".encode("latin-1"),
            "line 2 is not UTF-8 text; save the file as UTF-8",
            id="Latin-1",
        ),
        pytest.param(b"A=1\nBENCH_REPEATS 3\n", "line 2 cannot be read; write NAME=value", id="no equals sign"),
        pytest.param(b"A=1\nBENCH_ANCHOR='x\n", "line 2 cannot be read; write NAME=value", id="an open quote"),
    ],
)
def test_an_env_file_that_cannot_be_read_is_refused_in_one_line(raw: bytes, says: str) -> None:
    """PowerShell's `>` writes UTF-16 (motdotla/dotenv #445)."""
    Path(".env").write_bytes(raw)
    assert says in refusal()


def refusal() -> str:
    with pytest.raises(InputError) as refused:
        load_settings()
    text = str(refused.value)
    assert text.startswith(".env: ")
    assert "\n" not in text
    return text


def test_the_refusal_of_an_env_file_does_not_tell_its_content() -> None:
    Path(".env").write_bytes(b"BENCH_DATABASE_URL 's3cret\n")
    assert "s3cret" not in refusal()


def test_a_folder_named_env_is_refused() -> None:
    """Docker makes one when the file to mount is missing (beromir/Servas #32)."""
    Path(".env").mkdir()
    assert "is a folder" in refusal()


def test_a_virtual_environment_named_env_is_no_settings_file() -> None:
    Path(".env").mkdir()
    Path(".env/pyvenv.cfg").touch()
    assert load_settings().repeats == 1


def test_a_link_to_nothing_is_refused() -> None:
    Path(".env").symlink_to("absent")
    assert "is a link to a file that does not exist" in refusal()


def test_an_env_file_that_the_system_does_not_open_is_refused_with_its_reason() -> None:
    with closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind(".env")
        assert "cannot be read: No such device or address" in refusal()


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ('{"actors": 7}', "actors: write the name of a table"),
        ('{"actors.enabled": {"column": "x", "true": ["y"]}}', "actors.enabled: write the name of a column"),
        ("[]", "dictionary"),
    ],
)
def test_a_wrong_name_of_production_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch, value: str, says: str) -> None:
    monkeypatch.setenv("BENCH_PRODUCTION_NAMES", value)
    with pytest.raises(InputError, match=says) as refused:
        load_settings()
    assert str(refused.value).startswith("BENCH_PRODUCTION_NAMES: ")
    assert "\n" not in str(refused.value)
