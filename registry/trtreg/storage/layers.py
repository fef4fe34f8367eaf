"""Several stores read as one: the near ones spare the way to the far ones.

What holds for each layer by itself holds for all: a record in a layer has its blobs in that layer, because both are
written to the same one. So every layer can be read, verified and pruned alone.

- Blobs come from the nearest layer that has them whole, and are put into the nearer ones that can be written to.
- Records are read where they are written first, then in order. They are never copied nearer: one that a pointer or a
  revocation has replaced at its origin must not live on in a copy.
- Writes go to the first layer that isn't read-only. A name is taken when any layer has it.
- A model is written only where its newest revision is, and only when every layer has answered: revisions are counted,
  and the same number must not be given twice.
- A layer that can't be reached is passed over with one warning, and asked again after a while. What can't be answered
  without any of them is Unreachable.
"""

from __future__ import annotations

import heapq
import math
import time
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, TypeVar

from trtreg.core.layout import MANIFESTS, models_of, parse_model_revision
from trtreg.errors import NotFound, ReadOnly, TrtregError, Unreachable, Untrusted, UsageError
from trtreg.storage.reaching import is_out_of_room

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from trtreg.core.files import StoredBlob, StoredFile
    from trtreg.interfaces import Progress, Store

_ASKED_AGAIN_AFTER = 60.0
"""Seconds for which a layer that couldn't be reached is left alone: each attempt may take as long as its retries do."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Layer:
    """One store of several; `read_only` is never written to, whatever the store would allow."""

    store: Store
    read_only: bool = False


class LayeredStore:
    """`layers` as one store, the nearest first.

    warn      told once of each layer that is out of reach, and of each blob that is damaged
    complete  every layer must answer, or it is Unreachable: for who decides what nobody needs
    clock     seconds that never go back
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        *,
        warn: Callable[[str], None],
        complete: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not layers:
            raise ValueError("a store of no layers")
        self.layers = tuple(layers)
        self.location = " ".join(layer.store.location for layer in layers)
        self.identities = tuple(dict.fromkeys(place for layer in layers for place in layer.store.identities))
        self.remote = any(layer.store.remote for layer in layers)
        self._warn, self._complete, self._clock = warn, complete, clock
        self._unreachable: dict[str, tuple[float, Unreachable]] = {}
        self._told: set[str] = set()

    @property
    def is_partial(self) -> bool:
        return bool(self._unreachable) or any(layer.store.is_partial for layer in self.layers)

    @property
    def writable(self) -> Store:
        """The store that is written to. Raises UsageError where all are read-only: before a build, not after it."""
        if self.origin is None:
            raise ReadOnly(
                f"nothing can be stored: {self.location} is read-only",
                hint="name a store that can be written to: TRTREG_STORE takes several places, separated by spaces",
            )
        return self.origin.store

    # --- blobs

    def has_blob(self, file: StoredFile) -> bool:
        return any(self._ask(lambda store: store.has_blob(file)))

    def put_blob(self, source: Path, file: StoredFile, progress: Progress, *, heal: bool = False) -> None:
        # Even if another layer has it: the record that follows needs it in this one.
        self.writable.put_blob(source, file, progress, heal=heal)

    def fetch_blob(self, file: StoredFile, destination: Path, progress: Progress) -> None:
        without: list[Layer] = []
        failures: list[TrtregError] = []
        for layer in self.layers:
            try:
                self._require_reachable(layer)
                layer.store.fetch_blob(file, destination, progress)
            except Unreachable as error:
                # It is the destination that failed, and will with any layer.
                if is_out_of_room(error):
                    raise
                self._pass_over(layer, error)
                failures.append(error)
            except (NotFound, Untrusted) as error:
                if isinstance(error, Untrusted):
                    self._tell(f"passing over a damaged blob: {error.message}")
                without.append(layer)
                failures.append(error)
            else:
                self._fill(without, destination, file, progress)
                return
        raise _worst(failures, self.location)

    def remove_blob(self, sha256: str, *, untouched_since: float = math.inf) -> bool:
        gone = [layer.store.remove_blob(sha256, untouched_since=untouched_since) for layer in self._all_writable()]
        return all(gone)

    def blobs(self) -> Iterator[StoredBlob]:
        found = self._ask(lambda store: list(store.blobs()))
        for _, same in groupby(heapq.merge(*found, key=_sha256), key=_sha256):
            # The nearest layer's comes first: `merge` keeps the order of equals.
            yield next(same)

    def blob_url(self, file: StoredFile, seconds: float) -> str:
        """Of a layer that has it; rather of one that other machines reach, too."""
        stores = self._ask(lambda store: store if store.has_blob(file) else None)
        having = sorted((store for store in stores if store is not None), key=lambda store: not store.remote)
        return (having or [self.layers[0].store])[0].blob_url(file, seconds)

    # --- records

    def read_record(self, name: str) -> bytes | None:
        origin_first = sorted(self.layers, key=lambda layer: layer is not self.origin)
        found = self._ask(lambda store: store.read_record(name), origin_first)
        return next((content for content in found if content is not None), None)

    def insert_record(self, name: str, content: bytes) -> bool:
        own = self.writable
        others = [layer for layer in self.layers if layer.store is not own]
        if others and (model := parse_model_revision(name)):
            self._require_newest(own, others, model[0])
        if others and any(self._ask(lambda store: store.read_record(name) is not None, others, answer_needed=False)):
            return False
        return own.insert_record(name, content)

    def replace_record(self, name: str, content: bytes) -> None:
        self.writable.replace_record(name, content)

    def delete_record(self, name: str) -> None:
        for layer in self._all_writable():
            layer.store.delete_record(name)
        fixed = [layer for layer in self.layers if layer.read_only]
        # Of all that is deleted, only this is asked for again: an engine that the gate has refused is still served.
        if name.startswith(MANIFESTS) and any(
            self._ask(lambda store: store.read_record(name) is not None, fixed, answer_needed=False)
        ):
            self._tell(f"{name} can't be withdrawn from a read-only store and is still served from there: revoke it")

    def record_stamp(self, name: str) -> str:
        origin_first = sorted(self.layers, key=lambda layer: layer is not self.origin)
        return next(filter(None, self._ask(lambda store: store.record_stamp(name), origin_first)), "")

    def record_names(self, prefix: str) -> Iterator[str]:
        found = self._ask(lambda store: list(store.record_names(prefix)))
        return (name for name, _ in groupby(heapq.merge(*found)))

    # --- upkeep

    def sweep(self, older_than_seconds: float) -> int:
        return sum(self._ask(lambda store: store.sweep(older_than_seconds), self._all_writable()))

    # --- layers

    @property
    def origin(self) -> Layer | None:
        """The layer that is written to; None where all are read-only."""
        return next((layer for layer in self.layers if not layer.read_only), None)

    def _require_newest(self, own: Store, others: Sequence[Layer], model: str) -> None:
        """Raise unless the newest revision of the model is in `own`, or there is none: Unreachable if that can't be
        known, UsageError if it is elsewhere. A change would be lost with the next one that is made there."""
        newest = _newest_revision(own, model)
        for layer in others:
            try:
                theirs = _newest_revision(layer.store, model)
            except Unreachable as error:
                where = layer.store.location
                raise Unreachable(
                    f"can't change the model {model} without {where}: {error.message}", hint=error.hint
                ) from error
            if theirs > newest:
                raise UsageError(
                    f"the model {model} is kept in {layer.store.location}, where it has come to revision {theirs}; "
                    f"what is written here goes to {own.location}",
                    hint="change it there, or give the model here another name",
                )

    def _all_writable(self) -> list[Layer]:
        """At least one. Raises UsageError."""
        assert self.writable is not None
        return [layer for layer in self.layers if not layer.read_only]

    def _ask(
        self, question: Callable[[Store], T], layers: Iterable[Layer] | None = None, *, answer_needed: bool = True
    ) -> Iterator[T]:
        """The answers of those layers that can be reached, in order, as far as they are wanted.

        Raises Unreachable if none can be, unless no answer is needed.
        """
        failures: list[TrtregError] = []
        answered = not answer_needed
        for layer in self.layers if layers is None else layers:
            try:
                self._require_reachable(layer)
                answer = question(layer.store)
            except Unreachable as error:
                self._pass_over(layer, error)
                failures.append(error)
            else:
                self._unreachable.pop(layer.store.location, None)
                answered = True
                yield answer
        if not answered:
            raise _worst(failures, self.location)

    def _require_reachable(self, layer: Layer) -> None:
        at, error = self._unreachable.get(layer.store.location, (0.0, None))
        if error is not None and self._clock() - at < _ASKED_AGAIN_AFTER:
            raise error

    def _pass_over(self, layer: Layer, error: Unreachable) -> None:
        if self._complete:
            raise error
        if self._unreachable.get(layer.store.location, (0.0, None))[1] is not error:
            self._unreachable[layer.store.location] = self._clock(), error
        if len(self.layers) > 1:
            self._tell(f"going on without {layer.store.location}", f": {error.message}")

    def _fill(self, nearer: Iterable[Layer], source: Path, file: StoredFile, progress: Progress) -> None:
        """Spare the next reader the way, and heal what is damaged. Nobody asked for it, so it may fail."""
        for layer in nearer:
            if layer.read_only:
                continue
            try:
                layer.store.put_blob(source, file, progress, heal=True)
            except TrtregError as error:
                self._tell(f"can't keep blobs in {layer.store.location}", f": {error.message}")

    def _tell(self, what: str, detail: str = "") -> None:
        """Once, whatever the detail."""
        if what not in self._told:
            self._told.add(what)
            self._warn(f"warning: {what}{detail}")


def _newest_revision(store: Store, model: str) -> int:
    parsed = map(parse_model_revision, store.record_names(models_of(model)))
    return max((found[1] for found in parsed if found), default=0)


def _sha256(blob: StoredBlob) -> str:
    return blob.sha256


def _worst(failures: Sequence[TrtregError], location: str) -> TrtregError:
    """What to say when no layer had it: damage before being out of reach, and that before absence."""
    damaged = [error for error in failures if isinstance(error, Untrusted)]
    unreachable = [error for error in failures if isinstance(error, Unreachable)]
    if damaged or len(failures) == 1 or not unreachable:
        return damaged[0] if damaged else failures[0]
    if len(unreachable) < len(failures):
        return Unreachable(f"{unreachable[0].message}; the other stores don't have it", hint=unreachable[0].hint)
    return Unreachable(
        f"none of the stores can be reached: {location}: " + "; ".join(error.message for error in unreachable),
        hint=unreachable[0].hint,
    )
