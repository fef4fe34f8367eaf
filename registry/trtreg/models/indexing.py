"""The catalog as an index of the models in the store: brought up to date before it is asked.

The store is the truth. What a catalog from before that was so knows, and the store doesn't, is written into the store.
Where signatures count, only when somebody asks for that: whoever may write to the database can put a model into it, and
what is written into the store is signed here.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from trtreg.errors import Unreachable, Untrusted, UsageError
from trtreg.paging import by_pages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from trtreg.core.model import Model, ModelVersion
    from trtreg.interfaces import Catalog
    from trtreg.models.naming import Names


class Index:
    """The models of one store, in one catalog.

    catalog  opened when first needed
    warn     told, in a line, what is damaged or out of reach and isn't needed
    adopts   whether what only the catalog knows is written into the store without being asked for
    """

    def __init__(
        self, *, names: Names, catalog: Callable[[], Catalog], warn: Callable[[str], None], adopts: bool
    ) -> None:
        self._names, self._open_catalog, self._warn, self._adopts = names, catalog, warn, adopts

    @cached_property
    def _catalog(self) -> Catalog:
        return self._open_catalog()

    def show(self, model: Model) -> None:
        """List the model as it is now. A catalog out of reach costs nothing but the listing."""
        try:
            if self._catalog.revisions().get(model.name) != model.revision:
                self._catalog.index_model(model)
        except Unreachable as error:
            self._warn(f"warning: {model.name} isn't listed: {error.message}; later: trtreg store rebuild-catalog")

    def models(self, *, after: str = "") -> Iterator[Model]:
        """Every model in the store whose name comes after that one, by name, read page by page."""
        try:
            stored = self.update()
            listed = by_pages(
                lambda last, most: self._catalog.models(after=last, limit=most), lambda model: model.name, after=after
            )
            for model in listed:
                after = model.name
                if model.name in stored:
                    yield model
        except Unreachable as error:
            # Slower, and as good.
            rest = sorted(name for name in self._names.revisions() if name > after)
            self._warn(f"warning: listed without the catalog: {error.message}")
            yield from filter(None, map(self._names.read, rest))

    def versions(self, *, digest: str) -> list[ModelVersion]:
        """The versions in the store that have that content, by name and number."""
        try:
            stored = self.update()
            return [v for v in self._catalog.versions(digest=digest) if v.name in stored]
        except Unreachable as error:
            versions = [v for model in self._names.all() for v in model.all() if v.facts.digest == digest]
            self._warn(f"warning: listed without the catalog: {error.message}")
            return versions

    def update(self) -> dict[str, int]:
        """List what the store has and the catalog hasn't, in that revision; the revisions in the store."""
        listed = self._catalog.revisions()
        try:
            self.take_in(*sorted(name for name, revision in listed.items() if not revision))
        except UsageError as error:
            if self._adopts:
                raise
            self._warn(f"warning: not listed: {error.message}; {error.hint}")
        stored = self._names.revisions()
        for name in sorted(name for name, revision in stored.items() if listed.get(name) != revision):
            try:
                if model := self._names.read(name):
                    self._catalog.index_model(model)
            except Untrusted as error:
                self._warn(f"warning: {name} isn't listed: {error.message}")
        return stored

    def take_in(self, *names: str) -> None:
        """Write those of these models into the store that only the catalog knows. Raises UsageError for them where that
        must be asked for."""
        unstored = [model for name in names if (model := self.unstored(name))]
        if unstored and not self._adopts:
            raise only_listed([model.name for model in unstored])
        for model in unstored:
            self.show(self.adopt(model))

    def unstored(self, name: str) -> Model | None:
        """The model, if the catalog knows it from before models were kept in the store."""
        model = self._catalog.model(name)
        return model if model and not model.revision else None

    def adopt(self, model: Model) -> Model:
        """Write such a model into the store, in which another of its name may be by now; what the store then has.
        Raises Unreachable, UsageError for a store that can't be written to."""
        met: list[Model] = []

        def merged(now: Model) -> Model:
            met[:] = [now]
            return now.merge(model)

        adopted = self._names.change(model.name, merged)
        if met[0].revision:
            self._warn(
                f"warning: {model.name} was in the catalog and in the store: both are {model.name} now, "
                "and what the catalog alone had comes last"
            )
        return adopted


def only_listed(names: Sequence[str]) -> UsageError:
    """What is said of models that only the catalog knows, where signatures count."""
    return UsageError(
        f"only the catalog knows {', '.join(names)}, and nobody has signed that",
        hint="trtreg store rebuild-catalog --adopt signs and stores it, --no-adopt forgets it",
    )
