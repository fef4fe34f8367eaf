"""What a model's file is, is asked once and remembered for as long as the file stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from registry.conftest import Told
from small_models import write_classifier
from trtreg.core.model import ModelFacts
from trtreg.interfaces import Progress
from trtreg.registry import Registry
from trtreg.wiring import wiring
from trtreg.workshop.supervisor import ChildWorkshop


@pytest.fixture
def old(classifier: Path) -> Path:
    """A file that was last written long ago."""
    os.utime(classifier, (1e9, 1e9))
    return classifier


def test_an_old_file_is_read_once(registry: Registry, old: Path, told: Told) -> None:
    assert registry.models.examine(old, told) == registry.models.examine(old, told)
    assert told.stages == ["examine"]


def test_a_file_that_is_replaced_while_it_is_read_is_read_again(
    registry: Registry, old: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(ChildWorkshop):
        def examine(self, model: Path, progress: Progress) -> ModelFacts:
            facts = super().examine(model, progress)
            other = write_classifier(model.with_name("other.onnx"), seed=1)
            os.utime(other, (1e9, 1e9))
            other.replace(model)
            return facts

    # The class that the registry has taken is kept by it: the second answer comes from a registry of its own.
    with monkeypatch.context() as patch:
        patch.setattr("trtreg.workshop.supervisor.ChildWorkshop", Interrupted)
        before = wiring.open_registry(settings=wiring.settings(), progress=told).models.examine(old, told)

    assert registry.models.examine(old, told).digest != before.digest
