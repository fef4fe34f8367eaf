"""Figures in a store: bounded by host, read leniently, gone with their engine, copied with it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.signers import signed
from storage.stocks import manifest_of, measured
from trtreg.core.figures import MOST_OF_A_HOST, Figures, read_figures
from trtreg.core.layout import parse_figures_name
from trtreg.core.records import MalformedRecord, to_json
from trtreg.measurements import Measurements
from trtreg.testing import MemoryStore

ENGINE = manifest_of(b"plan")


def at(minute: int, host: str = "builder") -> Figures:
    return measured(ENGINE, host=host, minute=minute)


def test_the_newest_of_each_host_stay() -> None:
    kept = Measurements(MemoryStore())
    for minute in range(MOST_OF_A_HOST + 3):
        kept.keep(at(minute))
    kept.keep(at(0, "other"))
    found = kept.of(ENGINE.key, ENGINE.plan_digest)
    assert found == [*(at(minute) for minute in range(MOST_OF_A_HOST + 2, 2, -1)), at(0, "other")]


def test_what_is_unsigned_malformed_or_misplaced_is_left_out() -> None:
    inner = MemoryStore()
    store = signed(inner)
    Measurements(store).keep(at(1))
    inner.insert_record(at(2).record_name, to_json(at(2)).encode())
    store.insert_record(at(3).record_name, b"{}")
    store.insert_record(at(4).record_name, to_json(at(5)).encode())
    assert Measurements(store).of(ENGINE.key, ENGINE.plan_digest) == [at(1)]


@given(st.text(max_size=300), st.text(max_size=300))
def test_hosts_of_any_name_have_records_of_their_own(one: str, other: str) -> None:
    names = [at(0, host).record_name for host in (one, other)]
    assert {parse_figures_name(name) for name in names} == {(ENGINE.key, ENGINE.plan_digest)}
    assert (names[0] == names[1]) == (one == other)


def test_a_newer_schema_is_not_guessed_at() -> None:
    plain = json.loads(to_json(at(0)))
    with pytest.raises(MalformedRecord, match="figures schema 2"):
        read_figures(json.dumps({**plain, "figures_schema": 2}).encode())
