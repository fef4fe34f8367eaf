"""The machine and the versions, for the head of every table."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def described(packages: tuple[str, ...] = ("trtreg", "onnxruntime", "onnx", "numpy", "click")) -> str:
    """One line: CPU, cores, operating system, Python, packages."""
    return f"{_cpu()}, {os.cpu_count()} cores, {platform.platform()}, Python {platform.python_version()}, " + ", ".join(
        f"{name} {_version(name)}" for name in packages
    )


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
