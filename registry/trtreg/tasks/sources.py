"""Which files a person means by pictures, folders and videos, and where each one's result goes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from trtreg.core.detection import Footage, Source
from trtreg.errors import NotFound, UsageError
from trtreg.tasks import pictures, videos

OUTPUT = "detections"
"""The folder for results where none is named."""
_KNOWN = (*pictures.SUFFIXES, *videos.SUFFIXES)
_KEPT = (".jpg", ".jpeg", ".png")


def find_sources(given: Sequence[Path], output: str = "") -> tuple[Source, ...]:
    """Every file that is meant, in the order given, those of a folder by name.

    output  a folder; or a file, where one file is given. Results of an earlier run that lie in it aren't looked at.

    Raises NotFound, UsageError for two results of one name, for one that would take its source's place, and for a name
    that is no text.
    """
    to = Path(output or OUTPUT)
    single = bool(output) and not output.endswith("/") and not to.is_dir() and to.suffix.lower() in _KNOWN
    files = list(_files(given, None if single else to))
    pictures.require_text(path for path, _ in files)
    found = [_source(path, name, to) for path, name in files]
    if single:
        found = [_as_file(found, to)]
    _require_apart(found)
    return tuple(found)


def _files(given: Sequence[Path], output: Path | None) -> Iterator[tuple[Path, Path]]:
    """Each file, and what it is called below the folder for results."""
    for path in given:
        # One of several that isn't there is told like one that can't be read: the others go on.
        if path.is_file() or (len(given) > 1 and not path.exists()):
            yield path, Path(path.name)
            continue
        if not path.is_dir():
            raise NotFound(f"there is no file or folder {path}")
        inside = [p for p in sorted(path.rglob("*")) if p.suffix.lower() in _KNOWN and p.is_file()]
        inside = [p for p in inside if output is None or output.resolve() not in p.resolve().parents]
        if not inside:
            raise NotFound(f"there is no picture or video in {path}", hint=f"taken are {', '.join(_KNOWN)}")
        yield from ((p, p.relative_to(path)) for p in inside)


def _source(path: Path, name: Path, to: Path) -> Source:
    # What a person names without a known ending may be a video; the one who reads it will say.
    is_picture = path.suffix.lower() in pictures.SUFFIXES
    footage = Footage.PICTURE if is_picture else Footage.VIDEO
    ending = ".mp4" if not is_picture else path.suffix if path.suffix.lower() in _KEPT else ".png"
    return Source(path=path.absolute(), name=str(path), footage=footage, destination=(to / name).with_suffix(ending))


def _as_file(found: Sequence[Source], to: Path) -> Source:
    if len(found) != 1:
        raise UsageError(f"{len(found)} files can't become the one file {to}", hint=f"name a folder: -o {to.stem}/")
    (one,) = found
    fits = (".mp4",) if one.footage is Footage.VIDEO else _KEPT
    if to.suffix.lower() not in fits:
        raise UsageError(f"{one.name} becomes a file that ends in {' or '.join(fits)}, and -o names {to}")
    return Source(path=one.path, name=one.name, footage=one.footage, destination=to)


def _require_apart(found: Sequence[Source]) -> None:
    taken: dict[Path, Source] = {}
    for one in found:
        other = taken.setdefault(one.destination, one)
        if other is not one:
            raise UsageError(
                f"{other.name} and {one.name} would both become {one.destination}",
                hint="call it once for each, with another -o",
            )
    sources = {one.path.resolve() for one in found}
    for one in found:
        if one.destination.resolve() in sources:
            raise UsageError(f"{one.destination} would be written over", hint="-o names another folder")
