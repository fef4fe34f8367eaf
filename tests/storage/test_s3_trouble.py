"""Connections that break, lie, crawl or never come, and processes that are killed: what is there is right or absent."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import pytest
from botocore.exceptions import ClientError

from conftest import Bucket
from services.proxy import Proxy, Trouble, at_first, seeded, troubled
from storage.conftest import s3_store
from storage.processes import start
from storage.samples import drafts_under, stored
from trtreg.core.layout import blob_name
from trtreg.errors import TrtregError, Unreachable
from trtreg.storage.s3 import S3Store
from trtreg.testing import SilentProgress

CONTENT = random.Random(5).randbytes(40 << 20)
FILE = stored("plan", CONTENT)


@pytest.fixture
def prefix() -> str:
    return f"trouble/{os.urandom(6).hex()}"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def filled(bucket: Bucket, prefix: str, source: Path, tmp_path: Path) -> S3Store:
    store = s3_store(bucket.place(prefix), tmp_path)
    store.put_blob(source, FILE, SilentProgress())
    return store


def through(proxy: Proxy, bucket: Bucket, prefix: str, folder: Path, **options: object) -> S3Store:
    return s3_store(bucket.place(prefix, endpoint=proxy.url, **options), folder)


def require_fetched(store: S3Store, folder: Path) -> None:
    store.fetch_blob(FILE, folder / "back", SilentProgress())
    assert (folder / "back").read_bytes() == CONTENT
    assert drafts_under(folder) == []
    assert list((folder / "store" / "partial").iterdir()) == []


@pytest.mark.parametrize("near", [1, 0])
def test_a_download_that_is_cut_goes_on_where_it_stopped(
    filled: S3Store, bucket: Bucket, prefix: str, tmp_path: Path, near: int
) -> None:
    cuts = [Trouble(kind="cut", after=after) for after in (3 << 20, 1 << 20, 5 << 20, 100)]
    with troubled(bucket.server.http, at_first(*cuts)) as proxy:
        require_fetched(through(proxy, bucket, prefix, tmp_path, near=near), tmp_path)
    assert proxy.down < len(CONTENT) + (10 << 20)


@pytest.mark.parametrize("near", [1, 0])
def test_a_download_whose_bytes_are_damaged_on_the_way_is_made_again(
    filled: S3Store, bucket: Bucket, prefix: str, tmp_path: Path, near: int
) -> None:
    with troubled(bucket.server.http, at_first(Trouble(kind="corrupt", after=3 << 20))) as proxy:
        require_fetched(through(proxy, bucket, prefix, tmp_path, near=near), tmp_path)
    assert proxy.down > 2 * len(CONTENT)


def test_a_record_that_is_damaged_or_cut_on_the_way_is_read_again(bucket: Bucket, prefix: str, tmp_path: Path) -> None:
    content = b'{"tolerance": 1000}'
    s3_store(bucket.place(prefix), tmp_path).insert_record("models/a/1.json", content)
    kinds: tuple[Literal["corrupt", "cut"], ...] = ("corrupt", "cut")
    for kind in kinds:
        # Somewhere within the headers, their end, and the body.
        for after in range(20, 480, 23):
            with troubled(bucket.server.http, at_first(Trouble(kind=kind, after=after))) as proxy:
                # A damaged length may promise more than will ever come.
                store = through(proxy, bucket, prefix, tmp_path, read_timeout=1)
                with suppress(Unreachable):
                    assert store.read_record("models/a/1.json") == content


def test_a_download_that_never_gets_on_is_given_up_and_continued_by_the_next_call(
    filled: S3Store, bucket: Bucket, prefix: str, tmp_path: Path
) -> None:
    def plan(number: int) -> Trouble:
        return Trouble(kind="cut", after=9 << 20) if number == 0 else Trouble(kind="cut", after=10)

    with troubled(bucket.server.http, plan) as proxy:
        store = through(proxy, bucket, prefix, tmp_path, retries=2)
        with pytest.raises(Unreachable, match=f"{proxy.url}") as refusal:
            store.fetch_blob(FILE, tmp_path / "back", SilentProgress())
        assert not (tmp_path / "back").exists()
        proxy.plan, proxy.down = at_first(), 0
        require_fetched(through(proxy, bucket, prefix, tmp_path), tmp_path)
        assert proxy.down < len(CONTENT) - (2 << 20)
    assert refusal.value.hint


FETCH = """
import sys
from pathlib import Path
from storage.conftest import s3_store
from storage.test_s3_trouble import FILE
from trtreg.testing import SilentProgress
s3_store(sys.argv[1], Path(sys.argv[2])).fetch_blob(FILE, Path(sys.argv[2], "back"), SilentProgress())
"""
PUT = """
import sys
from pathlib import Path
from storage.conftest import s3_store
from storage.test_s3_trouble import FILE
from trtreg.testing import SilentProgress
s3_store(sys.argv[1], Path(sys.argv[2])).put_blob(Path(sys.argv[2], "source"), FILE, SilentProgress())
"""


def kill_when(code: str, store: str, folder: Path, passed: int, proxy: Proxy, way: str) -> None:
    """Run `code` and kill it as soon as so many bytes went through the proxy."""
    with start(code, store, folder) as child:
        while getattr(proxy, way) < passed:
            assert child.poll() is None, child.stderr and child.stderr.read()
            time.sleep(0.005)
        child.send_signal(signal.SIGKILL)
        child.communicate()


@pytest.mark.parametrize("near", [1, 0])
def test_a_killed_download_is_continued_by_another_process(
    filled: S3Store, bucket: Bucket, prefix: str, tmp_path: Path, near: int
) -> None:
    with troubled(bucket.server.http, lambda _: Trouble(kind="slow", pause=0.002)) as proxy:
        place = bucket.place(prefix, endpoint=proxy.url, near=near, ranges=2)
        kill_when(FETCH, place, tmp_path, 25 << 20, proxy, "down")
        assert not (tmp_path / "back").exists()
        proxy.plan, proxy.down = at_first(), 0
        require_fetched(s3_store(place, tmp_path), tmp_path)
        assert proxy.down < len(CONTENT) - (5 << 20)


def test_what_a_killed_download_left_is_not_trusted(filled: S3Store, tmp_path: Path) -> None:
    partial = tmp_path / "store" / "partial" / FILE.sha256
    for left in (b"garbage" * 1000, CONTENT + b"more", CONTENT[:-1] + b"!", CONTENT, CONTENT[:-1]):
        partial.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(left)
        require_fetched(filled, tmp_path)


def test_what_nobody_came_back_for_is_swept(bucket: Bucket, prefix: str, filled: S3Store, tmp_path: Path) -> None:
    partial = tmp_path / "store" / "partial" / ("ab" * 32)
    partial.parent.mkdir(parents=True, exist_ok=True)
    partial.write_bytes(b"begun")
    assert filled.sweep(3600) == 0
    assert s3_store(bucket.place(prefix), tmp_path, clock=lambda: time.time() + 7200).sweep(3600) == 1
    assert not partial.exists()


def test_a_killed_upload_is_continued_by_another_process(
    bucket: Bucket, prefix: str, source: Path, tmp_path: Path
) -> None:
    with troubled(bucket.server.http, lambda _: Trouble(kind="slow", way="up", pause=0.004)) as proxy:
        # One connection after the other, so that some parts are there before others begin.
        place = bucket.place(prefix, endpoint=proxy.url)
        kill_when(PUT, place, tmp_path, 35 << 20, proxy, "up")
        left = bucket.client.list_multipart_uploads(Bucket=bucket.name, Prefix=prefix)["Uploads"]
        assert len(left) == 1
        while not (parts := there(bucket, left[0])):
            time.sleep(0.1)
        proxy.plan, proxy.up = at_first(), 0
        s3_store(place, tmp_path).put_blob(source, FILE, SilentProgress())
        # What the killed one had sent already may still be passing.
        assert proxy.up < len(CONTENT) - sum(parts) // 2
    require_fetched(s3_store(bucket.place(prefix), tmp_path), tmp_path)
    assert "Uploads" not in bucket.client.list_multipart_uploads(Bucket=bucket.name, Prefix=prefix)


def there(bucket: Bucket, upload: dict[str, str]) -> list[int]:
    answer = bucket.client.list_parts(Bucket=bucket.name, Key=upload["Key"], UploadId=upload["UploadId"])
    return [part["Size"] for part in answer.get("Parts", [])]


def test_parts_of_another_content_are_sent_again(bucket: Bucket, prefix: str, source: Path, tmp_path: Path) -> None:
    key = f"{prefix}/{blob_name(FILE.sha256)}"
    upload = bucket.client.create_multipart_upload(Bucket=bucket.name, Key=key)["UploadId"]
    for number, body in ((1, b"x" * (16 << 20)), (2, CONTENT[16 << 20 : 32 << 20])):
        bucket.client.upload_part(Bucket=bucket.name, Key=key, UploadId=upload, PartNumber=number, Body=body)
    store = s3_store(bucket.place(prefix), tmp_path)
    store.put_blob(source, FILE, SilentProgress())
    require_fetched(store, tmp_path)


def test_an_upload_that_somebody_gives_up_is_begun_anew(
    bucket: Bucket, prefix: str, source: Path, tmp_path: Path
) -> None:
    given_up = []

    class Meddling(SilentProgress):
        def advance(self, done: int, total: int) -> None:
            super().advance(done, total)
            for upload in bucket.client.list_multipart_uploads(Bucket=bucket.name, Prefix=prefix).get("Uploads", []):
                if not given_up:
                    given_up.append(upload["UploadId"])
                    bucket.client.abort_multipart_upload(
                        Bucket=bucket.name, Key=upload["Key"], UploadId=upload["UploadId"]
                    )

    store = s3_store(bucket.place(prefix), tmp_path)
    store.put_blob(source, FILE, Meddling())
    assert given_up
    require_fetched(store, tmp_path)


def test_an_upload_that_is_given_up_while_it_is_completed_is_begun_anew(
    bucket: Bucket, prefix: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Ceph 16 does now and then, the server doesn't say that the upload is gone."""
    store = s3_store(bucket.place(prefix), tmp_path)
    client = store._bucket.client
    complete, answers = client.complete_multipart_upload, []

    def given_up_at_first(**asked: Any) -> object:
        if answers:
            return complete(**asked)
        answers.append("InternalError")
        client.abort_multipart_upload(**{name: asked[name] for name in ("Bucket", "Key", "UploadId")})
        raise ClientError({"Error": {"Code": "InternalError", "Message": "already in progress"}}, "Complete")

    monkeypatch.setattr(client, "complete_multipart_upload", given_up_at_first)
    store.put_blob(source, FILE, SilentProgress())
    assert answers
    require_fetched(store, tmp_path)


