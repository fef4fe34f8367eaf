"""Figures of engines in the store: each measurement a record of its own, the newest of each host kept."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from trtreg.core.figures import MOST_OF_A_HOST, host_in_names, read_figures
from trtreg.core.layout import figures_of
from trtreg.core.records import MalformedRecord, to_json
from trtreg.errors import TrtregError, Untrusted

if TYPE_CHECKING:
    from trtreg.core.figures import Figures
    from trtreg.core.key import Key
    from trtreg.interfaces import Store


class Measurements:
    """The figures in one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def keep(self, figures: Figures) -> None:
        """Add a measurement; of its host, the oldest beyond the number that is kept go. Raises what writing raises."""
        self._store.insert_record(figures.record_name, to_json(figures).encode())
        ending = f"-{host_in_names(figures.host)}.json"
        prefix = figures_of(figures.key, figures.plan_digest)
        own = sorted(name for name in self._store.record_names(prefix) if name.endswith(ending))
        for name in own[:-MOST_OF_A_HOST]:
            # Who may add and not delete leaves a few too many.
            with suppress(TrtregError):
                self._store.delete_record(name)

    def of(self, key: Key, plan_digest: str) -> list[Figures]:
        """All of one plan's, the newest first. What isn't signed or can't be read is left out: figures decide nothing.
        Raises Unreachable."""
        found = []
        for name in self._store.record_names(figures_of(key, plan_digest)):
            with suppress(Untrusted, MalformedRecord):
                content = self._store.read_record(name)
                if content is not None and (figures := read_figures(content)).record_name == name:
                    found.append(figures)
        return sorted(found, key=lambda figures: figures.measured_at, reverse=True)
