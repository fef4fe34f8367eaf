"""The S3 server of a test run: the one that TRTREG_TEST_S3 names, or one that is started and shared by all workers."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from services import ceph
from services.ceph import S3Server


@contextmanager
def some_server(shared: Path) -> Iterator[S3Server]:
    """A server for this worker's tests; `shared` is a folder of this run. Skips where there is none to be had."""
    if given := os.environ.get("TRTREG_TEST_S3"):
        yield S3Server(
            http=given,
            https=os.environ.get("TRTREG_TEST_S3_TLS", ""),
            authority=os.environ.get("TRTREG_TEST_S3_CA", ""),
            access_key=os.environ.get("AWS_ACCESS_KEY_ID", ceph.ACCESS_KEY),
            secret_key=os.environ.get("AWS_SECRET_ACCESS_KEY", ceph.SECRET_KEY),
            folder=os.environ.get("TRTREG_TEST_S3_FOLDER", ""),
            kms_key=os.environ.get("TRTREG_TEST_S3_KMS", ""),
        )
        return
    if absent := ceph.missing():
        pytest.skip(
            f"no S3 server: {', '.join(absent)} not installed; see tests/services/ceph.py, or set TRTREG_TEST_S3"
        )
    yield from _started_once(shared / "ceph", shared / "ceph-users")


def _started_once(folder: Path, users: Path) -> Iterator[S3Server]:
    """The first worker to come starts it, the last to leave ends it."""
    with _counted(users) as count:
        server = (
            ceph.start(folder) if count.value == 0 else S3Server(**json.loads((folder / "server.json").read_text()))
        )
        count.value += 1
    try:
        yield server
    finally:
        with _counted(users) as count:
            count.value -= 1
            if count.value == 0:
                ceph.stop(folder)
                # pytest keeps the folders of three runs, and gigabytes may be in this one.
                shutil.rmtree(folder, ignore_errors=True)


class _Count:
    value = 0


@contextmanager
def _counted(path: Path) -> Iterator[_Count]:
    with path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        count = _Count()
        count.value = int(file.read() or 0)
        yield count
        file.truncate(0)
        file.write(str(count.value))


def client_of(server: S3Server) -> Any:
    """boto3's client, for what tests do beside the store."""
    return boto3.session.Session(
        aws_access_key_id=server.access_key, aws_secret_access_key=server.secret_key, region_name="us-east-1"
    ).client(
        "s3", endpoint_url=server.http, config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 8})
    )


@contextmanager
def bucket_at(server: S3Server, name: str) -> Iterator[str]:
    """A bucket for the length of the block."""
    client = client_of(server)
    client.create_bucket(Bucket=name)
    try:
        yield name
    finally:
        empty(client, name)
        client.delete_bucket(Bucket=name)
        client.close()


def empty(client: Any, bucket: str) -> None:
    """Remove everything from it, uploads under way included."""
    for page in client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket):
        for upload in page.get("Uploads", []):
            client.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for found in page.get("Contents", []):
            client.delete_object(Bucket=bucket, Key=found["Key"])
