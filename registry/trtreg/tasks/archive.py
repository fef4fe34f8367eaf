"""A labelled sample as one file: pictures as they are, and what people saw in them, whatever form that had.

    sample.json      what the pictures are for, how they become tensors, and the labels
    pictures/NAME    the files, by name

It is a .zip that compresses nothing, since pictures are compressed already, with one time for all files: the same
pictures and labels give the same bytes and so the same digest, and one request brings all of them.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from trtreg.core.records import MalformedRecord, from_json, to_json
from trtreg.core.sample import Pictures, Task
from trtreg.errors import UsageError
from trtreg.tasks.pictures import SUFFIXES
from trtreg.tasks.truth import NOTHING, Seen, Truth, picture_name

MOST_PICTURES = 100_000
LARGEST_LABELS = 1 << 30
"""Bytes."""

_FORM = 1
_LABELS, _FOLDER = "sample.json", "pictures/"
_BROKEN = (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError, RuntimeError)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Contents:
    """`sample.json`. labels: by picture, rows of class, left, top, right, bottom, 1 for a crowd; or of its class."""

    form: int
    task: Task
    preprocess: str
    family: str
    labels: Mapping[str, tuple[tuple[float, ...], ...]]
    names: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """An open archive. The pictures are in the order of their names, and readable while it is open."""

    pictures: tuple[zipfile.Path, ...]
    truth: Truth
    preprocess: str
    family: str

    @property
    def summary(self) -> Pictures:
        return Pictures(
            task=self.truth.task,
            preprocess=self.preprocess,
            family=self.family,
            count=len(self.pictures),
            labels=self.truth.count,
        )


def write_archive(path: Path, pictures: Sequence[Path], truth: Truth, *, preprocess: str, family: str) -> None:
    """Put the pictures and what `truth` says of them into the new file `path`. Raises UsageError for too many."""
    if len(pictures) > MOST_PICTURES:
        raise UsageError(f"{len(pictures)} pictures are too many: at most {MOST_PICTURES} make a sample")
    here = {picture_name(picture) for picture in pictures}
    contents = _Contents(
        form=_FORM,
        task=truth.task,
        preprocess=preprocess,
        family=family,
        labels={name: _rows(seen, truth.task) for name, seen in truth.pictures.items() if name in here},
        names={str(number): name for number, name in truth.names.items()},
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(_member(_LABELS), to_json(contents))
        for picture in sorted(pictures, key=picture_name):
            name = f"{_FOLDER}{picture_name(picture)}{picture.suffix.lower()}"
            with picture.open("rb") as source, archive.open(_member(name), "w") as copy:
                shutil.copyfileobj(source, copy, 1 << 20)


def _member(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    # As any system would write it.
    member.create_system, member.external_attr = 3, 0o644 << 16
    return member


def _rows(seen: Seen, task: Task) -> tuple[tuple[float, ...], ...]:
    if task is Task.CLASSIFICATION:
        return tuple((kind,) for kind in seen.classes.tolist())
    rows = zip(seen.classes.tolist(), seen.boxes.tolist(), seen.crowd.tolist(), strict=True)
    return tuple((kind, *box, int(crowd)) for kind, box, crowd in rows)


@contextmanager
def open_archive(path: Path) -> Iterator[Labelled]:
    """What `write_archive` has written, or somebody else: all is checked but the pictures themselves, which are when
    they are read. Raises UsageError."""
    try:
        archive = zipfile.ZipFile(path)
    except _BROKEN as error:
        raise _refusal(path, str(error)) from None
    with archive:
        try:
            labelled = _read(path, archive)
        except _BROKEN as error:
            raise _refusal(path, str(error)) from None
        yield labelled


def _read(path: Path, archive: zipfile.ZipFile) -> Labelled:
    members = archive.infolist()
    names = sorted(member.filename for member in members)
    if len(members) > MOST_PICTURES + 1 or len(set(names)) < len(names):
        raise _refusal(path, f"it has {len(members)} members, and each once and {MOST_PICTURES} pictures are allowed")
    if packed := next((m.filename for m in members if m.compress_type != zipfile.ZIP_STORED), None):
        raise _refusal(path, f"{packed} is compressed")
    if _LABELS not in names or archive.getinfo(_LABELS).file_size > LARGEST_LABELS:
        raise _refusal(path, f"it has no {_LABELS} of at most {LARGEST_LABELS} bytes")
    names.remove(_LABELS)
    if foreign := next((name for name in names if not _is_picture(name)), None):
        raise _refusal(path, f"{foreign!r} is neither {_LABELS} nor a picture in {_FOLDER}")
    try:
        contents = from_json(_Contents, archive.read(_LABELS))
    except MalformedRecord as error:
        raise _refusal(path, f"{_LABELS}: {error}") from None
    if contents.form != _FORM or not names:
        raise _refusal(path, f"it has form {contents.form} and {len(names)} pictures, while form {_FORM} is read")
    seen = {name: _seen(path, name, rows, contents.task) for name, rows in contents.labels.items()}
    if strangers := seen.keys() - {picture_name(name) for name in names}:
        raise _refusal(path, f"it has labels, but no picture, of {min(strangers)!r}")
    classes = {int(number): name for number, name in contents.names.items()}
    return Labelled(
        pictures=tuple(zipfile.Path(archive, name) for name in sorted(names, key=picture_name)),
        truth=Truth(task=contents.task, pictures=seen, names=classes),
        preprocess=contents.preprocess,
        family=contents.family,
    )


def _is_picture(name: str) -> bool:
    inner = name.removeprefix(_FOLDER)
    return inner != name and "/" not in inner and PurePath(inner).suffix in SUFFIXES


def _seen(path: Path, name: str, rows: tuple[tuple[float, ...], ...], task: Task) -> Seen:
    if not rows:
        return NOTHING
    width = 1 if task is Task.CLASSIFICATION else 6
    if any(len(row) != width for row in rows) or (task is Task.CLASSIFICATION and len(rows) != 1):
        raise _refusal(path, f"the labels of {name!r} don't have the form of {task}")
    table: Any = np.array(rows, np.float64)
    boxes = table[:, 1:5] if width == 6 else np.zeros((1, 4))
    whole = (table[:, 0] >= 0) & (table[:, 0] == np.floor(table[:, 0]))
    if not (whole.all() and ((boxes >= 0) & (boxes <= 1)).all() and (boxes[:, :2] <= boxes[:, 2:]).all()):
        raise _refusal(path, f"the labels of {name!r} are no classes and boxes")
    crowd = table[:, 5] != 0 if width == 6 else np.zeros(1, bool)
    return Seen(classes=table[:, 0].astype(np.int64), boxes=boxes, crowd=crowd)


def _refusal(path: Path, why: str) -> UsageError:
    return UsageError(f"{path.name} is no sample of pictures: {why}", hint="trtreg sample add makes one")
