"""PyTorch's programs and checkpoints into ONNX, by PyTorch's own exporters."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtreg.core.lineage import Step
from trtreg.core.preparation import Preparation
from trtreg.core.recipe import ShapeRange
from trtreg.errors import UnusableModel, UsageError
from trtreg.exporting.exported import SEED, Exported, one_line
from trtreg.exporting.programs import ProgramKind

if TYPE_CHECKING:
    from collections.abc import Iterator

_SCRIPT_OPSETS = (20, 18, 17, 15, 14, 13, 12, 11)
"""Tried in this order by the exporter for TorchScript, whose last one is 20."""
_YOLO_INPUT = ShapeRange("images", (1, 3, 640, 640), (1, 3, 640, 640), (1, 3, 640, 640))


def export(path: Path, kind: ProgramKind, result: Path, wanted: Preparation) -> Exported:
    """Write the program at `path`, which may be loaded, as ONNX to `result`.

    Raises UsageError where PyTorch or a checkpoint's own code isn't installed, and for inputs that don't fit;
    UnusableModel for what can't be exported.
    """
    if kind is not ProgramKind.CHECKPOINT:
        # torch.load takes back its refusals for values inside an exported program, unless it is told not to.
        os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    torch = _torch()
    torch.manual_seed(SEED)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # Which of its two exporters is on its way out is PyTorch's affair.
        if kind is ProgramKind.EXPORTED:
            return _from_exported(torch, path, result, wanted)
        if kind is ProgramKind.TORCHSCRIPT:
            with _refusing(path, "be loaded"):
                module = torch.jit.load(path, map_location="cpu").eval()
            return _from_module(torch, module, result, wanted, kind, [_by_script])
        module, notes = _module_of(torch, path)
        exported = _from_module(torch, module, result, wanted, kind, [_by_dynamo, _by_script])
        step = exported.step
        more = Step(name=step.name, parameters=step.parameters, versions=step.versions, notes=(*notes, *step.notes))
        return Exported(more, exported.inputs, exported.outputs)


# --- the three kinds -----------------------------------------------------------------------------------------


def _from_exported(torch: Any, path: Path, result: Path, wanted: Preparation) -> Exported:
    if wanted.inputs or wanted.dtypes:
        raise UsageError(f"{path.name} knows its own inputs", hint="leave --input out; --fix-shape fixes open sizes")
    with _refusing(path, "be loaded"):
        program = torch.export.load(path)
    with _refusing(path, "be exported"):
        onnx_program = torch.onnx.export(program, dynamo=True, verbose=False, opset_version=wanted.opset)
        onnx_program.save(str(result))
    given = program.example_inputs
    arguments = [*given[0], *given[1].values()] if given else []
    with _refusing(path, "be run"):
        outputs = _tensors(torch, program.module()(*given[0], **given[1])) if given else []
    step = _step(torch, ProgramKind.EXPORTED, "torch.onnx.export, dynamo", result, {})
    return Exported(step, *(tuple(t.detach().numpy() for t in part) for part in (_tensors(torch, arguments), outputs)))


def _module_of(torch: Any, path: Path) -> tuple[Any, tuple[str, ...]]:
    """The module in a checkpoint, which the user trusts."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=False)
    except (ModuleNotFoundError, AttributeError) as error:
        raise UsageError(
            f"{path.name} needs code that isn't here: {one_line(error)}",
            hint="put the code that made it on the path (YOLOv5: PYTHONPATH=/path/to/yolov5), then add it again",
        ) from None
    except Exception as error:  # noqa: BLE001 - unpickling raises whatever the pickle's code raises
        raise UnusableModel(f"{path.name} can't be loaded: {one_line(error)}", hint="copy or save it again") from None
    notes: tuple[str, ...] = ("unpickled: its code has run",)
    if isinstance(content, Mapping):
        held = next((name for name in ("ema", "model") if isinstance(content.get(name), torch.nn.Module)), "")
        notes = (*notes, f"taken from the checkpoint's {held!r}") if held else notes
        content = content.get(held)
    if not isinstance(content, torch.nn.Module):
        raise UsageError(
            f"{path.name} holds weights without the program that they belong to",
            hint="save the whole model: torch.export.save, or torch.jit.save",
        )
    module: Any = content
    module = module.float().eval()
    for part in module.modules():
        # YOLOv5's and its relatives' switches: one output, and no writing in place.
        for switch, value in (("export", True), ("inplace", False), ("dynamic", False)):
            if isinstance(getattr(part, switch, None), bool):
                setattr(part, switch, value)
    return module, notes


