"""Simplification by onnxslim: constants folded, nodes joined that make one, what nothing needs left out.

onnxslim's own inference of shapes is left out: it brings the names of dimensions, which are a stranger's text, near
sympy's `sympify`, which evaluates text. ONNX's inference, run first, lets it fold as much.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import cast

from onnx import ModelProto, TensorProto, inliner

from trtreg.errors import UnusableModel, UsageError
from trtreg.onnx_models.opsets import infer_types
from trtreg.onnx_models.tensors import byte_count
from trtreg.onnx_models.walking import parts
from trtreg.onnx_models.wording import shown

MOST_BYTES = (1 << 31) - 1
_LIBRARY = "onnxslim"


def simplify(model: ModelProto) -> tuple[ModelProto, tuple[str, ...]]:
    """The sound `model`, whose weights are loaded, made simpler, with the same inputs and outputs; and notes.

    Raises UsageError where onnxslim isn't installed, UnusableModel for what it can't take.
    """
    slim = _library()
    size = sum(byte_count(t) for t in parts(model, TensorProto) if t.data_type != TensorProto.STRING)
    if size > MOST_BYTES:
        raise UnusableModel(
            f"its weights have {size} bytes, and --simplify takes at most {MOST_BYTES}",
            hint="add it without --simplify",
        )
    before = len(model.graph.node)
    notes = []
    if model.functions:
        model = inliner.inline_local_functions(model)
        notes.append("functions inlined")
    given = ModelProto()
    given.CopyFrom(model)
    given.graph.ClearField("value_info")
    try:
        infer_types(given, values=True)
    except UnusableModel as error:
        notes.append(f"shapes left as they were: {error.message}")
    try:
        simpler = slim(given, no_shape_infer=True)
    except Exception as error:  # noqa: BLE001 - it raises whatever its parts raise
        words = " ".join(str(error).split())[:300] or type(error).__name__
        raise UnusableModel(f"onnxslim can't simplify it: {words}", hint="add it without --simplify") from None
    _keep_face(simpler, model)
    return simpler, (f"{before} nodes became {len(simpler.graph.node)}", *notes)


def library_versions() -> dict[str, str]:
    """Of what simplifies; empty where it isn't installed."""
    try:
        return {_LIBRARY: version(_LIBRARY)}
    except PackageNotFoundError:
        return {}


def _library() -> Callable[..., ModelProto]:
    try:
        slim = import_module("onnxslim").slim
    except ModuleNotFoundError:
        needed = "--simplify needs onnxslim, which isn't installed"
        raise UsageError(needed, hint="pip install 'trtreg[simplify]'") from None
    return cast(Callable[..., ModelProto], slim)


def _keep_face(simpler: ModelProto, model: ModelProto) -> None:
    """Give the simpler model the inputs and outputs that `model` has: onnxslim drops inputs that nothing reads, and
    writes its own shapes to outputs. Shapes of values inside go: they may be of names that mean nothing any more."""
    constants = {t.name for t in model.graph.initializer}
    inputs = [v for v in model.graph.input if v.name not in constants]
    outputs = list(model.graph.output)
    made = {name for node in simpler.graph.node for name in node.output}
    made |= {t.name for t in simpler.graph.initializer} | {v.name for v in inputs}
    if lost := [v.name for v in outputs if v.name not in made]:
        raise UnusableModel(f"onnxslim lost the output {shown(lost[0])}", hint="add it without --simplify")
    for part, content in (("input", inputs), ("output", outputs), ("value_info", [])):
        simpler.graph.ClearField(part)
        getattr(simpler.graph, part).extend(content)
    for part in ("producer_name", "producer_version", "domain", "model_version", "doc_string"):
        setattr(simpler, part, getattr(model, part))
    simpler.ClearField("metadata_props")
    simpler.metadata_props.extend(model.metadata_props)
    simpler.graph.name = model.graph.name
