"""From an ONNX file to TensorRT's network, with every node that it can't take named."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trtreg.backends.tensorrt_api import Product, create_network, unsupported_nodes
from trtreg.backends.tensorrt_log import NO_DRIVER, Log
from trtreg.backends.tensorrt_model import OnnxContent
from trtreg.errors import BuildFailed, TrtregError, UnusableModel

_NODES_SHOWN = 5
_CONDITION = re.compile(r"^(?:Assertion failed: .*?[^:]: |.* && (?=\"))")


@dataclass(frozen=True, slots=True)
class Bench:
    """What one build works with: the module, its product, a builder, the process's logger and this build's log."""

    trt: Any
    product: Product
    builder: Any
    logger: Any
    log: Log


def parse_network(bench: Bench, model: Path, content: OnnxContent) -> tuple[Any, Any]:
    """The network, and the parser, which owns the weights until the build is over.

    Raises BuildFailed with all nodes that the product can't run, and UnusableModel for a file that the parser can't
    read or reads nothing from.
    """
    network = create_network(bench.trt, bench.builder)
    parser = bench.trt.OnnxParser(network, bench.logger)
    parsed = parser.parse_from_file(str(model))
    if not parsed or parser.num_errors:
        raise _refusal(bench, model, content, [parser.get_error(i) for i in range(parser.num_errors)])
    if not (network.num_layers and network.num_outputs):
        raise UnusableModel(
            f"{bench.product.title} read {network.num_layers} layers and {network.num_outputs} outputs "
            f"from {model.name}: nothing to run"
        )
    return network, parser


def _refusal(bench: Bench, model: Path, content: OnnxContent, errors: list[Any]) -> TrtregError:
    title = bench.product.title
    faults = {
        (fault.node_operator(), fault.node_name()): _reason(fault.desc()) for fault in errors if fault.node_operator()
    }
    if not faults:
        words = [_reason(fault.desc()) for fault in errors] or bench.log.errors(without_gpu=bench.product.cross_builds)
        return UnusableModel(f"{title} can't read {model.name}: {'; '.join(words) or 'it gives no reason'}")
    # The parser stops at the first node that it fails to translate; asked what it supports, it goes on.
    network = create_network(bench.trt, bench.builder)  # the parser doesn't keep it alive
    parser = bench.trt.OnnxParser(network, bench.logger)
    for index in unsupported_nodes(parser, model, len(content.nodes)):
        faults.setdefault(content.nodes[index], "unsupported")
    return BuildFailed(
        f"{title} can't run {len(faults)} of the nodes of {model.name}: {_listed(faults)}",
        hint="export the model without these operators, or ask for --backend onnxruntime",
    )


def _listed(faults: dict[tuple[str, str], str]) -> str:
    """Every operator once for each reason, with the names of its nodes."""
    nodes = defaultdict(list)
    for (operator, name), reason in faults.items():
        nodes[operator, reason].append(repr(name) if name else "unnamed")
    return "; ".join(
        f"{operator} ({', '.join(names[:_NODES_SHOWN])}"
        + (f" and {len(names) - _NODES_SHOWN} more" if len(names) > _NODES_SHOWN else "")
        + f"): {reason}"
        for (operator, reason), names in nodes.items()
    )


def _reason(description: str) -> str:
    """The parser's words without the condition that failed. For an unknown operator they are only "false"."""
    if description == "false":
        return "unsupported"
    if "Plugin not found" in description:
        return "no such operator, and no plugin of that name is loaded"
    # Without a GPU, TensorRT-RTX ends every description with the line about the missing driver.
    lines = [line for line in description.splitlines() if not NO_DRIVER.search(line)]
    return _CONDITION.sub("", " ".join(lines)).strip('" ') or description
