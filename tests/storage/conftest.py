"""Every store, for the contract that they share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from storage.signers import signed
from trtreg.interfaces import Store
from trtreg.storage.directory import DirectoryStore
from trtreg.storage.layers import Layer, LayeredStore
from trtreg.storage.s3 import S3Store
from trtreg.storage.s3_bucket import Bucket
from trtreg.storage.s3_place import parse_bucket
from trtreg.storage.signing import SignedStore
from trtreg.testing import MemoryStore


def s3_store(place: str, folder: Path, **more: Any) -> S3Store:
    """A store in a bucket that doesn't wait between attempts; interrupted downloads are kept below `folder`."""
    return S3Store(parse_bucket(place), partials=folder / "store" / "partial", sleep=lambda _: None, **more)


@pytest.fixture(params=["memory", "directory", "layers", "mirror", "signed", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "memory":
        return MemoryStore()
    if request.param == "directory":
        return DirectoryStore(tmp_path / "store")
    if request.param == "s3":
        bucket = request.getfixturevalue("bucket")
        return s3_store(bucket.place(os.urandom(6).hex()), tmp_path)
    if request.param == "signed":
        return signed(DirectoryStore(tmp_path / "store"))
    near, far = (DirectoryStore(tmp_path / "store" / place) for place in ("near", "far"))
    return LayeredStore([Layer(near, read_only=request.param == "mirror"), Layer(far)], warn=pytest.fail)


def plant(store: Store, name: str, content: bytes) -> None:
    """Let it lie among the records of `store`, as whoever gets at the place itself can do."""
    match store:
        case SignedStore():
            plant(store.inner, name, content)
        case LayeredStore():
            plant(store.writable, name, content)
        case MemoryStore():
            store.records[name] = content
        case S3Store():
            bucket = Bucket(parse_bucket(store.location))
            bucket.client.put_object(**bucket.at(name), Body=content)
        case _:
            path = Path(store.location, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
