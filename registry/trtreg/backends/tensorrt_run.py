"""Running plans of TensorRT and TensorRT-RTX: dynamic shapes, and outputs whose shape only the run decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtreg.backends.cuda_driver import gpu_capabilities
from trtreg.backends.cuda_memory import Buffer, Cuda
from trtreg.backends.inputs import checked_inputs
from trtreg.backends.tensorrt_api import Product, product_module
from trtreg.backends.tensorrt_log import Log, recording
from trtreg.backends.tensorrt_plugins import load_plugins
from trtreg.core.plan_header import HEADER_SIZE, PlanHeader, is_plan, read_plan_header
from trtreg.core.signature import Signature, TensorSpec
from trtreg.errors import NotFound, TrtregError, Untrusted, UnusableModel, UsageError

if TYPE_CHECKING:
    from trtreg.interfaces import Tensor

_DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT8": "int8",
    "INT32": "int32",
    "INT64": "int64",
    "UINT8": "uint8",
    "BOOL": "bool",
}
"""TensorRT's names of the types that numpy has, too."""


def load_plan(product: Product, plan: Path, plugins: Mapping[str, Path]) -> TensorRTSession:
    """The plan, ready to run on the first GPU that this process may use, with all `plugins`, which are by SHA-256.

    Raises Untrusted for bytes that are no plan, and NotFound for a plan of another product, release or architecture,
    before TensorRT sees either.
    """
    trt = product_module(product)
    with recording(trt) as (logger, log):
        trt.init_libnvinfer_plugins(logger, "")
        return TensorRTSession(trt, *deserialize(trt, product, plan, plugins, logger, log))


def deserialize(
    trt: Any, product: Product, plan: Path, plugins: Mapping[str, Path], logger: Any, log: Log
) -> tuple[Any, Any]:
    """The runtime, which must outlive the engine, and the engine. Raises as `load_plan` does."""
    _require_fit(trt, product, _header(product, plan))
    runtime = trt.Runtime(logger)
    load_plugins(runtime.get_plugin_registry(), plugins, plugins)
    engine = runtime.deserialize_cuda_engine(plan.read_bytes())
    if engine is None:
        raise Untrusted(f"{product.title} can't load {plan.name}: {log.reason()}")
    return runtime, engine


def _header(product: Product, plan: Path) -> PlanHeader:
    with plan.open("rb") as stream:
        start = stream.read(HEADER_SIZE)
    if not is_plan(start):
        raise Untrusted(
            f"{plan.name} is no plan of {product.title}", hint=f"`trtreg inspect {plan.name}` says what it is"
        )
    try:
        return read_plan_header(start)
    except ValueError as error:
        raise Untrusted(f"{plan.name}: {error}") from None


def _require_fit(trt: Any, product: Product, header: PlanHeader) -> None:
    here = gpu_capabilities()
    if (header.flavour, header.version) != (product.name, trt.__version__):
        raise NotFound(
            f"the plan is for {header.flavour} {header.version}, but this is {product.name} {trt.__version__}",
            hint="ask trtreg for the engine of this machine: `trtreg get`",
        )
    if not here:
        raise NotFound("no GPU is here that could run the plan", hint="`trtreg doctor` shows what was looked for")
    if header.architectures and not {f"sm_{here[0]}", "future"} & set(header.architectures):
        raise NotFound(
            f"the plan is for {', '.join(header.architectures)}, but the GPU here is sm_{here[0]}",
            hint="ask trtreg for the engine of this machine: `trtreg get`",
        )


