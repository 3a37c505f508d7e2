"""Where measured tables are kept: between their markers in a page of the documents."""

from __future__ import annotations

from pathlib import Path


def put_between(page: Path, markers: tuple[str, str], text: str, title: str) -> None:
    """Replace what stands between the markers; they are added at the end of a page without them."""
    start, end = markers
    old = page.read_text(encoding="utf-8") if page.exists() else f"# {title}\n"
    before, found, rest = old.partition(start)
    after = rest.partition(end)[2] if found else "\n"
    head = before if found else before.rstrip("\n") + "\n\n"
    page.write_text(f"{head}{start}\n\n{text}\n\n{end}{after}", encoding="utf-8")


def table(head: list[str], rows: list[list[str]], align: str) -> list[str]:
    """Return a table as lines of Markdown; `align` is `l` or `r` for each column."""
    rule = ["---" if side == "l" else "---:" for side in align]
    return [f"| {' | '.join(line)} |" for line in (head, rule, *rows)]
