"""Which revision of each model this machine has read, so that nobody takes it back to an older one unnoticed.

Every revision is signed, the old ones, too: whoever may delete records can bring back what an alias meant last week. A
machine that has read a newer revision knows better.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trtreg.core.trust import Signatures
from trtreg.errors import Untrusted

if TYPE_CHECKING:
    from collections.abc import Callable

    from trtreg.core.trust import Trust
    from trtreg.interfaces import Notes

_KIND = "revision"


class Seen:
    """The newest revisions that were read from the store at `location`, which is noted as `identity`.

    Where signatures are required, an older one is refused; where they are only asked for, it is told; where nobody
    looks at them, stores may be thrown away and made anew.
    """

    def __init__(
        self, *, location: str, identity: str = "", notes: Notes, trust: Trust, tell: Callable[[str], None]
    ) -> None:
        self._location, self._identity = location, identity or location
        self._notes, self._trust, self._tell = notes, trust, tell

    def highest(self, name: str) -> int:
        """The newest revision that was read; 0 for none, and where nobody looks."""
        if self._trust.mode is Signatures.OFF:
            return 0
        match self._notes.recall(_KIND, self._subject(name)):
            case {"revision": int(highest)}:
                return highest
        return 0

    def refuse(self, name: str, revision: int, expected: int) -> None:
        """Raise Untrusted for a revision that is older than the one which was read before, or tell it."""
        refusal = Untrusted(
            f"{self._location} has revision {revision} of the model {name}, and this machine has read {expected}",
            hint="somebody removed the newer ones; if the store was put back on purpose, remove v1/notes in the cache",
        )
        if self._trust.mode is Signatures.REQUIRE:
            raise refusal
        self._tell(f"warning: {refusal.message}")

    def remember(self, name: str, revision: int) -> None:
        """It was read, and found to be what it should be."""
        if self._trust.mode is not Signatures.OFF and revision > self.highest(name):
            self._notes.remember(_KIND, self._subject(name), {"revision": revision})

    def _subject(self, name: str) -> str:
        # Not by the policy: who trusts another key in addition has read what he has read.
        return f"{self._identity} {name}"
