"""Where stores are, as text: what TRTREG_STORE takes, and the store that it names.

    /srv/engines  ~/engines  file:///srv/engines     a folder
    s3://bucket/prefix?endpoint_url=…                a bucket: see `s3_place`

Several places are separated by white space. A folder's name may have some in it, as long as what follows doesn't look
like the next place; else it is written as an address: `file:///my%20folder`.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

from trtreg.errors import UsageError
from trtreg.storage.directory import DirectoryStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from trtreg.interfaces import Store
    from trtreg.storage.abilities import Ability
    from trtreg.storage.s3_place import BucketPlace

_NEXT = re.compile(r"\s+(?=[A-Za-z][A-Za-z0-9+.-]*://|[/~])")
_KINDS = "a directory, file:///DIRECTORY or s3://BUCKET/PREFIX"


@dataclass(frozen=True, slots=True)
class FolderPlace:
    """A folder, on this machine or on a file system that it sees."""

    folder: Path
    readonly: bool = False

    def __str__(self) -> str:
        text = str(self.folder)
        plain = not self.readonly and "?" not in text and _words(text) == [text]
        return text if plain else self.folder.as_uri() + "?readonly=1" * self.readonly


def parse_places(text: str) -> tuple[FolderPlace | BucketPlace, ...]:
    """The places that `text` names, in its order. Raises UsageError."""
    return tuple(_parse(word) for word in _words(text))


def open_store(text: str, *, partials: Path, warn: Callable[[str], None]) -> Store:
    """The store at the places that `text` names, the nearest first. Nothing is opened before it is needed.

    partials  where downloads that were interrupted wait to be continued
    warn      told of a place that is out of reach while others aren't
    """
    places = parse_places(text)
    if len(places) == 1 and not places[0].readonly:
        return open_place(places[0], partials=partials)
    from trtreg.storage.layers import Layer, LayeredStore

    layers = [Layer(open_place(place, partials=partials), read_only=place.readonly) for place in places]
    return LayeredStore(layers, warn=warn)


def open_place(place: FolderPlace | BucketPlace, *, partials: Path) -> Store:
    """One place as a store."""
    if isinstance(place, FolderPlace):
        return DirectoryStore(place.folder, must_exist=place.readonly)
    from trtreg.storage.s3 import S3Store

    return S3Store(place, partials=partials)


def try_out(place: FolderPlace | BucketPlace, *, partials: Path) -> list[Ability]:
    """What the store at `place` can do, found out by doing it; nothing is written to one that is only read."""
    from trtreg.storage.abilities import of_any_store

    trials = [] if place.readonly else of_any_store(open_place(place, partials=partials))
    if not isinstance(place, FolderPlace):
        from trtreg.storage.s3_abilities import of_a_server

        trials[:0], others = of_a_server(place)
        trials += [] if place.readonly else others
    found: list[Ability] = []
    for trial in trials:
        found.append(trial.run())
        # Nothing else can be tried where nothing can be reached, or written.
        if trial.is_needed and not found[-1].works:
            break
    return found


def anchored(text: str, folder: Path) -> str:
    """`text` with relative folders taken as seen from `folder`."""
    return " ".join(_anchored(word, folder) for word in _words(text))


def written(folder: Path) -> str:
    """The text that names `folder`."""
    return str(FolderPlace(folder))


def _anchored(word: str, folder: Path) -> str:
    scheme, separator, rest = word.partition("://")
    if not separator:
        return written(folder / _expanded(word))
    if scheme == "file" and not rest.startswith("/"):
        # No true address: it is what older files have, and means what it seems to.
        return written(folder / _expanded(rest))
    return word


def _words(text: str) -> list[str]:
    return _NEXT.split(text.strip())


def _parse(word: str) -> FolderPlace | BucketPlace:
    scheme, separator, rest = word.partition("://")
    if not separator:
        _refuse_slip(word)
        return FolderPlace(Path(_expanded(word)).absolute())
    if scheme == "file":
        return _parse_file(rest)
    if scheme == "s3":
        from trtreg.storage.s3_place import parse_bucket

        return parse_bucket(word)
    raise UsageError(
        f"the store {scheme}://… is of a kind that this trtreg doesn't know", hint=f"TRTREG_STORE takes {_KINDS}"
    )


def _refuse_slip(word: str) -> None:
    """What looks like an address with a slip in it must not become a folder: it would be written to."""
    path, question, query = word.partition("?")
    if question and "=" in query:
        raise UsageError(
            f"a plain folder takes no options: {word!r}", hint=f"{Path(_expanded(path)).absolute().as_uri()}?{query}"
        )
    scheme, colon, rest = word.partition(":")
    if colon and scheme in ("s3", "file"):
        raise UsageError(f"{word!r} is no address", hint=f"did you mean {scheme}://{rest.lstrip('/')}?")


def _parse_file(rest: str) -> FolderPlace:
    path, _, query = rest.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    readonly = options.pop("readonly", "0")
    if options or readonly not in ("0", "1"):
        raise UsageError(f"a folder has no option {query!r}", hint="there is readonly=1")
    return FolderPlace(Path(_expanded(unquote(path))).absolute(), readonly == "1")


def _expanded(name: str) -> str:
    # By os.path: Path.expanduser raises where there is no home folder, as in some containers.
    return os.path.expanduser(name)  # noqa: PTH111
