"""What the workshop is ordered to do, and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trtreg.core.files import FileSet, StoredFile
from trtreg.core.recipe import Recipe
from trtreg.core.sample import PictureFolder, Pictures
from trtreg.core.signature import Signature
from trtreg.core.target import Target
from trtreg.core.verdict import GateReport, Tolerance


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleFile:
    """A registered sample as a file on this machine: tensors, unless `pictures` says what it is."""

    name: str
    sha256: str
    path: Path
    pictures: Pictures | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PackOrder:
    """A sample of pictures to make.

    model   the version that it is for, its external data beside it; `signature` is its own
    folder  empty; takes what is made
    """

    model: Path
    signature: Signature
    pictures: PictureFolder
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """The file that came of it, in the order's folder, and what is in it. notes: what a person should know."""

    file: StoredFile
    pictures: Pictures
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RefitFrom:
    """A plan of the same graph, recipe and target on this machine; `path` is the file to load."""

    plan_digest: str
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkOrder:
    """What building and judging one plan needs.

    model        the original ONNX file, its external data beside it
    signature    of the original
    folder       empty; takes what the work writes, and is the caller's to remove
    samples      what the gate runs on; synthetic inputs where there are none
    requirements what the model's team requires at its task
    calibration  what int8 ranges are measured on
    prove        whether this machine can run the plan; if not, the gate is left to one that can
    gpu          UUID of the GPU to use; empty for whichever the runtime takes
    plugins      libraries of the plugins that the recipe names, by SHA-256
    refit_from   the plan to put the model's weights into, in place of a build
    """

    model: Path
    model_digest: str
    signature: Signature
    backend: str
    recipe: Recipe
    target: Target
    folder: Path
    tolerance: Tolerance
    samples: tuple[SampleFile, ...] = ()
    requirements: tuple[str, ...] = ()
    calibration: SampleFile | None = None
    prove: bool = True
    gpu: str = ""
    plugins: Mapping[str, Path] = field(default_factory=dict)
    refit_from: RefitFrom | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A plan, and what the gate said of it. `folder` holds the plan's files, the order's folder the builder's log.

    graph_digest     of the rewritten model without its weights, where plans of the recipe are refitted; else empty
    stripped         the files of the plan without weights that this one was made of, in `stripped_folder`
    """

    folder: Path
    plan: FileSet
    rewritten_digest: str
    gate: GateReport | None
    seconds: Mapping[str, float]
    versions: Mapping[str, str]
    notes: tuple[str, ...] = field(default=())
    log: StoredFile | None = None
    graph_digest: str = ""
    stripped: FileSet | None = None
    stripped_folder: Path | None = None
