"""What was revoked, as this machine knows it.

A near store is asked each time, which costs the listing of one folder. What a remote one has said is remembered, and
good for a while. What is known is never forgotten: who deletes a revocation in the store brings nothing back here. So
it is noted under the places themselves, not under how they are asked, and not under whom this machine trusts: what was
heard while nobody looked at signatures is kept, too. Somebody may then have withdrawn what is sound; another plan is
built in its place, which costs less than to serve again what was withdrawn with reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtreg.core.layout import REVOCATIONS
from trtreg.errors import Unreachable, Untrusted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trtreg.core.key import Key
    from trtreg.interfaces import Notes, Store

_KIND = "revocations"
_TRY_AGAIN_AFTER = 30.0
"""Seconds in which a store that was out of reach isn't asked again, nor one of which a place was."""


@dataclass(frozen=True, slots=True)
class _Known:
    """asked_at: seconds since 1970. records: the names of those that were read. reasons: by key and plan."""

    asked_at: float
    records: frozenset[str]
    reasons: Mapping[str, str]


_NOTHING = _Known(float("-inf"), frozenset(), {})


class Revocations:
    """The revocations in one store.

    policy   names whom this machine trusts: a record that was read under another is read again
    refresh  seconds for which a remote store's answer is good
    clock    gives the seconds since 1970
    tell     is given a line where the list can't be had, or isn't to be trusted
    """

    def __init__(
        self,
        *,
        store: Store,
        notes: Notes,
        policy: str,
        refresh: float,
        clock: Callable[[], float],
        tell: Callable[[str], None],
    ) -> None:
        self._store, self._notes, self._refresh, self._clock, self._tell = store, notes, refresh, clock, tell
        self._policy = policy
        self._known = _NOTHING
        self._tried_at = float("-inf")
        self._told: set[str] = set()

    def why(self, key: Key | str, plan_digest: str, *, offline: bool = False) -> str | None:
        """Why that plan of that key was withdrawn; None if it wasn't, as far as is known.

        Asks the store if what is known is too old, and not with `offline`. A store that is out of reach is told and
        no reason to refuse what is here. Raises Untrusted for a revocation that can't be read.
        """
        if offline:
            self._recall()
        elif self._is_due():
            try:
                self.refresh()
            except Unreachable as error:
                self._tried_at = self._clock()
                self._tell_once(f"warning: the list of revoked engines is old: {error.message}")
        return self._known.reasons.get(f"{key}/{plan_digest}")

    def refresh(self) -> None:
        """Ask the store now. Raises Unreachable, Untrusted."""
        self._recall()
        known, asked_at = self._known, self._clock()
        names = frozenset(self._store.record_names(REVOCATIONS))
        read: set[str] = set()
        reasons = dict(known.reasons)
        for name in sorted(names - known.records):
            if (found := self._read(name)) is not None:
                reasons |= found
                read.add(name)
        if self._store.is_partial:
            # As good as an answer that is nearly too old.
            asked_at = max(known.asked_at, asked_at - max(0.0, self._refresh - _TRY_AGAIN_AFTER))
        self._known = _Known(asked_at, known.records | read, reasons)
        if read or self._store.remote:
            self._note()

    def _is_due(self) -> bool:
        now = self._clock()
        if 0 <= now - self._tried_at < min(self._refresh, _TRY_AGAIN_AFTER):
            return False
        if not self._store.remote:
            return True
        if not self._is_fresh(now):
            self._recall()
        return not self._is_fresh(now)

    def _is_fresh(self, now: float) -> bool:
        return 0 <= now - self._known.asked_at < self._refresh

    def _recall(self) -> None:
        """Add what is noted to what is known: another process may have asked since."""
        noted = [self._noted(place) for place in self._store.identities]
        known = self._known
        # One place's answer says nothing of another's.
        asked_at = max(known.asked_at, min(n.asked_at for n in noted))
        records = known.records.union(*(n.records for n in noted))
        reasons = {engine: why for n in (known, *noted) for engine, why in n.reasons.items()}
        self._known = _Known(asked_at, records, reasons)

    def _noted(self, place: str) -> _Known:
        match self._notes.recall(_KIND, place):
            case {"policy": str(policy), "asked_at": float(at), "records": list(records), "reasons": dict(reasons)}:
                words = {str(engine): str(why) for engine, why in reasons.items()}
                if policy == self._policy:
                    return _Known(at, frozenset(map(str, records)), words)
                return _Known(_NOTHING.asked_at, _NOTHING.records, words)
        return _NOTHING

    def _note(self) -> None:
        for place in self._store.identities:
            noted = self._noted(place)
            note = {
                "policy": self._policy,
                "asked_at": self._known.asked_at,
                "records": sorted(self._known.records | noted.records),
                "reasons": {**noted.reasons, **self._known.reasons},
            }
            self._notes.remember(_KIND, place, note)

    def _read(self, name: str) -> Mapping[str, str] | None:
        """The engines that a record withdraws; None for one that is to be read again next time."""
        from trtreg.core.records import MalformedRecord
        from trtreg.core.revocation import read_revocation

        try:
            content = self._store.read_record(name)
        except Untrusted as error:
            # Whoever could write this could as well have deleted a true one; refusing everything would please him.
            self._tell_once(f"warning: a revocation is passed over: {error.message}")
            return None
        if content is None:
            return None
        try:
            return read_revocation(content).reasons()
        except (MalformedRecord, ValueError) as error:
            raise Untrusted(
                f"{name} can't be read: {error}", hint="a newer trtreg wrote it, or the store is damaged: see to it"
            ) from None

    def _tell_once(self, line: str) -> None:
        if line not in self._told:
            self._told.add(line)
            self._tell(line)
