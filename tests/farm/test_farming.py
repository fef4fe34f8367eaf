"""The asker's and the worker's part, without servers: the rows in SQLite, and a bell that nobody hears."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from catalog.examples import manifest
from trtreg.catalog.builds import SqlBuilds
from trtreg.catalog.leases import SqlLeases
from trtreg.core.build import LOG_CHARACTERS, BuildRecord, BuildState, Wish, gained
from trtreg.core.key import Key
from trtreg.core.lease import Holder, Lease, Owner, key_subject
from trtreg.core.names import parse_model_name
from trtreg.core.request import Request
from trtreg.errors import BuildFailed, Cancelled, Miss, Unproven
from trtreg.jobs.farming import Farm
from trtreg.jobs.working import _Report
from trtreg.silence import SILENT

KEY = Key(manifest().key)
REQUEST = Request(model=parse_model_name("tiny"))
WISH = Wish(key=KEY, request="{}", model="tiny@1", queue="trtreg.onnxruntime-1.32.0.x86_64")


class _Silent:
    def ring(self, build: BuildRecord) -> None: ...

    def is_served(self, queue: str) -> bool:
        return True


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/catalog.db"


def test_calling_off_what_waits_leaves_a_build_that_is_not_the_farms_alone(url: str) -> None:
    builds, leases = SqlBuilds(url), SqlLeases(url)
    record, _ = builds.want(WISH)
    somebody = leases.claim(key_subject(KEY), Owner(host="a", process=1, nonce="n"), seconds=600)
    assert isinstance(somebody, Lease)

    Farm(builds=builds, leases=leases, bell=_Silent(), progress=SILENT).cancel(record.id)

    assert [r.state for r in builds.builds()] == [BuildState.CANCELLED]
    holder = leases.look(key_subject(KEY))
    assert isinstance(holder, Holder)
    assert not holder.cancelled


def test_a_worker_that_is_about_to_begin_what_was_called_off_does_not(url: str) -> None:
    builds = SqlBuilds(url)
    record, _ = builds.want(WISH)
    builds.end(record.id, BuildState.CANCELLED)

    with pytest.raises(Cancelled, match=record.id):
        _Report(builds, record.id, "worker", lambda: None).stage("begin")


def test_a_plan_that_fails_between_two_looks_is_the_askers_failure(url: str) -> None:
    builds, leases = SqlBuilds(url), SqlLeases(url)
    lease = leases.claim(key_subject(KEY), Owner(host="prover", process=1, nonce="n"), seconds=600)
    assert isinstance(lease, Lease)
    leases.release(lease, BuildFailed("no kernel for it"))
    farm = Farm(builds=builds, leases=leases, bell=_Silent(), progress=SILENT)

    with pytest.raises(BuildFailed, match="no kernel for it"):
        farm.have_made(_Deciding(), REQUEST)  # type: ignore[arg-type]

    assert builds.builds() == []


class _Deciding:
    """A registry in whose quarantine a plan waits when it is first looked at, and none from then on."""

    def __init__(self) -> None:
        self._looks = 0

    def ask(self, request: Request, *, build: bool) -> None:
        self._looks += 1
        raise Unproven("it waits") if self._looks == 1 else Miss("there is none")

    def pose(self, request: Request) -> Any:
        return SimpleNamespace(key=KEY)

    def lacking(self, key: Key) -> None: ...


def test_a_log_that_keeps_its_end_only_is_followed_line_by_line() -> None:
    said = [f"{number} of many lines" for number in range(3000)]
    log, told = "", list[str]()
    for line in said:
        before, log = log, (log + line + "\n")[-LOG_CHARACTERS:]
        told += gained(before, log)
    assert told == said
    assert gained(log, log) == []
    assert gained("", "a\nb\n") == ["a", "b"]
