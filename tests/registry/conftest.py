"""A registry of each test's own, all its parts real."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from small_models import write_classifier
from trtreg.registry import Registry
from trtreg.wiring import wiring


@dataclass
class Told:
    """A Progress that remembers what it was told."""

    stages: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def stage(self, name: str, detail: str = "") -> None:
        self.stages.append(name)

    def advance(self, done: int, total: int) -> None: ...

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def registry(told: Told) -> Registry:
    return wiring.open_registry(settings=wiring.settings(), progress=told)


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    return write_classifier(tmp_path / "classifier.onnx")


@pytest.fixture
def with_model(registry: Registry, classifier: Path) -> Registry:
    """A registry that knows `tiny`."""
    add(registry, "tiny", classifier)
    return registry


def add(registry: Registry, name: str, path: Path, **more: object) -> None:
    given = {"samples": {}, "tags": {}, "tolerance": {}, "progress": Told(), **more}
    registry.models.add(name, path, **given)  # type: ignore[arg-type]
