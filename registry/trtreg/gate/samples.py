"""Reading samples: .npz files with a model's inputs, in one of two forms.

plain       the arrays are named as the inputs are: one case
many cases  `case0/in/NAME`, `case1/in/NAME` …; whatever else lies beside them (`case0/out/NAME`, `note`) is left alone

Nothing is unpickled, and sizes are checked before anything is read.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from trtreg.core.signature import Signature, TensorSpec
from trtreg.core.work import SampleFile
from trtreg.errors import UsageError

if TYPE_CHECKING:
    from trtreg.interfaces import Tensor

    Case = dict[str, Tensor]

LARGEST_SAMPLE = 4 << 30
"""Bytes of all the arrays that would be read."""

MOST_MEMBERS = 100_000

_INPUT = re.compile(r"case(?P<case>\d{1,9})/in/(?P<name>.+)", re.DOTALL)
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    EOFError,
    ValueError,
    NotImplementedError,  # a compression that this Python doesn't have
    RuntimeError,  # encrypted
)


def read_sample(path: Path, signature: Signature, *, limit: int = LARGEST_SAMPLE) -> Iterator[Case]:
    """The cases of a sample, in order, one at a time: arrays by input name.

    Names, types, ranks, sizes and the total of bytes, at most `limit`, are checked before the first case comes.
    Cases without a full set of inputs are left out. Raises UsageError with what the model takes.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            cases = _members(archive, signature, path)
            _check_all(archive, cases, signature, path, limit)
    except _BROKEN as error:
        raise _unreadable(path, error) from None
    return _read_cases(path, cases)


def read_sample_file(sample: SampleFile, signature: Signature) -> Iterator[Case]:
    """The cases of a registered sample of tensors."""
    return read_sample(sample.path, signature)


def _read_cases(path: Path, cases: list[dict[str, str]]) -> Iterator[Case]:
    try:
        with zipfile.ZipFile(path) as archive:
            for case in cases:
                yield {name: _read(archive, member) for name, member in case.items()}
    except _BROKEN as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> UsageError:
    words = str(error) or type(error).__name__
    return UsageError(f"{path.name} is no readable .npz: {words}", hint="write it with numpy.savez")


def _members(archive: zipfile.ZipFile, signature: Signature, path: Path) -> list[dict[str, str]]:
    """By case: the archive's member of each input."""
    names = archive.namelist()
    if len(names) > MOST_MEMBERS:
        raise UsageError(f"{path.name} has {len(names)} members; at most {MOST_MEMBERS} are read")
    arrays = {n.removesuffix(".npy"): n for n in names if n.endswith(".npy")}
    wanted = [spec.name for spec in signature.inputs]
    if all(name in arrays for name in wanted):
        return [{name: arrays[name] for name in wanted}]
    by_case: dict[int, dict[str, str]] = {}
    for array, member in arrays.items():
        if match := _INPUT.fullmatch(array):
            by_case.setdefault(int(match["case"]), {})[match["name"]] = member
    full = [case for _, case in sorted(by_case.items()) if all(name in case for name in wanted)]
    if not full:
        listed = ", ".join(sorted(arrays)[:12]) or "nothing"
        raise _refusal(f"{path.name} has no case with all inputs; in it: {listed}", signature)
    return [{name: case[name] for name in wanted} for case in full]


def _check_all(
    archive: zipfile.ZipFile, cases: list[dict[str, str]], signature: Signature, path: Path, limit: int
) -> None:
    total = 0
    for case in cases:
        for spec in signature.inputs:
            member = archive.getinfo(case[spec.name])
            total += member.file_size
            if total > limit:
                raise UsageError(f"{path.name} holds more than {limit} bytes of inputs", hint="take fewer cases")
            with archive.open(member) as file:
                shape, dtype = _header(file)
            _check(f"{path.name}: {member.filename.removesuffix('.npy')}", shape, dtype, spec, signature)
            claimed = int(np.prod(shape, dtype=object)) * dtype.itemsize
            if claimed > member.file_size:
                raise UsageError(f"{path.name}: {member.filename} claims {claimed} bytes and holds {member.file_size}")


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        # Version 3 differs only by names of fields, which no input has.
        raise ValueError(f"an array of format {version}")
    shape, _, dtype = read(file)
    return shape, dtype


def _check(what: str, shape: tuple[int, ...], dtype: np.dtype, spec: TensorSpec, signature: Signature) -> None:
    if dtype.hasobject:
        raise _refusal(f"{what} holds Python objects, which would have to be unpickled", signature)
    given = "string" if dtype.kind in "US" else dtype.name
    fits = len(shape) == len(spec.dimensions) and all(
        isinstance(wanted, str) or wanted == size for wanted, size in zip(spec.dimensions, shape, strict=True)
    )
    if given != spec.dtype or not fits:
        raise _refusal(f"{what} is {given}[{'x'.join(map(str, shape))}], but the model takes {spec}", signature)


def _refusal(message: str, signature: Signature) -> UsageError:
    return UsageError(message, hint=f"the model takes {'; '.join(map(str, signature.inputs)) or 'no inputs'}")


def _read(archive: zipfile.ZipFile, member: str) -> Tensor:
    with archive.open(member) as file:
        array: Tensor = np.lib.format.read_array(file, allow_pickle=False)
    # Runtimes take strings as objects and numbers in this machine's byte order.
    match array.dtype.kind:
        case "U":
            return array.astype(object)
        case "S":
            return np.char.decode(array.astype(np.bytes_), "utf-8").astype(object)
        case _:
            return array.astype(array.dtype.newbyteorder("="), copy=False)
