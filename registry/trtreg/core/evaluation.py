"""Engines beside ONNX Runtime's run of the original on all of a sample: what is ordered, and what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trtreg.core.benchmark import Contender, Latencies
from trtreg.core.recipe import Recipe
from trtreg.core.sample import PictureFolder
from trtreg.core.signature import Signature
from trtreg.core.work import SampleFile

FIRST_DECADE, LAST_DECADE, BINS_PER_DECADE = -9, 4, 2
BINS = (LAST_DECADE - FIRST_DECADE) * BINS_PER_DECADE
"""Errors are counted in half decades, from 1e-9 to 1e4; smaller and larger ones in the first and the last."""

CURVE_STEP = 0.02
"""Of recall, between two points of a curve."""

_SPECIMEN_BOXES = 12
"""More than these in one picture hide one another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalOrder:
    """What is to be measured.

    model    the original, which ONNX Runtime runs as it would by itself
    recipe   whose shapes the inputs take where there is no sample
    sample   what all run on; drawn values where there is none
    pictures what all run on instead
    folder   takes small copies of the pictures that are shown
    shown    how many pictures are shown at most
    limit    how many cases of the sample are taken; 0 for all
    coco     whether COCO's figures are measured, too
    gpu      UUID of the GPU to use; empty for whichever the runtime takes
    """

    model: Path
    signature: Signature
    recipe: Recipe
    sample: SampleFile | None
    contenders: tuple[Contender, ...]
    folder: Path
    pictures: PictureFolder | None = None
    shown: int = 0
    limit: int = 0
    coco: bool = False
    gpu: str = ""
    plugins: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputErrors:
    """How far the values of an output lie from the reference's, in the output's own units.

    output     its name; with the columns, where it mixes units: `output[..., 4-84]`
    equal      share of the values that are the same
    shares     share of the values in each bin; with `equal` and those that are not finite they make 1
    nonfinite  how many values are no number where the reference has one, or another infinity
    """

    output: str
    values: int
    equal: float
    shares: tuple[float, ...]
    mean: float
    largest: float
    nonfinite: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What one contender made of all cases; of the reference its own figures, and nothing to compare.

    key         empty for the original
    figures     by the names that requirements use: ap50, ap50_95, precision, recall; top1, top5; agreement, 0 to 1
    curve       mean precision of all classes at the recalls 0, CURVE_STEP … 1; empty unless it is a detector
    errors      of each output
    agreements  with the reference, by picture
    mismatch    why outputs couldn't be compared with the reference's; empty if they could
    """

    name: str
    key: str
    figures: Mapping[str, float]
    run: Latencies
    curve: tuple[float, ...] = ()
    errors: tuple[OutputErrors, ...] = ()
    agreements: Mapping[str, float] = field(default_factory=dict)
    mismatch: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """left, top, width and height as shares of the picture's. `alone`: the reference has none there."""

    left: float
    top: float
    width: float
    height: float
    kind: int
    score: float
    alone: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a contender sees in a picture, as a person would be shown it: boxes, or its best classes.

    missed  which of the reference's boxes it hasn't
    """

    name: str
    agreement: float
    boxes: tuple[Box, ...] = ()
    missed: tuple[int, ...] = ()
    classes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownPicture:
    """One picture and what all saw in it, the reference first.

    file      a small JPEG of it in the order's folder
    differs   whose differing from the reference it is shown for; empty for the specimen
    labelled  the true classes
    """

    name: str
    width: int
    height: int
    file: str
    differs: str
    labelled: tuple[int, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """On what it was measured.

    task         `detection`, `classification`, or empty: then there are errors and times alone
    family       how the outputs were read
    inputs       what was run, in words
    cases        how many pictures, or cases of tensors
    labels       true boxes, or classified pictures
    class_names  by number, where the labels tell them
    threads      that the CPU's sessions may use
    machine      the CPU
    gpu          what those ran on who take one, by name; empty where none did
    """

    task: str
    family: str
    inputs: str
    cases: int
    labels: int
    class_names: Mapping[str, str]
    threads: int
    machine: str
    versions: Mapping[str, str]
    gpu: str = ""

    @property
    def processors(self) -> str:
        """What it ran on, in words."""
        return ", ".join(filter(None, (f"{self.machine}, {self.threads} threads", self.gpu)))

    @property
    def headline(self) -> str:
        """The one figure that tells how good a model is; empty without a task."""
        return {"detection": "ap50", "classification": "top1"}.get(self.task, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The reference first, then the contenders in the order's order; why some could be loaded or run not even once is
    in `failures`, by their names."""

    trials: tuple[Trial, ...]
    setting: Setting
    failures: Mapping[str, str] = field(default_factory=dict)
    shown: tuple[ShownPicture, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One contender of the table.

    state          `reference`, `published`, `rejected`, `unproven`, or `absent` for one that there is not
    reason         why it isn't served, or isn't there; empty for one that is
    size           bytes of its files; 0 for an absent one
    build_seconds  that rewriting and building took, wherever that was; None for the reference and absent ones
    trial          None for one that couldn't be run
    """

    name: str
    key: str
    state: str
    reason: str
    size: int
    build_seconds: float | None
    trial: Trial | None

    @property
    def is_served(self) -> bool:
        """Whether `get` gives it out, or it is the original itself."""
        return self.state in ("reference", "published")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The reference first, then the engines in the order in which they were asked for."""

    model: str
    sample: str
    rows: tuple[Row, ...]
    setting: Setting
    shown: tuple[ShownPicture, ...] = ()

    @property
    def reference(self) -> Trial:
        trial = self.rows[0].trial
        assert trial is not None
        return trial

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Of all that could be run, the reference first."""
        return tuple(row.trial for row in self.rows if row.trial is not None)

    def class_name(self, kind: int) -> str:
        """As the labels have it, else its number."""
        return self.setting.class_names.get(str(kind)) or str(kind)


def choose_pictures(
    agreements: Mapping[str, Mapping[str, float]], boxes: Mapping[str, int], most: int
) -> list[tuple[str, str]]:
    """At most so many pictures to show, each with the contender that differs there; empty for the first, which is one
    that shows something.

    The contenders take turns, each with the picture on which it agrees least with the reference, as long as there is
    one on which it differs: so one that agrees nowhere doesn't crowd out the others.

    agreements  of each contender, by picture
    boxes       that the reference finds, by picture
    """
    if not boxes or most < 1:
        return []
    clear = {name: count for name, count in boxes.items() if count <= _SPECIMEN_BOXES} or boxes
    chosen = {max(sorted(clear), key=lambda name: clear[name]): ""}
    queues = {
        contender: [name for name in sorted(by_picture, key=lambda n: (by_picture[n], n)) if by_picture[name] < 1]
        for contender, by_picture in agreements.items()
    }
    while len(chosen) < most and any(queues.values()):
        for contender, queue in queues.items():
            queue[:] = [name for name in queue if name not in chosen]
            if queue and len(chosen) < most:
                chosen[queue.pop(0)] = contender
    return list(chosen.items())


def thinned(curve: Sequence[float]) -> tuple[float, ...]:
    """Of a curve over evenly spaced recalls from 0 to 1, the points that a record keeps."""
    steps = round(1 / CURVE_STEP)
    return tuple(round(float(curve[round(i * (len(curve) - 1) / steps)]), 4) for i in range(steps + 1))
