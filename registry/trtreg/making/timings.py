"""TensorRT's timing caches in the store, shared by all builds for one exact version, CUDA and device.

There is no lock. Every build reads all caches of its kind, combines them, adds what it measured as a record of its
own, and then removes those that it has combined: what they held is in a record that is there before they go. Builds
that overlap leave one record each, and the next one combines these: nothing measured is lost, whatever the order, on
one machine or many. What TensorRT refuses here stays, as it may be of use to the machine that measured it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from trtreg.core.layout import RECORD_LIMIT
from trtreg.core.timing import COMBINED, LENT_SUFFIX, MEASURED, timing_prefix
from trtreg.errors import Unreachable, Untrusted

if TYPE_CHECKING:
    from trtreg.core.target import Target
    from trtreg.interfaces import Store

FOLDER = "timings"
"""In the folder of a build's order; where it is absent, the build keeps no timings."""
_MOST = RECORD_LIMIT - (1 << 10)
"""Bytes; the rest is for a signature."""


class Timings:
    """The timing caches in one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @contextmanager
    def lent(self, target: Target, order: Path) -> Iterator[None]:
        """While a build for `target` runs in the folder `order`, lend it what is known; take what it measured.

        Nothing is taken from a build that fails, and no build fails for a store that can't be reached here.
        """
        if target.runtime != "tensorrt":
            yield
            return
        folder = order / FOLDER
        folder.mkdir()
        lent: list[str] = []
        with suppress(Unreachable):
            lent = self._lend(timing_prefix(target), folder)
        yield
        with suppress(Unreachable):
            self._take(timing_prefix(target), folder, lent)

    def _lend(self, prefix: str, folder: Path) -> list[str]:
        """The names of the records that were put into `folder`."""
        lent = []
        for name in self._store.record_names(prefix):
            try:
                content = self._store.read_record(name)
            except Untrusted:
                continue  # Not worth failing a build for: it is as good as absent, and stays for its owner to look at.
            digest = name.removeprefix(prefix)
            # Another build may have combined it meanwhile, and a disk may have damaged it.
            if content is not None and hashlib.sha256(content).hexdigest() == digest:
                (folder / f"{digest}{LENT_SUFFIX}").write_bytes(content)
                lent.append(name)
        return lent

    def _take(self, prefix: str, folder: Path, lent: list[str]) -> None:
        try:
            measured = (folder / MEASURED).read_bytes()
            combined = set((folder / COMBINED).read_text(errors="replace").split())
        except FileNotFoundError:
            return
        name = prefix + hashlib.sha256(measured).hexdigest()
        if len(measured) > _MOST:
            return
        self._store.insert_record(name, measured)
        for there in lent:
            if there != name and there.removeprefix(prefix) in combined:
                self._store.delete_record(there)
