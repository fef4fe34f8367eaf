"""Field-safe hashing: the SHA-256 of a structured value, with no way for two values to share an encoding.

Every value is written with its type and its length, and every field of a dataclass with its name, so that
neither moving a character from one field to the next nor renaming a field can leave the digest as it was.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass

_HEX64 = re.compile(r"[0-9a-f]{64}\Z")


def digest_of(domain: str, value: object) -> str:
    """SHA-256, in 64 hexadecimal digits, of `value` under `domain`.

    `value` is built of None, bool, int, str, bytes, tuples, mappings with string keys and frozen dataclasses.
    Floats are refused: two spellings of one number would be two identities. `domain` keeps the digests of
    different kinds of thing apart, even where their values coincide.
    """
    return hashlib.sha256(_encode(domain) + _encode(value)).hexdigest()


def is_digest(text: str) -> bool:
    """Whether `text` is a SHA-256 as trtreg writes it: 64 lower-case hexadecimal digits."""
    return _HEX64.match(text) is not None


def _encode(value: object) -> bytes:
    match value:
        case None:
            return b"n"
        case bool():
            return b"t" if value else b"f"
        case str():
            # StrEnum members are strings, too: their value is what counts.
            return _sized(b"s", value.encode())
        case int():
            return _sized(b"i", str(int(value)).encode())
        case bytes():
            return _sized(b"b", value)
        case tuple():
            return b"l%d:" % len(value) + b"".join(map(_encode, value))
        case Mapping():
            items = sorted(value.items())
            return b"m%d:" % len(items) + b"".join(_encode(k) + _encode(v) for k, v in items)
        case _ if is_dataclass(value) and not isinstance(value, type):
            named = {f.name: getattr(value, f.name) for f in fields(value)}
            return _encode(named)
        case _:
            raise TypeError(f"{type(value).__name__} has no canonical encoding: {value!r}")


def _sized(tag: bytes, content: bytes) -> bytes:
    return b"%s%d:%s" % (tag, len(content), content)
