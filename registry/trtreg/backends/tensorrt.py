"""Building plans with TensorRT and TensorRT-RTX, through one code path.

The network is strongly typed: what a layer computes in is what the ONNX model says, so precision is decided before.
TensorRT builds for the GPU of its machine; TensorRT-RTX needs none, and builds for the architectures of the target.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from trtreg.backends import NO_PLUGINS
from trtreg.backends.cuda_driver import gpu_capabilities
from trtreg.backends.tensorrt_api import PRODUCTS, product_module, require_architectures
from trtreg.backends.tensorrt_config import configure, require_settings
from trtreg.backends.tensorrt_log import Log, recording
from trtreg.backends.tensorrt_model import OnnxContent, read_content, require_types
from trtreg.backends.tensorrt_network import Bench, parse_network
from trtreg.backends.tensorrt_plugins import load_plugins
from trtreg.backends.tensorrt_progress import BuildCancelled, Watch, monitor_of
from trtreg.backends.tensorrt_timing import TimingCache
from trtreg.core.architecture import parse_architecture
from trtreg.core.plan_header import HEADER_SIZE, read_plan_header
from trtreg.core.recipe import Recipe
from trtreg.core.target import Target
from trtreg.errors import BuildFailed, Cancelled, OutOfMemory, UsageError
from trtreg.interfaces import Progress, Session

PLAN_NAME = "engine.plan"


class TensorRT:
    """`tensorrt` or `tensorrt-rtx`.

    progress   told the phases of a build
    cancelled  asked at every step whether to stop
    on_log     given TensorRT's whole log of a build, from INFO upwards, however the build ended
    plugins    the plugin libraries that may be loaded, by their SHA-256: a build loads those that its recipe names,
               and all are loaded with a plan
    timings    a folder with TensorRT's timing caches, which takes the build's own; None to keep none
    """

    def __init__(
        self,
        name: str,
        *,
        progress: Progress | None = None,
        cancelled: Callable[[], bool] = lambda: False,
        on_log: Callable[[str], None] | None = None,
        plugins: Mapping[str, Path] = NO_PLUGINS,
        timings: Path | None = None,
    ) -> None:
        self.name = name
        self._product = PRODUCTS[name]
        self._progress, self._cancelled, self._on_log = progress, cancelled, on_log
        self._plugins, self._timings = plugins, timings

    def build(self, model: Path, recipe: Recipe, target: Target, folder: Path) -> str:
        """Write `engine.plan` into `folder`, and return that name.

        Raises UnusableModel for a file that is no model, UsageError for what the product, this version of it or an
        architecture of the target can't do, and BuildFailed for the rest, with TensorRT's own words.
        """
        capabilities = self._require_target(target)
        here = gpu_capabilities()
        require_settings(self._product, recipe.builder, capabilities, has_gpu=bool(here))
        trt = self._module(target)
        require_architectures(trt, self._product, capabilities, here)
        content = read_content(model)
        require_types(content, capabilities)
        with recording(trt) as (logger, log):
            try:
                bench = Bench(trt, self._product, trt.Builder(logger), logger, log)
                serialized = self._serialized(bench, model, content, recipe, target)
            finally:
                if self._on_log is not None:
                    self._on_log(log.text)
        plan = folder / PLAN_NAME
        with plan.open("xb") as stream:
            stream.write(serialized)
        _require_header(plan, target)
        return PLAN_NAME

    def load(self, plan: Path) -> Session:
        """Raises Untrusted for bytes that aren't a plan of this product, NotFound for one that is for elsewhere."""
        from trtreg.backends.tensorrt_run import load_plan

        return load_plan(self._product, plan, self._plugins)

    def refit(self, source: Path, model: Path, folder: Path, *, weights: Collection[str] = ()) -> str:
        """Write the plan `source`, stripped or refittable, with the weights of `model`, whose graph it was built from,
        into `folder`; the name of the file to load.

        weights  names of the model's that the plan must take; one that it has folded away would stay another model's

        Raises BuildFailed.
        """
        from trtreg.backends.tensorrt_refit import refit

        plan = folder / PLAN_NAME
        refit(self._product, source, model, plan, weights=weights, plugins=self._plugins, on_log=self._on_log)
        return PLAN_NAME

    def versions(self) -> Mapping[str, str]:
        """Of the builder, and of ONNX, which reads the model first."""
        return {self.name: product_module(self._product).__version__, "onnx": metadata.version("onnx")}

    def _require_target(self, target: Target) -> tuple[int, ...]:
        if target.runtime != self.name:
            raise UsageError(f"{target} is no target of {self._product.title}")
        try:
            return parse_architecture(target.architecture)
        except ValueError as error:
            raise UsageError(str(error), hint="--target takes sm_89, or sm_86,sm_89 for several") from None

    def _module(self, target: Target) -> Any:
        trt = product_module(self._product)
        if trt.__version__ != target.runtime_version:
            raise BuildFailed(
                f"the target wants {self._product.title} {target.runtime_version}, but this is {trt.__version__}",
                hint="`trtreg doctor` shows what is installed; plans load only in the version that built them",
            )
        return trt

    def _serialized(self, bench: Bench, model: Path, content: OnnxContent, recipe: Recipe, target: Target) -> Any:
        settings = recipe.builder
        bench.trt.init_libnvinfer_plugins(bench.logger, "")
        load_plugins(bench.builder.get_plugin_registry(), settings.plugins, self._plugins)
        network, _weights = parse_network(bench, model, content)
        config = configure(bench, network, recipe, parse_architecture(target.architecture))
        with self._timing_cache(config, bench.log):
            return _build(bench, network, config, Watch(self._progress, self._cancelled))

    @contextmanager
    def _timing_cache(self, config: Any, log: Log) -> Iterator[None]:
        """What was measured is kept only if the build succeeds."""
        if self._timings is None or self._product.cross_builds:
            yield
            return
        timings, start = TimingCache(self._timings), len(log.lines)
        timings.lend(config, log)
        log.forgive(start)
        yield
        timings.collect(config)


def _require_header(plan: Path, target: Target) -> None:
    with plan.open("rb") as stream:
        header = read_plan_header(stream.read(HEADER_SIZE))
    if (header.flavour, header.version) != (target.runtime, target.runtime_version):
        raise BuildFailed(f"the plan calls itself {header.flavour} {header.version}, though it was built for {target}")


def _build(bench: Bench, network: Any, config: Any, watch: Watch) -> Any:
    """The serialized plan. A build that logged an error has failed, also where TensorRT went on without what it was
    told to do."""
    monitor = monitor_of(bench.trt, watch)
    config.progress_monitor = monitor
    serialized = bench.builder.build_serialized_network(network, config)
    if isinstance(watch.stopped, BuildCancelled):
        raise Cancelled(f"the build was cancelled in the phase {watch.phase!r}")
    if watch.stopped is not None:
        raise watch.stopped
    without_gpu = bench.product.cross_builds
    if serialized is None or bench.log.errors(without_gpu=without_gpu):
        raise _failure(bench, bench.log.reason(without_gpu=without_gpu))
    return serialized


def _failure(bench: Bench, reason: str) -> BuildFailed:
    message = f"{bench.product.title} {bench.trt.__version__} couldn't build the plan: {reason}"
    if "OutOfMemory" in reason:
        return OutOfMemory(message, hint="raise --workspace, or build on a machine with more memory")
    return BuildFailed(message)
