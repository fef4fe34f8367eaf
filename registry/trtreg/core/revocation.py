"""Withdrawing engines after they were published: which, why, and how it is written down."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from trtreg.core.digest import digest_of
from trtreg.core.layout import REVOCATIONS
from trtreg.core.records import MalformedRecord, from_json

if TYPE_CHECKING:
    from trtreg.core.manifest import Manifest

REVOCATION_SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Criteria:
    """Which engines are meant: those for which everything holds that is given.

    keys             KEY or KEY/PLAN, each as far as it was written; one of them must begin an engine's
    runtime_version  as far as it was written: `10.13` is every 10.13.x
    since            built then or later: UTC, ISO 8601
    model            NAME or NAME@VERSION that it was built for
    """

    keys: tuple[str, ...] = ()
    host: str = ""
    runtime: str = ""
    runtime_version: str = ""
    since: str = ""
    model: str = ""

    def __post_init__(self) -> None:
        if self.since:
            _moment(self.since)

    def given(self) -> dict[str, str]:
        """Those that are given, as text."""
        words = {"key": " ".join(self.keys), "host": self.host, "runtime": self.runtime}
        words |= {"runtime_version": self.runtime_version, "since": self.since, "model": self.model}
        return {name: value for name, value in words.items() if value}

    def fits(self, manifest: Manifest) -> bool:
        """Whether the engine is meant."""
        provenance, target = manifest.provenance, manifest.target
        return (
            (not self.keys or any(_begins(key, manifest) for key in self.keys))
            and self.host in ("", provenance.host)
            and self.runtime in ("", target.runtime)
            and _is_within(target.runtime_version, self.runtime_version)
            and (not self.since or _was_built_since(provenance.built_at, _moment(self.since)))
            and self.model in ("", provenance.model, provenance.model.partition("@")[0])
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """A record of engines that were withdrawn together. It is never taken back: another plan takes their place.

    at       UTC, ISO 8601
    by       who, as `user@host`
    where    the criteria that they were found by, for people
    engines  key and plan digest of each
    """

    why: str
    at: str
    by: str
    where: Mapping[str, str]
    engines: tuple[tuple[str, str], ...]
    revocation_schema: int = REVOCATION_SCHEMA

    @property
    def id(self) -> str:
        """Sorted by time, and another one for each."""
        moment = _moment(self.at).strftime("%Y%m%dT%H%M%SZ")
        return f"{moment}-{digest_of('revocation', self)[:12]}"

    @property
    def record_name(self) -> str:
        """Where it lies in the store."""
        return f"{REVOCATIONS}{self.id}.json"

    def reasons(self) -> dict[str, str]:
        """Why, by `engine_id`."""
        return {engine_id(key, plan): self.why for key, plan in self.engines}


def read_revocation(content: bytes) -> Revocation:
    """The revocation in a record. Raises MalformedRecord."""
    revocation = from_json(Revocation, content)
    if revocation.revocation_schema != REVOCATION_SCHEMA:
        raise MalformedRecord(
            f"revocation schema {revocation.revocation_schema}, while this trtreg reads {REVOCATION_SCHEMA}"
        )
    return revocation


def revocation_of(manifests: Iterable[Manifest], *, why: str, at: str, by: str, where: Criteria) -> Revocation:
    """The record that withdraws these engines."""
    engines = tuple(sorted({(str(m.key), m.plan_digest) for m in manifests}))
    return Revocation(why=why, at=at, by=by, where=where.given(), engines=engines)


def engine_id(key: str, plan_digest: str) -> str:
    """A plan as the answer to one key: the same bytes may be good elsewhere."""
    return f"{key}/{plan_digest}"


def _begins(text: str, manifest: Manifest) -> bool:
    key, _, plan = text.partition("/")
    return manifest.key.startswith(key) and manifest.plan_digest.startswith(plan)


def _is_within(version: str, wanted: str) -> bool:
    return f"{version}.".startswith(f"{wanted}." if wanted else "")


def _was_built_since(built_at: str, moment: datetime) -> bool:
    try:
        return _moment(built_at) >= moment
    except ValueError:
        return True  # Nobody can say: better one too many.


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no time: write 2026-11-23 or 2026-11-23T14:00:00Z") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
