"""What a lease is, how long it lives, and for how long which failure is remembered."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtreg.core.lease import Failure, Holder, Owner, lifetime, lost, patience, seconds_remembered
from trtreg.core.limits import Limits
from trtreg.errors import (
    BuildFailed,
    Cancelled,
    Disturbed,
    LeaseLost,
    OutOfMemory,
    OutOfTime,
    Rejected,
    UnusableModel,
    error_of,
)

US = Owner(host="here", process=1, nonce="a")
HOLDER = Holder(subject="key 1", owner=US, token=1, phase="build", elapsed=35.2, expires_in=9)
_seconds = st.floats(0.001, 1e6)


@given(heartbeat=_seconds, elapsed=_seconds, fraction=st.floats(0, 1))
def test_a_dead_builders_lease_is_free_and_noticed_before_its_third_sign_of_life_is_due(
    heartbeat: float, elapsed: float, fraction: float
) -> None:
    left = lifetime(heartbeat) * fraction
    asked_again = patience(replace(HOLDER, elapsed=elapsed, expires_in=left), heartbeat)
    # Whoever asks again before it expires, asks once more when it does.
    assert asked_again <= max(0.02, left)
    assert lifetime(heartbeat) + 0.02 < 3 * heartbeat + 0.02
    assert asked_again <= max(0.02, heartbeat / 2)


def test_what_the_builder_refuses_is_remembered_longest_and_what_a_machine_lacked_shortest() -> None:
    kinds = (BuildFailed, UnusableModel, OutOfTime, OutOfMemory, Disturbed, Cancelled, LeaseLost, Rejected)
    refused, unusable, slow, full, disturbed, *forgotten = (seconds_remembered(kind("…")) for kind in kinds)
    assert refused == unusable > slow > full >= disturbed > 0
    assert set(forgotten) == {0.0}


@pytest.mark.parametrize("kind", [OutOfMemory, OutOfTime, Disturbed, Cancelled, LeaseLost])
def test_every_class_of_failed_builds_comes_back_as_itself_and_is_exit_4(kind: type[BuildFailed]) -> None:
    assert type(error_of(kind.kind, "…")) is kind
    assert kind.exit_code == BuildFailed.exit_code == 4


def test_a_remembered_failure_says_when_where_and_what_to_do() -> None:
    failure = Failure(
        subject="key 1", kind="out-of-time", message="too slow", hint="", host="gpu-7", age=300, expires_in=7200
    )
    error = failure.error()
    assert error.message == "too slow (that was 5 min ago on gpu-7)"
    assert error.hint == "--retry tries at once, anybody may in 2 h"


def test_more_time_or_memory_than_was_too_little_is_worth_a_try() -> None:
    slow = Failure(subject="", kind="out-of-time", message="", hint="", host="", age=0, expires_in=1, allowed=60)
    full = replace(slow, kind="out-of-memory", allowed=2**30)
    refused = replace(slow, kind="build-failed", allowed=0)
    same, more = Limits(seconds=60, memory=2**30), Limits(seconds=61, memory=2**31)
    assert [f.speaks_against(same) for f in (slow, full, refused)] == [True, True, True]
    assert [f.speaks_against(more) for f in (slow, full, refused)] == [False, False, True]


def test_a_holder_is_shown_with_its_phase() -> None:
    assert str(HOLDER) == "process 1 on here, since 35 s: build"
    assert "process 1 on here makes it now" in lost("key 1", US).message
