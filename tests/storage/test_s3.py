"""The store in a bucket: what is its own beyond the contract, on a real server."""

from __future__ import annotations

import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from conftest import Bucket
from storage.conftest import s3_store
from storage.samples import drafts_under, stored
from trtreg.core.files import StoredFile
from trtreg.core.layout import blob_name
from trtreg.errors import Unreachable, Untrusted, UsageError
from trtreg.storage.s3 import S3Store
from trtreg.storage.s3_bucket import Bucket as S3Bucket
from trtreg.storage.s3_place import parse_bucket
from trtreg.storage.s3_upload import PART, part_size
from trtreg.testing import SilentProgress

SMALL = b"plan" * 700_000
LARGE = bytes(os.urandom(1 << 20)) * 40 + b"end"


@pytest.fixture
def prefix() -> str:
    return f"test/{os.urandom(6).hex()}"


@pytest.fixture
def store(bucket: Bucket, prefix: str, tmp_path: Path) -> S3Store:
    return s3_store(bucket.place(prefix), tmp_path)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(SMALL)
    return path


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large"
    path.write_bytes(LARGE)
    return path


def put(store: S3Store, source: Path) -> StoredFile:
    file = stored("plan", source.read_bytes())
    store.put_blob(source, file, SilentProgress())
    return file


def fetched(store: S3Store, file: StoredFile, folder: Path) -> bytes:
    store.fetch_blob(file, folder / "back", SilentProgress())
    return (folder / "back").read_bytes()


def uploads(bucket: Bucket, prefix: str) -> list[Any]:
    return list(bucket.client.list_multipart_uploads(Bucket=bucket.name, Prefix=prefix).get("Uploads", []))


@pytest.mark.parametrize("options", [{}, {"near": 0, "ranges": 3}, {"sign_payload": 0}, {"path_style": 1}])
def test_a_blob_of_many_parts_comes_back(
    bucket: Bucket, prefix: str, large: Path, tmp_path: Path, options: dict[str, object]
) -> None:
    store = s3_store(bucket.place(prefix, **options), tmp_path)
    file, progress = stored("plan", LARGE), SilentProgress()
    store.put_blob(large, file, progress)
    assert fetched(store, file, tmp_path) == LARGE
    assert uploads(bucket, prefix) == []
    assert progress.advances[-1] == (file.size, file.size)
    assert sorted(progress.advances) == progress.advances


def test_over_tls_everything_works_with_an_authority_of_ones_own(
    bucket: Bucket, prefix: str, large: Path, source: Path, tmp_path: Path
) -> None:
    if not bucket.server.https:
        pytest.skip("the S3 server of TRTREG_TEST_S3 has no TLS: set TRTREG_TEST_S3_TLS and TRTREG_TEST_S3_CA")
    store = s3_store(bucket.place(prefix, endpoint=bucket.server.https), tmp_path)
    for path in (source, large):
        assert fetched(store, put(store, path), tmp_path) == path.read_bytes()
    assert store.insert_record("manifests/a.json", b"first")
    assert not store.insert_record("manifests/a.json", b"second")
    assert list(store.record_names("")) == ["manifests/a.json"]
    assert len(list(store.blobs())) == 2


