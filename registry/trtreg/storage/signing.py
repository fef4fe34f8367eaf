"""A store whose records are signed when they are written, and verified when they are read.

It stands before another store. Blobs are named by their content and need no signature: the records that name them do.
Names themselves aren't signed: docs/signatures.md says what one who may write to the store can do all the same.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

from trtreg.core.trust import Signatures, Trailer, Trust, signed_message, split_record
from trtreg.errors import BadSignature, UnknownSigner, Unsigned, Untrusted, UsageError
from trtreg.storage.names import require_record_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from trtreg.core.files import StoredBlob, StoredFile
    from trtreg.core.trust import PublicKey
    from trtreg.interfaces import Progress, Store


class Signer(Protocol):
    """A private key."""

    @property
    def public(self) -> PublicKey: ...

    def sign(self, message: bytes) -> bytes:
        """64 bytes."""
        ...


class SignedStore:
    """The records of `inner`, signed by `signer` if there is one, and verified as `trust` asks for.

    tell  is given a line for a person, where the mode is to warn: one for each kind of record, not one for each
    """

    def __init__(
        self,
        inner: Store,
        *,
        trust: Trust,
        signer: Callable[[], Signer | None] = lambda: None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.inner, self.trust = inner, trust
        self.location, self.identities, self.remote = inner.location, inner.identities, inner.remote
        self._signer, self._tell = signer, tell
        self._told: set[str] = set()

    @property
    def is_partial(self) -> bool:
        return self.inner.is_partial

    # --- blobs

    def has_blob(self, file: StoredFile) -> bool:
        return self.inner.has_blob(file)

    def put_blob(self, source: Path, file: StoredFile, progress: Progress, *, heal: bool = False) -> None:
        self.inner.put_blob(source, file, progress, heal=heal)

    def fetch_blob(self, file: StoredFile, destination: Path, progress: Progress) -> None:
        self.inner.fetch_blob(file, destination, progress)

    def remove_blob(self, sha256: str, *, untouched_since: float = math.inf) -> bool:
        return self.inner.remove_blob(sha256, untouched_since=untouched_since)

    def blobs(self) -> Iterator[StoredBlob]:
        return self.inner.blobs()

    def blob_url(self, file: StoredFile, seconds: float) -> str:
        return self.inner.blob_url(file, seconds)

    def sweep(self, older_than_seconds: float) -> int:
        return self.inner.sweep(older_than_seconds)

    # --- records

    def read_record(self, name: str) -> bytes | None:
        """Its content. Raises Unsigned, UnknownSigner and BadSignature where signatures are required."""
        record = self.inner.read_record(name)
        if record is None:
            return None
        content, trailer = split_record(record)
        if self.trust.mode is not Signatures.OFF and (refusal := self._refusal(name, content, trailer)):
            if self.trust.mode is Signatures.REQUIRE:
                raise refusal
            self._warn(name, refusal)
        return content

    def insert_record(self, name: str, content: bytes) -> bool:
        return self.inner.insert_record(name, self.signed(name, content))

    def replace_record(self, name: str, content: bytes) -> None:
        self.inner.replace_record(name, self.signed(name, content))

    def delete_record(self, name: str) -> None:
        self.inner.delete_record(name)

    def record_stamp(self, name: str) -> str:
        return self.inner.record_stamp(name)

    def record_names(self, prefix: str) -> Iterator[str]:
        return self.inner.record_names(prefix)

    # --- signatures

    def signed(self, name: str, content: bytes) -> bytes:
        """The record as it is to be written. Raises UsageError where signatures are required and it can't be signed."""
        require_record_name(name)
        if split_record(content)[1] is not None:
            raise UsageError(f"{name} ends like a record that is signed already", hint="it is written without that end")
        signer = self._signer()
        if signer is None:
            self.require_signer()
            return content
        return content + Trailer(signer.public.id, signer.sign(signed_message(name, content))).written()

    def fits(self, name: str, content: bytes, trailer: Trailer) -> bool:
        """Whether a trusted key has signed this."""
        return self._refusal(name, content, trailer) is None

    def require_signer(self) -> None:
        """Raise UsageError if what is written here couldn't be read here: better before a build than after it."""
        if self.trust.mode is not Signatures.REQUIRE:
            return
        signer = self._signer()
        if signer is None:
            raise UsageError(
                "signatures are required, and there is no key to sign with",
                hint="trtreg key new makes one, TRTREG_SIGNING_KEY names one; readers need none",
            )
        if self.trust.key(signer.public.id) is None:
            raise UsageError(
                f"signatures are required, and the key to sign with, {signer.public.id}, isn't trusted here",
                hint=f"trtreg key trust {signer.public.word}",
            )

    def _refusal(self, name: str, content: bytes, trailer: Trailer | None) -> Untrusted | None:
        """What speaks against the record."""
        if trailer is None:
            return Unsigned(
                f"{name} in {self.location} is unsigned",
                hint="who keeps the store, and has a key that is trusted here, signs what was there before there were "
                "keys: trtreg key sign",
            )
        if not trailer.signature:
            return BadSignature(f"{name} in {self.location} has a signature that can't be read", hint=_TAMPERED)
        key = self.trust.key(trailer.key_id)
        if key is None:
            return UnknownSigner(
                f"{name} in {self.location} is signed by the key {trailer.key_id}, which isn't trusted here",
                hint="if it should be: trtreg key trust ed25519:…, with the key as its owner gives it to you",
            )
        from trtreg.storage.ed25519 import fits

        if not fits(key, trailer.signature, signed_message(name, content)):
            return BadSignature(
                f"{name} in {self.location} doesn't fit its signature by {key}: damaged, or copied from another name",
                hint=_TAMPERED,
            )
        return None

    def _warn(self, name: str, refusal: Untrusted) -> None:
        kind = f"{name.partition('/')[0]} {refusal.kind}"
        if kind not in self._told:
            self._told.add(kind)
            self._tell(f"warning: {refusal.message} (more of this kind aren't told)")


_TAMPERED = "the store was tampered with or damaged; --rebuild makes an engine anew"
