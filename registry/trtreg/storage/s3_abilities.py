"""What an S3 server can do: the requests that trtreg would like to make, one by one."""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from trtreg.errors import TrtregError, Unreachable
from trtreg.storage.abilities import Trial
from trtreg.storage.s3_bucket import Bucket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trtreg.storage.abilities import Found
    from trtreg.storage.s3_place import BucketPlace

_PART = 5 << 20
"""Bytes: the least that S3 takes as a part."""
_SKEW_ALLOWED = 900.0


def of_a_server(place: BucketPlace, *, clock: Callable[[], float] = time.time) -> tuple[list[Trial], list[Trial]]:
    """What comes before what every store should do, and what comes after it, which needs writing."""
    server = _Server(Bucket(place), clock)
    first = [
        Trial(
            name="reach",
            attempt=server.reached,
            so="engines can be read",
            else_="nothing works before this does",
            is_needed=True,
        ),
        Trial(
            name="clock",
            attempt=server.clock_agrees,
            so="requests are accepted",
            else_="requests are refused from 15 minutes on: set this machine's clock, best by NTP",
        ),
    ]
    return first, [
        Trial(
            name="conditional writes",
            attempt=server.condition_holds,
            so="who comes first is decided by the server",
            else_="who comes first is decided by looking before writing, which two at the same moment may both do",
        ),
        Trial(
            name="ranges",
            attempt=server.gives_ranges,
            so="interrupted downloads are continued, far ones come by several connections",
            else_="interrupted downloads begin again; set near=1",
        ),
        Trial(
            name="uploads in parts",
            attempt=server.takes_parts,
            so="files over 16 MiB can be stored",
            else_="only files up to 16 MiB can be stored",
        ),
        Trial(
            name="list uploads",
            attempt=server.lists_uploads,
            so="interrupted uploads are continued, and swept when they are old",
            else_="interrupted uploads begin again; let a lifecycle rule of the bucket abort them",
        ),
        Trial(
            name="copy onto itself",
            attempt=server.refreshes,
            so="an old blob that is needed again is refreshed in place",
            else_="an old blob that is needed again is uploaded again",
        ),
        Trial(
            name="presigned URLs",
            attempt=server.presigns,
            so="trtreg url works, for curl",
            else_="trtreg url gives what can't be fetched",
        ),
        Trial(
            name="checksums after the body",
            attempt=server.takes_trailing_checksums,
            so="checksums=when_supported can be set; trtreg checks SHA-256 in any case",
            else_="leave checksums=when_required, as it is by default",
        ),
    ]


