"""Long listings, read page by page: a million engines never are in memory at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

T = TypeVar("T")
C = TypeVar("C")

PAGE = 500
"""Records that are read at a time."""


def by_pages(
    read: Callable[[C, int], Sequence[T]], place_of: Callable[[T], C], *, after: C, limit: int | None = None
) -> Iterator[T]:
    """All records in their order, at most `limit`. Each page begins where the last one ended, so that nothing is told
    twice or left out that was there all the time.

    read      at most so many records of those that come after a place; none when they have ended
    place_of  the place of a record
    after     where to begin
    """
    left = limit
    while left is None or left > 0:
        most = PAGE if left is None else min(PAGE, left)
        page = read(after, most)
        yield from page
        # A page may lack what went while it was read: only an empty one is the end.
        if not page:
            return
        after = place_of(page[-1])
        left = None if left is None else left - len(page)
