"""What every keeper of leases does, in memory as in SQLite and in PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest

from catalog.examples import manifest
from trtreg.catalog.leases import SqlLeases
from trtreg.catalog.sql import SqlCatalog
from trtreg.core.lease import Failure, Holder, Lease, Owner, Pulse
from trtreg.core.lifecycle import EngineState
from trtreg.errors import BuildFailed, Cancelled, LeaseLost, OutOfMemory, Unreachable
from trtreg.interfaces import Catalog, Leases
from trtreg.testing import MemoryCatalog, MemoryLeases

LONG, EXPIRED = 600.0, 0.0
US = Owner(host="here", process=1, nonce="a")
THEM = Owner(host="far away", process=2, nonce="b")


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def both(request: pytest.FixtureRequest) -> Iterator[tuple[Leases, Catalog]]:
    """Every implementation of the seam, and a catalog that is fenced by it."""
    if request.param == "memory":
        memory = MemoryLeases()
        yield memory, MemoryCatalog(memory)
        return
    catalog: SqlCatalog = request.getfixturevalue(f"{request.param}_catalog")
    url = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_catalog_url")
    yield SqlLeases(url), catalog


@pytest.fixture
def leases(both: tuple[Leases, Catalog]) -> Leases:
    return both[0]


def taken(leases: Leases, owner: Owner = US, *, seconds: float = LONG, subject: str = "key 1") -> Lease:
    lease = leases.claim(subject, owner, seconds=seconds)
    assert isinstance(lease, Lease)
    return lease


# --- one at a time ---------------------------------------------------------------------------------------------


def test_the_first_who_claims_has_it_and_the_second_sees_who(leases: Leases) -> None:
    lease = taken(leases)
    holder = leases.claim("key 1", THEM, seconds=LONG)
    assert isinstance(holder, Holder)
    assert (holder.owner, holder.token, holder.cancelled) == (US, lease.token, False)
    assert 0 <= holder.elapsed < LONG
    assert 0 < holder.expires_in <= LONG
    assert leases.look("key 1") is not None


def test_subjects_are_independent(leases: Leases) -> None:
    assert taken(leases).subject == "key 1"
    assert taken(leases, THEM, subject="key 2").owner == THEM
    assert [h.subject for h in leases.live()] == ["key 1", "key 2"]


def test_a_released_lease_is_free(leases: Leases) -> None:
    leases.release(taken(leases))
    assert leases.look("key 1") is None
    assert leases.live() == []
    taken(leases, THEM)


def test_an_expired_lease_is_taken_over_and_its_token_grows(leases: Leases) -> None:
    old = taken(leases, seconds=EXPIRED)
    assert leases.look("key 1") is None
    new = taken(leases, THEM)
    assert new.token > old.token
    leases.release(new)
    assert taken(leases).token > new.token


def test_a_sign_of_life_tells_the_phase_and_keeps_the_lease(leases: Leases) -> None:
    lease = taken(leases, seconds=EXPIRED)
    assert leases.renew(lease, seconds=LONG, phase="gate") is Pulse.HELD
    holder = leases.claim("key 1", THEM, seconds=LONG)
    assert isinstance(holder, Holder)
    assert (holder.owner, holder.phase) == (US, "gate")


def test_who_holds_the_file_lock_of_a_place_takes_over_what_was_held_from_there(leases: Leases) -> None:
    killed = Owner(host="here", process=1, nonce="a", place="boot 1, inode 7")
    heir = Owner(host="here", process=3, nonce="c", place="boot 1, inode 7")
    elsewhere = Owner(host="here", process=4, nonce="d", place="boot 1, inode 8")
    first = taken(leases, killed)
    assert isinstance(leases.claim("key 1", elsewhere, seconds=LONG), Holder)
    assert taken(leases, heir).token > first.token


def test_two_owners_without_a_place_are_not_in_one_place(leases: Leases) -> None:
    taken(leases)
    assert isinstance(leases.claim("key 1", THEM, seconds=LONG), Holder)


# --- lost ------------------------------------------------------------------------------------------------------


def test_a_lost_lease_can_neither_be_renewed_nor_released_nor_relied_on(leases: Leases) -> None:
    lease = taken(leases, seconds=EXPIRED)
    leases.require(lease)
    theirs = taken(leases, THEM)
    assert leases.renew(lease, seconds=LONG) is Pulse.LOST
    leases.release(lease, BuildFailed("too late"))
    holder = leases.look("key 1")
    assert isinstance(holder, Holder)
    assert holder.token == theirs.token
    with pytest.raises(LeaseLost, match="process 2 on far away makes it now"):
        leases.require(lease)
    leases.require(theirs)


def test_a_lease_of_ones_own_again_does_not_revive_the_old_one(leases: Leases) -> None:
    old = taken(leases, seconds=EXPIRED)
    taken(leases, THEM, seconds=EXPIRED)
    taken(leases)
    assert leases.renew(old, seconds=LONG) is Pulse.LOST


def test_a_lease_that_never_was_is_lost(leases: Leases) -> None:
    with pytest.raises(LeaseLost, match="nobody"):
        leases.require(Lease("key 9", US, 1))
    assert leases.renew(Lease("key 9", US, 1), seconds=LONG) is Pulse.LOST


def test_an_engine_is_recorded_under_a_held_lease_only(both: tuple[Leases, Catalog]) -> None:
    leases, catalog = both
    lease = taken(leases, seconds=EXPIRED)
    catalog.record_engine(manifest(plan="first"), EngineState.PUBLISHED, bless=True, lease=lease)
    taken(leases, THEM)
    with pytest.raises(LeaseLost):
        catalog.record_engine(manifest(plan="second"), EngineState.PUBLISHED, bless=True, lease=lease)
    (record,) = catalog.engines()
    assert (record.manifest, record.blessed) == (manifest(plan="first"), True)


# --- called off ------------------------------------------------------------------------------------------------


def test_a_cancelled_build_hears_of_it_with_its_next_sign_of_life(leases: Leases) -> None:
    lease = taken(leases)
    assert leases.cancel("key 1")
    assert cast("Holder", leases.look("key 1")).cancelled
    assert leases.renew(lease, seconds=LONG) is Pulse.CANCELLED
    leases.release(lease, Cancelled("it was called off"))
    assert leases.renew(taken(leases, THEM), seconds=LONG) is Pulse.HELD


def test_what_nobody_makes_can_not_be_cancelled(leases: Leases) -> None:
    assert not leases.cancel("key 1")
    leases.release(taken(leases))
    assert not leases.cancel("key 1")


# --- failures --------------------------------------------------------------------------------------------------


def test_a_failure_is_remembered_and_raised_again_as_itself(leases: Leases) -> None:
    leases.release(taken(leases), OutOfMemory("no room", hint="buy some"), allowed=7.0)
    for failure in (leases.look("key 1"), leases.claim("key 1", THEM, seconds=LONG)):
        assert isinstance(failure, Failure)
        error = failure.error()
        assert type(error) is OutOfMemory
        assert error.message.startswith("no room (that was 0 s ago on here)")
        assert error.hint.startswith("buy some; --retry")
        assert 0 < failure.expires_in <= 300
        assert failure.allowed == 7


def test_retry_forgets_a_failure(leases: Leases) -> None:
    leases.release(taken(leases), BuildFailed("no such operator"))
    lease = leases.claim("key 1", THEM, seconds=LONG, retry=True)
    assert isinstance(lease, Lease)
    leases.release(lease)
    assert leases.look("key 1") is None


def test_retry_does_not_take_a_lease_that_is_held(leases: Leases) -> None:
    taken(leases)
    assert isinstance(leases.claim("key 1", THEM, seconds=LONG, retry=True), Holder)


def test_the_newest_failure_counts(leases: Leases) -> None:
    leases.release(taken(leases), BuildFailed("first"))
    again = leases.claim("key 1", US, seconds=LONG, retry=True)
    assert isinstance(again, Lease)
    leases.release(again, BuildFailed("second"))
    assert "second" in cast("Failure", leases.look("key 1")).message


@pytest.mark.parametrize("error", [Cancelled("called off"), LeaseLost("late"), Unreachable("no store")])
def test_what_says_nothing_about_the_next_try_is_not_remembered(leases: Leases, error: BuildFailed) -> None:
    leases.release(taken(leases), error)
    assert leases.look("key 1") is None
