"""Timing caches, with TensorRT-RTX's own objects: its builds ignore them, and without a GPU they hold nothing, so
that only the handling is shown here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rtx_builds import needs_rtx
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
    maker, log = builder
    config = maker.create_builder_config()
    timings = TimingCache(tmp_path)
    timings.lend(config, log)
    timings.collect(config)
    assert (tmp_path / "measured").read_bytes() == bytes(config.get_timing_cache().serialize())


def test_a_cache_that_tensorrt_refuses_is_left_out_and_fails_no_build(builder: tuple[Any, Log], tmp_path: Path) -> None:
    (tmp_path / "old.lent").write_bytes(b"of another version")
    maker, log = builder
    config = maker.create_builder_config()
    timings = TimingCache(tmp_path)
    timings.lend(config, log)
    assert "will not be used" in log.text
    timings.collect(config)
    assert (tmp_path / "combined").read_text() == ""
    assert (tmp_path / "measured").read_bytes() == bytes(config.create_timing_cache(b"").serialize())