class TensorRTSession:
    """A loaded plan. `signature` is what the plan itself says; its open dimensions are "?"."""

    def __init__(self, trt: Any, runtime: Any, engine: Any) -> None:
        self._trt, self._runtime, self._engine = trt, runtime, engine
        context = engine.create_execution_context()
        if context is None:
            raise TrtregError(
                "the plan can't be run: no execution context", hint="another program may hold the GPU's memory"
            )
        self._context = context
        self._names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        self.signature = Signature(
            tuple(self._spec(n) for n in self._names if self._is_input(n)),
            tuple(self._spec(n) for n in self._names if not self._is_input(n)),
        )
        self._cuda = Cuda()
        self._buffers = {name: Buffer(self._cuda) for name in self._names}
        self._outputs = {s.name: _allocator_type(trt)(self._buffers[s.name]) for s in self.signature.outputs}

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Outputs by name. Raises UsageError for inputs that no optimization profile takes."""
        self._prepare(inputs)
        self._execute()
        outputs = {spec.name: self._fetched(spec) for spec in self.signature.outputs}
        self._cuda.synchronize()
        return outputs

    def resident(self, inputs: Mapping[str, Tensor]) -> Callable[[], None]:
        """A run on these inputs with nothing copied: they lie on the GPU already, and the outputs stay there. It is
        valid until the next `run`. Raises UsageError for inputs that no optimization profile takes."""
        # What lies in host memory is read again in each run: it must live as long as the callable.
        held = self._prepare(inputs)
        self._cuda.synchronize()

        def execute() -> None:
            assert held is not None
            self._execute()

        return execute

    def close(self) -> None:
        """Give the device memory back."""
        for buffer in self._buffers.values():
            buffer.close()
        self._cuda.close()

    def _prepare(self, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        arrays = checked_inputs(inputs, self.signature)
        self._select_profile(arrays)
        for name, array in arrays.items():
            self._bind(name, array)
        for name, allocator in self._outputs.items():
            self._context.set_output_allocator(name, allocator)
        return arrays

    def _execute(self) -> None:
        with recording(self._trt) as (_, log):
            if not self._context.execute_async_v3(self._cuda.stream):
                raise TrtregError(f"the plan couldn't be run: {log.reason()}")
            self._cuda.synchronize()

    def _bind(self, name: str, array: Tensor) -> None:
        if not self._context.set_input_shape(name, array.shape):
            raise UsageError(f"the plan doesn't take {name} in the shape {array.shape}")
        if self._engine.get_tensor_location(name) == self._trt.TensorLocation.HOST:
            # Values that shapes are computed from are read before the device runs.
            self._context.set_tensor_address(name, array.ctypes.data)
            return
        buffer = self._buffers[name]
        self._context.set_tensor_address(name, buffer.reserve(array.nbytes))
        self._cuda.copy_in(buffer, array)

    def _fetched(self, spec: TensorSpec) -> Tensor:
        import numpy as np

        array = np.empty(self._outputs[spec.name].shape, dtype=spec.dtype)
        self._cuda.copy_out(array, self._buffers[spec.name])
        return array

    def _select_profile(self, arrays: Mapping[str, Tensor]) -> None:
        count = self._engine.num_optimization_profiles
        fitting = [i for i in range(count) if all(self._takes(i, n, a.shape) for n, a in arrays.items())]
        if not fitting:
            given = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
            raise UsageError(f"none of the plan's {count} optimization profiles takes {given}")
        if self._context.active_optimization_profile != fitting[0]:
            self._context.set_optimization_profile_async(fitting[0], self._cuda.stream)

    def _takes(self, profile: int, name: str, shape: tuple[int, ...]) -> bool:
        if self._engine.is_shape_inference_io(name):
            return True
        low, _, high = self._engine.get_tensor_profile_shape(name, profile)
        return all(a <= size <= b for a, size, b in zip(tuple(low), shape, tuple(high), strict=True))

    def _is_input(self, name: str) -> bool:
        return bool(self._engine.get_tensor_mode(name) == self._trt.TensorIOMode.INPUT)

    def _spec(self, name: str) -> TensorSpec:
        theirs = self._engine.get_tensor_dtype(name).name
        if theirs not in _DTYPES:
            raise UnusableModel(f"{name} is {theirs}, which numpy doesn't have", hint="cast it inside the model")
        shape = tuple("?" if size < 0 else size for size in self._engine.get_tensor_shape(name))
        return TensorSpec(name, _DTYPES[theirs], shape)


@cache
def _allocator_type(trt: Any) -> Any:
    class OutputMemory(trt.IOutputAllocator):  # type: ignore[misc]
        """Takes an output of any size; TensorRT tells the shape once it knows it."""

        def __init__(self, buffer: Buffer) -> None:
            trt.IOutputAllocator.__init__(self)
            self._buffer = buffer
            self.shape: tuple[int, ...] = ()

        def reallocate_output(self, tensor_name: str, memory: int, size: int, alignment: int) -> int:  # noqa: ARG002
            return self._buffer.reserve(size)

        def reallocate_output_async(
            self,
            tensor_name: str,  # noqa: ARG002
            memory: int,  # noqa: ARG002
            size: int,
            alignment: int,  # noqa: ARG002
            stream: int,  # noqa: ARG002
        ) -> int:
            return self._buffer.reserve(size)

        def notify_shape(self, tensor_name: str, shape: Any) -> None:  # noqa: ARG002
            self.shape = tuple(shape)

    return OutputMemory
