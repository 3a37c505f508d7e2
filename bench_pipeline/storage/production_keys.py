"""Ids of the application in Python: `int` for whole numbers, `str` for all else, whatever type their column has.

A value that the column cannot hold matches no row. Parameters get the column's own type, so that indexes are used.
"""

from __future__ import annotations

import uuid
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

from sqlalchemy import (
    BigInteger,
    Boolean,
    Date,
    DateTime,
    Dialect,
    Enum,
    Float,
    Integer,
    LargeBinary,
    Numeric,
    SmallInteger,
    String,
    Time,
    Uuid,
)
from sqlalchemy.dialects.postgresql import DOMAIN, OID
from sqlalchemy.types import CHAR, JSON, NullType, TypeDecorator, TypeEngine

from bench_pipeline.domain.models.ids import Key
from bench_pipeline.domain.text import storable

KeyKind = Literal["number", "uuid", "text", "any"]
_NEVER_A_KEY = (Float, LargeBinary, JSON, DateTime, Date, Time, Boolean)
_EXPECTED = {"number": "a whole number", "uuid": "a UUID such as 123e4567-e89b-12d3-a456-426614174000"}
_MAX_DIGITS = 1000


class ProductionKey(TypeDecorator[Key]):
    """The type of a column that holds ids.

    `native` is how it is bound, `kind` what an id of it is, `shown` the type's name in messages.
    """

    impl: TypeEngine[Any] | type[TypeEngine[Any]] = NullType
    cache_ok = True

    def __init__(self, native: TypeEngine[Any], kind: KeyKind, shown: str) -> None:
        super().__init__()
        self.native = native
        self.kind = kind
        self.shown = shown
        self.impl = native

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the database's own type."""
        return dialect.type_descriptor(self.native)

    def process_bind_param(self, value: Key | None, dialect: Dialect) -> Any:  # noqa: ANN401, ARG002 - the driver's type
        """Return the id as the driver takes it; NULL, which equals nothing, for what the column cannot hold."""
        return None if value is None else self.native_value(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Key | None:  # noqa: ANN401, ARG002 - any driver's type
        """Return the id as Python has it."""
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return value
        if isinstance(value, Decimal | float):
            return int(value) if _is_whole(value) else str(value)
        return str(value).rstrip(" ") if isinstance(self.native, CHAR) else str(value)

    def native_value(self, key: Key) -> Any | None:  # noqa: ANN401 - the driver's type
        """Return an id as the driver takes it, or None for one that this column cannot hold."""
        if self.kind == "number":
            return self._number(key)
        if self.kind == "uuid":
            return _uuid(key)
        if isinstance(self.native, Enum) and str(key) not in self.native.enums:
            return None
        if self.kind == "any" and isinstance(key, int):
            return key if -(2**63) <= key < 2**63 else None
        text = str(key)
        return text if text == storable(text) else None

    def key(self, typed: Key) -> Key | None:
        """Return what a person typed as an id of this column, or None when it cannot be one."""
        if self.kind == "any" and isinstance(typed, str) and (number := _whole(typed)) is not None:
            return number
        value = self.native_value(typed)
        return None if value is None else self.process_result_value(value, None)  # type: ignore[arg-type]

    @property
    def expected(self) -> str:
        """What an id of this column is, for a message."""
        if isinstance(self.native, Enum):
            return f"one of {', '.join(self.native.enums)}"
        return _EXPECTED.get(self.kind, "a text")

    def _number(self, key: Key) -> int | Decimal | None:
        number = key if isinstance(key, int) else _whole(key)
        if number is not None:
            bits = 15 if isinstance(self.native, SmallInteger) else 63 if isinstance(self.native, BigInteger) else 31
            if isinstance(self.native, Numeric):
                return number if abs(number) < 10**_MAX_DIGITS else None
            if isinstance(self.native, NullType):
                bits = 63
            return number if -(2**bits) <= number < 2**bits else None
        return _decimal(key) if isinstance(self.native, Numeric) else None


def key_type(native: TypeEngine[Any], dialect: str, stored: KeyKind | None = None) -> ProductionKey | None:
    """Return the type of a column of ids, or None for a column that cannot hold ids.

    `stored` is what SQLite keeps in a column without a declared type.
    """
    if isinstance(native, DOMAIN):
        return key_type(native.data_type, dialect)
    if isinstance(native, _NEVER_A_KEY):
        return None
    if dialect == "sqlite":
        kind = _sqlite_kind(native) or stored
        return None if kind is None else ProductionKey(NullType(), kind, type_name(native))
    if isinstance(native, Uuid):
        return ProductionKey(native, "uuid", type_name(native))
    if isinstance(native, Integer | Numeric | OID):
        return ProductionKey(BigInteger() if isinstance(native, OID) else native, "number", type_name(native))
    return ProductionKey(native, "text", type_name(native)) if isinstance(native, String) else None


def type_name(native: TypeEngine[Any]) -> str:
    """Return the type as its database calls it."""
    if isinstance(native, NullType):
        return "of an unknown type"
    return str(getattr(native, "name", None) or native)


def _sqlite_kind(native: TypeEngine[Any]) -> KeyKind | None:
    """SQLite keeps any value in any column; a type that it does not know, such as UUID, becomes NUMERIC."""
    if isinstance(native, Integer):
        return "number"
    if isinstance(native, Numeric):
        return "any"
    return "text" if isinstance(native, String) else None


def _whole(text: str) -> int | None:
    plain = text.removeprefix("-")
    return int(text) if plain.isascii() and plain.isdecimal() and len(plain) <= _MAX_DIGITS else None


def _is_whole(value: Decimal | float) -> bool:
    return value.is_integer() if isinstance(value, float) else value == value.to_integral_value()


def _decimal(text: Key) -> Decimal | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number.adjusted()) <= _MAX_DIGITS else None


def _uuid(key: Key) -> uuid.UUID | None:
    try:
        return uuid.UUID(key) if isinstance(key, str) else None
    except ValueError:
        return None