def _from_module(
    torch: Any,
    module: Any,
    result: Path,
    wanted: Preparation,
    kind: ProgramKind,
    ways: Sequence[Callable[..., str]],
) -> Exported:
    notes = []
    shapes = wanted.inputs
    if not shapes and hasattr(module, "stride") and hasattr(module, "yaml"):
        shapes = (_YOLO_INPUT,)
        notes.append(f"example input, as it is YOLO's: {_YOLO_INPUT}")
    if not shapes:
        raise UsageError(f"a {kind} doesn't say what it takes", hint="give an example: --input images=1x3x640x640")
    arguments = tuple(_example(torch, s, wanted.dtypes.get(s.input, "float32")) for s in shapes)
    try:
        outputs = _tensors(torch, module(*arguments))
    except Exception as error:  # noqa: BLE001 - the program raises what it likes
        raise UsageError(
            f"the program doesn't run with {' '.join(map(str, shapes))}: {one_line(error)}",
            hint="--input takes a shape for each of its inputs, in their order; NAME=int64:1x128 for another type",
        ) from None
    names = [s.input for s in shapes]
    failures = []
    for way in ways:
        try:
            how = way(torch, module, arguments, result, names, len(outputs), wanted.opset, notes)
        except UnusableModel as error:
            failures.append(error.message)
            continue
        notes += [f"another way failed: {reason}" for reason in failures]
        step = _step(
            torch, kind, how, result, {s.input: f"{wanted.dtypes.get(s.input, 'float32')} {s}" for s in shapes}
        )
        step = Step(name=step.name, parameters=step.parameters, versions=step.versions, notes=tuple(notes))
        return Exported(step, tuple(t.numpy() for t in arguments), tuple(t.detach().numpy() for t in outputs))
    raise UnusableModel(f"it can't be exported: {'; '.join(failures)}", hint="try another --opset")


# --- the two exporters ---------------------------------------------------------------------------------------


def _by_dynamo(
    torch: Any,
    module: Any,
    arguments: tuple[Any, ...],
    result: Path,
    names: list[str],
    outputs: int,
    opset: int | None,
    _: list[str],
) -> str:
    try:
        program = torch.onnx.export(
            module,
            arguments,
            dynamo=True,
            verbose=False,
            opset_version=opset,
            input_names=names,
            output_names=_output_names(outputs),
        )
        program.save(str(result))
    except Exception as error:  # noqa: BLE001 - it raises whatever tracing meets
        raise UnusableModel(f"torch.export: {one_line(error)}") from None
    return "torch.onnx.export, dynamo"


def _by_script(
    torch: Any,
    module: Any,
    arguments: tuple[Any, ...],
    result: Path,
    names: list[str],
    outputs: int,
    opset: int | None,
    notes: list[str],
) -> str:
    reasons = []
    for tried in (opset,) if opset else _SCRIPT_OPSETS:
        try:
            torch.onnx.export(
                module,
                arguments,
                str(result),
                dynamo=False,
                opset_version=tried,
                input_names=names,
                output_names=_output_names(outputs),
            )
        except Exception as error:  # noqa: BLE001 - it raises whatever the program's operators meet
            reasons.append(f"opset {tried}: {one_line(error)}")
        else:
            notes += [f"lower than the newest: {reason}" for reason in reasons]
            return "torch.onnx.export, TorchScript"
    raise UnusableModel("; ".join(reasons[:2]))


# --- parts ---------------------------------------------------------------------------------------------------


def _torch() -> Any:
    try:
        import_module("onnxscript")
        return import_module("torch")
    except ModuleNotFoundError as error:
        raise UsageError(
            f"exporting a PyTorch file needs {error.name}, which isn't installed", hint="pip install 'trtreg[torch]'"
        ) from None


def _example(torch: Any, shape: ShapeRange, dtype: str) -> Any:
    kind: Any = getattr(torch, dtype, None)
    if type(kind) is not torch.dtype:
        raise UsageError(f"--input {shape.input}: {dtype!r} is no type", hint="float32, float16, int64, bool …")
    if kind.is_floating_point:
        return torch.rand(shape.optimum, dtype=kind)
    # 0 and 1 are token ids, masks and counts in every program.
    return torch.randint(0, 2, shape.optimum, dtype=kind)


def _tensors(torch: Any, value: Any) -> list[Any]:
    """The tensors in nested tuples, lists and dicts, in their order, as the exporters flatten them."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, Mapping):
        value = list(value.values())
    return [tensor for part in value for tensor in _tensors(torch, part)] if isinstance(value, list | tuple) else []


def _output_names(count: int) -> list[str]:
    return ["output"] if count == 1 else [f"output{number}" for number in range(count)]


def _step(torch: Any, kind: ProgramKind, how: str, result: Path, parameters: Mapping[str, str]) -> Step:
    import onnx

    opset = next((o.version for o in onnx.load(result, load_external_data=False).opset_import if not o.domain), 0)
    versions = {"torch": str(torch.__version__)}
    for name in ("onnxscript", "onnx"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    said = {"from": str(kind), "exporter": how, "opset": str(opset)}
    return Step(
        name="export", parameters={**said, **{f"input {n}": s for n, s in parameters.items()}}, versions=versions
    )


@contextmanager
def _refusing(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 - a stranger's program: it raises what it likes
        raise UnusableModel(
            f"{path.name} can't {what}: {one_line(error)}", hint="save it again with this version of PyTorch"
        ) from None
