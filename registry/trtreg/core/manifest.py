"""The record of one engine: which question it answers, which bytes it is, how it was judged, where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trtreg.core.files import FileSet, StoredFile
from trtreg.core.key import KEY_SCHEMA, Key, Question
from trtreg.core.recipe import Recipe
from trtreg.core.records import MalformedRecord, from_json, to_json
from trtreg.core.target import Target
from trtreg.core.variance import Variance
from trtreg.core.verdict import GateReport

MANIFEST_SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Who built the plan, when, from what, with what.

    model     the name it was asked by, `yolov5s@3`; the key doesn't depend on it
    built_at  UTC, ISO 8601
    seconds   by stage: rewrite, build, gate
    versions  of trtreg, onnx, onnxruntime, numpy and the builder
    notes     what the rewriting or the builder had to say
    log       the builder's whole log, a blob of the store; None for a builder that keeps none
    variance  what all builds came to, where it is the best of several; the others' plans aren't kept
    """

    model: str
    built_at: str
    host: str
    seconds: Mapping[str, float]
    versions: Mapping[str, str]
    notes: tuple[str, ...] = ()
    log: StoredFile | None = None
    variance: Variance | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One engine's record, written once and never changed.

    rewritten_digest  canonical digest of the ONNX model that the backend was given, after the precision rewrite
    graph_digest      of that model without its weights, where plans of the recipe are refitted; else empty
    gate              None only while the engine is unproven
    """

    key: Key
    model_digest: str
    recipe: Recipe
    target: Target
    rewritten_digest: str
    plan: FileSet
    gate: GateReport | None
    provenance: Provenance
    graph_digest: str = ""
    key_schema: int = KEY_SCHEMA
    manifest_schema: int = MANIFEST_SCHEMA

    @property
    def question(self) -> Question:
        """What the engine answers."""
        return Question(self.model_digest, self.recipe, self.target)

    @property
    def plan_digest(self) -> str:
        """Names the answer: SHA-256 over the plan's files."""
        return self.plan.digest


def read_manifest(text: str | bytes) -> Manifest:
    """The manifest in `text`, its key computed anew from its fields. Raises MalformedRecord.

    A valid manifest that was copied under another key, or whose fields were edited, doesn't get past this.
    """
    manifest = from_json(Manifest, text)
    if manifest.manifest_schema != MANIFEST_SCHEMA or manifest.key_schema != KEY_SCHEMA:
        raise MalformedRecord(
            f"manifest schema {manifest.manifest_schema} and key schema {manifest.key_schema}, "
            f"while this trtreg reads {MANIFEST_SCHEMA} and {KEY_SCHEMA}"
        )
    if manifest.key != manifest.question.key:
        raise MalformedRecord(f"it calls itself {manifest.key}, but its fields make {manifest.question.key}")
    return manifest


def write_manifest(manifest: Manifest) -> str:
    """Its canonical JSON."""
    return to_json(manifest)
