"""trtreg: an engine-build cache and model registry.

    import trtreg

    registry = trtreg.open_registry()
    engine = registry.get("yolov5s", precision="fp16")
    outputs = engine.load().run({"images": images})

Importing it loads nothing heavy; each part is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from trtreg.errors import TrtregError as TrtregError
    from trtreg.finding import Engine as Engine
    from trtreg.interfaces import Progress
    from trtreg.registry import Registry as Registry

__all__ = ["Engine", "Registry", "TrtregError", "__version__", "open_registry"]

_HOMES = {"Engine": "trtreg.finding", "Registry": "trtreg.registry", "TrtregError": "trtreg.errors"}


def open_registry(*, progress: Progress | None = None, **settings: str | None) -> Registry:
    """The registry that the settings name: flags given here (`home`, `catalog`, `store`, `cache`, `time_limit`,
    `memory_limit`), then the environment, `trtreg.toml` and defaults, as for the command line."""
    from trtreg.silence import SILENT
    from trtreg.wiring import wiring

    return wiring.open_registry(settings=wiring.settings(settings), progress=progress or SILENT)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'trtreg' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
