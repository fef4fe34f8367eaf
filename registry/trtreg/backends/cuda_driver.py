"""Whether CUDA's driver finds a GPU, asked of its library directly: TensorRT crashes in ways of its own without one."""

from __future__ import annotations

import ctypes
from functools import cache

_MAJOR, _MINOR = 75, 76


@cache
def gpu_capabilities() -> tuple[int, ...]:
    """Compute capabilities, times ten, of the GPUs that this process may use, in CUDA's order; empty without any."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return ()
    count = ctypes.c_int()
    if cuda.cuInit(0) != 0 or cuda.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return ()
    return tuple(10 * _attribute(cuda, index, _MAJOR) + _attribute(cuda, index, _MINOR) for index in range(count.value))


def _attribute(cuda: ctypes.CDLL, index: int, attribute: int) -> int:
    device, value = ctypes.c_int(), ctypes.c_int()
    cuda.cuDeviceGet(ctypes.byref(device), index)
    cuda.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
    return value.value
