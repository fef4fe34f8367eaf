"""Timing caches, with TensorRT-RTX's own objects: its builds ignore them, and without a GPU they hold nothing, so
that only the handling is shown here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rtx_builds import needs_rtx, target
from trtreg.backends.tensorrt_api import PRODUCTS, TENSORRT_RTX, product_module
from trtreg.backends.tensorrt_log import Log, recording
from trtreg.backends.tensorrt_timing import TimingCache

pytestmark = [needs_rtx, pytest.mark.filterwarnings("ignore:.*Timing cache operations:DeprecationWarning")]


@pytest.fixture
def builder() -> Iterator[tuple[Any, Log]]:
    trt = product_module(PRODUCTS[TENSORRT_RTX])
    with recording(trt) as (logger, log):
        yield trt.Builder(logger), log


def test_a_first_build_starts_with_none_and_leaves_one(builder: tuple[Any, Log], tmp_path: Path) -> None:
    timings = TimingCache(tmp_path / "timings", target())
    config = builder[0].create_builder_config()
    timings.lend(config)
    timings.collect(config)
    assert timings.path.read_bytes() == bytes(config.get_timing_cache().serialize())
    again = builder[0].create_builder_config()
    timings.lend(again)
    timings.collect(again)
    assert [p.suffix for p in sorted(timings.path.parent.iterdir())] == [".lock", ".timing"]


def test_a_cache_that_tensorrt_refuses_is_replaced_and_fails_no_build(builder: tuple[Any, Log], tmp_path: Path) -> None:
    timings = TimingCache(tmp_path, target())
    timings.path.write_bytes(b"of another version")
    maker, log = builder
    config = maker.create_builder_config()
    timings.lend(config)
    log.forgive(0)
    assert log.errors(without_gpu=False) == []
    assert "will not be used" in log.text
    timings.collect(config)
    assert timings.path.read_bytes() == bytes(config.get_timing_cache().serialize())


@pytest.mark.parametrize(
    "other",
    [
        {"runtime_version": "1.4.0.76"},
        {"cuda": "13"},
        {"architecture": "sm_86"},
        {"device": "NVIDIA GeForce RTX 4090, 128 multiprocessors"},
    ],
)
def test_each_version_and_device_has_a_cache_of_its_own(other: dict[str, str], tmp_path: Path) -> None:
    assert TimingCache(tmp_path, target()).path != TimingCache(tmp_path, replace(target(), **other)).path
