"""Making a sample of pictures: every picture and label is read as the gate will read it, before any is stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trtreg.core.files import StoredFile
from trtreg.core.sample import PictureFolder, Task
from trtreg.core.work import Packed, PackOrder
from trtreg.errors import UsageError
from trtreg.gate.reference import Reference
from trtreg.storage.hashing import sha256_file
from trtreg.tasks.archive import open_archive, write_archive
from trtreg.tasks.evaluation import Case, read_cases
from trtreg.tasks.families import Detector, family, family_of
from trtreg.tasks.labels import read_labels
from trtreg.tasks.pictures import find_pictures
from trtreg.tasks.preprocess import Tensors, parse_preprocess
from trtreg.tasks.truth import Truth, picture_name
from trtreg.workshop.cases import only_input

if TYPE_CHECKING:
    from trtreg.interfaces import Progress, Tensor

NAME = "sample.zip"


def pack(order: PackOrder, progress: Progress) -> Packed:
    """Make the archive. Raises NotFound, UsageError for whatever is wrong with what the order names."""
    given = order.pictures
    preprocess = parse_preprocess(given.preprocess)
    if isinstance(preprocess, Tensors):
        raise UsageError("tensors are no pictures", hint="give the .npz file itself; or say how: letterbox:640")
    taken = only_input(order.signature)
    pictures = find_pictures(given.images)
    truth = read_labels(given.labels, given.task) if given.labels else Truth(task=given.task, pictures={})
    notes = _compared(pictures, truth, given)
    progress.stage("examine", f"{len(pictures)} pictures")
    cases = _counted(read_cases(pictures, truth, preprocess, taken), len(pictures), progress)
    first = next(cases)
    kind = _family(given, Reference(order.model).run({taken.name: first.tensor}))
    for _ in cases:
        pass  # Reading them is the test.
    path = order.folder / NAME
    write_archive(path, pictures, truth, preprocess=str(preprocess), family=kind)
    with open_archive(path) as archive:
        summary = archive.summary
    sha256, size = sha256_file(path)
    return Packed(file=StoredFile(NAME, size, sha256), pictures=summary, notes=notes)


def _counted(cases: Iterator[Case], total: int, progress: Progress) -> Iterator[Case]:
    for done, case in enumerate(cases, start=1):
        progress.advance(done, total)
        yield case


def _compared(pictures: Sequence[Path], truth: Truth, given: PictureFolder) -> tuple[str, ...]:
    """What pictures and labels don't have in common. Raises UsageError where that is everything."""
    if given.labels is None:
        return ("without --labels only agreement and latency can be measured",)
    here = {picture_name(picture) for picture in pictures}
    labelled = here & truth.pictures.keys()
    if not sum(len(truth.pictures[name].classes) for name in labelled):
        raise UsageError(
            f"{given.labels.name} labels none of the {len(pictures)} pictures in {given.images.name}",
            hint="a picture and its label share the file's name without suffix",
        )
    beyond, bare = len(truth.pictures) - len(labelled), len(here) - len(labelled)
    notes = [f"{beyond} labelled pictures aren't in {given.images.name}: left out"] if beyond else []
    notes += [f"{bare} pictures have no label: background"] if bare and given.task is Task.DETECTION else []
    return tuple(notes)


def _family(given: PictureFolder, outputs: Mapping[str, Tensor]) -> str:
    if not given.family:
        return family_of(outputs, given.task)
    named = family(given.family)
    if isinstance(named, Detector) is not (given.task is Task.DETECTION):
        raise UsageError(f"the family {given.family!r} isn't for {given.task}")
    if not named.takes(outputs):
        shapes = ", ".join(f"{name} [{'x'.join(map(str, array.shape))}]" for name, array in outputs.items())
        raise UsageError(f"the model's outputs {shapes} aren't those of the family {given.family!r}")
    return given.family
