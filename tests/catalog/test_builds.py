"""What is asked of the farm, in SQLite as in PostgreSQL."""

from __future__ import annotations

import pytest
from sqlalchemy import create_engine, text

from catalog.examples import manifest
from trtreg.catalog.builds import SqlBuilds
from trtreg.catalog.leases import SqlLeases
from trtreg.core.build import LOG_CHARACTERS, MOST_DEATHS, RESEND_SECONDS, BuildState, Wish
from trtreg.core.key import Key
from trtreg.core.lease import Failure, Lease, Owner, key_subject
from trtreg.errors import BuildFailed, Cancelled, Disturbed, NotFound

KEY = Key(manifest().key)
WISH = Wish(key=KEY, request="{}", model="tiny@1", queue="trtreg.onnxruntime-1.32.0.x86_64", retry=True)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    request.getfixturevalue(f"{request.param}_catalog")
    found: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_catalog_url")
    return found


@pytest.fixture
def builds(url: str) -> SqlBuilds:
    return SqlBuilds(url)


def _sent_long_ago(url: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE builds SET sent_at = sent_at - {RESEND_SECONDS + 1}"))
    engine.dispose()


def _lease(url: str, *, seconds: float = 600) -> Lease:
    lease = SqlLeases(url).claim(key_subject(KEY), Owner(host="a", process=1, nonce="n"), seconds=seconds)
    assert isinstance(lease, Lease)
    return lease


def test_whoever_asks_again_joins_the_build_that_is_wanted_or_runs(builds: SqlBuilds) -> None:
    first, is_new = builds.want(WISH)
    assert (is_new, first.state, first.model, first.retry, first.seconds) == (True, "wanted", "tiny@1", True, None)
    assert builds.want(WISH)[0].id == first.id
    builds.begin(first.id, "worker")
    joined, is_new = builds.want(WISH)
    assert (joined.id, joined.state, joined.worker, is_new) == (first.id, "running", "worker", False)


def test_what_has_ended_stays_as_it_ended_and_is_asked_for_anew(builds: SqlBuilds) -> None:
    first, _ = builds.want(WISH)
    builds.end(first.id, BuildState.FAILED, BuildFailed("no such operator", hint="leave it out"))
    builds.end(first.id, BuildState.DONE)
    builds.begin(first.id, "late")
    ended = builds.build(first.id)
    assert ended is not None
    error = ended.error()
    assert isinstance(error, BuildFailed)
    assert (ended.state, error.hint) == ("failed", "leave it out")
    assert error.message.startswith("no such operator")
    assert builds.want(WISH)[1]
    assert [r.state for r in builds.builds()] == ["wanted", "failed"]
    assert [r.state for r in builds.builds(live=True)] == ["wanted"]
    assert len(builds.builds(limit=1)) == 1


def test_who_was_frozen_until_another_took_its_build_does_not_end_it(builds: SqlBuilds) -> None:
    record, _ = builds.want(WISH)
    assert builds.begin(record.id, "frozen")
    assert [r.worker for r in builds.due()] == [""]  # It has no lease.
    assert builds.begin(record.id, "heir")
    assert not builds.end(record.id, BuildState.FAILED, BuildFailed("it took too long"), worker="frozen")
    assert [(r.state, r.worker, r.message) for r in builds.builds()] == [("running", "heir", "")]
    assert builds.end(record.id, BuildState.DONE, worker="heir")
    assert not builds.begin(record.id, "late")


def test_a_called_off_build_is_raised_as_cancelled(builds: SqlBuilds) -> None:
    record, _ = builds.want(WISH)
    builds.end(record.id, BuildState.CANCELLED)
    ended = builds.build(record.id)
    assert ended is not None
    assert isinstance(ended.error(), Cancelled)


def test_of_a_long_log_the_end_is_kept(builds: SqlBuilds) -> None:
    record, _ = builds.want(WISH)
    for number in range(30):
        builds.tell(record.id, phase="build", line=f"{number} " + 999 * "x")
    builds.tell(record.id, phase="gate", line="")
    told = builds.build(record.id)
    assert told is not None
    assert (told.phase, len(told.log)) == ("gate", LOG_CHARACTERS)
    assert told.log.splitlines()[-1].startswith("29 x")


def test_what_no_database_keeps_is_told_all_the_same(builds: SqlBuilds, url: str) -> None:
    record, _ = builds.want(WISH)
    builds.tell(record.id, phase="build", line="node 'a\0b\udcff'")
    error = BuildFailed("no node 'a\0b'", hint="\udcff")
    SqlLeases(url).release(_lease(url), error)
    builds.end(record.id, BuildState.FAILED, error)
    told = builds.build(record.id)
    assert told is not None
    assert (told.log, told.message, told.hint) == ("node 'a\\0b\\udcff'\n", "no node 'a\\0b'", "\\udcff")
    assert isinstance(failure := SqlLeases(url).look(key_subject(KEY)), Failure)
    assert failure.message == told.message


def test_a_message_that_went_long_ago_is_sent_again_once(builds: SqlBuilds, url: str) -> None:
    record, _ = builds.want(WISH)
    assert builds.due() == []
    _sent_long_ago(url)
    assert [r.id for r in builds.due()] == [record.id]
    assert builds.due() == []


def test_a_build_whose_lease_is_live_is_not_sent_again(builds: SqlBuilds, url: str) -> None:
    record, _ = builds.want(WISH)
    lease = _lease(url)
    _sent_long_ago(url)
    assert builds.due() == []
    builds.begin(record.id, "worker")
    assert builds.due() == []
    SqlLeases(url).release(lease)
    (due,) = builds.due()
    assert (due.id, due.state) == (record.id, "wanted")


def test_a_worker_that_died_before_it_could_say_that_it_begins_is_missed_at_once(builds: SqlBuilds, url: str) -> None:
    SqlLeases(url).release(_lease(url))  # An earlier build of that key.
    record, _ = builds.want(WISH)
    assert builds.due() == []
    _lease(url, seconds=0.0)
    assert [r.id for r in builds.due()] == [record.id]
    assert builds.due() == []


def test_the_builds_of_one_key_are_found(builds: SqlBuilds) -> None:
    record, _ = builds.want(WISH)
    assert [r.id for r in builds.builds(key=KEY)] == [record.id]
    assert builds.builds(key=Key("another")) == []


def test_what_takes_worker_after_worker_along_is_given_up(builds: SqlBuilds) -> None:
    record, _ = builds.want(WISH)
    for _ in range(MOST_DEATHS - 1):
        builds.begin(record.id, "doomed")
        assert [r.id for r in builds.due()] == [record.id]
    builds.begin(record.id, "doomed")
    assert builds.due() == []
    ended = builds.build(record.id)
    assert ended is not None
    assert isinstance(ended.error(), Disturbed)


def test_what_is_not_there_is_none(builds: SqlBuilds) -> None:
    assert builds.build("absent") is None
    builds.end("absent", BuildState.DONE)
    assert builds.builds() == []


def test_pages_of_builds_make_the_whole(builds: SqlBuilds) -> None:
    for i in range(7):
        asked, _ = builds.want(Wish(key=Key(f"{i:064x}"), request="{}", model="tiny@1", queue="q"))
        if i % 3 == 2:
            builds.end(asked.id, BuildState.DONE)
    for live in (False, True):
        whole, pages = builds.builds(live=live), list[str]()
        while page := builds.builds(live=live, after=pages[-1] if pages else "", limit=2):
            pages += [build.id for build in page]
        assert pages == [build.id for build in whole]
    assert len(builds.builds(live=True)) == 5
    with pytest.raises(NotFound, match="0815"):
        builds.builds(after="0815")


def test_builds_are_found_by_how_their_id_begins(builds: SqlBuilds) -> None:
    ids = [builds.want(Wish(key=Key(f"{i:064x}"), request="{}", model="tiny@1", queue="q"))[0].id for i in range(20)]
    for length in (1, 2, 12):
        found = {build.id for build in builds.builds(prefix=ids[3][:length])}
        assert found == {number for number in ids if number.startswith(ids[3][:length])}
    assert builds.builds(prefix="none") == []
