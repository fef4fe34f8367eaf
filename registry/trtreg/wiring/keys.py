"""The keys of this machine, as the settings name them: whom it trusts, and what it signs with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trtreg.core.trust import Signatures, Trust, parse_key, settle_trust
from trtreg.errors import UsageError
from trtreg.storage.keyring import FILE_NAME, SIGNING_KEY_NAME, Keyring, keys_in

if TYPE_CHECKING:
    from trtreg.core.trust import PublicKey
    from trtreg.storage.ed25519 import SigningKey
    from trtreg.wiring.config import Settings

_PEM = b"-----BEGIN"
_LONGEST_WORD = 200


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A key, where it comes from, and whether this machine trusts it and signs with it."""

    key: PublicKey
    origin: str
    trusted: bool
    signs: bool


def keyring_of(settings: Settings) -> Keyring:
    """The file of the keys that are trusted here."""
    return Keyring(settings.trust_folder / FILE_NAME)


def trust_of(settings: Settings) -> Trust:
    """The policy in force. Raises UsageError where a file in the current folder would go round it: whose cache is
    believed, and which home's keys are trusted, is not for it to say."""
    keys = [*keyring_of(settings).trusted(), *keys_in(settings.trusted_keys)]
    try:
        trust = settle_trust(settings.signatures, keys)
    except ValueError as error:
        raise UsageError(str(error), hint="TRTREG_SIGNATURES chooses") from None
    if settings.moved_by and trust.mode is not Signatures.OFF:
        raise UsageError(
            f"{settings.moved_by} chooses home or the cache, which a file may not do where signatures count",
            hint="set TRTREG_HOME or TRTREG_CACHE, or call trtreg elsewhere",
        )
    return trust


def signer_of(settings: Settings) -> SigningKey | None:
    """The key that signs what is written here, None where there is none."""
    path = settings.signing_key or settings.trust_folder / SIGNING_KEY_NAME
    if settings.signing_key is None and not path.exists():
        return None
    from trtreg.storage.ed25519 import SigningKey

    return SigningKey(path)


def known_keys(settings: Settings) -> list[KnownKey]:
    """Every key of this machine, those first that it trusts."""
    signer = signer_of(settings)
    ours = signer.public.content if signer else None
    ring, words = keyring_of(settings).trusted(), keys_in(settings.trusted_keys)
    given = [*((key, FILE_NAME) for key in ring), *((key, "TRTREG_TRUSTED_KEYS") for key in words)]
    known = [KnownKey(key, origin, trusted=True, signs=key.content == ours) for key, origin in given]
    if signer and not any(k.signs for k in known):
        known.append(KnownKey(signer.public, str(signer.path), trusted=False, signs=True))
    return known


def new_key(settings: Settings, output: Path | None) -> tuple[SigningKey, bool]:
    """Make a key to sign with and trust it here; whether later calls find it by themselves. Raises UsageError."""
    from trtreg.storage.ed25519 import new_signing_key

    ring = keyring_of(settings)
    # A ring that can't be read must be told before there is a key that nobody trusts.
    ring.trusted()
    home = settings.trust_folder / SIGNING_KEY_NAME
    made = new_signing_key(output.absolute() if output else home)
    ring.add(made.public)
    found = signer_of(settings)
    return made, found is not None and found.public == made.public


def read_key(text: str, name: str) -> PublicKey:
    """The public key that `text` is, or that the file of that name holds: a word, or PEM. Raises UsageError."""
    try:
        content = Path(text).read_bytes()
    except (OSError, ValueError):
        content = text.encode(errors="replace")
    try:
        if content.lstrip().startswith(_PEM):
            from trtreg.storage.ed25519 import public_key_in

            return parse_key(public_key_in(content).word, name)
        if len(content) > _LONGEST_WORD:
            raise ValueError(f"{text[:80]} is no public key: it is too long for one")
        return parse_key(content.decode(errors="replace").strip(), name)
    except ValueError as error:
        raise UsageError(
            str(error), hint="give the word that trtreg key new printed, or a file that holds it"
        ) from None
