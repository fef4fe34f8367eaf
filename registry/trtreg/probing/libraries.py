"""Whether the libraries of installed runtimes load: tried in child processes, since they are large and may crash."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from importlib.machinery import PathFinder
from pathlib import Path

_LONGEST = 5.0
"""Seconds that one library may take; a cold disk reads a gigabyte in less."""

_LOADS = {
    "tensorrt": "import tensorrt",
    "tensorrt-rtx": "import tensorrt_rtx",
    "onnxruntime": """
import ctypes, onnxruntime
from pathlib import Path
folder = Path(onnxruntime.__file__).parent / "capi"
onnxruntime.preload_dlls()
ctypes.CDLL(folder / "libonnxruntime_providers_shared.so", ctypes.RTLD_GLOBAL)
ctypes.CDLL(folder / "libonnxruntime_providers_cuda.so")
""",
}


def load_failures(runtimes: Iterable[str]) -> dict[str, str]:
    """By runtime, what the system says of the library that doesn't load, with its name; empty where all do."""
    children: dict[str, subprocess.Popen[str]] = {}
    failures: dict[str, str] = {}
    for runtime in runtimes:
        try:
            children[runtime] = _start(_LOADS[runtime])
        except OSError as error:
            failures[runtime] = f"no process can be started to load them in: {error}"
    return failures | {runtime: _outcome(child) for runtime, child in children.items()}


def has_cuda_bindings() -> bool:
    """Whether CUDA's Python bindings are installed, which running plans of TensorRT needs."""
    spec = PathFinder.find_spec("cuda")
    return any((Path(folder) / "bindings").is_dir() for folder in (spec and spec.submodule_search_locations) or ())


def _start(code: str) -> subprocess.Popen[str]:
    # -P: a file in the current folder must not pass for a runtime.
    return subprocess.Popen(
        [sys.executable, "-P", "-c", code],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )


def _outcome(child: subprocess.Popen[str]) -> str:
    try:
        _, said = child.communicate(timeout=_LONGEST)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        return f"not loaded within {_LONGEST:g} s"
    if child.returncode < 0:
        return f"loading them ends the process with signal {-child.returncode}"
    if child.returncode == 0:
        return ""
    last = (said.strip().splitlines() or ["no reason given"])[-1]
    return last.partition("Error: ")[2] or last
