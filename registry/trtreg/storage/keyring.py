"""The public keys that this machine trusts: a file in home, which only `trtreg key` writes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from trtreg.core.trust import PublicKey, parse_key
from trtreg.errors import NotFound, UsageError
from trtreg.storage.reaching import reaching

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

FILE_NAME = "trusted.json"
SIGNING_KEY_NAME = "signing-key.pem"


class Keyring:
    """The keys in the file `path`. Absence is an empty ring; a file that can't be read is a UsageError, and never a
    reason to trust nobody, which would mean to verify nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def trusted(self) -> tuple[PublicKey, ...]:
        """Those that are trusted, in the order in which they were added."""
        with reaching(f"read {self.path}"):
            try:
                content = self.path.read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return ()
        try:
            match json.loads(content):
                case {"trusted": [*entries]}:
                    return tuple(parse_key(entry["key"], entry.get("name", "")) for entry in entries)
            raise ValueError("no list of keys is in it")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(
                f"{self.path} can't be read: {error}", hint="mend it, or remove it and trust the keys again"
            ) from None

    def add(self, key: PublicKey) -> bool:
        """Trust a key from now on, or give one that is trusted another name. Whether it is new."""
        keys = self.trusted()
        there = {k.content: k for k in keys}
        named = key if key.name else replace(key, name=there.get(key.content, key).name)
        self._write({**there, key.content: named}.values())
        return key.content not in there

    def remove(self, key_id: str) -> PublicKey:
        """Trust a key no longer; it may be named by how its id begins. Raises NotFound, UsageError."""
        keys = self.trusted()
        meant = [key for key in keys if key_id and key.id.startswith(key_id)]
        if not meant:
            raise NotFound(f"no key {key_id!r} in {self.path}", hint="trtreg key ls lists them")
        if len(meant) > 1:
            raise UsageError(f"{key_id} begins {len(meant)} ids", hint=f"they are {', '.join(k.id for k in meant)}")
        self._write(key for key in keys if key != meant[0])
        return meant[0]

    def _write(self, keys: Iterable[PublicKey]) -> None:
        from trtreg.storage.atomic import Draft

        entries = [{"key": key.word, "name": key.name} for key in keys]
        with reaching(f"write {self.path}"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with Draft(self.path, mode=0o644) as draft:
                draft.file.write(f"{json.dumps({'trusted': entries}, indent=2)}\n".encode())
                draft.replace()


def keys_in(words: str) -> tuple[PublicKey, ...]:
    """The keys in a setting: words, separated by white space. Raises UsageError."""
    try:
        return tuple(parse_key(word) for word in words.split())
    except ValueError as error:
        raise UsageError(str(error), hint="trtreg key new prints such a word, and trtreg key ls") from None
