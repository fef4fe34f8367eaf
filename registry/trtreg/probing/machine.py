"""What this machine is, for the price of reading a page of /proc."""

from __future__ import annotations

import os
import sys
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
DRIVERS = (Path("/dev/nvidiactl"), Path("/dev/dxg"))
"""What NVIDIA's driver puts there, on Linux and on Windows' Linux."""

_IDENTITY = frozenset(
    {
        *("vendor_id", "cpu family", "model", "model name", "stepping", "flags"),
        *("CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision", "Features"),
    }
)
"""What /proc/cpuinfo says of a processor that doesn't change while it runs, on x86 and on Arm."""


def architecture() -> str:
    """`x86_64`, `aarch64`, …"""
    return os.uname().machine


def platform() -> str:
    """Operating system and machine: `linux-x86_64`."""
    return f"{sys.platform}-{architecture()}"


def has_nvidia_driver() -> bool:
    """Whether NVIDIA's driver runs here. Without it, neither packages nor NVML need be looked for."""
    return any(path.exists() for path in DRIVERS)


def cpu_identity(cpuinfo: Path = CPUINFO) -> dict[str, str]:
    """Model and instruction sets of the first processor; only its architecture where the system doesn't tell."""
    identity = {"machine": architecture()}
    try:
        with cpuinfo.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                name, colon, value = line.partition(":")
                if not colon:
                    break  # An empty line ends the first processor's block; a big machine has hundreds.
                if name.strip() in _IDENTITY:
                    identity[name.strip()] = value.strip()
    except OSError:
        pass  # Not every system has the file; the architecture must do there.
    return identity
