"""Device memory and a stream, by the official Python bindings of CUDA's runtime (`cuda-bindings`).

Polygraphy would do, too, but finds libcudart by its own search and keeps one profile; these are a dozen calls.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from trtreg.errors import TrtregError

if TYPE_CHECKING:
    from trtreg.interfaces import Tensor


class Cuda:
    """A stream of the current device, and buffers that copy on it. Every failure is a TrtregError."""

    def __init__(self) -> None:
        try:
            self._runtime = importlib.import_module("cuda.bindings.runtime")
        except ImportError as error:
            raise TrtregError(
                f"running a TensorRT plan needs CUDA's Python bindings: {error}",
                hint="pip install cuda-bindings, of the CUDA version that TensorRT was built for",
            ) from None
        self.stream = int(self._call("cudaStreamCreate"))

    def copy_in(self, buffer: Buffer, array: Tensor) -> None:
        self._copy(buffer.address, array.ctypes.data, array.nbytes, "cudaMemcpyHostToDevice")

    def copy_out(self, array: Tensor, buffer: Buffer) -> None:
        self._copy(array.ctypes.data, buffer.address, array.nbytes, "cudaMemcpyDeviceToHost")

    def synchronize(self) -> None:
        self._call("cudaStreamSynchronize", self.stream)

    def allocate(self, size: int) -> int:
        """The address of `size` bytes on the device."""
        return int(self._call("cudaMalloc", size))

    def free(self, address: int) -> None:
        self._call("cudaFree", address)

    def close(self) -> None:
        self._call("cudaStreamDestroy", self.stream)

    def _copy(self, to: int, source: int, size: int, kind: str) -> None:
        direction = getattr(self._runtime.cudaMemcpyKind, kind)
        self._call("cudaMemcpyAsync", to, source, size, direction, self.stream)

    def _call(self, name: str, *arguments: Any) -> Any:
        status, *values = getattr(self._runtime, name)(*arguments)
        if int(status) != 0:
            raise TrtregError(f"{name} failed: {status.name}", hint="nvidia-smi shows the state of the GPU")
        return values[0] if values else None


class Buffer:
    """Memory on the device that grows on demand and is kept between runs."""

    def __init__(self, cuda: Cuda) -> None:
        self._cuda, self._size = cuda, 0
        self.address = 0

    def reserve(self, size: int) -> int:
        """The address of at least `size` bytes; what was in the buffer may be gone."""
        if size > self._size or not self.address:
            self.close()
            # CUDA gives no address for nothing, and an empty tensor needs one.
            self.address = self._cuda.allocate(max(size, 1))
            self._size = max(size, 1)
        return self.address

    def close(self) -> None:
        if self.address:
            address, self.address, self._size = self.address, 0, 0
            self._cuda.free(address)
