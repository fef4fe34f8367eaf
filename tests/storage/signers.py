"""Keys and the stores that they sign."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from trtreg.core.trust import PublicKey, Signatures, Trust
from trtreg.interfaces import Store
from trtreg.storage.signing import SignedStore


class Key:
    """A private key that lies in no file."""

    def __init__(self, seed: int, name: str = "") -> None:
        self._private, self._name = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32), name

    @cached_property
    def public(self) -> PublicKey:
        return PublicKey(self._private.public_key().public_bytes_raw(), self._name)

    def sign(self, message: bytes) -> bytes:
        return self._private.sign(message)


OURS, THEIRS = Key(1, "farm"), Key(2)


def signed(
    inner: Store,
    *,
    mode: Signatures = Signatures.REQUIRE,
    trusted: tuple[Key, ...] = (OURS,),
    signer: Key | None = OURS,
    tell: Callable[[str], None] = lambda _: None,
) -> SignedStore:
    trust = Trust(mode, tuple(key.public for key in trusted))
    return SignedStore(inner, trust=trust, signer=lambda: signer, tell=tell)
