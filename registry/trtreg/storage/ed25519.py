"""Ed25519 by `cryptography`, which only those import who sign, or verify what they haven't verified yet."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from trtreg.core.trust import PublicKey
from trtreg.errors import UsageError
from trtreg.storage.reaching import reaching

if TYPE_CHECKING:
    from pathlib import Path


class SigningKey:
    """The private key in the PEM file `path`. Raises UsageError for one that can't be read or is of another kind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def public(self) -> PublicKey:
        return PublicKey(self._private.public_key().public_bytes_raw())

    def sign(self, message: bytes) -> bytes:
        return self._private.sign(message)

    @cached_property
    def _private(self) -> Ed25519PrivateKey:
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise UsageError(
                f"can't read the signing key {self.path}: {error.strerror}", hint="TRTREG_SIGNING_KEY names it"
            ) from None
        try:
            key = serialization.load_pem_private_key(content, password=None)
        except TypeError:
            raise UsageError(
                f"the signing key {self.path} is locked with a password", hint="give one without"
            ) from None
        except (ValueError, UnsupportedAlgorithm):
            raise UsageError(f"{self.path} holds no private key in PEM", hint="trtreg key new makes one") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise UsageError(f"the signing key {self.path} is no Ed25519 key", hint="trtreg key new makes one")
        return key


def fits(key: PublicKey, signature: bytes, message: bytes) -> bool:
    """Whether the signature is the key's of this message."""
    try:
        Ed25519PublicKey.from_public_bytes(key.content).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def new_signing_key(path: Path) -> SigningKey:
    """Make a key in the new file `path`, which only its owner can read. Raises UsageError if there is one."""
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with reaching(f"write {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise UsageError(
                f"{path} is there already, and a key is never overwritten", hint="give another file: --output FILE"
            ) from None
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
    return SigningKey(path)


def public_key_in(pem: bytes) -> PublicKey:
    """The public key in a PEM text. Raises ValueError."""
    if b"PRIVATE KEY" in pem:
        raise ValueError(
            "it is a private key, which is never handed out: its owner gives the word that `key ls` prints"
        )
    try:
        key = serialization.load_pem_public_key(pem)
    except (UnsupportedAlgorithm, ValueError):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("it is no Ed25519 public key")
    return PublicKey(key.public_bytes_raw())
