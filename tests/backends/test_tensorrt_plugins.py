"""Loading plugin libraries into the real registry of TensorRT-RTX, which has what TensorRT's has."""

from __future__ import annotations

import hashlib
import importlib
from pathlib import Path
from typing import Any

import pytest

from rtx_builds import needs_rtx
from trtreg.backends.tensorrt_log import recording
from trtreg.backends.tensorrt_plugins import load_plugins
from trtreg.errors import UsageError

pytestmark = needs_rtx


def load(wanted: list[str], libraries: dict[str, Path]) -> None:
    trt: Any = importlib.import_module("tensorrt_rtx")
    with recording(trt) as (logger, _):
        builder = trt.Builder(logger)
        load_plugins(builder.get_plugin_registry(), wanted, libraries)


@pytest.fixture
def library(tmp_path: Path) -> Path:
    path = tmp_path / "libthird.so"
    path.write_bytes(b"no library")
    return path


def test_a_library_that_is_not_allowed_is_never_opened(library: Path) -> None:
    with pytest.raises(UsageError, match="which isn't allowed here"):
        load(["0" * 64], {"1" * 64: library})


def test_a_library_that_has_changed_is_never_opened(library: Path) -> None:
    with pytest.raises(UsageError, match=r"libthird\.so isn't the plugin library 000000000000… any more"):
        load(["0" * 64], {"0" * 64: library})


def test_what_is_no_library_is_refused(library: Path) -> None:
    digest = hashlib.sha256(library.read_bytes()).hexdigest()
    with pytest.raises(UsageError, match=r"libthird\.so couldn't be loaded"):
        load([digest], {digest: library})
