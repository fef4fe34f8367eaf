"""What was found out once and needn't be again, such as the digest of a file that hasn't changed since.

A note may vanish at any time, and writing one may fail silently: nothing may depend on it.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from typing import TYPE_CHECKING

from trtreg.storage.shelf import LAYOUT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Notes:
    """Small JSON files in the cache's `folder`: `v1/notes/KIND/`, named by the SHA-256 of their subject."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / LAYOUT / "notes"

    def recall(self, kind: str, subject: str) -> dict[str, object] | None:
        """What was last remembered; None for nothing, and for a note that is torn or can't be read."""
        try:
            note = json.loads(self._path(kind, subject).read_bytes())
        except (OSError, ValueError):
            return None
        match note:
            case {"subject": str(found), "value": dict(value)} if found == subject:
                return value
        return None

    def remember(self, kind: str, subject: str, value: Mapping[str, object]) -> None:
        """Note `value`, of plain JSON values, in place of what was noted of the subject. Never fails on the disk."""
        from trtreg.storage.atomic import Draft

        path = self._path(kind, subject)
        note = json.dumps({"subject": subject, "value": dict(value)})
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            with Draft(path) as draft:
                draft.file.write(note.encode())
                draft.replace(durable=False)

    def _path(self, kind: str, subject: str) -> Path:
        # surrogateescape, as a subject may be the path of a file whose name is no UTF-8.
        return self._folder / kind / hashlib.sha256(subject.encode(errors="surrogateescape")).hexdigest()
