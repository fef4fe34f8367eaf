"""The fault campaign in short: `python -m campaign` is the long one, with its seeds and hundreds of blows."""

from __future__ import annotations

from pathlib import Path

import pytest

from campaign import strikes
from campaign.truth import Truth
from campaign.world import World
from conftest import Bucket
from services.proxy import troubled

pytestmark = pytest.mark.slow


def test_whoever_is_killed_no_engine_is_lost_and_nothing_is_left_in_a_folder(tmp_path: Path) -> None:
    world = World(tmp_path / "world", str(tmp_path / "store"), seed=1)
    truth = Truth(world)

    killed = strikes.kill(world, truth, 2 * len(strikes.KILLED), lambda _: None)

    assert all(killed.values())
    assert strikes.sweep(world, truth) == []


def test_whatever_is_cut_no_wrong_byte_is_served_from_a_bucket(tmp_path: Path, bucket: Bucket) -> None:
    world = World(tmp_path / "world", bucket.place("engines"), seed=1)
    truth = Truth(world)

    with troubled(bucket.server.http, strikes.harm(1)) as proxy:
        world.through = bucket.place("engines", endpoint=proxy.url)
        strikes.cut(world, truth, proxy, 10, lambda _: None)
        assert proxy.harmed >= 10

    assert strikes.sweep(world, truth) == []
