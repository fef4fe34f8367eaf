"""Small plans and their manifests. Also used by the child processes of the fault tests."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

from trtreg.core.files import FileSet, StoredFile, file_set
from trtreg.core.key import Question
from trtreg.core.manifest import Manifest, Provenance
from trtreg.core.recipe import Recipe
from trtreg.core.target import Target

PLAN = {"plan.onnx": b"graph" * 300_000, "plan.onnx.weights": b"weights" * 300_000}
"""Over 1 MiB each, so that copying one takes several steps."""


def stored(name: str, content: bytes) -> StoredFile:
    return StoredFile(name, len(content), hashlib.sha256(content).hexdigest())


def plan_of(contents: Mapping[str, bytes]) -> FileSet:
    return file_set([stored(name, content) for name, content in contents.items()], min(contents))


def manifest_of(contents: Mapping[str, bytes], *, model: str = "tiny@1", device: str = "") -> Manifest:
    """The manifest of a plan with these files. `device` only makes keys differ."""
    target = Target(
        runtime="onnxruntime",
        runtime_version="1.22.0",
        architecture="x86_64",
        platform="linux-x86_64",
        device=device,
    )
    question = Question("ab" * 32, Recipe(), target)
    return Manifest(
        key=question.key,
        model_digest=question.model_digest,
        recipe=question.recipe,
        target=question.target,
        rewritten_digest="cd" * 32,
        plan=plan_of(contents),
        gate=None,
        provenance=Provenance(model=model, built_at="2025-01-01T00:00:00Z", host="here", seconds={}, versions={}),
    )


def fetch_from(contents: Mapping[str, bytes]) -> Callable[[StoredFile, Path], None]:
    def fetch(file: StoredFile, destination: Path) -> None:
        destination.write_bytes(contents[file.name])

    return fetch


def drafts_under(folder: Path) -> list[Path]:
    return list(folder.rglob(".tmp-*"))
