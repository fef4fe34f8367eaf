"""What a refit saves: a model built in full, and its fine-tune refitted. Needs a GPU that the runtime works on.

    python benchmarks/refits.py [MODEL.onnx] [--precision fp16] [--rounds N]

Each round is a registry of its own; figures are medians. The fine-tune is the model with its weights changed by 1 %.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from machine import described
from nvidia_builds import DEFAULT_MODEL

import trtreg
from trtreg.core.builder_settings import BuilderSettings, Weights
from trtreg.errors import UsageError

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from gpu.fine_tuning import write_fine_tune

STAGES = ("build", "refit", "gate")


def one_round(model: Path, precision: str, weights: Weights, backend: str) -> list[dict[str, float]]:
    """The seconds of the engine of the model, and of its fine-tune's."""
    measured = []
    with tempfile.TemporaryDirectory() as folder:
        registry = trtreg.open_registry(home=folder)
        paths = {"model": model, "tuned": write_fine_tune(model, Path(folder, "tuned.onnx"))}
        for name, path in paths.items():
            registry.models.add(name, path, samples={}, tags={}, tolerance={}, progress=registry.progress)
            settings = BuilderSettings(weights=weights)
            engine = registry.get(name, precision=precision, backend=backend, builder=settings)
            measured.append({**engine.manifest.provenance.seconds, "bytes": engine.manifest.plan.size})
    return measured


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("model", nargs="?", type=Path, default=DEFAULT_MODEL)
    arguments.add_argument("--precision", default="fp16")
    arguments.add_argument("--backend", default="tensorrt", choices=("tensorrt", "tensorrt-rtx"))
    arguments.add_argument("--rounds", type=int, default=3)
    chosen = arguments.parse_args()
    print(described(("trtreg", "tensorrt-cu12", "tensorrt-rtx-cu12")))
    print(f"{chosen.model.name}, {chosen.precision}, {chosen.backend}, medians of {chosen.rounds} rounds, seconds")
    print("| weights | | " + " | ".join(STAGES) + " | plan, bytes |\n| --- | --- | " + "--- | " * (len(STAGES) + 1))
    for weights in Weights:
        rounds = [one_round(chosen.model, chosen.precision, weights, chosen.backend) for _ in range(chosen.rounds)]
        for name, ours in zip(("the model", "its fine-tune"), zip(*rounds, strict=True), strict=True):
            cells = [
                f"{statistics.median(r[s] for r in ours if s in r):.2f}" if any(s in r for r in ours) else "-"
                for s in STAGES
            ]
            print(f"| {weights} | {name} | {' | '.join(cells)} | {int(ours[0]['bytes']):,} |", flush=True)


if __name__ == "__main__":
    try:
        main()
    except UsageError as refusal:
        sys.exit(f"{refusal.message}: nothing was measured")
