"""A model's engine at work on pictures and videos: what is ordered, and what was seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class Footage(StrEnum):
    """What a file holds."""

    PICTURE = "picture"
    VIDEO = "video"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file to look at, how it is called, and where the file with boxes goes."""

    path: Path
    name: str
    footage: Footage
    destination: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectOrder:
    """What is to be looked at, and by what.

    plan        the engine's file to load, by `backend`; `title` is what it is called
    model       the original, which ONNX Runtime runs as it would by itself, and which may know its classes' names
    drafts      an empty folder on the destinations' file system; a file leaves it when it is whole
    preprocess  as `letterbox:640`; empty to go by the model's input
    family      as `yolov5`; empty to go by the model's outputs
    names       of classes; empty to take those that the model knows
    beside      whether the original runs, too, and is shown on the left of the engine
    gpu         UUID of the GPU to use; empty for whichever the runtime takes
    """

    sources: tuple[Source, ...]
    plan: Path
    backend: str
    title: str
    model: Path
    drafts: Path
    preprocess: str = ""
    family: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    confidence: float = 0.25
    overlap: float = 0.45
    beside: bool = False
    gpu: str = ""
    plugins: Mapping[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (0 < self.confidence < 1 and 0 < self.overlap < 1):
            raise ValueError("confidence and overlap lie between 0 and 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A box with its class, or a class alone. corners: left, top, right, bottom in the picture's pixels."""

    kind: int
    name: str
    score: float | None = None
    corners: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What became of one source.

    destination  the file with boxes; None where none was written: the source is bad, or it was classified
    frames       1 for a picture
    counts       boxes by class, over all frames
    found        of a picture alone, best first
    agreement    with the original's run, from 0 to 1; None where it wasn't run
    error        why it couldn't be read; empty if it could
    """

    source: str
    destination: Path | None = None
    frames: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    found: tuple[Found, ...] = ()
    agreement: float | None = None
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Frames, and the seconds that they took."""

    title: str
    frames: int
    seconds: float

    @property
    def per_second(self) -> float:
        """0 where nothing ran."""
        return self.frames / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectReport:
    """All sources in their order.

    engine     its runs alone, from array to array, without what comes before and after
    reference  the original's; None where it wasn't run
    pipeline   everything: reading, preparing, all runs, drawing, writing
    """

    looks: tuple[Look, ...]
    family: str
    preprocess: str
    engine: Pace
    reference: Pace | None
    pipeline: Pace
    versions: Mapping[str, str]
