"""ONNX Runtime's optimised model as an engine: what its optimiser made, saved once, loaded without optimising.

A plan is `engine.onnx`, with its larger weights beside it in `engine.onnx.data`. It belongs to one version of ONNX
Runtime and, through the blocked layout of its weights, to one kind of CPU: the target carries both.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from trtreg.backends.onnxruntime_api import api, preload_cuda, refusals
from trtreg.backends.onnxruntime_order import settle_node_order
from trtreg.backends.onnxruntime_refusals import build_refusal, one_line, out_of_memory
from trtreg.backends.onnxruntime_session import OnnxRuntimeSession, session_of, signature_of
from trtreg.core.builder_settings import foreign_to_onnxruntime
from trtreg.core.recipe import Precision, Recipe
from trtreg.core.target import Target
from trtreg.errors import BuildFailed, Untrusted, UnusableModel, UsageError
from trtreg.interfaces import Session

CPU_PLAN = "engine.onnx"
CUDA_PLAN = "engine.cuda.onnx"
CUDA_PLAN_WITHOUT_TF32 = "engine.cuda-no-tf32.onnx"
"""The name of a plan's file tells who runs it, and how: loading needs to know before it opens anything."""

_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_SMALLEST_EXTERNAL_WEIGHT = 1024
_FATAL_ONLY = 4


class OnnxRuntime:
    """The `onnxruntime` backend: on the CPU, or on an NVIDIA GPU for a target whose architecture is `sm_…`.

    spins  whether a session's threads go on spinning for a while after a run, which makes the next one start sooner,
           and slows down whatever else wants the cores
    """

    name = "onnxruntime"

    def __init__(self, *, spins: bool = True) -> None:
        self._spins = spins

    def build(self, model: Path, recipe: Recipe, target: Target, folder: Path) -> str:
        """Optimise `model` for this machine and save the result into the empty `folder`; the name of the file to load.

        The same model gives the same bytes. Raises BuildFailed, UnusableModel; UsageError for settings that ONNX
        Runtime has no use for, and for a GPU target where it has no CUDA.
        """
        _require_no_settings(recipe, target)
        self._require_own_version(target)
        entry = _entry(recipe, target)
        try:
            session = _open(model, entry, _building_options(folder / entry))
        except refusals() as refusal:
            raise build_refusal(refusal, recipe.precision) from None
        _require_tensors(session, recipe)
        settle_node_order(folder / entry)
        return entry

    def refit(self, source: Path, model: Path, folder: Path, *, weights: Collection[str]) -> str:  # noqa: ARG002
        """Raises BuildFailed: what the optimiser has folded and reordered doesn't say which weights it was made of."""
        raise BuildFailed("plans of ONNX Runtime can't be refitted", hint="build the plan; it takes no longer")

    def load(self, plan: Path) -> Session:
        """The plan, ready to run. Raises Untrusted for bytes that aren't a plan; UsageError for a plan that needs
        a GPU where ONNX Runtime has none; BuildFailed where memory runs out."""
        try:
            session = _open(plan, plan.name, self._loading_options())
            return session_of(session, on_gpu=is_for_gpu(plan.name))
        except refusals() as refusal:
            if failure := out_of_memory(refusal):
                raise failure from None
            reason = one_line(str(refusal))
        except UnusableModel as foreign:
            reason = foreign.message
        raise Untrusted(
            f"{plan.name} is no plan of the onnxruntime backend, or a damaged one: {reason}",
            hint="fetch it again: trtreg cache verify finds damaged plans and drops them",
        )

    def open_model(self, model: Path) -> Session:
        """A model as ONNX Runtime itself would run it on the CPU, optimised when it is loaded. Raises UnusableModel;
        BuildFailed where memory runs out."""
        options = self._loading_options()
        options.graph_optimization_level = api().GraphOptimizationLevel.ORT_ENABLE_ALL
        try:
            return OnnxRuntimeSession(_open(model, CPU_PLAN, options))
        except refusals() as refusal:
            if failure := out_of_memory(refusal):
                raise failure from None
            raise UnusableModel(f"ONNX Runtime can't load {model.name}: {one_line(str(refusal))}") from None

    def versions(self) -> Mapping[str, str]:
        """Of ONNX Runtime and of the onnx package, which writes the plan's last form."""
        import onnx

        return {"onnxruntime": api().__version__, "onnx": onnx.__version__}

    def _loading_options(self) -> Any:
        options = _options()
        options.graph_optimization_level = api().GraphOptimizationLevel.ORT_DISABLE_ALL
        allowed = len(os.sched_getaffinity(0))
        if allowed < (os.cpu_count() or allowed):
            # Left alone, ONNX Runtime starts a thread per core of the machine, those that a container may not use too.
            options.intra_op_num_threads = allowed
        if not self._spins:
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return options

    def _require_own_version(self, target: Target) -> None:
        here = api().__version__
        if (target.runtime, target.runtime_version) != (self.name, here):
            raise BuildFailed(
                f"ONNX Runtime {here} can't build for {target}",
                hint="its plans run on the version that made them, and on no other",
            )


