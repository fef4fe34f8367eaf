"""Ill-treat a registry on a real S3 server for as long as it takes, and report what became of it.

    PYTHONPATH=tests python -m campaign [--seed 7] [--kills 500] [--cuts 500] [--directory]

Each seed is another campaign; the same seed draws the same blows, at moments that no seed can fix.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from campaign import strikes
from campaign.truth import Truth
from campaign.world import World
from services import ceph
from services.proxy import Proxy, troubled
from services.s3 import S3Server, bucket_at


def main() -> None:
    options = _options()
    with (
        tempfile.TemporaryDirectory(prefix="campaign-") as name,
        _places(Path(name), options) as (place, harmed, proxy),
    ):
        world = World(Path(name) / "world", place, seed=options.seed)
        truth = Truth(world)
        truth.check()
        started = time.monotonic()
        killed = strikes.kill(world, truth, options.kills, _tell)
        print(f"seed {options.seed}: killed {sum(killed.values())}: {killed}")
        if proxy is not None:
            world.through = harmed
            ended = strikes.cut(world, truth, proxy, options.cuts, _tell)
            print(f"seed {options.seed}: harmed {proxy.harmed} connections; calls ended so: {ended}")
        left = strikes.sweep(world, truth)
        print(f"left after a sweep: {left or 'nothing'}; {time.monotonic() - started:.0f} s")
        sys.exit(bool(left))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="campaign", description=__doc__)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--cuts", type=int, default=500, help="connections to cut or corrupt")
    parser.add_argument("--directory", action="store_true", help="on a directory, where there is nothing to cut")
    return parser.parse_args()


@contextmanager
def _places(folder: Path, options: argparse.Namespace) -> Iterator[tuple[str, str, Proxy | None]]:
    """The store, the way to it that is harmed, and who harms it."""
    if options.directory:
        yield str(folder / "store"), "", None
        return
    with _server(folder) as server, bucket_at(server, f"campaign-{os.getpid()}") as bucket:
        os.environ |= server.environment
        with troubled(server.http, strikes.harm(options.seed)) as proxy:
            yield _at(server.http, bucket), _at(proxy.url, bucket), proxy


@contextmanager
def _server(folder: Path) -> Iterator[S3Server]:
    """A gateway of this campaign's own."""
    if absent := ceph.missing():
        sys.exit(f"no S3 server: {', '.join(absent)} not installed; --directory does without")
    try:
        yield ceph.start(folder / "ceph")
    finally:
        ceph.stop(folder / "ceph")


def _at(endpoint: str, bucket: str) -> str:
    return f"s3://{bucket}/engines?endpoint_url={endpoint}"


def _tell(line: str) -> None:
    print(f"\r{line:70}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
