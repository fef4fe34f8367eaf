"""Whatever is done to it, the SQL catalog tells the same as the one in memory."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from catalog.examples import facts, manifest, sample
from trtreg.catalog import migration
from trtreg.catalog.sql import SqlCatalog
from trtreg.core.lifecycle import EngineState
from trtreg.core.manifest import Manifest
from trtreg.core.model import ModelVersion
from trtreg.core.names import ModelName
from trtreg.errors import TrtregError
from trtreg.interfaces import Catalog
from trtreg.testing import MemoryCatalog

_names = st.sampled_from(["yolov5s", "resnet"])
_numbers = st.integers(1, 4)
_words = st.sampled_from(["a", "b"])
_plans = st.builds(manifest, model=_words, plan=_words)


class SameAnswers(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        url = f"sqlite:///{self.folder / 'catalog.db'}"
        migration.upgrade(url)
        self.sql, self.memory = SqlCatalog(url), MemoryCatalog()

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @rule(name=_names, content=_words, note=_words, tags=st.dictionaries(_words, _words))
    def add_version(self, name: str, content: str, note: str, tags: dict[str, str]) -> None:
        self._same(lambda c: _timeless(*c.add_version(name, facts(content), note=note, tags=tags)))

    @rule(name=_names, number=_numbers)
    def remove_version(self, name: str, number: int) -> None:
        self._same(lambda c: c.remove_version(name, number))

    @rule(name=_names, number=_numbers, alias=_words)
    def set_alias(self, name: str, number: int, alias: str) -> None:
        self._same(lambda c: c.set_alias(name, number, alias))

    @rule(name=_names, alias=_words)
    def remove_alias(self, name: str, alias: str) -> None:
        self._same(lambda c: c.remove_alias(name, alias))

    @rule(name=_names, number=_numbers, label=_words, content=_words)
    def add_sample(self, name: str, number: int, label: str, content: str) -> None:
        self._same(lambda c: c.add_sample(name, number, sample(label, content)))

    @rule(name=_names, tolerance=st.dictionaries(st.just("cosine"), st.floats(0, 1)))
    def set_tolerance(self, name: str, tolerance: dict[str, float]) -> None:
        self._same(lambda c: c.set_tolerance(name, tolerance))

    @rule(engine=_plans, state=st.sampled_from(EngineState), bless=st.booleans())
    def record_engine(self, engine: Manifest, state: EngineState, bless: bool) -> None:
        self._same(lambda c: c.record_engine(engine, state, bless=bless))

    @rule(name=_names, number=st.none() | _numbers, alias=st.none() | _words)
    def find(self, name: str, number: int | None, alias: str | None) -> None:
        self._same(lambda c: _timeless(c.version(ModelName(name, version=number, alias=None if number else alias))))

    @invariant()
    def all_is_the_same(self) -> None:
        self._same(lambda c: [_timeless(v) for v in c.versions()])
        self._same(lambda c: [(r.manifest, r.state, r.blessed) for r in c.engines()])

    def _same(self, ask: Callable[[Catalog], object]) -> None:
        assert _outcome(ask, self.sql) == _outcome(ask, self.memory)


def _outcome(ask: Callable[[Catalog], object], catalog: Catalog) -> object:
    try:
        return ask(catalog)
    except TrtregError as error:
        return type(error), error.message, error.hint


def _timeless(version: ModelVersion | None, *rest: object) -> object:
    return (version and replace(version, added_at="")), *rest


TestSameAnswers = SameAnswers.TestCase
TestSameAnswers.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)