class _Server:
    def __init__(self, bucket: Bucket, clock: Callable[[], float]) -> None:
        self._bucket, self._clock = bucket, clock
        self._folder = f"trials/{os.urandom(8).hex()}"

    def reached(self) -> Found:
        began = self._clock()
        with self._bucket.asking("list"):
            self._list_one()
        kind = "near: one connection" if self._bucket.is_near else f"far: {self._bucket.place.ranges} connections"
        return True, f"{self._bucket.described()}, {1e3 * (self._clock() - began):.0f} ms, {kind}"

    def _list_one(self) -> Any:
        # With the prefix: below it alone a reader may list.
        return self._bucket.client.list_objects_v2(
            Bucket=self._bucket.place.bucket, Prefix=self._bucket.key(""), MaxKeys=1
        )

    def clock_agrees(self) -> Found:
        with self._bucket.asking("ask for the time"):
            answer = self._list_one()
        told = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
        if told is None:
            return True, "the server doesn't tell its time"
        seconds = parsedate_to_datetime(told).timestamp() - self._clock()
        return abs(seconds) < _SKEW_ALLOWED, f"the server's is {seconds:+.0f} s from this machine's"

    def condition_holds(self) -> Found:
        from botocore.exceptions import ClientError

        from trtreg.storage.s3_refusals import TAKEN, code_of

        with self._object("condition", b"first") as at, self._bucket.asking("write on a condition"):
            try:
                self._bucket.client.put_object(**at, Body=b"second", IfNoneMatch="*")
            except ClientError as error:
                return code_of(error) in TAKEN, f"the second writer gets {code_of(error)}"
        return False, "accepted, and ignored: the second writer overwrites the first"

    def gives_ranges(self) -> Found:
        with self._object("range", b"0123456789") as at, self._bucket.asking("read a range"):
            answer = self._bucket.client.get_object(**at, Range="bytes=3-5")
            content = answer["Body"].read()
        return content == b"345", "as asked" if content == b"345" else f"{len(content)} bytes instead of 3"

    def takes_parts(self) -> Found:
        parts = [b"a" * _PART, b"end"]
        client, at = self._bucket.client, self._bucket.at(f"{self._folder}/parts")
        with self._bucket.asking("upload in parts"):
            upload = client.create_multipart_upload(**at, **self._bucket.encryption)["UploadId"]
            try:
                tags = [
                    client.upload_part(**at, UploadId=upload, PartNumber=number, Body=body)["ETag"]
                    for number, body in enumerate(parts, 1)
                ]
                done: Any = {"Parts": [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, 1)]}
                client.complete_multipart_upload(**at, UploadId=upload, MultipartUpload=done)
                size = client.head_object(**at)["ContentLength"]
            finally:
                self._remove(at, upload)
        md5 = [hashlib.md5(body, usedforsecurity=False).hexdigest() for body in parts]
        known = [tag.strip('"') for tag in tags] == md5
        seen = "their ETags are their MD5" if known else "their ETags aren't their MD5: they can't be continued"
        return size == sum(map(len, parts)), seen

    def lists_uploads(self) -> Found:
        client, at = self._bucket.client, self._bucket.at(f"{self._folder}/listed")
        with self._bucket.asking("list uploads"):
            upload = client.create_multipart_upload(**at)["UploadId"]
            try:
                pages = self._bucket.pages("list_multipart_uploads", Prefix=at["Key"])
                listed = any(found["UploadId"] == upload for page in pages for found in page.get("Uploads", []))
            finally:
                self._remove(at, upload)
        return listed, "listed at once" if listed else "one that was begun isn't listed"

    def refreshes(self) -> Found:
        with self._object("copied", b"x") as at, self._bucket.asking("copy"):
            source: Any = {"Bucket": at["Bucket"], "Key": at["Key"]}
            self._bucket.client.copy_object(**at, CopySource=source, MetadataDirective="REPLACE")
        return True, "accepted"

    def presigns(self) -> Found:
        from botocore.awsrequest import AWSRequest
        from botocore.httpsession import URLLib3Session
        from botocore.session import Session

        with self._object("presigned", b"presigned") as at, self._bucket.asking("fetch a presigned URL"):
            url = self._bucket.client.generate_presigned_url("get_object", Params=at, ExpiresIn=60)
            session = URLLib3Session(verify=Session().get_config_variable("ca_bundle") or True)
            answer = session.send(AWSRequest("GET", url).prepare())
        return answer.content == b"presigned", f"HTTP {answer.status_code}"

    def takes_trailing_checksums(self) -> Found:
        other = Bucket(replace(self._bucket.place, checksums="when_supported"))
        at = other.at(f"{self._folder}/checksum")
        try:
            with other.asking("write with a checksum"):
                other.client.put_object(**at, Body=b"x")
        finally:
            self._remove(at)
        over = "TLS, after the body" if other.client.meta.endpoint_url.startswith("https:") else "HTTP, in the headers"
        return True, f"accepted over {over}"

    @contextmanager
    def _object(self, name: str, content: bytes) -> Iterator[dict[str, Any]]:
        """An object of this content for the length of the block: its bucket and key."""
        at = self._bucket.at(f"{self._folder}/{name}")
        with self._bucket.asking("write"):
            self._bucket.client.put_object(**at, Body=content, **self._bucket.encryption)
        try:
            yield at
        finally:
            self._remove(at)

    def _remove(self, at: dict[str, Any], upload: str | None = None) -> None:
        # After a completed upload there is nothing to abort.
        if upload is not None:
            with suppress(Unreachable), self._bucket.asking("abort an upload"):
                self._bucket.client.abort_multipart_upload(**at, UploadId=upload)
        with suppress(TrtregError), self._bucket.asking("delete"):
            self._bucket.client.delete_object(**at)