def test_an_upload_whose_bytes_are_damaged_on_the_way_arrives_whole(
    bucket: Bucket, prefix: str, source: Path, tmp_path: Path
) -> None:
    troubles = [Trouble(kind="corrupt", way="up", after=1 << 20) for _ in range(3)]
    with troubled(bucket.server.http, at_first(None, *troubles)) as proxy:
        through(proxy, bucket, prefix, tmp_path).put_blob(source, FILE, SilentProgress())
    require_fetched(s3_store(bucket.place(prefix), tmp_path), tmp_path)


def test_an_upload_whose_connections_are_cut_arrives_whole(
    bucket: Bucket, prefix: str, source: Path, tmp_path: Path
) -> None:
    troubles = [Trouble(kind="cut", way="up", after=1 << 20), Trouble(kind="cut"), Trouble(kind="refuse")]
    with troubled(bucket.server.http, at_first(None, *troubles)) as proxy:
        through(proxy, bucket, prefix, tmp_path).put_blob(source, FILE, SilentProgress())
    require_fetched(s3_store(bucket.place(prefix), tmp_path), tmp_path)


SMALL = CONTENT[: 3 << 20]


@pytest.mark.parametrize("seed", range(12))
def test_whatever_befalls_the_connections_nothing_wrong_is_kept(
    bucket: Bucket, prefix: str, tmp_path: Path, seed: int
) -> None:
    file, source = stored("plan", SMALL), tmp_path / "source"
    source.write_bytes(SMALL)
    direct = s3_store(bucket.place(prefix), tmp_path)
    with troubled(bucket.server.http, seeded(seed, share=0.5, size=4 << 20)) as proxy:
        store = through(proxy, bucket, prefix, tmp_path, retries=1, read_timeout=5)
        with suppress(TrtregError):
            store.put_blob(source, file, SilentProgress())
        if not direct.has_blob(file):
            direct.put_blob(source, file, SilentProgress())
        with suppress(TrtregError):
            store.insert_record("manifests/a.json", b"ours")
        assert direct.read_record("manifests/a.json") in (None, b"ours")
        with suppress(TrtregError):
            store.fetch_blob(file, tmp_path / "back", SilentProgress())
            assert (tmp_path / "back").read_bytes() == SMALL
    direct.fetch_blob(file, tmp_path / "back", SilentProgress())
    assert (tmp_path / "back").read_bytes() == SMALL
    assert drafts_under(tmp_path) == []
