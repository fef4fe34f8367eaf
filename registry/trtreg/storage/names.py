"""Which names a record may have in any store, a folder's and a bucket's rules at once, and which size."""

from __future__ import annotations

import re

from trtreg.core.layout import BLOBS, RECORD_LIMIT
from trtreg.errors import Untrusted, UsageError

# A part never begins with a dot: neither `..` nor a draft can be named.
_PART = r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,199}"
_NAME = re.compile(rf"{_PART}(?:/{_PART}){{0,15}}\Z")
_PREFIX = re.compile(rf"(?:{_PART}/){{0,15}}(?:{_PART})?\Z")
_ALLOWED = "names are letters, digits and . _ @ + - in parts of at most 200, joined by /, outside of blobs/"


def require_record_name(name: str) -> None:
    """Raise UsageError unless `name` can name a record."""
    if not is_record_name(name):
        raise UsageError(f"{name!r} can't name a record", hint=_ALLOWED)


def is_record_name(name: str) -> bool:
    """Whether `name` can name a record."""
    return _NAME.match(name) is not None and not f"{name}/".startswith(BLOBS)


def require_record_prefix(prefix: str) -> None:
    """Raise UsageError unless a record's name can begin with `prefix`."""
    if not _PREFIX.match(prefix) or prefix.startswith(BLOBS):
        raise UsageError(f"no record's name begins with {prefix!r}", hint=_ALLOWED)


def require_writable(name: str, content: bytes) -> None:
    """Raise UsageError unless a record of that name and content could be read again."""
    require_record_name(name)
    if len(content) > RECORD_LIMIT:
        raise UsageError(f"{name} would have {len(content)} bytes, and no record has more than {RECORD_LIMIT}")


def require_record_size(name: str, size: int, location: str) -> None:
    """Raise Untrusted for what is larger than any record: it would have to be read before a signature can tell."""
    if size > RECORD_LIMIT:
        raise Untrusted(
            f"{name} in {location} has {size} bytes, and no record has more than {RECORD_LIMIT}",
            hint="the store was tampered with or damaged: remove it there",
        )
