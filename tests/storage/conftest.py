"""Both stores, for the contract that they share."""

from __future__ import annotations

from pathlib import Path

import pytest

from trtreg.interfaces import Store
from trtreg.storage.directory import DirectoryStore
from trtreg.testing import MemoryStore


@pytest.fixture(params=["memory", "directory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "memory":
        return MemoryStore()
    return DirectoryStore(tmp_path / "store")
