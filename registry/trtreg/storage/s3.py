"""The store in a bucket: on AWS, Ceph, MinIO or any server that speaks S3. `core.layout` names the objects.

Blobs are named by their content, so that two writers of one can't disagree. Records are written only where there is
none by looking first, and then by a conditional write, which decides between those who looked at the same time. Where
a server doesn't know conditional writes, or accepts and ignores them, the look alone decides: an earlier record is
never overwritten, but of two that are inserted within the same moment both writers may believe to be first, and
the later one stays. `trtreg doctor --store` tells which servers do so.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

from trtreg.core.digest import is_digest
from trtreg.core.files import REFRESHED_AFTER, StoredBlob
from trtreg.core.layout import BLOBS, blob_name
from trtreg.errors import Unreachable, Untrusted, UsageError
from trtreg.storage.hashing import hash_through
from trtreg.storage.names import is_record_name, require_record_name, require_record_prefix, require_writable
from trtreg.storage.partial import Partial, begun, sweep_partials
from trtreg.storage.reaching import reaching
from trtreg.storage.s3_bucket import Bucket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef

    from trtreg.core.files import StoredFile
    from trtreg.interfaces import Progress
    from trtreg.storage.s3_download import Source
    from trtreg.storage.s3_place import BucketPlace

_HELD = 16
"""Pieces of a download, of 256 KiB, that wait to be hashed and written."""
_COPIED_AT_MOST = 5 << 30
"""Bytes that a server copies in one request."""
_COLLISIONS = 8
_FORGOTTEN = 7 * 86400.0
"""Seconds after which nobody comes back for an interrupted download."""
_LONGEST_URL = 7 * 86400


class S3Store:
    """A store at `place`. Nothing is asked of the server, nor boto3 imported, before it is needed.

    partials  folder of this machine where interrupted downloads wait to be continued; without one, none is
    clock     gives the seconds since 1970
    sleep     waits so many seconds before something is tried again
    """

    remote = True
    is_partial = False

    def __init__(
        self,
        place: BucketPlace,
        *,
        partials: Path | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.location = str(place)
        self.identities: tuple[str, ...] = (place.identity,)
        self._place, self._partials, self._clock, self._sleep = place, partials, clock, sleep
        self._bucket = Bucket(place)
        self._conditions_known = True

    # --- blobs

    def has_blob(self, file: StoredFile) -> bool:
        there = self._bucket.head(blob_name(file.sha256))
        return there is not None and there["ContentLength"] == file.size

    def put_blob(self, source: Path, file: StoredFile, progress: Progress, *, heal: bool = False) -> None:
        self._require_writable()
        name = blob_name(file.sha256)
        there = self._bucket.head(name)
        present = there is not None and there["ContentLength"] == file.size
        if present and not (heal and self._is_damaged(file)) and self._refreshed(name, there):
            return
        from trtreg.storage.s3_upload import Upload

        with reaching(f"store {source} in {self.location}"):
            Upload(self._bucket, name, file, sleep=self._sleep).run(source, progress)

    def _is_damaged(self, file: StoredFile) -> bool:
        from trtreg.storage.s3_download import Source

        pieces = Source(self._bucket, blob_name(file.sha256), file, sleep=self._sleep).pieces(0)
        return hash_through(pieces, lambda _: None, size=file.size) != (file.sha256, file.size)

    def _refreshed(self, name: str, there: HeadObjectOutputTypeDef | None) -> bool:
        """Whether the blob counts as new; False if it must be put again for that."""
        if there is None or self._clock() - there["LastModified"].timestamp() <= REFRESHED_AFTER:
            return there is not None
        if there["ContentLength"] > _COPIED_AT_MOST:
            return False
        source = {"Bucket": self._place.bucket, "Key": self._bucket.key(name)}
        # The server copies the object onto itself: the same bytes, but a time of now.
        with suppress(Unreachable), self._bucket.asking(f"refresh {name}"):
            self._bucket.client.copy_object(
                **self._bucket.at(name),
                CopySource=source,  # type: ignore[arg-type]
                MetadataDirective="REPLACE",
                **self._bucket.encryption,
            )
            return True
        return False

    def fetch_blob(self, file: StoredFile, destination: Path, progress: Progress) -> None:
        from trtreg.storage.s3_download import Source

        name = blob_name(file.sha256)
        source = Source(self._bucket, name, file, sleep=self._sleep)
        with reaching(f"write {destination}"):
            if self._partials is not None:
                sweep_partials(self._partials, _FORGOTTEN, clock=self._clock)
            destination.parent.mkdir(parents=True, exist_ok=True)
            with begun(self._partials, file, destination) as partial:
                # What was begun elsewhere may be damaged; what comes over plain HTTP, too. Once more, from nothing.
                if self._complete(source, partial, file, progress) or self._complete(source, partial, file, progress):
                    partial.publish(destination)
                    return
        raise Untrusted(
            f"what {self.location} has as {name} isn't that: its SHA-256 is another",
            hint="the blob is damaged: remove it there, then build again or copy it from a store that has it",
        )

    def _complete(self, source: Source, partial: Partial, file: StoredFile, progress: Progress) -> bool:
        """Add to `partial` what it lacks; whether it is the file then. If not, it is empty afterwards."""
        digest = hashlib.sha256()
        for present in partial.present():
            digest.update(present)
        done = partial.size
        held: deque[Future[None]] = deque()

        def take(piece: bytes | memoryview) -> None:
            digest.update(piece)
            partial.add(piece)

        # Hashed and written aside, in its order, while the next piece comes.
        with ThreadPoolExecutor(1, thread_name_prefix="trtreg-hash") as aside:
            for piece in source.pieces(done) if done < file.size or not done else ():
                held.append(aside.submit(take, piece))
                if len(held) > _HELD:
                    held.popleft().result()
                done += len(piece)
                progress.advance(done, file.size)
            for taken in held:
                taken.result()
        progress.advance(done, file.size)
        if digest.hexdigest() == file.sha256:
            return True
        partial.empty()
        return False

    def remove_blob(self, sha256: str, *, untouched_since: float = math.inf) -> bool:
        """No server can be asked to delete what wasn't touched: between looking and deleting lies a round trip."""
        if not is_digest(sha256):
            raise UsageError(f"{sha256!r} is no SHA-256 of 64 lower-case hexadecimal digits")
        if untouched_since < math.inf:
            there = self._bucket.head(blob_name(sha256))
            if there is None or there["LastModified"].timestamp() >= untouched_since:
                return there is None
        self._delete(blob_name(sha256))
        return True

    def blobs(self) -> Iterator[StoredBlob]:
        """What is there, by SHA-256."""
        with self._bucket.asking("list the blobs"):
            for page in self._bucket.pages("list_objects_v2", Prefix=self._bucket.key(BLOBS)):
                for found in page.get("Contents", []):
                    digest = found["Key"].rpartition("/")[2]
                    if is_digest(digest) and self._bucket.name(found["Key"]) == blob_name(digest):
                        yield StoredBlob(digest, found["Size"], found["LastModified"].timestamp())

    def blob_url(self, file: StoredFile, seconds: float) -> str:
        """A URL that carries the right to read this one blob."""
        if not 1 <= seconds <= _LONGEST_URL:
            raise UsageError(f"a URL can't be valid for {seconds:g} seconds", hint=f"from 1 to {_LONGEST_URL} (7 days)")
        with self._bucket.asking(f"make a URL of {blob_name(file.sha256)}"):
            return self._bucket.client.generate_presigned_url(
                "get_object", Params=self._bucket.at(blob_name(file.sha256)), ExpiresIn=int(seconds)
            )

    # --- records

    def read_record(self, name: str) -> bytes | None:
        require_record_name(name)
        return self._read(name)

    def insert_record(self, name: str, content: bytes) -> bool:
        from botocore.exceptions import ClientError

        from trtreg.storage.s3_refusals import COLLIDED, TAKEN, UNKNOWN_HERE, code_of, retried

        require_writable(name, content)
        self._require_writable()
        for _ in range(_COLLISIONS):
            if self._bucket.head(name) is not None:
                return False
            condition = {"IfNoneMatch": "*"} if self._conditions_known else {}
            try:
                self._write(name, content, condition)
            except Unreachable as error:
                cause = error.__cause__
                if not isinstance(cause, ClientError):
                    raise
                if code_of(cause) in TAKEN:
                    # If an answer got lost and the request was repeated, it may be our own that is in the way.
                    return retried(cause) and self._read(name) == content
                if code_of(cause) in UNKNOWN_HERE and self._conditions_known:
                    self._conditions_known = False
                elif code_of(cause) not in COLLIDED:
                    raise
                continue
            # A server that ignores the condition may have had another's come after ours.
            return self._read(name) == content
        raise Unreachable(f"can't write {name}: {self.location}: others kept writing it", hint="try again")

    def replace_record(self, name: str, content: bytes) -> None:
        require_writable(name, content)
        self._require_writable()
        self._write(name, content, {})

    def delete_record(self, name: str) -> None:
        require_record_name(name)
        self._delete(name)

    def record_stamp(self, name: str) -> str:
        require_record_name(name)
        return ""

    def record_names(self, prefix: str) -> Iterator[str]:
        require_record_prefix(prefix)
        return self._names(prefix)

    def _names(self, prefix: str) -> Iterator[str]:
        # One walks around the blobs, which may be many, where the prefix would lead through them.
        around = {"Delimiter": "/"} if BLOBS.startswith(prefix) else {}
        with self._bucket.asking(f"list {prefix or 'all records'}"):
            for page in self._bucket.pages("list_objects_v2", Prefix=self._bucket.key(prefix), **around):
                folders = [folder["Prefix"] for folder in page.get("CommonPrefixes", [])]
                for key in sorted([*folders, *(found["Key"] for found in page.get("Contents", []))]):
                    name = self._bucket.name(key)
                    if name.endswith("/") and name != BLOBS:
                        yield from self._names(name)
                    elif is_record_name(name):
                        yield name

    # --- upkeep

    def sweep(self, older_than_seconds: float) -> int:
        """Abort the uploads that crashed writers left, and remove this machine's interrupted downloads."""
        before, count = self._clock() - older_than_seconds, 0
        with self._bucket.asking("list the uploads under way"):
            for page in self._bucket.pages("list_multipart_uploads", Prefix=self._bucket.key(BLOBS)):
                for upload in page.get("Uploads", []):
                    if upload["Initiated"].timestamp() < before:
                        self._abort(upload["Key"], upload["UploadId"])
                        count += 1
        if self._partials is not None:
            with reaching(f"sweep {self._partials}"):
                count += sweep_partials(self._partials, older_than_seconds, clock=self._clock)
        return count

    def _abort(self, key: str, upload: str) -> None:
        from botocore.exceptions import ClientError

        from trtreg.storage.s3_refusals import NO_UPLOAD, code_of

        try:
            self._bucket.client.abort_multipart_upload(Bucket=self._place.bucket, Key=key, UploadId=upload)
        except ClientError as error:
            if code_of(error) not in NO_UPLOAD:
                raise

    def _read(self, name: str) -> bytes | None:
        from trtreg.storage.s3_download import read_whole

        with self._bucket.asking(f"read {name}"):
            return self._bucket.asked_for(name, lambda: read_whole(self._bucket, name, self._sleep))

    def _write(self, name: str, content: bytes, condition: dict[str, str]) -> None:
        with self._bucket.asking(f"write {name}"):
            answer = self._bucket.client.put_object(
                **self._bucket.at(name),
                Body=content,
                **condition,  # type: ignore[arg-type]
                **self._bucket.encryption,
            )
        self._bucket.require_encryption(name, answer)

    def _delete(self, name: str) -> None:
        self._require_writable()
        with self._bucket.asking(f"delete {name}"):
            self._bucket.client.delete_object(**self._bucket.at(name))

    def _require_writable(self) -> None:
        if self._place.readonly:
            raise UsageError(f"the store {self.location} is only read here", hint="take readonly=1 out of its address")
