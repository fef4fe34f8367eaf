"""The keys that this machine trusts, and the one that it signs with."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from storage.signers import OURS, THEIRS
from trtreg.core.trust import PublicKey
from trtreg.errors import NotFound, UsageError
from trtreg.storage.ed25519 import SigningKey, fits, new_signing_key, public_key_in
from trtreg.storage.keyring import Keyring, keys_in


@pytest.fixture
def ring(tmp_path: Path) -> Keyring:
    return Keyring(tmp_path / "home" / "trusted.json")


def test_a_ring_that_is_not_there_is_empty(ring: Keyring) -> None:
    assert ring.trusted() == ()


def test_keys_are_added_once_and_renamed_and_removed(ring: Keyring) -> None:
    assert ring.add(THEIRS.public)
    assert ring.add(OURS.public)
    assert not ring.add(PublicKey(THEIRS.public.content, "laptop"))
    assert not ring.add(THEIRS.public)

    assert [(key, key.name) for key in ring.trusted()] == [
        (PublicKey(THEIRS.public.content, "laptop"), "laptop"),
        (OURS.public, "farm"),
    ]
    assert ring.remove(THEIRS.public.id[:6]).content == THEIRS.public.content
    assert ring.trusted() == (OURS.public,)


@pytest.mark.parametrize("key_id", ["", "zz", "0123456789abcdef"])
def test_removing_what_is_not_there_is_told(ring: Keyring, key_id: str) -> None:
    ring.add(OURS.public)
    with pytest.raises(NotFound):
        ring.remove(key_id)
    assert ring.trusted() == (OURS.public,)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"\xff", b'{"trusted":[{}]}', b'{"trusted":["x"]}', b'{"trusted":[{"key":"x"}]}']
)
def test_a_damaged_ring_is_no_empty_one(ring: Keyring, content: bytes) -> None:
    """Whoever trusts nobody verifies nothing."""
    ring.path.parent.mkdir()
    ring.path.write_bytes(content)

    with pytest.raises(UsageError, match=r"trusted\.json can't be read"):
        ring.trusted()


def test_keys_in_a_setting_are_words() -> None:
    assert keys_in(f" {OURS.public.word}\n\t{THEIRS.public.word} ") == (PublicKey(OURS.public.content), THEIRS.public)
    with pytest.raises(UsageError, match="is no public key"):
        keys_in(f"{OURS.public.word},{THEIRS.public.word}")


def test_a_new_key_is_its_owners_alone_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "new" / "key.pem"
    made = new_signing_key(path)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert fits(SigningKey(path).public, made.sign(b"message"), b"message")
    assert not fits(made.public, made.sign(b"message"), b"massage")
    before = path.read_bytes()
    with pytest.raises(UsageError, match="never overwritten"):
        new_signing_key(path)
    assert path.read_bytes() == before


def test_a_signing_key_that_is_none_says_why(tmp_path: Path) -> None:
    other = generate_private_key(SECP256R1())
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    files = {
        "no private key in PEM": b"garbage",
        "no Ed25519 key": other.private_bytes(pem, pkcs8, serialization.NoEncryption()),
        "locked with a password": other.private_bytes(pem, pkcs8, serialization.BestAvailableEncryption(b"x")),
    }
    for said, content in files.items():
        (tmp_path / "key.pem").write_bytes(content)
        with pytest.raises(UsageError, match=said):
            SigningKey(tmp_path / "key.pem").sign(b"")
    with pytest.raises(UsageError, match="No such file"):
        SigningKey(tmp_path / "absent").sign(b"")


def test_a_public_key_in_pem_is_read(tmp_path: Path) -> None:
    made = new_signing_key(tmp_path / "key.pem")
    pem = subprocess.run(
        ["openssl", "pkey", "-in", tmp_path / "key.pem", "-pubout"], check=True, capture_output=True
    ).stdout

    assert public_key_in(pem) == made.public
    with pytest.raises(ValueError, match=r".+"):
        public_key_in((tmp_path / "key.pem").read_bytes())
