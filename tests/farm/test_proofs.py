"""What a worker builds for a machine that it hasn't got is proven by one that has it. The machines are doubles, their
gate is real, and so are RabbitMQ and PostgreSQL."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from farm.conftest import Place, until
from small_models import write_vanishing
from trtreg.core.names import parse_model_name
from trtreg.core.recipe import Precision
from trtreg.core.request import Request

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("farm"),
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc"),
]
TINY = Request(model=parse_model_name("tiny"))


def _seen(place: Place) -> list[tuple[str, object, object]]:
    """The work of the farm, newest first: proof or build, its state, how often it was begun."""
    gate = "trtreg.gate."
    kinds = ["proof" if str(b["queue"]).startswith(gate) else "build" for b in place.builds()]
    return [(kind, b["state"], b["attempts"]) for kind, b in zip(kinds, place.builds(), strict=True)]


def test_a_plan_for_two_machines_is_built_by_a_third_and_proven_on_each(place: Place) -> None:
    builder = place.double("builds", "alpha", "beta")
    alpha, beta = place.double("runs", "alpha"), place.double("runs", "beta")
    asked = place.asker(TINY, "asks", "alpha", "beta")

    assert asked.returncode == 0, asked.stderr
    assert Path(asked.stdout.strip()).is_file()
    assert _seen(place) == [("proof", "done", 1), ("proof", "done", 1), ("build", "done", 1)]
    workers = [str(b["worker"]).partition("@")[0] for b in place.builds()]
    assert workers == [str(worker.process.pid) for worker in (beta, alpha, builder)]


def test_a_proof_waits_for_its_machine_and_survives_a_prover_that_is_killed(place: Place) -> None:
    place.double("builds", "alpha")
    asked = place.asker(TINY, "asks", "alpha")
    assert (asked.returncode, asked.stdout) == (3, "")
    assert "no worker serves trtreg.gate.onnxruntime-" in asked.stderr
    assert "is built, but not proven: it waits for a machine with alpha" in asked.stderr
    assert _seen(place) == [("proof", "wanted", 0), ("build", "done", 1)]

    first = place.double("runs", "alpha")
    first.halt()
    place.double("runs", "alpha")
    os.killpg(first.process.pid, signal.SIGKILL)
    asked = place.asker(TINY, "asks", "alpha")
    assert asked.returncode == 0, asked.stderr
    assert _seen(place) == [("proof", "done", 2), ("build", "done", 1)]


def test_what_fails_its_first_gate_is_the_asker_s_failure(place: Place, tmp_path: Path) -> None:
    place.call("model", "add", "vanishing", str(write_vanishing(tmp_path / "vanishing.onnx")))
    place.double("builds", "alpha")
    place.double("runs", "alpha")
    request = Request(model=parse_model_name("vanishing"), precision=Precision.FP16)

    for _ in range(2):
        asked = place.asker(request, "asks", "alpha")
        assert asked.returncode == 5, asked.stderr
        assert "vanishing@1 (fp16)" in asked.stderr
    assert ("proof", "failed", 1) in _seen(place)


def test_a_worker_that_begins_sees_to_what_waits_from_elsewhere(place: Place) -> None:
    assert place.asker(TINY, "makes", "alpha").returncode == 3
    place.double("runs", "beta")
    assert _seen(place) == []

    place.double("runs", "alpha")
    until(lambda: _seen(place) == [("proof", "done", 1)])
    assert place.asker(TINY, "asks", "alpha").returncode == 0


def test_a_worker_loads_the_plugins_that_its_own_settings_allow_and_names_what_it_lacks(place: Place) -> None:
    here, there = place.folder / "here", place.folder / "there"
    for folder in (here, there):
        folder.mkdir()
    (here / "libthird.so").write_bytes(b"a library")
    request = Request(model=parse_model_name("tiny"), plugins=(str(here / "libthird.so"),))
    worker = place.double("builds", TRTREG_PLUGINS=str(there))

    lacking = place.asker(request, "asks", TRTREG_PLUGINS=str(here))
    assert lacking.returncode == 2
    assert f"{there} has no plugin library with the SHA-256 " in lacking.stderr
    assert f" on {worker.process.pid}@" in lacking.stderr

    (there / "renamed.so").write_bytes(b"a library")
    found = place.asker(request, "asks", TRTREG_PLUGINS=str(here))
    # It gets as far as TensorRT, which isn't here.
    assert (found.returncode, "TensorRT" in found.stderr) == (4, True), found.stderr
