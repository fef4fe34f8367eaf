"""What turns ONNX into plans and runs them, by name. A backend's runtime is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from trtreg.errors import UsageError
from trtreg.interfaces import Backend, Progress

NAMES = ("onnxruntime", "tensorrt", "tensorrt-rtx")
NO_PLUGINS: Mapping[str, Path] = MappingProxyType({})


def backend(
    name: str,
    *,
    progress: Progress | None = None,
    on_log: Callable[[str], None] | None = None,
    plugins: Mapping[str, Path] = NO_PLUGINS,
    timings: Path | None = None,
    spins: bool = True,
) -> Backend:
    """The backend called `name`, one of NAMES. Raises UsageError.

    The rest is TensorRT's: who is told the phases of a build and its log, the plugin libraries that may be loaded,
    by SHA-256, and the folder of its timing caches. `spins` is ONNX Runtime's: whether threads wait busily.
    """
    if name == "onnxruntime":
        from trtreg.backends.onnxruntime import OnnxRuntime

        return OnnxRuntime(spins=spins)
    if name in NAMES:
        from trtreg.backends.tensorrt import TensorRT

        return TensorRT(name, progress=progress, on_log=on_log, plugins=plugins, timings=timings)
    raise UsageError(f"there is no backend {name!r}", hint=f"there are {', '.join(NAMES)}")
