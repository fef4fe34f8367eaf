"""The catalog follows the store; what only an old catalog knows is brought into the store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from catalog.examples import NOON, facts, model_with, sample
from trtreg.core.layout import model_name
from trtreg.core.model import Model
from trtreg.errors import Unreachable
from trtreg.interfaces import Catalog
from trtreg.models.indexing import Index
from trtreg.models.naming import Names
from trtreg.testing import MemoryCatalog, MemoryStore


class Read(MemoryStore):
    """Remembers which records were read."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[str] = []

    def read_record(self, name: str) -> bytes | None:
        self.read.append(name)
        return super().read_record(name)


def nowhere() -> Catalog:
    raise Unreachable("no route to the catalog")


class Site:
    def __init__(self, catalog: Callable[[], Catalog] | None = None) -> None:
        self.store, self.catalog = Read(), MemoryCatalog()
        self.names = Names(self.store, pause=lambda _: None)
        self.said: list[str] = []
        self.index = Index(
            names=self.names, catalog=catalog or (lambda: self.catalog), warn=self.said.append, adopts=True
        )

    def add(self, name: str, *contents: str) -> Model:
        model = self.names.read(name) or Model(name=name)
        for content in contents:
            model = self.names.change(name, lambda m, c=content: m.add_version(facts(c), added_at=NOON))  # type: ignore[misc]
        self.store.read.clear()
        return model

    def listed(self) -> list[str]:
        return [str(version) for model in self.index.models() for version in model.all()]


@pytest.fixture
def site() -> Site:
    return Site()


def test_listing_reads_what_the_index_lacks_and_nothing_else(site: Site) -> None:
    site.add("a", "first")
    site.add("b", "first", "second")
    assert site.listed() == ["a@1", "b@1", "b@2"]
    assert len(site.store.read) == 2
    site.add("a", "second")
    assert site.listed() == ["a@1", "a@2", "b@1", "b@2"]
    assert site.store.read == [model_name("a", 2)]
    site.store.read.clear()
    site.listed()
    assert site.store.read == []


def test_what_the_store_had_before_a_copy_was_put_back_is_listed_as_the_copy_has_it(site: Site) -> None:
    site.add("a", "first")
    copy = dict(site.store.records)
    site.add("a", "second")
    assert site.listed() == ["a@1", "a@2"]
    site.store.records = copy
    assert site.listed() == ["a@1"]


def test_what_another_store_has_is_not_listed_and_not_forgotten(site: Site) -> None:
    elsewhere = replace(model_with("first", name="elsewhere"), revision=3)
    site.catalog.index_model(elsewhere)
    site.add("a", "first")
    assert site.listed() == ["a@1"]
    assert site.catalog.model("elsewhere") == elsewhere
    assert site.names.read("elsewhere") is None


def test_a_catalog_from_before_brings_its_models_into_the_store_once(site: Site) -> None:
    old = model_with("first", "second", name="old", aliases=["prod"], samples=[sample()], tolerance={"cosine": 0.9})
    emptied = model_with("first", name="emptied").remove_version(1)
    for model in (old, emptied):
        site.catalog.index_model(model)

    assert site.listed() == ["old@1", "old@2"]

    for model in (old, emptied):
        assert site.names.read(model.name) == site.catalog.model(model.name) == replace(model, revision=1)
    site.names.change("old", lambda m: m.remove_alias("prod"))
    site.listed()
    assert site.names.revisions() == {"old": 2, "emptied": 1}
    assert site.said == []


def test_a_model_that_is_in_an_old_catalog_and_in_the_store_becomes_one(site: Site) -> None:
    site.add("tiny", "ours", "shared")
    site.names.change("tiny", lambda m: m.set_alias("prod", 1).set_tolerance({"cosine": 0.5}))
    site.catalog.index_model(
        model_with(
            "shared", "theirs", name="tiny", aliases=["prod", "beta"], tolerance={"cosine": 0.1, "max_error": 1.0}
        )
    )

    versions = [version for model in site.index.models() for version in model.all()]

    assert [v.facts.digest for v in versions] == [facts(c).digest for c in ("ours", "shared", "theirs")]
    assert [v.aliases for v in versions] == [("prod",), (), ("beta",)]
    assert versions[0].tolerance == {"cosine": 0.5, "max_error": 1.0}
    assert len(site.said) == 1
    assert site.listed() == ["tiny@1", "tiny@2", "tiny@3"]
    assert len(site.said) == 1


def test_a_damaged_model_is_named_and_keeps_nobody_from_the_others(site: Site) -> None:
    for name in ("a", "b"):
        site.add(name, "first")
    site.store.records[model_name("a", 1)] = b"{"
    assert site.listed() == ["b@1"]
    assert len(site.said) == 1
    assert "models/a/00000001.json" in site.said[0]


def test_without_a_catalog_the_store_is_listed_all_the_same() -> None:
    site = Site(nowhere)
    site.add("b", "first", "second")
    site.add("a", "second")
    assert site.listed() == ["a@1", "b@1", "b@2"]
    assert [str(v) for v in site.index.versions(digest=facts("second").digest)] == ["a@1", "b@2"]
    assert all("no route" in line for line in site.said)


def test_a_change_that_the_catalog_cannot_be_told_names_the_way_to_tell_it() -> None:
    site = Site(nowhere)
    site.index.show(site.add("a", "first"))
    (said,) = site.said
    assert "trtreg store rebuild-catalog" in said
