"""Putting a blob into a bucket: in parts, several at a time, hashed on the way, and complete only if the hash is right.

What a killed process has uploaded is continued: its parts are compared with the file by their MD5, which is what an
S3 server calls them. Two that upload the same blob at once may meet in one upload. They can't do harm to one another,
since the name stands for the content, but the one may find that the other has finished or given up; it begins anew.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import cycle
from typing import TYPE_CHECKING, TypeVar, cast

from botocore import exceptions as boto

from trtreg.errors import Unreachable, Untrusted
from trtreg.storage.s3_download import Patience
from trtreg.storage.s3_refusals import DAMAGED_ON_THE_WAY, FORBIDDEN, NO_UPLOAD, UNKNOWN_HERE, code_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from concurrent.futures import Future
    from io import FileIO
    from pathlib import Path

    from trtreg.core.files import StoredFile
    from trtreg.interfaces import Progress
    from trtreg.storage.s3_bucket import Bucket

T = TypeVar("T")

PART = 16 << 20
"""Bytes. Larger ones were not faster."""
_MOST_PARTS = 10_000
_AT_ONCE = 4
_IN_MEMORY = _AT_ONCE + 1
"""Parts: those that are being sent, and the one that is read and hashed meanwhile."""
_WITHOUT_PARTS = PART
_ATTEMPTS = 3
_CHANGED = "it changed while it was being stored; try again"


class _Gone(Exception):
    """The upload was completed or given up by another process."""


class Upload:
    """One file on its way into a bucket.

    sleep  waits so many seconds before something is tried again
    """

    def __init__(
        self, bucket: Bucket, name: str, file: StoredFile, *, sleep: Callable[[float], object] = time.sleep
    ) -> None:
        self._bucket, self._name, self._file, self._sleep = bucket, name, file, sleep
        self._part = part_size(file.size)

    def run(self, source: Path, progress: Progress) -> None:
        """Raises Untrusted, and leaves nothing, unless the bytes of `source` are the file's; Unreachable."""
        with source.open("rb", buffering=0) as content:
            size = source.stat().st_size
            if size != self._file.size:
                raise Untrusted(
                    f"{source} has {size} bytes where {self._file.name} has {self._file.size}", hint=_CHANGED
                )
            if size <= _WITHOUT_PARTS:
                self._put_at_once(content, progress)
            else:
                self._put_in_parts(content, progress)
        self._require_arrival()

    def _put_at_once(self, content: FileIO, progress: Progress) -> None:
        body = content.read()
        self._require_right(hashlib.sha256(body), content)
        with self._bucket.asking(f"write {self._name}"):
            answer = self._repeatedly(
                lambda: self._bucket.client.put_object(
                    **self._bucket.at(self._name), Body=body, **self._bucket.encryption
                )
            )
        self._bucket.require_encryption(self._name, answer)
        progress.advance(len(body), self._file.size)

    def _put_in_parts(self, content: FileIO, progress: Progress) -> None:
        for attempt in range(_ATTEMPTS):
            content.seek(0)
            there = self._begun_before() if attempt == 0 else {}
            upload, parts = next(iter(there.items())) if there else (self._begin(), {})
            try:
                self._send(upload, parts, content, progress)
            except _Gone:
                if self._bucket.head(self._name) is not None:
                    return
            except Unreachable:
                # Left to be continued by the next attempt, today's or a sweep's.
                raise
            except BaseException:
                self.abort(upload)
                raise
            else:
                return
        raise Unreachable(
            f"can't write {self._name}: {self._bucket.described()}: others gave the same upload up {_ATTEMPTS} times",
            hint="try again",
        )

    def abort(self, upload: str) -> None:
        """Have the server forget the parts. What can't be, `sweep` does later."""
        with suppress(boto.ClientError, boto.BotoCoreError):
            self._bucket.client.abort_multipart_upload(**self._bucket.at(self._name), UploadId=upload)

    def _begin(self) -> str:
        with self._bucket.asking(f"begin to write {self._name}"):
            answer = self._bucket.client.create_multipart_upload(
                **self._bucket.at(self._name), **self._bucket.encryption
            )
        try:
            self._bucket.require_encryption(self._name, answer)
        except Unreachable:
            self.abort(answer["UploadId"])
            raise
        return answer["UploadId"]

    def _begun_before(self) -> Mapping[str, Mapping[int, str]]:
        """The upload of this blob that has come farthest, with the ETags of its parts of our size; or none.

        Whoever may write needn't be allowed to see uploads: then everything is sent.
        """
        found: dict[str, dict[int, str]] = {}
        with self._bucket.asking(f"look for uploads of {self._name}"):
            try:
                for page in self._bucket.pages("list_multipart_uploads", Prefix=self._bucket.key(self._name)):
                    for upload in page.get("Uploads", []):
                        found[upload["UploadId"]] = self._parts_there(upload["UploadId"])
            except boto.ClientError as error:
                if code_of(error) not in FORBIDDEN | UNKNOWN_HERE | NO_UPLOAD:
                    raise
                return {}
        farthest = max(found, key=lambda upload: len(found[upload]), default=None)
        return {} if farthest is None or not found[farthest] else {farthest: found[farthest]}

    def _parts_there(self, upload: str) -> dict[int, str]:
        pages = self._bucket.pages("list_parts", Key=self._bucket.key(self._name), UploadId=upload)
        parts = [part for page in pages for part in page.get("Parts", [])]
        return {p["PartNumber"]: p["ETag"] for p in parts if p["Size"] == self._size_of(p["PartNumber"])}

    def _send(self, upload: str, there: Mapping[int, str], content: FileIO, progress: Progress) -> None:
        """Send what isn't there, hash everything, and complete the upload if the hash is right."""
        digest, tags, done = hashlib.sha256(), {}, 0
        under_way: deque[tuple[int, int, Future[str]]] = deque()
        pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="trtreg-part")

        def settle() -> None:
            nonlocal done
            number, size, sent = under_way.popleft()
            tags[number] = sent.result()
            done += size
            progress.advance(done, self._file.size)

        try:
            for number, body in self._parts(content):
                # Sent while it is hashed.
                sending = pool.submit(self._send_part, upload, number, body, there.get(number))
                under_way.append((number, len(body), sending))
                digest.update(body)
                if len(under_way) > _AT_ONCE:
                    settle()
            while under_way:
                settle()
        finally:
            pool.shutdown(cancel_futures=True)
        self._require_right(digest, content)
        self._complete(upload, tags)

    def _parts(self, content: FileIO) -> Iterator[tuple[int, bytearray]]:
        """The parts by number. Each lies where the one `_IN_MEMORY` before it lay."""
        # Memory that is new to the process costs about as much as reading the file does.
        buffers = cycle([bytearray(self._part) for _ in range(_IN_MEMORY)])
        for number, buffer in enumerate(buffers, start=1):
            filled = _fill(buffer, content)
            if filled:
                yield number, buffer if filled == len(buffer) else buffer[:filled]
            if filled < len(buffer):
                return

    def _send_part(self, upload: str, number: int, body: bytearray, there: str | None) -> str:
        """The part's ETag."""
        if there is not None and there.strip('"') == hashlib.md5(body, usedforsecurity=False).hexdigest():
            return there
        with self._bucket.asking(f"write part {number} of {self._name}"):
            try:
                return self._repeatedly(
                    lambda: self._bucket.client.upload_part(
                        **self._bucket.at(self._name),
                        UploadId=upload,
                        PartNumber=number,
                        # botocore takes a bytearray, too; its types don't know it.
                        Body=cast("bytes", body),
                    )["ETag"]
                )
            except boto.ClientError as error:
                if code_of(error) in NO_UPLOAD:
                    raise _Gone from None
                raise

    def _complete(self, upload: str, tags: Mapping[int, str]) -> None:
        parts = [{"PartNumber": number, "ETag": tag} for number, tag in sorted(tags.items())]
        with self._bucket.asking(f"complete {self._name}"):
            try:
                self._bucket.client.complete_multipart_upload(
                    **self._bucket.at(self._name),
                    UploadId=upload,
                    MultipartUpload={"Parts": parts},  # type: ignore[typeddict-item]
                )
            except boto.ClientError as error:
                # Ceph, asked to complete what was just given up, first fails and then says that it is at it.
                if code_of(error) in NO_UPLOAD | {"InvalidPart"} or not self._has_parts(upload, tags):
                    raise _Gone from None
                raise

    def _has_parts(self, upload: str, tags: Mapping[int, str]) -> bool:
        """Whether the server still has these parts; True if it can't be found out."""
        try:
            return self._parts_there(upload).keys() >= tags.keys()
        except boto.ClientError as error:
            return code_of(error) not in NO_UPLOAD

    def _repeatedly(self, request: Callable[[], T]) -> T:
        """Botocore repeats what got lost on the way; what got damaged it takes for our fault."""
        patience = Patience(self._bucket.place.retries, self._sleep)
        while True:
            try:
                return request()
            except boto.ClientError as error:
                if code_of(error) not in DAMAGED_ON_THE_WAY or not patience.has_more():
                    raise
            patience.wait()

    def _size_of(self, number: int) -> int:
        return min(self._part, self._file.size - (number - 1) * self._part)

    def _require_right(self, digest: hashlib._Hash, content: FileIO) -> None:
        file, found = self._file, digest.hexdigest()
        if found != file.sha256:
            raise Untrusted(
                f"{content.name!s} has the SHA-256 {found} where {file.name} has {file.sha256}", hint=_CHANGED
            )

    def _require_arrival(self) -> None:
        """Servers have been seen to accept what they don't keep."""
        there = self._bucket.head(self._name)
        if there is None or there["ContentLength"] != self._file.size:
            found = "nothing" if there is None else f"{there['ContentLength']} bytes"
            raise Unreachable(
                f"{self._bucket.described()} has {found} under {self._name} after {self._file.size} bytes were written",
                hint="trtreg doctor --store looks at what the server can do",
            )


def _fill(buffer: bytearray, content: FileIO) -> int:
    """How many bytes of `content` went into `buffer`: fewer than fit only at the end."""
    view, filled = memoryview(buffer), 0
    while filled < len(buffer) and (count := content.readinto(view[filled:])):
        filled += count
    return filled


def part_size(size: int) -> int:
    """Bytes of each part but the last one, of a file of `size` bytes: the same for everybody who uploads it."""
    mebibyte = 1 << 20
    least = -(-size // _MOST_PARTS)
    return max(PART, -(-least // mebibyte) * mebibyte)
