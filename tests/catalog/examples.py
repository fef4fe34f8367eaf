"""Values that the catalog's tests put in: small, valid, and different where the caller says so."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from trtreg.core.files import StoredFile, file_set
from trtreg.core.key import Question
from trtreg.core.manifest import Manifest, Provenance
from trtreg.core.model import Model, ModelFacts
from trtreg.core.recipe import Precision, Recipe
from trtreg.core.sample import Sample
from trtreg.core.signature import Signature, TensorSpec
from trtreg.core.target import Target

NOON = "2026-01-01T12:00:00+00:00"


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def facts(content: str = "first") -> ModelFacts:
    source = StoredFile("model.onnx", len(content), sha256(content))
    return ModelFacts(
        digest=sha256(f"canonical {content}"),
        source=file_set([source], source.name),
        signature=Signature(
            (TensorSpec("images", "float32", ("batch", 3, 640, 640)),), (TensorSpec("y", "float32", ()),)
        ),
        opset=17,
        precision="fp32",
        operators={"Conv": 60, "Sigmoid": 57},
        parameters=7_200_000,
        producer="größer → ok",
    )


def sample(name: str = "coco8", content: str = "pictures") -> Sample:
    return Sample(name=name, file=StoredFile(f"{name}.npz", len(content), sha256(content)))


def with_content(content: str) -> Callable[[Model], Model]:
    """What `Names.change` is to do: add a version."""
    return lambda model: model.add_version(facts(content), added_at=NOON)


def model_with(*contents: str, name: str = "yolov5s", **more: Any) -> Model:
    """A model with a version of each content. `more` is said of the last of them."""
    model = Model(name=name)
    for content in contents:
        model = model.add_version(facts(content), added_at=NOON, **(more if content == contents[-1] else {}))
    return model


def manifest(
    *,
    model: str = "model",
    precision: Precision = Precision.FP16,
    plan: str = "plan",
    size: int = 5,
    version: str = "1.32.0",
) -> Manifest:
    recipe = Recipe(precision=precision)
    target = Target(runtime="onnxruntime", runtime_version=version, architecture="x86_64", platform="linux-x86_64")
    model_digest = sha256(model)
    return Manifest(
        key=Question(model_digest, recipe, target).key,
        model_digest=model_digest,
        recipe=recipe,
        target=target,
        rewritten_digest=sha256("rewritten"),
        plan=file_set([StoredFile("model.onnx", size, sha256(plan))], "model.onnx"),
        gate=None,
        provenance=Provenance(
            model="yolov5s@1",
            built_at="2025-01-01T00:00:00+00:00",
            host="builder",
            seconds={"rewrite": 1.5, "build": 2.25},
            versions={"trtreg": "0.1.0"},
        ),
    )
