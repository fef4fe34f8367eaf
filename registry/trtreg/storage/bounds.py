"""Keeping the cache within its bound, whenever something has come in: a hit never pays for it."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from trtreg.core.sizes import shown
from trtreg.errors import Unreachable
from trtreg.storage.upkeep import clean, evict, size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trtreg.core.manifest import Manifest
    from trtreg.core.sizes import Bound
    from trtreg.storage.shelf import Shelf


def keep_within(
    shelves: Sequence[Shelf],
    bound: Callable[[], Bound],
    admitted: Manifest,
    *,
    warn: Callable[[str], None],
    now: Callable[[], float],
) -> None:
    """Evict the longest unused until the cache is within its bound; never what was just admitted.

    What can't be evicted, because it is in use or another user's, stays: the engine that was asked for is here.
    """
    with suppress(OSError, Unreachable):
        most = bound().of(_file_system(shelves[0]))
        if admitted.plan.size > most:
            warn(
                f"warning: this engine of {shown(admitted.plan.size)} is larger than the whole cache may be "
                f"({shown(most)}: cache_size); the next one will replace it"
            )
        if size_of(shelves) > most:
            evict(shelves, max_bytes=most, older_than=None, keep=(admitted.key,), now=now())


def make_room(shelves: Sequence[Shelf], size: int, *, now: float) -> bool:
    """Evict the longest unused that make up `size` bytes, and whatever is of no use; whether anything has gone."""
    with suppress(Unreachable):
        swept = clean(shelves, now)
        return bool(evict(shelves, max_bytes=size_of(shelves) - size, older_than=None, keep=(), now=now)) or swept > 0
    return False


def _file_system(shelf: Shelf) -> float:
    """Bytes of the whole of it, used or not."""
    status = os.statvfs(shelf.folder)
    return float(status.f_blocks * status.f_frsize)
