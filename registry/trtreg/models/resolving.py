"""Which version a name selects, by the store; and remembered, so that a hit asks no network.

A near store is asked each time for the number of the revision in force, which costs one look into a folder: what was
remembered of that revision holds. A far one isn't asked while what it said is fresh; a version by its number is always
the same and is never asked for again. All of this machine's processes remember together.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtreg.core.model import ModelVersion
from trtreg.core.names import ModelName
from trtreg.core.records import MalformedRecord, from_plain, to_plain
from trtreg.errors import Miss, Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from trtreg.core.model import Model
    from trtreg.interfaces import Notes, Store
    from trtreg.models.naming import Names


@dataclass(frozen=True)
class _Known:
    """What revision `revision` of a model said, `at` (seconds since 1970). `stamp` as `Names.stamp` gives it."""

    revision: int
    stamp: str
    at: float
    version: ModelVersion


class Resolver:
    """Finds versions by name.

    refresh  seconds for which the answer of a far store is fresh
    policy   which signatures are required: what was verified under another isn't remembered
    clock    seconds since 1970
    """

    def __init__(
        self,
        *,
        store: Store,
        names: Names,
        notes: Notes,
        refresh: float,
        policy: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store, self._names, self._notes = store, names, notes
        self._refresh, self._policy, self._clock = refresh, policy, clock
        self._found: dict[ModelName, _Known] = {}

    def find(self, name: ModelName, *, fresh: bool = False, offline: bool = False) -> ModelVersion | None:
        """The version; None if the store has none that the name selects.

        fresh    ask the store, whatever is remembered
        offline  ask no far store, however old the answer is that is remembered. Raises Miss without one
        """
        if not self._store.remote:
            return self._find_near(name, fresh=fresh, offline=offline)
        known = self._recall(name)
        if offline and known is None:
            raise Miss(
                f"this machine doesn't know what {name} is",
                hint=f"once without --offline: {self._store.location} is asked, and its answer is remembered until the "
                "store's address or the trusted keys change",
            )
        if known and (offline or (not fresh and self._is_fresh(name, known))):
            return known.version
        try:
            return self._ask(name)
        except Unreachable as error:
            if known is None or fresh:
                raise
            raise Unreachable(
                error.message, hint=f"--offline takes {name} for {known.version}, as it was last time"
            ) from error

    def saw(self, model: Model) -> None:
        """Remember that the model has come to this revision: what was remembered of earlier ones is out of date."""
        self._found = {name: known for name, known in self._found.items() if name.name != model.name}
        if self._store.remote:
            self._notes.remember("model", f"{self._store.location} {model.name}", {"revision": model.revision})

    def _find_near(self, name: ModelName, *, fresh: bool, offline: bool) -> ModelVersion | None:
        known = None if fresh else self._recall(name)
        try:
            revision, stamp = self._standing(name.name)
            as_noted = known and known.revision == revision and known.stamp == stamp
            # A note of the revision that somebody went back to fits, too: whoever reads it again is told.
            if known and as_noted and revision >= self._names.expected(name.name):
                return known.version
            if revision or not (known and offline):
                return self._ask(name)
        except Unreachable:
            if not (known and offline):
                raise
        # The folder isn't mounted, or isn't there any more.
        return known.version

    def _is_fresh(self, name: ModelName, known: _Known) -> bool:
        if name.version is not None:
            return True
        if not 0 <= self._clock() - known.at < self._refresh:
            return False
        seen = self._notes.recall("model", f"{self._store.location} {name.name}") or {}
        newest = seen.get("revision")
        return not isinstance(newest, int) or known.revision >= newest

    def _ask(self, name: ModelName) -> ModelVersion | None:
        # Before the question: what changes meanwhile must not look fresher than it is.
        at = self._clock()
        standing = self._standing(name.name)
        model = self._names.read(name.name)
        if model is None:
            return None
        self.saw(model)
        version = model.select(name)
        if version is not None:
            # None where it was changed between the two questions: then it is asked for again.
            stamp = standing[1] if standing[0] == model.revision else ""
            self._found[name] = _Known(model.revision, stamp, at, version)
            note = {"revision": model.revision, "stamp": stamp, "at": at, "version": to_plain(version)}
            # A far store needn't be asked what its number means, either.
            pinned = [ModelName(version.name, version=version.version)] if self._store.remote else []
            for known in {name, *pinned}:
                self._notes.remember("version", self._subject(known), note)
        return version

    def _standing(self, name: str) -> tuple[int, str]:
        """The revision of a near store's model, and its stamp; nothing of a far one."""
        if self._store.remote:
            return 0, ""
        revision = self._names.revision(name)
        return revision, self._names.stamp(name, revision)

    def _recall(self, name: ModelName) -> _Known | None:
        if name in self._found:
            return self._found[name]
        match self._notes.recall("version", self._subject(name)):
            case {"revision": int(revision), "stamp": str(stamp), "at": float(at), "version": plain}:
                try:
                    known = _Known(revision, stamp, at, from_plain(ModelVersion, plain))
                except MalformedRecord:
                    return None  # Written by another trtreg: ask again.
                self._found[name] = known
                return known
        return None

    def _subject(self, name: ModelName) -> str:
        return " ".join(filter(None, (self._store.location, self._policy, str(name))))
