"""Plans that are being read: nobody takes them away meanwhile.

A file that is open outlives its removal on this machine's disks, but not on a network file system when another host
removes it; and a plan of several files is opened one by one.
"""

from __future__ import annotations

import weakref
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from trtreg.storage.locks import share
from trtreg.storage.shelf import Shelf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@contextmanager
def in_use(plan_folder: Path) -> Iterator[None]:
    """Keep the plan in the cache for the length of the block."""
    let_go = _hold(plan_folder)
    try:
        yield
    finally:
        let_go()


def keep_for(reader: object, plan_folder: Path) -> None:
    """Keep the plan in the cache until `reader` is no more, or this process."""
    let_go = _hold(plan_folder)
    # What can't be watched keeps it until the process ends.
    with suppress(TypeError):
        weakref.finalize(reader, let_go)


def _hold(plan_folder: Path) -> Callable[[], None]:
    shelf = Shelf.of_plan(plan_folder)
    try:
        return share(shelf.use_lock(plan_folder.name)) if shelf else _nothing
    except OSError:
        # A cache that can't be written to: nothing is removed from it by us, and by others after a while only.
        return _nothing


def _nothing() -> None:
    pass