def test_a_certificate_that_nobody_vouches_for_is_refused(
    bucket: Bucket, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not bucket.server.https:
        pytest.skip("the S3 server of TRTREG_TEST_S3 has no TLS: set TRTREG_TEST_S3_TLS and TRTREG_TEST_S3_CA")
    monkeypatch.delenv("AWS_CA_BUNDLE")
    store = s3_store(bucket.place(prefix, endpoint=bucket.server.https, retries=0), tmp_path)
    with pytest.raises(Unreachable, match="certificate") as refusal:
        store.read_record("a")
    assert "AWS_CA_BUNDLE" in refusal.value.hint


def test_objects_are_named_as_docs_architecture_says(store: S3Store, bucket: Bucket, prefix: str, source: Path) -> None:
    file = put(store, source)
    store.insert_record("manifests/a/b.json", b"{}")
    found = bucket.client.list_objects_v2(Bucket=bucket.name, Prefix=prefix)["Contents"]
    assert [there["Key"] for there in found] == [f"{prefix}/{blob_name(file.sha256)}", f"{prefix}/manifests/a/b.json"]


def test_two_stores_in_one_bucket_see_nothing_of_each_other(bucket: Bucket, prefix: str, tmp_path: Path) -> None:
    one, other = (s3_store(bucket.place(f"{prefix}{name}"), tmp_path) for name in ("", "-more"))
    one.insert_record("manifests/a.json", b"")
    assert list(other.record_names("")) == []
    assert other.insert_record("manifests/a.json", b"")


def test_of_many_who_insert_a_record_at_once_one_wins(store: S3Store) -> None:
    with ThreadPoolExecutor(8) as writers:
        for turn in range(5):
            name, contents = f"models/x/{turn}.json", [b"%d" % writer for writer in range(8)]
            won = list(writers.map(lambda content, name=name: store.insert_record(name, content), contents))
            assert [content for content, first in zip(contents, won, strict=True) if first] == [store.read_record(name)]


def test_what_strangers_keep_beside_our_records_is_no_record(store: S3Store, bucket: Bucket, prefix: str) -> None:
    for key in ("manifests/.hidden", "manifests/with space", "blobs/readme", "manifests//x"):
        bucket.client.put_object(Bucket=bucket.name, Key=f"{prefix}/{key}", Body=b"")
    store.insert_record("manifests/a.json", b"")
    assert list(store.record_names("")) == list(store.record_names("manifests/")) == ["manifests/a.json"]
    assert list(store.blobs()) == []


def test_bytes_that_change_while_they_are_uploaded_in_parts_leave_nothing(
    store: S3Store, bucket: Bucket, prefix: str, large: Path
) -> None:
    file = stored("plan", LARGE)
    large.write_bytes(LARGE[:-1] + b"!")
    with pytest.raises(Untrusted, match=file.sha256):
        store.put_blob(large, file, SilentProgress())
    assert not store.has_blob(file)
    assert uploads(bucket, prefix) == []


def test_sweeping_aborts_old_uploads_and_spares_young_ones(
    bucket: Bucket, prefix: str, tmp_path: Path, source: Path
) -> None:
    name = f"{prefix}/{blob_name('ab' * 32)}"
    bucket.client.create_multipart_upload(Bucket=bucket.name, Key=name)
    assert s3_store(bucket.place(prefix), tmp_path).sweep(3600) == 0
    assert len(uploads(bucket, prefix)) == 1
    tomorrow = s3_store(bucket.place(prefix), tmp_path, clock=lambda: time.time() + 86400)
    assert tomorrow.sweep(3600) == 1
    assert uploads(bucket, prefix) == []


def test_an_old_blob_that_is_put_again_is_as_good_as_new_and_a_young_one_keeps_its_time(
    bucket: Bucket, prefix: str, tmp_path: Path, source: Path
) -> None:
    file = put(s3_store(bucket.place(prefix), tmp_path), source)
    times = []
    for hours in (0, 5, 7):
        store = s3_store(bucket.place(prefix), tmp_path, clock=lambda hours=hours: time.time() + hours * 3600)
        time.sleep(1.1)  # S3 counts whole seconds
        store.put_blob(source, file, SilentProgress())
        times += [blob.modified for blob in store.blobs()]
    assert times[0] == times[1] < times[2]
    assert fetched(store, file, tmp_path) == SMALL


def test_a_damaged_blob_is_never_handed_out_and_is_healed_when_asked(
    store: S3Store, bucket: Bucket, prefix: str, source: Path, tmp_path: Path
) -> None:
    file = put(store, source)
    key = f"{prefix}/{blob_name(file.sha256)}"
    for damaged in (SMALL[:-1] + b"!", SMALL[:-1], b""):
        bucket.client.put_object(Bucket=bucket.name, Key=key, Body=damaged)
        with pytest.raises(Untrusted):
            store.fetch_blob(file, tmp_path / "back", SilentProgress())
        assert not (tmp_path / "back").exists()
        assert drafts_under(tmp_path) == []
        assert list((tmp_path / "store" / "partial").iterdir()) == []
        store.put_blob(source, file, SilentProgress(), heal=True)
        assert fetched(store, file, tmp_path) == SMALL
        (tmp_path / "back").unlink()


def test_a_store_that_is_only_read_is_never_written_to(
    bucket: Bucket, prefix: str, tmp_path: Path, source: Path
) -> None:
    writer = s3_store(bucket.place(prefix), tmp_path)
    file = put(writer, source)
    writer.insert_record("manifests/a.json", b"{}")
    reader = s3_store(bucket.place(prefix, readonly=1), tmp_path)
    assert fetched(reader, file, tmp_path) == SMALL
    for write in (
        lambda: reader.put_blob(source, file, SilentProgress()),
        lambda: reader.remove_blob(file.sha256),
        lambda: reader.insert_record("b", b""),
        lambda: reader.replace_record("b", b""),
        lambda: reader.delete_record("manifests/a.json"),
    ):
        with pytest.raises(UsageError, match="only read"):
            write()


def test_curl_fetches_a_blob_by_its_url_and_nobody_without(store: S3Store, source: Path, tmp_path: Path) -> None:
    file = put(store, source)
    url = store.blob_url(file, 60)
    subprocess.run(["curl", "-fsS", "-o", tmp_path / "back", url], check=True)
    assert (tmp_path / "back").read_bytes() == SMALL
    assert subprocess.run(["curl", "-fsS", url.partition("?")[0]], capture_output=True, check=False).returncode == 22


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), 8 * 86400])
def test_a_url_is_valid_for_a_second_to_a_week(store: S3Store, seconds: float) -> None:
    with pytest.raises(UsageError):
        store.blob_url(stored("plan", SMALL), seconds)


@pytest.mark.parametrize("size", [0, 1, PART, 100 * PART, 160 << 30, 5 << 40])
def test_parts_are_as_many_and_as_large_as_s3_takes(size: int) -> None:
    part = part_size(size)
    assert PART <= part <= 5 << 30
    assert part % (1 << 20) == 0
    assert -(-size // part) <= 10_000


def test_what_is_forbidden_is_absent_if_the_list_says_so_and_may_have_come_meanwhile(bucket: Bucket) -> None:
    asked = S3Bucket(parse_bucket(bucket.place("late")))
    refusal = ClientError({"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {}}, "GetObject")  # type: ignore[typeddict-item]
    refusals = [refusal]

    def request() -> str:
        if refusals:
            raise refusals.pop()
        return "answer"

    assert asked.asked_for("there", request) is None
    asked.client.put_object(**asked.at("there"), Body=b"")
    refusals.append(refusal)
    assert asked.asked_for("there", request) == "answer"
    # What begins like it isn't it.
    refusals.append(refusal)
    assert asked.asked_for("the", request) is None
    refusals += [refusal, refusal]
    with pytest.raises(ClientError):
        asked.asked_for("there", request)