def _entry(recipe: Recipe, target: Target) -> str:
    if not target.architecture.startswith("sm_"):
        return CPU_PLAN
    return CUDA_PLAN if recipe.builder.tf32 else CUDA_PLAN_WITHOUT_TF32


def is_for_gpu(entry: str) -> bool:
    """Whether a plan of this backend with a file of that name runs on a GPU."""
    return entry in (CUDA_PLAN, CUDA_PLAN_WITHOUT_TF32)


def _require_no_settings(recipe: Recipe, target: Target) -> None:
    """What changes nothing must not be in a key."""
    foreign = foreign_to_onnxruntime(recipe.builder, target.architecture)
    if foreign.chosen:
        raise UsageError(
            f"ONNX Runtime has no use for {foreign} on {target.architecture}",
            hint="leave it out, or ask for --backend tensorrt or tensorrt-rtx",
        )
    if len(recipe.optimization_profiles) > 1:
        raise UsageError(
            f"ONNX Runtime has no optimization profiles, and {len(recipe.optimization_profiles)} are asked for",
            hint="give each input one --shape",
        )


def _open(model: Path, entry: str, options: Any) -> Any:
    """A session on the provider that `entry` names, and on no other."""
    wanted, settings = [_CPU], dict[str, str]()
    if is_for_gpu(entry):
        wanted, settings = [_CUDA, _CPU], {"use_tf32": "0" if entry == CUDA_PLAN_WITHOUT_TF32 else "1"}
    if wanted[0] not in api().get_available_providers():
        raise _no_cuda("it was built without CUDA")
    if is_for_gpu(entry):
        preload_cuda()
    providers = [(wanted[0], settings), *((name, {}) for name in wanted[1:])]
    # The fallback prints to standard output and tries again on another provider: two things that we can't have.
    session = api().InferenceSession(model, options, providers=providers, enable_fallback=False)
    if wanted[0] not in session.get_providers():
        raise _no_cuda("its CUDA provider doesn't start")
    return session


def _no_cuda(reason: str) -> UsageError:
    return UsageError(
        f"this ONNX Runtime can't run on the GPU: {reason}",
        hint="pip install 'trtreg[gpu]' in place of onnxruntime; `trtreg doctor` names a library that is missing",
    )


def _building_options(plan: Path) -> Any:
    options = _options()
    options.graph_optimization_level = api().GraphOptimizationLevel.ORT_ENABLE_ALL
    options.optimized_model_filepath = str(plan)
    weights = "session.optimized_model_external_initializers"
    options.add_session_config_entry(f"{weights}_file_name", f"{plan.name}.data")
    options.add_session_config_entry(f"{weights}_min_size_in_bytes", str(_SMALLEST_EXTERNAL_WEIGHT))
    # Folded constants are sums, too: with one thread they don't depend on how many cores the builder has.
    options.intra_op_num_threads = 1
    # Nothing will run here: weights repacked for running would only double the memory.
    options.add_session_config_entry("session.disable_prepacking", "1")
    options.enable_cpu_mem_arena = False
    return options


def _options() -> Any:
    options = api().SessionOptions()
    options.log_severity_level = _FATAL_ONLY
    return options


def _require_tensors(session: Any, recipe: Recipe) -> None:
    try:
        signature_of(session)
    except UnusableModel as refusal:
        if recipe.precision is Precision.FP32 or recipe.keep_io_types:
            raise
        raise BuildFailed(refusal.message, hint="let the inputs and outputs keep their types") from None
