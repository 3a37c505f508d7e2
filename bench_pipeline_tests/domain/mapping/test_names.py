"""How a person names tables and columns in BENCH_PRODUCTION_NAMES."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.mapping.names import (
    ColumnName,
    column_name,
    mapped_name,
    relation_parts,
    written_column,
    written_relation,
)


@pytest.mark.parametrize(
    ("written", "parts"),
    [
        ("models", (None, "models")),
        ("crew.models", ("crew", "models")),
        ("Crew.Models", ("Crew", "Models")),
        ('"my schema"."my.table"', ("my schema", "my.table")),
        ('crew."my.table"', ("crew", "my.table")),
        ('"a ""b"" c"', (None, 'a "b" c')),
        ("my table", (None, "my table")),
        ('App data.St"ep', ("App data", 'St"ep')),
    ],
)
def test_a_table_is_named_with_or_without_a_schema_and_quotation_marks(
    written: str, parts: tuple[str | None, str]
) -> None:
    assert relation_parts(written) == parts


@pytest.mark.parametrize("written", ["a.b.c", "", ".", "a.", ".a", '"a', '""', '"a"b', "a..b"])
def test_a_text_that_names_no_table_is_refused_with_the_remedy(written: str) -> None:
    with pytest.raises(InputError, match=r"names no table; write TABLE or SCHEMA\.TABLE"):
        relation_parts(written)


@given(st.none() | st.text(min_size=1), st.text(min_size=1))
def test_any_table_can_be_written(schema: str | None, table: str) -> None:
    assert relation_parts(written_relation(schema, table)) == (schema, table)


@given(st.text(min_size=1))
def test_any_column_can_be_written(column: str) -> None:
    assert column_name({"actors.enabled": written_column(column)}, "actors", "enabled") == column


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("actors", "crew.models", "crew.models"),
        ("actors.enabled", "on", "on"),
        ("actors.enabled", {"column": "status"}, ColumnName(column="status")),
        ("actors.actor_id", {"column": "id"}, ColumnName(column="id")),
        (
            "actors.enabled",
            {"column": "status", "true_values": ["a", 1, True]},
            ColumnName(column="status", true_values=("a", 1, True)),
        ),
    ],
)
def test_a_value_is_a_name_or_for_a_column_an_object(name: str, value: object, found: object) -> None:
    assert mapped_name(name, value) == found


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("actors", {"column": "x"}, "actors: write the name of a table"),
        ("actors", "", "actors: write the name of a table"),
        ("actors", 7, "actors: write the name of a table"),
        ("actors.enabled", {"colum": "x"}, "actors.enabled: write the name of a column"),
        ("actors.enabled", {"column": "x", "true_values": []}, "actors.enabled: write the name of a column"),
        ("actors.enabled", {"column": "x", "true_values": [1.5]}, "actors.enabled: write the name of a column"),
        ("actors.enabled", ["x"], "actors.enabled: write the name of a column"),
        ("actors.actor_type", {"column": "x", "true_values": ["y"]}, "only actors.enabled takes true_values"),
    ],
)
def test_any_other_value_is_refused_with_what_to_write(name: str, value: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        mapped_name(name, value)


def test_the_values_that_count_as_true_are_compared_as_a_database_writes_them() -> None:
    assert ColumnName(column="x", true_values=(True, 1, " active ")).true_texts == ("true", "1", "active")
    assert ColumnName(column="x").true_texts is None
