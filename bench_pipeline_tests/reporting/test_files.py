"""Documents are whole or untouched, and stay where they belong."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench_pipeline.domain.errors import InputError
from bench_pipeline.reporting.files import path_in, slug, write_if_changed, write_new

names = st.text(alphabet=st.sampled_from("ab/:.-_ \\\x00é0"), max_size=6) | st.text(max_size=20)


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file may grow beyond 100 bytes, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def everything(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@given(names, names)
def test_different_names_never_share_a_slug(one: str, other: str) -> None:
    assert (slug(one) == slug(other)) == (one == other)


@given(names)
def test_a_slug_is_one_visible_file_name(text: str) -> None:
    name = slug(text)
    assert 0 < len(name) <= 100
    assert name.isascii()
    assert not set(name) & set("/\\: \x00\n")
    assert not name.startswith((".", "-"))


@given(names)
def test_a_slug_given_as_a_name_does_not_collide_with_its_origin(text: str) -> None:
    assert slug(text) == text or slug(slug(text)) != slug(text)


def test_a_safe_name_is_kept_and_another_stays_readable() -> None:
    assert slug("grading-20250301T030000Z-ab12") == "grading-20250301T030000Z-ab12"
    assert slug("a-b:c") != slug("a/b:c")
    assert slug("a/b:c").startswith("a-b-c-")


def test_a_path_that_leads_out_is_refused(tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "grading").symlink_to(tmp_path)
    for names in (("..", "x.md"), ("/etc/passwd",), ("grading", "x.md")):
        with pytest.raises(InputError, match="is outside"):
            path_in(tmp_path / "reports", *names)


def test_a_new_report_never_overwrites_another(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "report.md"
    assert write_new(path, "one") == path
    assert write_new(path, "two") == path.with_name("report-2.md")
    assert write_new(path, "three") == path.with_name("report-3.md")
    assert [p.read_text() for p in sorted(path.parent.iterdir())] == ["two", "three", "one"]


def test_the_same_report_is_written_once(tmp_path: Path) -> None:
    path = tmp_path / "report.md"
    write_new(path, "one")
    second = write_new(path, "two")
    assert write_new(path, "one") == path
    assert write_new(path, "two") == second
    assert everything(tmp_path) == ["report-2.md", "report.md"]


def test_a_document_is_written_only_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "champions.md"
    assert write_if_changed(path, "one")
    before = path.stat()
    assert not write_if_changed(path, "one")
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert write_if_changed(path, "two")
    assert path.read_text() == "two"
    assert everything(path.parent) == ["champions.md"]


def test_documents_can_be_read_by_everybody(tmp_path: Path) -> None:
    write_if_changed(tmp_path / "a.md", "x")
    write_new(tmp_path / "b.md", "x")
    assert [path.stat().st_mode & 0o777 for path in tmp_path.iterdir()] == [0o644, 0o644]


def test_a_write_that_fails_half_way_leaves_the_old_file_alone(tmp_path: Path, full_disk: None) -> None:
    path = tmp_path / "champions.md"
    write_if_changed(path, "old")
    with pytest.raises(InputError, match=r"champions\.md: cannot be written"):
        write_if_changed(path, "new" * 1000)
    with pytest.raises(InputError, match=r"report\.md: cannot be written"):
        write_new(tmp_path / "report.md", "new" * 1000)
    assert path.read_text() == "old"
    assert everything(tmp_path) == ["champions.md"]


def test_a_folder_in_the_place_of_a_document_is_left(tmp_path: Path) -> None:
    (tmp_path / "champions.md").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        write_if_changed(tmp_path / "champions.md", "text")
    assert everything(tmp_path) == ["champions.md"]


def test_a_link_is_replaced_and_its_target_left(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("precious")
    (tmp_path / "champions.md").symlink_to(target)
    assert write_if_changed(tmp_path / "champions.md", "text")
    assert target.read_text() == "precious"
