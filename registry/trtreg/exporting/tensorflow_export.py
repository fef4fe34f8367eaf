"""TensorFlow's SavedModels, Keras', TensorFlow Lite's and frozen graphs into ONNX, by tf2onnx.

tf2onnx's command line is called within this process: it is what tf2onnx keeps steady, and it stops where an operator is
unknown, which its functions for Python pass over. Names and layouts (NHWC) stay as they are.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtreg.core.lineage import Step
from trtreg.core.preparation import Preparation
from trtreg.errors import UnusableModel, UsageError
from trtreg.exporting.exported import SEED, Exported, one_line
from trtreg.exporting.programs import ProgramKind

if TYPE_CHECKING:
    from trtreg.interfaces import Tensor

_OPSETS = (18, 17, 15, 13)
"""Tried in this order; 18 is the last one that tf2onnx knows."""
_BATCH = 2
"""Of the example where the first size is open: with 1, a size that was lost wouldn't show."""
_SERVING = "serving_default"


@dataclass(frozen=True, slots=True)
class _Taken:
    """An input: sizes, None where they are open, or None for any number of them; and NumPy's name of its type."""

    shape: tuple[int | None, ...] | None
    dtype: str


@dataclass(frozen=True, slots=True)
class _Program:
    """A loaded program: what tf2onnx is told of it, what it takes by name, and how it is run."""

    arguments: tuple[str, ...]
    taken: Mapping[str, _Taken]
    run: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]


def export(path: Path, kind: ProgramKind, result: Path, wanted: Preparation) -> Exported:
    """Write the program at `path`, which may be loaded, as ONNX to `result`.

    Raises UsageError where TensorFlow or tf2onnx isn't installed, and for inputs that don't fit; UnusableModel for what
    can't be exported.
    """
    if wanted.dtypes:
        raise UsageError(f"{path.name} knows its inputs' types", hint="--input takes sizes alone: images=1x224x224x3")
    tf = _tensorflow()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # What is on its way out is TensorFlow's affair.
        with _refusing(path, "be loaded"):
            program = _loaded(tf, path, kind, result.parent, unsafe=wanted.unsafe_code)
        case = _example(program.taken, wanted)
        try:
            expected = program.run(case)
        except Exception as error:  # noqa: BLE001 - the program raises what it likes
            shapes = " ".join(f"{name}={'x'.join(map(str, value.shape))}" for name, value in case.items())
            raise UsageError(
                f"the program doesn't run with {shapes}: {one_line(error)}", hint="--input gives other sizes"
            ) from None
        opset, notes = _convert(program.arguments, result, wanted.opset)
    inputs, outputs = _names_in(result)
    if missing := sorted({*inputs} - {*case}) + sorted({*outputs} - {*expected}):
        raise UnusableModel(f"tf2onnx made {', '.join(missing)} of it, which the program doesn't know")
    said = {"from": str(kind), "exporter": "tf2onnx", "opset": str(opset)}
    step = Step(name="export", parameters=said, versions=_versions(), notes=notes)
    return Exported(step, tuple(case[name] for name in inputs), tuple(expected[name] for name in outputs))


# --- the four kinds ------------------------------------------------------------------------------------------


def _loaded(tf: Any, path: Path, kind: ProgramKind, scratch: Path, *, unsafe: bool) -> _Program:
    if kind is ProgramKind.TFLITE:
        return _tflite(tf, path)
    if kind is ProgramKind.FROZEN_GRAPH:
        return _frozen(tf, path)
    if kind is ProgramKind.KERAS:
        model = tf.keras.models.load_model(path, compile=False, safe_mode=not unsafe)
        path = scratch / "keras"
        model.export(path, format="tf_saved_model", verbose=False)
    return _saved_model(tf, path)


def _saved_model(tf: Any, path: Path) -> _Program:
    signatures = tf.saved_model.load(str(path)).signatures
    name = _SERVING if _SERVING in signatures else next(iter(signatures), "")
    if not name or (name != _SERVING and len(signatures) > 1):
        raise UsageError(
            f"{path.name} has {len(signatures)} signatures and none called {_SERVING}: {', '.join(signatures) or '-'}",
            hint=f"save it with signatures={{'{_SERVING}': …}}",
        )
    function = signatures[name]
    specs = function.structured_input_signature[1]

    def run(case: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {n: value.numpy() for n, value in function(**{n: tf.constant(v) for n, v in case.items()}).items()}

    taken = {spec_name: _taken(spec.shape, spec.dtype) for spec_name, spec in specs.items()}
    return _Program(("--saved-model", str(path), "--signature_def", name, "--tag", "serve"), taken, run)


def _tflite(tf: Any, path: Path) -> _Program:
    interpreter = tf.lite.Interpreter(model_path=str(path), num_threads=1)
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()

    def run(case: Mapping[str, Tensor]) -> dict[str, Tensor]:
        for detail in inputs:
            interpreter.resize_tensor_input(detail["index"], case[detail["name"]].shape)
        interpreter.allocate_tensors()
        for detail in inputs:
            interpreter.set_tensor(detail["index"], case[detail["name"]])
        interpreter.invoke()
        return {detail["name"]: interpreter.get_tensor(detail["index"]) for detail in outputs}

    taken = {
        detail["name"]: _Taken(
            tuple(None if size < 0 else int(size) for size in detail["shape_signature"]), detail["dtype"].__name__
        )
        for detail in inputs
    }
    return _Program(("--tflite", str(path)), taken, run)


def _frozen(tf: Any, path: Path) -> _Program:
    """Takes what its placeholders take, and gives what no node of it reads."""
    graph = tf.compat.v1.GraphDef.FromString(path.read_bytes())
    read = {name.lstrip("^").partition(":")[0] for node in graph.node for name in node.input}
    given = [f"{n.name}:0" for n in graph.node if n.op == "Placeholder"]
    wanted = [f"{n.name}:0" for n in graph.node if n.name not in read and n.op not in ("NoOp", "Const", "Placeholder")]
    function = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(graph, name=""), [])
    pruned = function.prune(given, wanted)
    order = [tensor.name for tensor in pruned.inputs]

    def run(case: Mapping[str, Tensor]) -> dict[str, Tensor]:
        results = pruned(*(tf.constant(case[name]) for name in order))
        return {name: value.numpy() for name, value in zip(wanted, results, strict=True)}

    taken = {tensor.name: _taken(tensor.shape, tensor.dtype) for tensor in pruned.inputs}
    named = ("--inputs", ",".join(given), "--outputs", ",".join(wanted))
    return _Program(("--graphdef", str(path), *named), taken, run)


