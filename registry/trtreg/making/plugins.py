"""Which libraries of TensorRT plugins may be loaded on this machine: those in one folder, and no others.

A plugin is native code with the rights of whoever runs trtreg, and an engine from a shared store names those that it
needs. So this machine's settings have the last word, and what an engine names are bytes, not a file.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from trtreg.errors import NotFound, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from trtreg.core.request import Request

_WITHOUT = {"onnxruntime": "it can't run TensorRT's plugins", "tensorrt-rtx": "its networks take no plugins"}
_WARNING = "a plugin runs with your rights"


class Plugins:
    """The plugin libraries that may be loaded.

    folder     what lies directly in it is allowed; None to allow none
    hash_file  SHA-256 and size of a file
    """

    def __init__(self, folder: Path | None, hash_file: Callable[[Path], tuple[str, int]]) -> None:
        self._folder, self._hash_file = folder, hash_file

    def settle(self, request: Request, runtime: str) -> Request:
        """The request with its plugin libraries named by digest, as a recipe has them.

        Raises UsageError for a runtime that takes none and for a library that isn't allowed, NotFound.
        """
        if runtime in _WITHOUT:
            raise UsageError(f"--plugin means nothing to {runtime}: {_WITHOUT[runtime]}", hint="--backend tensorrt")
        digests = {self._digest(Path(library)) for library in request.plugins}
        return replace(request, plugins=(), builder=replace(request.builder, plugins=tuple(sorted(digests))))

    def paths(self, digests: Iterable[str]) -> dict[str, Path]:
        """The library of each digest. Raises UsageError unless all of them are in the folder."""
        wanted = set(digests)
        if not wanted:
            return {}
        folder = self._allowed_folder(f"the plugin library with the SHA-256 {min(wanted)}")
        try:
            hashed = ((self._hash_file(path)[0], path) for path in sorted(folder.iterdir()) if path.is_file())
            found = {digest: path for digest, path in hashed if digest in wanted}
        except OSError as error:
            raise _unreadable(folder, error) from None
        if missing := sorted(wanted - set(found)):
            raise UsageError(
                f"{folder} has no plugin library with the SHA-256 {', '.join(missing)}",
                hint=f"copy it there if you trust it: {_WARNING}",
            )
        return found

    def _digest(self, library: Path) -> str:
        folder = self._allowed_folder(str(library))
        try:
            if not library.is_file():
                raise NotFound(f"no such file: {library}", hint=f"--plugin takes a library in {folder}")
            if library.absolute().parent.resolve() != folder.resolve():
                raise UsageError(
                    f"{library} may not be loaded: it isn't in {folder}",
                    hint=f"copy it there if you trust it: {_WARNING}",
                )
            return self._hash_file(library)[0]
        except OSError as error:
            raise _unreadable(library, error) from None

    def _allowed_folder(self, wanted: str) -> Path:
        if self._folder is None:
            raise UsageError(
                f"{wanted} may not be loaded: no plugins are allowed here",
                hint=f"set TRTREG_PLUGINS to a folder with the libraries that you trust: {_WARNING}",
            )
        return self._folder


def _unreadable(path: Path, error: OSError) -> UsageError:
    return UsageError(f"can't read {error.filename or path}: {error.strerror}")
