"""Long listings, page by page."""

from __future__ import annotations

from trtreg.paging import by_pages


def test_a_page_that_lost_a_record_while_it_was_read_is_not_taken_for_the_last() -> None:
    pages = {0: [1, 2, 3], 3: [5, 6], 6: [7], 7: []}
    assert list(by_pages(lambda last, _: pages[last], lambda n: n, after=0, limit=10)) == [1, 2, 3, 5, 6, 7]
