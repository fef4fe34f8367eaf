"""Putting a model's weights into a plan that was built without them, or with others. Needs the GPU of the plan.

No machine that we have runs both a plan and its refit: only the names are checked against TensorRT's, not the act.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trtreg.backends.tensorrt_api import Product, product_module
from trtreg.backends.tensorrt_log import recording
from trtreg.backends.tensorrt_run import deserialize
from trtreg.errors import BuildFailed


def refit(product: Product, stripped: Path, model: Path, refitted: Path, *, plugins: Mapping[str, Path]) -> None:
    """Write `stripped` with the weights of the ONNX `model` to `refitted`.

    The model must have the graph that the plan was built from; any weights will do, since REFIT_IDENTICAL, which
    promises the same ones, is never built with. Raises BuildFailed, also for weights that the model doesn't give.
    """
    trt = product_module(product)
    with recording(trt) as (logger, log):
        runtime, engine = deserialize(trt, product, stripped, plugins, logger, log)
        refitter = trt.Refitter(engine, logger)
        parser_refitter = trt.OnnxParserRefitter(refitter, logger)
        if not parser_refitter.refit_from_file(str(model)):
            raise BuildFailed(f"{product.title} can't take the weights of {model.name}: {log.reason()}")
        if missing := refitter.get_missing_weights():
            raise BuildFailed(
                f"{model.name} gives no value to {len(missing)} weights: {', '.join(sorted(missing)[:5])}"
            )
        if not refitter.refit_cuda_engine():
            raise BuildFailed(f"{product.title} couldn't refit {stripped.name}: {log.reason()}")
        refitted.write_bytes(_serialized_whole(trt, engine))
        del refitter, engine, runtime


def _serialized_whole(trt: Any, engine: Any) -> Any:
    serialization = engine.create_serialization_config()
    serialization.clear_flag(trt.SerializationFlag.EXCLUDE_WEIGHTS)
    return engine.serialize_with_config(serialization)
