"""Putting a model's weights into a plan that was built without them, or with others. Needs the GPU of the plan.

No machine that we have runs both a plan and its refit: only the names are checked against TensorRT's, not the act.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from trtreg.backends.tensorrt_api import Product, product_module
from trtreg.backends.tensorrt_log import Log, recording
from trtreg.backends.tensorrt_run import deserialize
from trtreg.errors import BuildFailed, NotFound, Untrusted

_NAMED = 5


def refit(
    product: Product,
    source: Path,
    model: Path,
    refitted: Path,
    *,
    weights: Collection[str],
    plugins: Mapping[str, Path],
    on_log: Callable[[str], None] | None,
) -> None:
    """Write `source` with the weights of the ONNX `model` to `refitted`.

    The model must have the graph that the plan was built from; any weights will do, since REFIT_IDENTICAL, which
    promises the same ones, is never built with. Raises BuildFailed, also for weights that the model doesn't give,
    and for those of `weights` that the plan doesn't take.
    """
    trt = product_module(product)
    with recording(trt) as (logger, log):
        try:
            content = _refitted(trt, product, source, model, weights, plugins, logger, log)
        finally:
            if on_log is not None:
                on_log(log.text)
    with refitted.open("xb") as stream:
        stream.write(content)


def _refitted(
    trt: Any,
    product: Product,
    source: Path,
    model: Path,
    weights: Collection[str],
    plugins: Mapping[str, Path],
    logger: Any,
    log: Log,
) -> Any:
    try:
        # The runtime must outlive the engine.
        _runtime, engine = deserialize(trt, product, source, plugins, logger, log)
    except (NotFound, Untrusted) as refusal:
        raise BuildFailed(f"there is no refitting {source.name} here: {refusal.message}") from None
    refitter = trt.Refitter(engine, logger)
    if fixed := set(weights) - set(refitter.get_all_weights()):
        raise BuildFailed(f"{product.title} has built {_named(fixed)} into {source.name} for good")
    parser_refitter = trt.OnnxParserRefitter(refitter, logger)
    if not parser_refitter.refit_from_file(str(model)):
        raise BuildFailed(f"{product.title} can't take the weights of {model.name}: {log.reason()}")
    if missing := refitter.get_missing_weights():
        raise BuildFailed(f"{model.name} gives no value to {_named(missing)}")
    if not refitter.refit_cuda_engine() or log.errors(without_gpu=False):
        raise BuildFailed(f"{product.title} couldn't refit {source.name}: {log.reason()}")
    return _serialized_whole(trt, engine)


def _named(weights: Collection[str]) -> str:
    more = f" and {len(weights) - _NAMED} more" if len(weights) > _NAMED else ""
    return f"{len(weights)} weights ({', '.join(sorted(weights)[:_NAMED])}{more})"


def _serialized_whole(trt: Any, engine: Any) -> Any:
    serialization = engine.create_serialization_config()
    serialization.clear_flag(trt.SerializationFlag.EXCLUDE_WEIGHTS)
    return engine.serialize_with_config(serialization)
