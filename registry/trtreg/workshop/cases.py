"""The cases of a sample, whichever kind it is: tensors as they lie in it, or some of its pictures made into tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from trtreg.core.sample import calibrated_on, compared_on
from trtreg.core.signature import Signature, TensorSpec
from trtreg.core.work import SampleFile
from trtreg.errors import UsageError

if TYPE_CHECKING:
    from trtreg.interfaces import Tensor
    from trtreg.tasks.pictures import Picture

    Case = Mapping[str, Tensor]
    Choice = Callable[[Sequence[Picture]], Sequence[Picture]]


def compared_cases(sample: SampleFile, signature: Signature) -> Iterator[Case]:
    """What outputs are compared on: all tensors, or the pictures that `core.sample` chooses. Raises UsageError."""
    return _cases(sample, signature, compared_on)


def calibration_cases(sample: SampleFile, signature: Signature) -> Iterator[Case]:
    """What int8 and fp8 ranges are measured on. Raises UsageError."""
    return _cases(sample, signature, calibrated_on)


def only_input(signature: Signature) -> TensorSpec:
    """The input that pictures go to. Raises UsageError for a model that takes more than pictures, or none."""
    if len(signature.inputs) != 1:
        takes = "; ".join(map(str, signature.inputs)) or "nothing"
        raise UsageError(
            f"a sample of pictures is for models with one input, and this one takes {takes}",
            hint="register tensors: an .npz",
        )
    return signature.inputs[0]


def _cases(sample: SampleFile, signature: Signature, choose: Choice) -> Iterator[Case]:
    if sample.pictures is None:
        from trtreg.gate.samples import read_sample

        yield from read_sample(sample.path, signature)
        return
    from trtreg.tasks.archive import open_archive
    from trtreg.tasks.evaluation import read_cases
    from trtreg.tasks.preprocess import parse_preprocess

    taken = only_input(signature)
    with open_archive(sample.path) as archive:
        chosen = choose(archive.pictures)
        for case in read_cases(chosen, archive.truth, parse_preprocess(archive.preprocess), taken):
            yield {taken.name: case.tensor}
