"""Hashing in pieces gives what hashing at once does."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from trtreg.storage.hashing import CHUNK, hash_through, sha256_file


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_a_file_of_any_size_has_its_sha256(tmp_path: Path, size: int) -> None:
    content = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    (tmp_path / "file").write_bytes(content)
    assert sha256_file(tmp_path / "file") == (hashlib.sha256(content).hexdigest(), size)


def test_progress_goes_up_to_the_size(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(2 * CHUNK + 5))
    seen: list[tuple[int, int]] = []
    sha256_file(tmp_path / "file", lambda done, total: seen.append((done, total)))
    total = 2 * CHUNK + 5
    assert seen == [(CHUNK, total), (2 * CHUNK, total), (total, total)]


def test_what_is_hashed_is_what_is_written() -> None:
    written = bytearray()
    digest, size = hash_through([b"one", b"two"], written.extend, size=6)
    assert bytes(written) == b"onetwo"
    assert (digest, size) == (hashlib.sha256(b"onetwo").hexdigest(), 6)
