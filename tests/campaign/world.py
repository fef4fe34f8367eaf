"""A registry to be ill-treated: a store somewhere, a builder who signs, a reader who trusts him, a few models."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

COMMAND = [sys.executable, "-m", "trtreg_cli.main"]
PATIENCE = 120.0
"""Seconds after which a call counts as hanging."""


@dataclass(frozen=True, slots=True)
class Call:
    """What became of one call. `code` is negative for one that was killed."""

    code: int
    said: str
    out: str

    def answer(self) -> dict[str, object]:
        """The JSON on stdout."""
        found: dict[str, object] = json.loads(self.out)
        return found


class World:
    """One store and two machines that use it, all their files in `folder`.

    place    the store, as TRTREG_STORE has it
    through  the same store as the disturbed calls reach it, if that is another way
    """

    def __init__(self, folder: Path, place: str, *, seed: int, through: str = "") -> None:
        self.folder, self.place, self.through = folder, place, through or place
        self.draw = random.Random(seed)
        self.builder, self.reader = folder / "builder", folder / "reader"
        folder.mkdir(parents=True, exist_ok=True)
        word = self.call(self.builder, "key", "new").out.strip()
        self.call(self.reader, "key", "trust", word)
        self.key = word
        self._versions = 0
        self.add("steady")
        self.add("large", megabytes=12)
        self.add("passing")
        # The engine that the reader fetches, whatever becomes of the newer versions.
        self.call(self.builder, "model", "alias", "large@1", "kept")
        self.call(self.builder, "build", "large@1")

    # --- calls ---------------------------------------------------------------------------------------------

    def start(self, home: Path, *arguments: str | Path, store: str = "") -> subprocess.Popen[str]:
        """A call in a session of its own, so that all of it can be killed at once."""
        words = ["--home", home, "--store", store or self.through, *arguments]
        return subprocess.Popen(
            [*COMMAND, *map(os.fspath, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def finish(self, process: subprocess.Popen[str], *, kill_after: float | None = None) -> Call:
        """Its end: its own, or by SIGKILL to all of its session after so many seconds."""
        try:
            out, said = process.communicate(timeout=PATIENCE if kill_after is None else kill_after)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, said = process.communicate()
            if kill_after is None:
                raise AssertionError(f"hangs: {process.args}: {said}") from None
        if "Traceback" in said:
            raise AssertionError(f"a traceback from {process.args}:\n{said}")
        return Call(process.returncode, said, out)

    def call(self, home: Path, *arguments: str | Path, expect: tuple[int, ...] = (0,), store: str = "") -> Call:
        """An undisturbed call, by the straight way. Raises AssertionError for another exit code than expected."""
        done = self.finish(self.start(home, *arguments, store=store or self.place))
        if done.code not in expect:
            raise AssertionError(f"exit {done.code} of {arguments}: {done.said}")
        return done

    def seconds_of(self, home: Path, *arguments: str | Path) -> float:
        """How long a call takes when nobody disturbs it."""
        started = time.monotonic()
        self.call(home, *arguments)
        return time.monotonic() - started

    # --- models --------------------------------------------------------------------------------------------

    def add(self, name: str, *, megabytes: float = 0.1) -> None:
        """The newest version of a model, undisturbed; `prod` selects it, except of `passing`."""
        self.call(self.builder, *self.addition(name, megabytes=megabytes))

    def addition(self, name: str, *, megabytes: float = 0.1) -> list[str | Path]:
        """The arguments that add a version with contents that no other has."""
        self._versions += 1
        file = self.folder / f"{name}-{self._versions}.onnx"
        write_wide(file, megabytes=megabytes, seed=self._versions)
        return ["model", "add", name, file, *([] if name == "passing" else ["--alias", "prod"])]


def write_wide(path: Path, *, megabytes: float, seed: int) -> None:
    """`x` float32[1x64] → MatMul → Relu → MatMul → `y` float32[1x8]: many weights, little to compute."""
    width = max(8, int(megabytes * 2**20 / 4 / 72))
    draw = np.random.default_rng(seed)
    weights = {
        "first": (draw.standard_normal((64, width)) / 8).astype(np.float32),
        "second": (draw.standard_normal((width, 8)) / width**0.5).astype(np.float32),
    }
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "first"], ["a"], name="first_matmul"),
            helper.make_node("Relu", ["a"], ["b"], name="relu"),
            helper.make_node("MatMul", ["b", "second"], ["y"], name="second_matmul"),
        ],
        "wide",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
