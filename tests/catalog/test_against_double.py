"""Whatever is done to it, the SQL catalog tells the same as the one in memory."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from catalog.examples import facts, manifest, model_with, sample
from trtreg.catalog import migration
from trtreg.catalog.sql import SqlCatalog
from trtreg.core.lifecycle import EngineState
from trtreg.core.manifest import Manifest
from trtreg.errors import TrtregError
from trtreg.interfaces import Catalog
from trtreg.testing import MemoryCatalog

_names = st.sampled_from(["yolov5s", "resnet"])
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

    @rule(
        name=_names,
        contents=st.lists(_words, min_size=1, max_size=3),
        note=_words,
        tags=st.dictionaries(_words, _words),
        aliases=st.lists(_words),
        samples=st.sets(_words),
        tolerance=st.dictionaries(st.just("cosine"), st.floats(0, 1)),
        revision=st.integers(0, 9),
    )
    def index_model(self, name: str, contents: list[str], samples: set[str], revision: int, **more: Any) -> None:
        model = model_with(*contents, name=name, samples=[sample(label) for label in sorted(samples)], **more)
        self._same(lambda c: c.index_model(replace(model, revision=revision)))

    @rule(name=_names)
    def forget_model(self, name: str) -> None:
        self._same(lambda c: c.forget_model(name))

    @rule(engine=_plans, state=st.sampled_from(EngineState), bless=st.booleans())
    def record_engine(self, engine: Manifest, state: EngineState, bless: bool) -> None:
        self._same(lambda c: c.record_engine(engine, state, bless=bless))

    @rule(engine=_plans, state=st.sampled_from(EngineState), bless=st.booleans())
    def restore_engine(self, engine: Manifest, state: EngineState, bless: bool) -> None:
        self._same(lambda c: c.restore_engine(engine, state, bless=bless and state is EngineState.PUBLISHED))

    @rule(engine=_plans)
    def forget_engine(self, engine: Manifest) -> None:
        self._same(lambda c: c.forget_engine(engine.key, engine.plan_digest))

    @invariant()
    def all_is_the_same(self) -> None:
        self._same(lambda c: c.versions())
        self._same(lambda c: (c.versions(digest=facts("a").digest), c.revisions(), c.model("resnet")))
        self._same(lambda c: (c.engines(), sorted(c.plans())))

    def _same(self, ask: Callable[[Catalog], object]) -> None:
        assert _outcome(ask, self.sql) == _outcome(ask, self.memory)


def _outcome(ask: Callable[[Catalog], object], catalog: Catalog) -> object:
    try:
        return ask(catalog)
    except TrtregError as error:
        return type(error), error.message, error.hint


TestSameAnswers = SameAnswers.TestCase
TestSameAnswers.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)
