"""What all tests share: where the real models lie."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with real models, samples, pictures and hostile files."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("TRTREG_TEST_DATA", default))
    if not (folder / "models").is_dir():
        pytest.skip(f"no test data at {folder}; set TRTREG_TEST_DATA")
    return folder
