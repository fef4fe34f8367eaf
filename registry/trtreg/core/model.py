"""What the registry knows of a model: the facts read from its file, and the versions under its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trtreg.core.files import FileSet, StoredFile
from trtreg.core.signature import Signature


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What reading an ONNX file tells.

    digest      canonical: the same for every storage form of the same model
    source      the files as they were given: the ONNX file and its external data
    opset       version of the default operator set
    precision   what its arithmetic is already in: `fp32`, `fp16`, `bf16`, `int8` (QDQ), `mixed`
    operators   how many nodes of each operator type
    parameters  numbers in its initializers
    producer    what wrote the file, as it says itself
    """

    digest: str
    source: FileSet
    signature: Signature
    opset: int
    precision: str
    operators: Mapping[str, int]
    parameters: int
    producer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A named set of real inputs, kept in the store as one .npz file."""

    name: str
    file: StoredFile


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """One version of a named model. Versions count from 1 and are never used again.

    added_at   UTC, ISO 8601
    tolerance  the model's own overrides of the gate's tolerances, by name; they belong to all its versions
    """

    name: str
    version: int
    facts: ModelFacts
    added_at: str
    note: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    samples: tuple[Sample, ...] = ()
    tolerance: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"
