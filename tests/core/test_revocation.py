"""Which engines are meant, and the record that withdraws them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.samples import manifest_of
from trtreg.core.manifest import Manifest
from trtreg.core.records import MalformedRecord, to_json
from trtreg.core.revocation import Criteria, Revocation, read_revocation, revocation_of

ENGINE = manifest_of({"plan": b"1"}, model="tiny@3")
KEY, PLAN = ENGINE.key, ENGINE.plan_digest


def built(at: str) -> Manifest:
    return replace(ENGINE, provenance=replace(ENGINE.provenance, built_at=at))


@pytest.mark.parametrize(
    "criteria",
    [
        {"keys": (KEY,)},
        {"keys": ("0" * 64, KEY[:6])},
        {"keys": (f"{KEY[:6]}/{PLAN[:4]}",)},
        {"host": "here"},
        {"runtime": "onnxruntime"},
        {"runtime_version": "1.22.0"},
        {"runtime_version": "1.22"},
        {"runtime_version": "1"},
        {"model": "tiny"},
        {"model": "tiny@3"},
        {"since": "2025-01-01"},
        {"since": "2024-12-31T23:00-01:00"},
        {"keys": (KEY,), "host": "here", "since": "2024-06-01", "model": "tiny", "runtime": "onnxruntime"},
    ],
)
def test_an_engine_is_meant_if_all_that_is_given_holds(criteria: dict[str, object]) -> None:
    assert Criteria(**criteria).fits(ENGINE)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "criteria",
    [
        {"keys": ("0" * 64,)},
        {"keys": (f"{KEY}/0000",)},
        {"host": "her"},
        {"runtime": "tensorrt"},
        {"runtime_version": "1.2"},
        {"runtime_version": "1.22.0.1"},
        {"model": "tin"},
        {"model": "tiny@2"},
        {"since": "2025-01-01T00:00:01"},
        {"keys": (KEY,), "host": "elsewhere"},
    ],
)
def test_an_engine_is_not_meant_if_anything_does_not_hold(criteria: dict[str, object]) -> None:
    assert not Criteria(**criteria).fits(ENGINE)  # type: ignore[arg-type]


def test_an_engine_of_no_known_time_is_meant() -> None:
    assert Criteria(since="2030-01-01").fits(built("once upon a time"))


@given(at=st.datetimes(), moment=st.datetimes())
def test_since_is_then_or_later(at: datetime, moment: datetime) -> None:
    assert Criteria(since=moment.isoformat()).fits(built(f"{at.isoformat()}Z")) == (at >= moment)


def test_a_time_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="yesterday"):
        Criteria(since="yesterday")


def made(why: str = "bad RAM") -> Revocation:
    return revocation_of(
        [ENGINE, ENGINE], why=why, at="2026-11-23T18:00:00+00:00", by="me@here", where=Criteria(host="here")
    )


def test_a_record_reads_back_and_names_each_engine_once() -> None:
    revocation = made()

    assert read_revocation(to_json(revocation).encode()) == revocation
    assert revocation.engines == ((KEY, PLAN),)
    assert revocation.reasons() == {f"{KEY}/{PLAN}": "bad RAM"}
    assert revocation.where == {"host": "here"}
    assert revocation.record_name.startswith("revocations/20261123T180000Z-")
    assert revocation.id != made("bad cable").id


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", to_json(replace(made(), revocation_schema=2)).encode()])
def test_what_is_no_record_of_this_form_is_refused(content: bytes) -> None:
    with pytest.raises(MalformedRecord):
        read_revocation(content)
