"""Every store, for the contract that they share."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.signers import signed
from trtreg.interfaces import Store
from trtreg.storage.directory import DirectoryStore
from trtreg.storage.layers import Layer, LayeredStore
from trtreg.testing import MemoryStore


@pytest.fixture(params=["memory", "directory", "layers", "mirror", "signed"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "memory":
        return MemoryStore()
    if request.param == "directory":
        return DirectoryStore(tmp_path / "store")
    if request.param == "signed":
        return signed(DirectoryStore(tmp_path / "store"))
    near, far = (DirectoryStore(tmp_path / "store" / place) for place in ("near", "far"))
    return LayeredStore([Layer(near, read_only=request.param == "mirror"), Layer(far)], warn=pytest.fail)
