"""Loading libraries of plugins into TensorRT, by digest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from trtreg.errors import UsageError


def load_plugins(registry: Any, wanted: Iterable[str], libraries: Mapping[str, Path]) -> None:
    """Load the libraries with these digests. Raises UsageError for one that isn't allowed, or isn't itself."""
    for digest in wanted:
        path = libraries.get(digest)
        if path is None:
            raise UsageError(
                f"the recipe needs the plugin library {digest[:12]}…, which isn't allowed here",
                hint="set TRTREG_PLUGINS to a folder that has it, if you trust it: a plugin runs with your rights",
            )
        if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            raise UsageError(f"{path.name} isn't the plugin library {digest[:12]}… any more")
        if registry.load_library(str(path)) is None:
            raise UsageError(f"{path.name} couldn't be loaded as a library of TensorRT plugins")
