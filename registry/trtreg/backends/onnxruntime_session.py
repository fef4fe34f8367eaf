"""A plan of ONNX Runtime, loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from trtreg.backends.inputs import checked_inputs
from trtreg.backends.onnxruntime_api import api, refusals
from trtreg.backends.onnxruntime_refusals import one_line, out_of_memory
from trtreg.core.signature import Signature, TensorSpec
from trtreg.errors import UnusableModel, UsageError

if TYPE_CHECKING:
    from trtreg.interfaces import Tensor

_DTYPES = {
    f"tensor({theirs})": ours
    for theirs, ours in {
        "float": "float32",
        "double": "float64",
        **{same: same for same in ("float16", "bool", "string", "complex64", "complex128")},
        **{f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
    }.items()
}
"""ONNX Runtime's names of the types that numpy has, too; bfloat16, float8 and int4 never leave it as arrays."""


class OnnxRuntimeSession:
    """What `OnnxRuntime.load` gives. `signature` is what ONNX Runtime itself says of the plan."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.signature = signature_of(session)

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Outputs by name. Raises UsageError for inputs that the plan doesn't take, or fails on; BuildFailed
        where memory runs out."""
        arrays = checked_inputs(inputs, self.signature)
        with _told_apart():
            outputs = self._session.run(None, arrays)
        return dict(zip((spec.name for spec in self.signature.outputs), outputs, strict=True))


def session_of(session: Any, *, on_gpu: bool) -> OnnxRuntimeSession:
    """ONNX Runtime's session as ours, with all that it can do."""
    opened = OnnxRuntimeSession(session)
    has_strings = "string" in {spec.dtype for spec in (*opened.signature.inputs, *opened.signature.outputs)}
    return CudaSession(session) if on_gpu and not has_strings else opened


class CudaSession(OnnxRuntimeSession):
    """The same on CUDA's provider, which also runs on what lies on the GPU. Strings, which have no place there, ONNX
    Runtime doesn't bind at all: it isn't for plans that take or give them.

    device  where that is, as ONNX Runtime calls it
    """

    def __init__(self, session: Any, device: str = "cuda") -> None:
        super().__init__(session)
        self._device = device

    def resident(self, inputs: Mapping[str, Tensor]) -> Callable[[], None]:
        """A run on these inputs with nothing copied: they lie on the GPU already, and the outputs stay there. Raises
        what `run` does."""
        arrays = checked_inputs(inputs, self.signature)
        with _told_apart():
            bound = self._session.io_binding()
            for name, array in arrays.items():
                bound.bind_ortvalue_input(name, api().OrtValue.ortvalue_from_numpy(array, self._device, 0))
            for spec in self.signature.outputs:
                bound.bind_output(spec.name, self._device)
            bound.synchronize_inputs()

        def execute() -> None:
            with _told_apart():
                self._session.run_with_iobinding(bound)
                bound.synchronize_outputs()

        return execute


@contextmanager
def _told_apart() -> Iterator[None]:
    """Raises UsageError for inputs on which the plan fails, BuildFailed where memory runs out."""
    try:
        yield
    except refusals() as refusal:
        if failure := out_of_memory(refusal):
            raise failure from None
        raise UsageError(f"the plan fails on these inputs: {one_line(str(refusal))}") from None


def signature_of(session: Any) -> Signature:
    """Inputs and outputs of an ONNX Runtime session. Raises UnusableModel for one that numpy can't hold."""
    return Signature(
        tuple(map(_spec, session.get_inputs())),
        tuple(map(_spec, session.get_outputs())),
    )


def _spec(argument: Any) -> TensorSpec:
    dtype = _DTYPES.get(argument.type)
    if dtype is None:
        raise UnusableModel(
            f"{argument.name} is a {argument.type}: inputs and outputs must be tensors of types that numpy has",
            hint="cast or unpack it inside the model",
        )
    return TensorSpec(argument.name, dtype, tuple("?" if d is None else d for d in argument.shape))
