"""Models by name, in the store: each revision of a model is a record of its own, which holds all of it.

    models/yolov5s/00000007.json

The highest number is in force. Who changes a model reads it, and inserts the next revision unless somebody else has
done so meanwhile; then it begins anew. So no lock is needed, no change is lost, and a reader sees all of a change or
nothing of it.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from trtreg.core.layout import MODELS, model_name, models_of, newest_revisions, parse_model_revision
from trtreg.core.model import MODEL_SCHEMA, Model
from trtreg.core.records import MalformedRecord, from_json, to_json
from trtreg.errors import Unreachable, Untrusted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trtreg.interfaces import Store
    from trtreg.models.seen import Seen

KEPT = 8
"""How many revisions stay at least, the newest counted."""
_ATTEMPTS = 60
_LONGEST_PAUSE = 1.0


def _pause(attempt: int) -> None:
    """Somewhat longer each time, up to a second, and never as long as the others who lost the same race."""
    import random  # slow to import, and hits come by this module

    time.sleep(random.uniform(0, min(_LONGEST_PAUSE, 0.005 * 2**attempt)))  # noqa: S311 - no secret


class Names:
    """The models of one store. All raise Unreachable; reading, Untrusted for a record that isn't what it should be.

    pause  waits before the next attempt, of the given number, to change what others change at the same time
    seen   knows the revisions that this machine has read, and refuses to go back
    """

    def __init__(self, store: Store, *, pause: Callable[[int], None] = _pause, seen: Seen | None = None) -> None:
        self._store, self._pause, self._seen = store, pause, seen

    # --- reading -------------------------------------------------------------------------------------------

    def revision(self, name: str) -> int:
        """The revision that is in force; 0 for a name that the store doesn't know."""
        return max(self._revisions(name), default=0)

    def expected(self, name: str) -> int:
        """The revision that this machine has read; one below it isn't to be believed. 0 for none."""
        return self._seen.highest(name) if self._seen else 0

    def stamp(self, name: str, revision: int) -> str:
        """What tells that revision from one of the same number in a store that was made anew in the same place, as far
        as it can be told without reading it."""
        return self._store.record_stamp(model_name(name, revision)) if revision else ""

    def revisions(self) -> dict[str, int]:
        """The revision in force of every model, by name."""
        return newest_revisions(self._store.record_names(MODELS))

    def read(self, name: str) -> Model | None:
        """The model as it is now; None for a name that the store doesn't know."""
        for attempt in range(_ATTEMPTS):
            # Known before it is listed: what somebody else here reads in between isn't missing from the list.
            expected = self.expected(name)
            revision = self.revision(name)
            if revision < max(expected, 1):
                # What nobody answers for is neither absent nor removed.
                self._require_whole(name)
            if self._seen and revision < expected:
                self._seen.refuse(name, revision, expected)
            if not revision:
                return None
            content = self._store.read_record(model_name(name, revision))
            if content is not None:
                model = _parsed(content, name, revision)
                if self._seen:
                    self._seen.remember(name, revision)
                return model
            # Newer ones have come since it was listed, so many that this one has gone.
            self._pause(attempt)
        raise _too_busy(name, "read")

    def all(self) -> Iterator[Model]:
        """Every model, by name."""
        for name in sorted(self.revisions()):
            if model := self.read(name):
                yield model

    # --- changing ------------------------------------------------------------------------------------------

    def change(self, name: str, how: Callable[[Model], Model]) -> Model:
        """Let `how` make another model of what there is, an empty one for a new name, and keep it; the model that is
        then in force. `how` may be called several times. What it raises leaves everything as it was."""
        for attempt in range(_ATTEMPTS):
            now = self.read(name) or Model(name=name)
            self._require_whole(name)
            changed = how(now)
            if changed == now:
                return now
            changed = replace(changed, revision=now.revision + 1)
            if self._insert(changed):
                return changed
            self._pause(attempt)
        raise _too_busy(name, "change")

    def _require_whole(self, name: str) -> None:
        if self._store.is_partial:
            raise Unreachable(
                f"a newer revision of the model {name} may be where nobody answers: "
                f"a part of {self._store.location} is out of reach",
                hint="try again when all of it answers",
            )

    def _insert(self, model: Model) -> bool:
        record = model_name(model.name, model.revision)
        if not self._store.insert_record(record, to_json(model).encode()):
            return False
        revisions = self._revisions(model.name)
        outdated = max(revisions, default=0) - KEPT
        with suppress(Unreachable):  # Some may write and not delete: what stays is in nobody's way.
            for revision in revisions:
                if revision <= outdated:
                    self._store.delete_record(model_name(model.name, revision))
        # Whoever is stopped for long between reading and writing may find the place of a revision free that was there
        # and was deleted since. Its change would be seen by nobody. So long as the place isn't one of those that are
        # deleted, none was there before.
        return model.revision > outdated

    def _revisions(self, name: str) -> list[int]:
        found = map(parse_model_revision, self._store.record_names(models_of(name)))
        return [parsed[1] for parsed in found if parsed and parsed[0] == name]


def _parsed(content: bytes, name: str, revision: int) -> Model:
    record = model_name(name, revision)
    try:
        model = from_json(Model, content)
    except MalformedRecord as error:
        raise _untrusted(f"{record}: {error}") from None
    if model.model_schema != MODEL_SCHEMA:
        raise _untrusted(f"{record}: model schema {model.model_schema}, while this trtreg reads {MODEL_SCHEMA}")
    if (model.name, model.revision) != (name, revision):
        raise _untrusted(f"{record} is revision {model.revision} of {model.name}")
    return model


def _untrusted(message: str) -> Untrusted:
    return Untrusted(message, hint="a newer trtreg wrote it, or the store was tampered with or damaged")


def _too_busy(name: str, what: str) -> Unreachable:
    return Unreachable(f"cannot {what} the model {name}: others change it all the time", hint="try again")
