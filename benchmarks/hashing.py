"""How fast a model is examined, against one SHA-256 pass over the same bytes.

    python benchmarks/hashing.py [--mebibytes 1024] [--tensors 64] [--rounds 3]

Examining hashes every byte twice, as a file and as tensors, on two cores side by side. Both are timed in turn in
one process with the file in the page cache; the best of the rounds counts. The target is a ratio of 0.8, which
two cores give only if nobody else wants them.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import ssl
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from machine import described
from onnx import TensorProto, helper

from trtreg.onnx_models.examine import examine

MIB = 1 << 20


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--mebibytes", type=int, default=1024)
    arguments.add_argument("--tensors", type=int, default=64)
    arguments.add_argument("--rounds", type=int, default=3)
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for is_external in (True, False):
            path = write_model(Path(folder), chosen.mebibytes, chosen.tensors, is_external=is_external)
            heaviest = max(Path(folder).iterdir(), key=lambda file: file.stat().st_size)
            report(path, heaviest, chosen.rounds, "external" if is_external else "inline")
            for file in Path(folder).iterdir():
                file.unlink()
    print(f"load {os.getloadavg()[0]:.1f}; {described(('onnx', 'protobuf'))}, {ssl.OPENSSL_VERSION}")


def report(path: Path, heaviest: Path, rounds: int, form: str) -> None:
    passes, examinations = [], []
    for _ in range(rounds):
        passes.append(timed(lambda: one_pass(heaviest)))
        examinations.append(timed(lambda: examine(path)))
    size = heaviest.stat().st_size / MIB
    one, both = min(passes), min(examinations)
    print(f"{size:.0f} MiB of {form} weights     seconds   MiB/s   CPU seconds   ratio")
    print(f"  one SHA-256 pass             {one[0]:7.2f} {size / one[0]:7.0f} {one[1]:13.2f}")
    print(
        f"  examine                      {both[0]:7.2f} {size / both[0]:7.0f} {both[1]:13.2f} {one[0] / both[0]:7.2f}"
    )


def one_pass(path: Path) -> None:
    with path.open("rb") as file:
        hashlib.file_digest(file, "sha256")


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds that it took, and seconds of CPU in all threads: on busy cores only the second one means much."""
    start, busy = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - busy


def write_model(folder: Path, mebibytes: int, tensors: int, *, is_external: bool) -> Path:
    """A model of `tensors` weights of equal size, of random bytes, that are added up."""
    each = mebibytes * MIB // tensors
    weights, nodes = [], []
    with (folder / "weights.bin").open("wb") as file:
        for place in range(tensors):
            tensor = TensorProto(name=f"w{place}", data_type=TensorProto.FLOAT, dims=[each // 4])
            content = os.urandom(each)
            if is_external:
                tensor.data_location = TensorProto.EXTERNAL
                for key, value in (("location", "weights.bin"), ("offset", file.tell()), ("length", each)):
                    tensor.external_data.add(key=key, value=str(value))
                file.write(content)
            else:
                tensor.raw_data = content
            weights.append(tensor)
            nodes.append(helper.make_node("Add", [f"v{place}", f"w{place}"], [f"v{place + 1}"]))
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [each // 4]) for name in ("v0", f"v{tensors}")]
    graph = helper.make_graph(nodes, "sum", ports[:1], ports[1:], weights)
    path = folder / "model.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())
    return path


if __name__ == "__main__":
    main()
