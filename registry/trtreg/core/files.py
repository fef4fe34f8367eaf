"""A set of files under one digest: what a plan is, and what a model's source is.

ONNX Runtime's plan is a model and its weights, TensorRT's one file; a model may carry external data. Either is
named by one digest over the names, sizes and contents of its files.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath, PurePosixPath
from typing import TypeVar

from trtreg.core.digest import digest_of, is_digest

PurePathT = TypeVar("PurePathT", bound=PurePath)


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file: its relative name (with `/`), its size in bytes, and the SHA-256 of its content."""

    name: str
    size: int
    sha256: str

    def __post_init__(self) -> None:
        require_inner_name(self.name)
        if self.size < 0:
            raise ValueError(f"{self.name}: a size of {self.size} bytes")
        if not is_digest(self.sha256):
            raise ValueError(f"{self.name}: {self.sha256!r} is no SHA-256")


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """One blob as a store lists it: SHA-256, size in bytes, and when it was last put, in seconds since 1970."""

    sha256: str
    size: int
    modified: float


REFRESHED_AFTER = 6 * 3600.0
"""Seconds. A blob that is put again when it is older than that counts as new: a publisher of these very bytes is about
to write a record that needs them, and they look like an orphan until it does."""


@dataclass(frozen=True, slots=True)
class FileSet:
    """Some files that belong together, kept in the order of their names; `entry` is the one to load."""

    files: tuple[StoredFile, ...]
    entry: str

    def __post_init__(self) -> None:
        names = [f.name for f in self.files]
        if names != sorted(set(names)):
            raise ValueError(f"file names must be sorted and distinct: {names}")
        if self.entry not in names:
            raise ValueError(f"the entry {self.entry!r} is not among {names}")

    @property
    def digest(self) -> str:
        """SHA-256 over the names, sizes and contents of the files, and which of them is the entry."""
        return digest_of("files", self)

    @property
    def size(self) -> int:
        """Bytes of all the files together."""
        return sum(f.size for f in self.files)

    def folder_of(self, entry: PurePathT) -> PurePathT:
        """The folder that the file names are relative to, where `entry` is the path of the one to load."""
        return entry.parents[self.entry.count("/")]


def file_set(files: list[StoredFile], entry: str) -> FileSet:
    """The set of `files`, in any order, that loads by `entry`."""
    return FileSet(tuple(sorted(files, key=lambda f: f.name)), entry)


def require_inner_name(name: str) -> None:
    """Raise ValueError unless `name` stays inside the folder that it is relative to, spelt in one way only."""
    path = PurePosixPath(name)
    if (
        not name
        or "\\" in name
        or "\0" in name
        or path.is_absolute()
        or ".." in path.parts
        or str(path) != name
        or name == "."
    ):
        raise ValueError(f"{name!r} is no plain relative file name")