def _taken(shape: Any, dtype: Any) -> _Taken:
    return _Taken(None if shape.rank is None else tuple(shape.as_list()), str(dtype.name))


# --- the example, and the conversion -------------------------------------------------------------------------


def _example(taken: Mapping[str, _Taken], wanted: Preparation) -> dict[str, Tensor]:
    import numpy as np

    given = {shape.input: shape.optimum for shape in wanted.inputs}
    if unknown := sorted(given.keys() - taken.keys()):
        raise UsageError(f"there is no input {', '.join(unknown)}", hint=f"inputs: {', '.join(taken) or 'none'}")
    draw, case = np.random.default_rng(SEED), {}
    for name, spec in taken.items():
        sizes = given.get(name) or _sizes(name, spec)
        if spec.dtype in ("string", "variant", "resource", "bytes_"):
            raise UnusableModel(f"input {name} takes {spec.dtype}, which no engine does", hint="save what is behind it")
        # 0 and 1 are token ids, masks and counts in every program.
        value = draw.random(sizes) if spec.dtype.startswith(("float", "bfloat")) else draw.integers(0, 2, sizes)
        case[name] = np.asarray(value).astype(spec.dtype)
    return case


def _sizes(name: str, spec: _Taken) -> tuple[int, ...]:
    """The first size may be open: it is the batch. Of others nothing is guessed."""
    sizes = spec.shape
    filled = None if sizes is None else tuple(_BATCH if n is None and not at else n for at, n in enumerate(sizes))
    if filled is None or None in filled:
        shown = "any" if sizes is None else "x".join("?" if n is None else str(n) for n in sizes)
        raise UsageError(
            f"{name} takes {shown}: which sizes it runs with isn't said",
            hint=f"give an example: --input {name}=1x224x224x3",
        )
    return tuple(n for n in filled if n is not None)


def _convert(arguments: Sequence[str], result: Path, opset: int | None) -> tuple[int, tuple[str, ...]]:
    """The opset that worked, and why newer ones didn't."""
    reasons: list[str] = []
    for tried in (opset,) if opset else _OPSETS:
        try:
            _tf2onnx(*arguments, "--opset", str(tried), "--output", str(result))
        except Exception as error:  # noqa: BLE001 - it raises whatever the program's operators meet
            reasons.append(f"opset {tried}: {one_line(error)}")
        else:
            return tried, tuple(f"lower than the newest: {reason}" for reason in reasons)
    raise UnusableModel(f"it can't be exported: {'; '.join(reasons[:2])}", hint="try another --opset")


def _tf2onnx(*arguments: str) -> None:
    before, sys.argv = sys.argv, ["tf2onnx", *arguments]
    try:
        import_module("tf2onnx.convert").main()
    except SystemExit as error:
        raise ValueError(f"tf2onnx ended with {error.code}") from None
    finally:
        sys.argv = before


# --- parts ---------------------------------------------------------------------------------------------------


def _tensorflow() -> Any:
    os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1", KERAS_BACKEND="tensorflow")
    try:
        for name in ("tf2onnx", "tensorflow"):
            import_module(name)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"exporting a TensorFlow file needs {error.name}, which isn't installed",
            hint="pip install 'trtreg[tensorflow]'",
        ) from None
    logging.disable(logging.CRITICAL)  # Both tell their every step.
    return import_module("tensorflow")


def _names_in(result: Path) -> tuple[list[str], list[str]]:
    import onnx

    graph = onnx.load(result, load_external_data=False).graph
    return [value.name for value in graph.input], [value.name for value in graph.output]


def _versions() -> dict[str, str]:
    versions = {}
    for name in ("tensorflow", "tensorflow-cpu", "keras", "tf2onnx", "onnx"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


@contextmanager
def _refusing(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except UsageError:
        raise
    except Exception as error:  # noqa: BLE001 - a stranger's program: it raises what it likes
        raise UnusableModel(
            f"{path.name} can't {what}: {one_line(error)}", hint="save it again with this version of TensorFlow"
        ) from None
