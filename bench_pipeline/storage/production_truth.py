"""Whether an actor is enabled and is a model, by one rule in SQL for every reader. Other columns are in production.py.

NULL is not enabled. Booleans, the numbers 0 and 1, and these texts in any case, with blanks at their ends, say it;
anything else is refused, unless the values that count as true are named.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Boolean, Column, ColumnElement, Integer, Numeric, String, cast, false, func, or_
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import DOMAIN
from sqlalchemy.types import NullType, Text, TypeEngine

from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.mapping.names import ENABLED
from bench_pipeline.storage.production_keys import type_name

TRUE = ("1", "t", "true", "y", "yes", "on")
FALSE = ("0", "f", "false", "n", "no", "off")
_SQLITE_REALS = {"1": "1.0", "0": "0.0"}


class Truth:
    """The rule for one database: its dialect, the values that count as enabled, and the types of actors of models.

    Raises `InputError` for a column that can hold none of the values of the rule.
    """

    def __init__(
        self, dialect: str, enabled: Column[Any], true_values: Sequence[str] | None, model_types: Collection[str]
    ) -> None:
        native = enabled.type.data_type if isinstance(enabled.type, DOMAIN) else enabled.type
        self._true_values = true_values
        self._model_types = sorted({kind.rstrip(" ") for kind in model_types})
        self._reals = dialect == "sqlite"
        self._as_is = dialect != "sqlite" and isinstance(native, Boolean)
        self._number = dialect != "sqlite" and isinstance(native, Integer | Numeric)
        if true_values is None and not _can_say(native, dialect):
            raise InputError(
                f"table {enabled.table.name}, column {enabled.name} is {type_name(native)}, which does not say whether "
                f'an actor is enabled; write {{"{ENABLED}": {{"column": "{enabled.name}", "true_values": [VALUES]}}}} '
                "in BENCH_PRODUCTION_NAMES, or make a view with a boolean"
            )

    def enabled(self, column: ColumnElement[Any]) -> ColumnElement[bool]:
        """Return whether the column says yes; false for NULL and for what says neither."""
        return self._says(column, self._true_values if self._true_values is not None else TRUE)

    def disabled(self, column: ColumnElement[Any]) -> ColumnElement[bool]:
        """Return whether the column says no, or holds NULL."""
        if self._true_values is not None:
            return ~self.enabled(column)
        return or_(column.is_(None), self._says(column, FALSE))

    def is_model(self, column: ColumnElement[Any]) -> ColumnElement[bool]:
        """Return whether the column says that an actor is a model; blanks at the end do not count."""
        return func.coalesce(func.rtrim(cast(column, Text), type_=Text).in_(self._model_types), false())

    def _says(self, column: ColumnElement[Any], values: Sequence[str]) -> ColumnElement[bool]:
        if self._true_values is not None:
            return func.coalesce(func.trim(cast(column, Text), type_=Text).in_(list(values)), false())
        if self._as_is:
            return func.coalesce(column, false()) if values is TRUE else func.coalesce(~column, false())
        if self._number:
            return func.coalesce(column == int(values[0]), false())
        texts = [*values, *(real for whole, real in _SQLITE_REALS.items() if self._reals and whole in values)]
        return func.coalesce(func.lower(func.trim(cast(column, Text)), type_=Text).in_(texts), false())


def sql_of(expression: ColumnElement[Any]) -> str:
    """Return an expression as PostgreSQL's SQL, with its values in it."""
    dialect = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call] # another style doubles per cents
    return str(expression.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))


def _can_say(native: TypeEngine[Any], dialect: str) -> bool:
    kinds = (Boolean, Integer, Numeric, String)
    return isinstance(native, kinds) or (dialect == "sqlite" and isinstance(native, NullType))
