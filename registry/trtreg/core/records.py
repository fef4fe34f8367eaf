"""Frozen dataclasses to canonical JSON and back, strictly.

Canonical means: one value, one text (sorted names, no spaces, UTF-8), so that a record can be signed. Strict
means: an unknown or missing field, or a value of the wrong type, is an error and never a guess.
"""

from __future__ import annotations

import json
import math
import reprlib
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import PurePath

T = typing.TypeVar("T")

_MOST = 2**63
"""Whole numbers are less: databases and file systems count no farther."""


class MalformedRecord(ValueError):
    """The text isn't a record of the wanted type; the message names the field."""


def to_json(value: object) -> str:
    """The canonical JSON of a frozen dataclass or of plain JSON values."""
    return json.dumps(to_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def to_plain(value: object) -> object:
    """`value` as dicts, lists, strings and numbers. NaN and infinities, which JSON lacks, become words."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, PurePath):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(k): to_plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def from_json(kind: type[T], text: str | bytes) -> T:
    """The record of type `kind` that `text` holds. Raises MalformedRecord."""
    try:
        plain = _parsed(text)
    except ValueError as error:
        raise MalformedRecord(f"not JSON: {error}") from None
    except RecursionError:
        raise MalformedRecord("nested too deeply") from None
    return from_plain(kind, plain)


def _parsed(text: str | bytes) -> object:
    # Not left to the parser: of bytes, it lets halves of characters pass.
    text = text if isinstance(text, str) else text.decode()
    plain = json.loads(text)
    # A half, which JSON can write as an escape, too, can neither be written to any file nor be shown.
    (json.dumps(plain, ensure_ascii=False) if "\\u" in text else text).encode()
    return plain


def from_plain(kind: type[T], plain: object) -> T:
    """The record of type `kind` that the parsed JSON `plain` holds. Raises MalformedRecord."""
    return typing.cast(T, _decode(kind, plain, kind.__name__))


@cache
def _hints(kind: type) -> dict[str, object]:
    return typing.get_type_hints(kind)


def _decode(kind: object, plain: object, where: str) -> object:
    if isinstance(kind, typing.NewType):
        kind = kind.__supertype__
    origin = typing.get_origin(kind)
    if origin is types.UnionType or origin is typing.Union:
        return _decode_optional(kind, plain, where)
    if origin is tuple:
        return _decode_tuple(kind, plain, where)
    if origin is not None and issubclass(origin, Mapping):
        return _decode_mapping(kind, plain, where)
    if isinstance(kind, type):
        return _decode_class(kind, plain, where)
    raise MalformedRecord(f"{where}: expected {kind}, found {_shown(plain)}")


def _decode_class(kind: type, plain: object, where: str) -> object:
    if is_dataclass(kind):
        return _decode_dataclass(kind, plain, where)
    if kind is float:
        return _decode_float(plain, where)
    if type(plain) is kind:
        if isinstance(plain, int) and not -_MOST <= plain < _MOST:
            raise MalformedRecord(f"{where}: {_shown(plain)} is too large a number")
        return plain
    if issubclass(kind, Enum | PurePath) and isinstance(plain, str):
        try:
            return kind(plain)
        except ValueError:
            raise MalformedRecord(f"{where}: {_shown(plain)} is no {kind.__name__}") from None
    raise MalformedRecord(f"{where}: expected {kind.__name__}, found {_shown(plain)}")


def _decode_dataclass(kind: type, plain: object, where: str) -> object:
    if not isinstance(plain, dict):
        raise MalformedRecord(f"{where}: expected an object, found {_shown(plain)}")
    hints = _hints(kind)
    known = {f.name for f in fields(kind)}
    if unknown := sorted(set(plain) - known):
        raise MalformedRecord(f"{where}: unknown field {', '.join(map(str, unknown))}")
    values = {}
    for field in fields(kind):
        if field.name in plain:
            values[field.name] = _decode(hints[field.name], plain[field.name], f"{where}.{field.name}")
        elif field.default is MISSING and field.default_factory is MISSING:
            raise MalformedRecord(f"{where}: the field {field.name} is missing")
    try:
        return kind(**values)
    except ValueError as error:
        raise MalformedRecord(f"{where}: {error}") from None


def _decode_optional(kind: object, plain: object, where: str) -> object:
    inner = [a for a in typing.get_args(kind) if a is not type(None)]
    if plain is None and len(inner) < len(typing.get_args(kind)):
        return None
    for candidate in inner[:-1]:
        try:
            return _decode(candidate, plain, where)
        except MalformedRecord:
            continue
    return _decode(inner[-1], plain, where)


def _decode_tuple(kind: object, plain: object, where: str) -> object:
    if not isinstance(plain, list):
        raise MalformedRecord(f"{where}: expected a list, found {_shown(plain)}")
    arguments = typing.get_args(kind)
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(_decode(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(plain))
    if len(arguments) != len(plain):
        raise MalformedRecord(f"{where}: expected {len(arguments)} items, found {len(plain)}")
    return tuple(_decode(a, item, f"{where}[{i}]") for i, (a, item) in enumerate(zip(arguments, plain, strict=True)))


def _decode_mapping(kind: object, plain: object, where: str) -> object:
    if not isinstance(plain, dict):
        raise MalformedRecord(f"{where}: expected an object, found {_shown(plain)}")
    _, value_kind = typing.get_args(kind)
    return {str(k): _decode(value_kind, v, f"{where}.{k}") for k, v in plain.items()}


def _decode_float(plain: object, where: str) -> float:
    if plain in ("nan", "inf", "-inf"):
        return float(plain)
    if isinstance(plain, int | float) and not isinstance(plain, bool):
        try:
            return float(plain)
        except OverflowError:
            raise MalformedRecord(f"{where}: {_shown(plain)} is too large a number") from None
    raise MalformedRecord(f"{where}: expected a number, found {_shown(plain)}")


def _shown(plain: object) -> str:
    """However deep or long it is, a person can read it."""
    return reprlib.repr(plain)
