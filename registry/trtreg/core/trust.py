"""Who is trusted to have written a record: public keys, how strictly they are asked for, and a signature's form.

A signed record is its content and then one line, the trailer, which names the key and holds the signature. What is
signed is the record's name together with its content: a record that is copied under another name carries a signature
that doesn't fit there.
"""

from __future__ import annotations

import hashlib
import re
from binascii import a2b_base64, b2a_base64
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

from trtreg.core.digest import digest_of

if TYPE_CHECKING:
    from collections.abc import Iterable

_DOMAIN = b"trtreg record, signed, 1"
_SCHEME = "ed25519:"
_KEY_BYTES = 32
_MARK = b'{"trtreg-signature":'
_FORM = b'\n{"trtreg-signature":1,"key":"%b","signature":"%b"}\n'
_TRAILER = rb'\n\{"trtreg-signature":1,"key":"([0-9a-f]{16})","signature":"([A-Za-z0-9+/]{86}==)"\}\n\Z'
_TRAILER_BYTES = len(_FORM % (b"k" * 16, b"s" * 88))
_LONGEST_TRAILER = 1024
"""Bytes from the end in which a trailer of whatever form is looked for."""


class Signatures(StrEnum):
    """require: what no trusted key has signed is refused. warn: it is told. off: nobody looks."""

    REQUIRE = "require"
    WARN = "warn"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An Ed25519 key that may be trusted: its 32 bytes, and a name for people, which nothing depends on."""

    content: bytes
    name: str = ""

    def __post_init__(self) -> None:
        if len(self.content) != _KEY_BYTES:
            raise ValueError(f"an Ed25519 key has {_KEY_BYTES} bytes, not {len(self.content)}")

    @property
    def id(self) -> str:
        """16 hexadecimal digits. They only name the key: a signature is checked by all of it."""
        return hashlib.sha256(_SCHEME.encode() + self.content).hexdigest()[:16]

    @property
    def word(self) -> str:
        """The whole key as one word to be pasted: `ed25519:` and its bytes in base64."""
        return _SCHEME + _base64(self.content).decode()

    def __str__(self) -> str:
        return f"{self.id} ({self.name})" if self.name else self.id


def parse_key(word: str, name: str = "") -> PublicKey:
    """The key that `PublicKey.word` wrote. Raises ValueError."""
    scheme, text = word[: len(_SCHEME)], word[len(_SCHEME) :]
    try:
        content = a2b_base64(text, strict_mode=True)
    except ValueError:
        content = b""
    # Base64 has several spellings of one value; a key has one.
    if scheme != _SCHEME or len(content) != _KEY_BYTES or _base64(content).decode() != text:
        raise ValueError(f"{word[:80]!r} is no public key: it is {_SCHEME} and 44 characters of base64")
    return PublicKey(content, name)


@dataclass(frozen=True)
class Trust:
    """What a reader goes by: how strictly signatures are asked for, and whose count."""

    mode: Signatures
    keys: tuple[PublicKey, ...] = ()

    @cached_property
    def digest(self) -> str:
        """Names the policy. What was verified under one is noted with it, and verified again under another.

        Empty where nothing is verified, as it is with what was noted before there were signatures.
        """
        if self.mode is Signatures.OFF:
            return ""
        return digest_of("trust", (self.mode, tuple(sorted({k.content for k in self.keys}))))

    def accepts(self, noted: str) -> bool:
        """Whether what was verified under the policy of that digest needn't be verified again."""
        return self.mode is Signatures.OFF or noted == self.digest

    def key(self, key_id: str) -> PublicKey | None:
        """The trusted key of that id."""
        return next((key for key in self.keys if key.id == key_id), None)


def settle_trust(mode: str | None, keys: Iterable[PublicKey]) -> Trust:
    """The policy in force: the mode that was chosen, else `require` as soon as one key is trusted.

    Raises ValueError for a mode that there isn't.
    """
    distinct = {key.content: key for key in reversed(list(keys))}
    trusted = tuple(sorted(distinct.values(), key=lambda key: key.id))
    if mode is None:
        return Trust(Signatures.REQUIRE if trusted else Signatures.OFF, trusted)
    try:
        return Trust(Signatures(mode), trusted)
    except ValueError:
        raise ValueError(f"signatures are one of {', '.join(Signatures)}, not {mode!r}") from None


@dataclass(frozen=True, slots=True)
class Trailer:
    """Which key signed a record, and its signature of 64 bytes; an empty signature is one that can't be read."""

    key_id: str
    signature: bytes

    def written(self) -> bytes:
        """As it is appended to the content."""
        return _FORM % (self.key_id.encode(), _base64(self.signature))


def split_record(record: bytes) -> tuple[bytes, Trailer | None]:
    """A record's content and its trailer, None where there is none."""
    # Compiled when it is first needed, which a hit never does.
    if match := re.match(_TRAILER, record[-_TRAILER_BYTES:]):
        signature = a2b_base64(match[2])
        # Another spelling of the same bytes is damage, too.
        canonical = _base64(signature) == match[2]
        return record[:-_TRAILER_BYTES], Trailer(match[1].decode(), signature if canonical else b"")
    begins = record.rfind(b"\n" + _MARK, -_LONGEST_TRAILER)
    if begins >= 0 and record.find(b"\n", begins + 1) == len(record) - 1:
        return record[:begins], Trailer("", b"")
    return record, None


def _base64(content: bytes) -> bytes:
    # Not by the module of that name: a hit comes by here, and importing it takes longer than all of this one.
    return b2a_base64(content, newline=False)


def signed_message(name: str, content: bytes) -> bytes:
    """What is signed: each part with its length, so that nothing can move from one into the next."""
    return b"".join(b"%d:%b" % (len(part), part) for part in (_DOMAIN, name.encode(), content))
