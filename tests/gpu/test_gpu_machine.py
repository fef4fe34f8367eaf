"""Any NVIDIA GPU: NVML and CUDA agree on what is here, and device memory copies there and back."""

from __future__ import annotations

import os

import numpy as np
import pynvml
import pytest

from trtreg.backends.cuda_driver import gpu_capabilities
from trtreg.backends.cuda_memory import Buffer, Cuda
from trtreg.errors import TrtregError
from trtreg.probing.nvml import Gpus, read_gpus


def test_nvml_sees_the_gpus_that_cuda_sees() -> None:
    gpus = read_gpus(pynvml, os.environ)
    assert isinstance(gpus, Gpus)
    assert sorted(gpu.capability for gpu in gpus.visible) == sorted(gpu_capabilities())
    assert all(gpu.multiprocessors for gpu in gpus.visible)


@pytest.mark.parametrize("count", [0, 1, 1000, 1 << 24])
def test_what_is_copied_to_the_device_comes_back(count: int) -> None:
    cuda = Cuda()
    buffer = Buffer(cuda)
    there = np.arange(count, dtype=np.float32)
    back = np.empty_like(there)
    buffer.reserve(there.nbytes)
    cuda.copy_in(buffer, there)
    cuda.copy_out(back, buffer)
    cuda.synchronize()
    assert np.array_equal(there, back)
    buffer.close()
    cuda.close()


def test_a_failure_of_cuda_is_told_by_its_name() -> None:
    with pytest.raises(TrtregError, match="cudaMalloc failed: cudaErrorMemoryAllocation"):
        Cuda().allocate(1 << 50)
