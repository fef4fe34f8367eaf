"""What TensorRT-RTX itself says on this machine, without trtreg in front of it:  refusals.py MODEL.onnx PLAN...

Builds MODEL for the GPU at hand, then asks for the validity of each PLAN and tries to load it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import tensorrt_rtx as trt


class Words(trt.ILogger):  # type: ignore[misc]
    """Keeps what is worse than information."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self.said: list[str] = []

    def log(self, severity: Any, message: str) -> None:
        if severity <= trt.ILogger.Severity.WARNING:
            self.said.append(f"{severity.name}: {message}")

    def tell(self, what: str, outcome: object) -> None:
        print(f"{what}: {outcome}")
        for line in self.said:
            print(f"    {line}")
        self.said.clear()


def build(words: Words, model: Path) -> None:
    builder = trt.Builder(words)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, words)
    words.tell(f"parse {model.name}", parser.parse(model.read_bytes()))
    config = builder.create_builder_config()
    plan = builder.build_serialized_network(network, config)
    words.tell("build for no architecture that is named", plan and f"{plan.nbytes} bytes")
    if plan:
        load(words, "that plan", bytes(plan))
    config.num_compute_capabilities = 1
    words.tell("the GPU at hand (CURRENT)", config.set_compute_capability(trt.ComputeCapability.CURRENT, 0))
    plan = builder.build_serialized_network(network, config)
    words.tell("build for it", plan and f"{plan.nbytes} bytes")
    if plan:
        load(words, "that plan", bytes(plan))


def load(words: Words, name: str, plan: bytes) -> None:
    runtime = trt.Runtime(words)
    words.tell(f"validity of {name}", runtime.get_engine_validity(plan))
    engine = runtime.deserialize_cuda_engine(plan)
    words.tell(f"load {name}", "refused" if engine is None else "loaded")
    if engine is not None:
        words.tell(f"context of {name}", engine.create_execution_context())


if __name__ == "__main__":
    for path in map(Path, sys.argv[2:]):
        load(Words(), path.name, path.read_bytes())
    build(Words(), Path(sys.argv[1]))
