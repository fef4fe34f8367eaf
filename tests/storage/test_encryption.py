"""Encryption at rest, on a real server with keys of its own (SSE-KMS): what is asked for is done, or it is an error."""

from __future__ import annotations

import hashlib
import os
import ssl
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest

from conftest import Bucket
from services.s3 import client_of
from storage.conftest import s3_store
from trtreg.core.files import StoredFile
from trtreg.core.layout import blob_name
from trtreg.errors import Unreachable
from trtreg.silence import SILENT
from trtreg.storage.s3_upload import PART

LATER = 7 * 3600.0


@pytest.fixture
def tls(bucket: Bucket) -> Bucket:
    if not (bucket.server.https and bucket.server.kms_key):
        pytest.skip("TRTREG_TEST_S3_KMS and TRTREG_TEST_S3_TLS don't name a server's key for encryption")
    return bucket


def place(bucket: Bucket, **options: object) -> str:
    return bucket.place(f"sse/{os.urandom(4).hex()}", endpoint=bucket.server.https, **options)


def blob(path: Path, size: int) -> StoredFile:
    path.write_bytes(os.urandom(size))
    return StoredFile("engine.plan", size, hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.mark.parametrize("size", [1000, PART + 1000])
def test_with_a_key_of_the_servers_all_is_encrypted_and_comes_back(tls: Bucket, tmp_path: Path, size: int) -> None:
    where = place(tls, sse="aws:kms", sse_kms_key_id=tls.server.kms_key)
    store, file = s3_store(where, tmp_path), blob(tmp_path / "plan", size)
    store.put_blob(tmp_path / "plan", file, SILENT)
    assert store.insert_record("models/a/00000001.json", b"{}")
    assert not store.insert_record("models/a/00000001.json", b"{ }")
    store.replace_record("condemned.json", b"{}")
    prefix = where.partition("?")[0].removeprefix(f"s3://{tls.name}/")
    for name in (blob_name(file.sha256), "models/a/00000001.json", "condemned.json"):
        # Over plain HTTP the server doesn't even tell whether it is there.
        head = client_of(replace(tls.server, http=tls.server.https)).head_object(
            Bucket=tls.name, Key=f"{prefix}/{name}"
        )
        assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", tls.server.kms_key)

    # Who reads says nothing of it.
    reader = s3_store(where.partition("&")[0], tmp_path)
    reader.fetch_blob(file, tmp_path / "fetched", SILENT)
    assert (tmp_path / "fetched").read_bytes() == (tmp_path / "plan").read_bytes()
    assert reader.read_record("models/a/00000001.json") == b"{}"
    trusted = ssl.create_default_context(cafile=tls.server.authority)
    with urllib.request.urlopen(reader.blob_url(file, 60), context=trusted, timeout=30) as answer:
        assert hashlib.sha256(answer.read()).hexdigest() == file.sha256


def test_an_old_encrypted_blob_counts_as_new_where_the_server_copies_none(tls: Bucket, tmp_path: Path) -> None:
    where = place(tls, sse="aws:kms", sse_kms_key_id=tls.server.kms_key)
    file = blob(tmp_path / "plan", 1000)
    s3_store(where, tmp_path).put_blob(tmp_path / "plan", file, SILENT)
    [before] = s3_store(where, tmp_path).blobs()
    time.sleep(1.1)  # The server tells seconds.
    s3_store(where, tmp_path, clock=lambda: time.time() + LATER).put_blob(tmp_path / "plan", file, SILENT)
    [after] = s3_store(where, tmp_path).blobs()
    assert after.modified > before.modified


@pytest.mark.parametrize("size", [1000, PART + 1000])
def test_what_the_server_takes_and_does_not_encrypt_is_an_error(tls: Bucket, tmp_path: Path, size: int) -> None:
    store, file = s3_store(place(tls, sse="AES256"), tmp_path), blob(tmp_path / "plan", size)
    with pytest.raises(Unreachable, match="by nothing where sse=AES256 was asked for"):
        store.put_blob(tmp_path / "plan", file, SILENT)
    with pytest.raises(Unreachable, match="by nothing where sse=AES256 was asked for"):
        store.insert_record("models/a/00000001.json", b"{}")


def test_a_key_that_the_server_does_not_know_is_told_as_that(tls: Bucket, tmp_path: Path) -> None:
    store = s3_store(place(tls, sse="aws:kms", sse_kms_key_id="unknown"), tmp_path)
    with pytest.raises(Unreachable, match="can't be encrypted") as refused:
        store.insert_record("models/a/00000001.json", b"{}")
    assert "sse_kms_key_id=" in refused.value.hint


def test_a_server_that_encrypts_over_tls_alone_is_told_as_that(tls: Bucket, tmp_path: Path) -> None:
    plain = tls.place("sse/http", sse="aws:kms", sse_kms_key_id=tls.server.kms_key)
    with pytest.raises(Unreachable, match="takes no such request") as refused:
        s3_store(plain, tmp_path).insert_record("models/a/00000001.json", b"{}")
    assert "https" in refused.value.hint
