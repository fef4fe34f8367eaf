"""An object's bytes in their order, however often the connection breaks: by one stream, or by several ranges at once.

Near, one stream is the fastest that was measured, and takes the least memory. Far away, one connection may not fill
the line: several fetch segments ahead, which are handed on in their order, so that in either case what is on the disk
is the beginning of the file, and can be continued after any crash.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from threading import Event
from typing import TYPE_CHECKING, Any

from botocore import exceptions as boto
from urllib3.exceptions import HTTPError

from trtreg.core.layout import RECORD_LIMIT
from trtreg.errors import NotFound, Unreachable, Untrusted
from trtreg.storage.names import require_record_size
from trtreg.storage.s3_refusals import code_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from concurrent.futures import Future

    from botocore.response import StreamingBody
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef

    from trtreg.core.files import StoredFile
    from trtreg.storage.s3_bucket import Bucket

PIECE = 256 << 10
"""Bytes that are read at a time. Each piece is memory anew, and the allocator gives larger ones back to the system in
between: with 1 MiB, the kernel's time was three times that of all else."""
SEGMENT = 8 << 20
"""Bytes of one range. With 16 ranges and two segments more in hand, 144 MiB are in memory at most."""
_FEW = 4 * SEGMENT
"""Bytes below which more connections cost more than they bring."""
_LONGEST_PAUSE = 20.0
_BROKEN = (boto.IncompleteReadError, boto.ReadTimeoutError, boto.ResponseStreamingError, boto.HTTPClientError)


class _OtherSize(Exception):
    """The object has that many bytes, or so it seems."""


class Source:
    """One blob in a bucket, as something to read from.

    sleep  waits so many seconds before a broken stream is picked up
    """

    def __init__(
        self, bucket: Bucket, name: str, file: StoredFile, *, sleep: Callable[[float], object] = time.sleep
    ) -> None:
        self._bucket, self._name, self._file, self._sleep = bucket, name, file, sleep

    def pieces(self, start: int) -> Generator[bytes | memoryview]:
        """The bytes from `start` on. Raises NotFound, Untrusted for another size, Unreachable."""
        size = self._file.size
        if self._bucket.is_near or size - start < _FEW:
            return self._stream(start, size)
        return self._in_ranges(start, size)

    def _in_ranges(self, start: int, stop: int) -> Generator[bytes | memoryview]:
        beginnings = iter(range(start, stop, SEGMENT))
        under_way: deque[Future[bytearray]] = deque()
        ranges, given_up = self._bucket.place.ranges, Event()
        pool = ThreadPoolExecutor(ranges, thread_name_prefix="trtreg-range")
        try:
            for begin in beginnings:
                under_way.append(pool.submit(self._segment, begin, min(begin + SEGMENT, stop), given_up))
                # One more than there are connections, so that none waits for the disk.
                if len(under_way) > ranges:
                    yield from _in_pieces(under_way.popleft().result())
            while under_way:
                yield from _in_pieces(under_way.popleft().result())
        finally:
            given_up.set()
            pool.shutdown(cancel_futures=True)

    def _segment(self, begin: int, end: int, given_up: Event) -> bytearray:
        content, filled = bytearray(end - begin), 0
        with closing(self._stream(begin, end)) as stream:
            for piece in stream:
                content[filled : filled + len(piece)] = piece
                filled += len(piece)
                if given_up.is_set():
                    break
        return content

    def _stream(self, start: int, stop: int) -> Generator[bytes | memoryview]:
        """From one connection at a time; each picks up where the last one broke."""
        at, patience, is_other = start, Patience(self._bucket.place.retries, self._sleep), False
        while True:
            try:
                with self._opened(at, stop) as body:
                    while piece := body.read(min(PIECE, stop - at) or PIECE):
                        at += len(piece)
                        patience.renew()
                        yield piece
                if at >= stop:
                    return
                reason: object = "the connection ended too early"
            except _OtherSize as other:
                # Where a connection ends within the headers, the last of their numbers loses its end.
                if is_other:
                    raise self._of_another_size(str(other)) from None
                reason, is_other = f"the answer told of {other} bytes", True
            except (*_BROKEN, HTTPError, OSError) as error:
                reason = error
            if not patience.has_more():
                raise Unreachable(
                    f"can't read {self._name} to its end: {self._bucket.described()}: the connection broke "
                    f"{patience.spent} times at byte {at} of {self._file.size}: {reason}",
                    hint="run it again: what has come is kept, and continued",
                )
            patience.wait()

    @contextmanager
    def _opened(self, start: int, stop: int) -> Iterator[StreamingBody]:
        """The object's bytes from `start` on, as far as `stop` at least."""
        size = self._file.size
        whole = start == 0 and stop == size
        wanted: Any = {} if whole else {"Range": f"bytes={start}-{stop - 1}"}
        client = self._bucket.client
        with self._bucket.asking(f"read {self._name}"):
            try:
                answer = self._bucket.asked_for(
                    self._name, lambda: client.get_object(**self._bucket.at(self._name), **wanted)
                )
            except boto.ClientError as error:
                if code_of(error) in ("InvalidRange", "416"):
                    raise _OtherSize("fewer") from None
                raise
        if answer is None:
            raise self._missing()
        body = answer["Body"]
        try:
            told = answer.get("ContentRange", "")
            total = told.rpartition("/")[2] if told else answer.get("ContentLength", "unknown")
            if str(total) != str(size):
                raise _OtherSize(total)
            if not told:
                # It answers with the whole whatever is asked for: what comes before is let pass.
                _skip(body, start)
            yield body
        finally:
            body.close()

    def _missing(self) -> NotFound:
        file = self._file
        return NotFound(
            f"{self._bucket.described()} has no blob {file.sha256} ({file.name}, {file.size} bytes)",
            hint="build the engine again, or copy the blob from a store that has it",
        )

    def _of_another_size(self, found: str) -> Untrusted:
        return Untrusted(
            f"{self._name} has {found} bytes where {self._file.name} has {self._file.size}",
            hint=f"the blob is damaged: remove it from {self._bucket.described()}, then build again",
        )


class Patience:
    """How often something may fail in a row, and how long to wait in between: longer each time, and never in step
    with others who wait for the same server."""

    def __init__(self, most: int, sleep: Callable[[float], object]) -> None:
        self._most, self._sleep = most, sleep
        self.spent = 0

    def renew(self) -> None:
        """It went on."""
        self.spent = 0

    def has_more(self) -> bool:
        """Count one more failure; whether to try again."""
        self.spent += 1
        return self.spent <= self._most

    def wait(self) -> None:
        """Before the next attempt."""
        longest = min(_LONGEST_PAUSE, 0.25 * 2**self.spent)
        self._sleep(random.uniform(0.0, longest))  # noqa: S311 - no secret


def read_whole(bucket: Bucket, name: str, sleep: Callable[[float], object]) -> bytes:
    """A small object, asked for again if the connection breaks or damages it. Raises ClientError; Untrusted for one
    that is larger than any record.

    Nothing else vouches for a record: its MD5, which servers tell as its ETag, tells of damage on the way. Where they
    tell something else, two readings must agree.
    """
    patience = Patience(bucket.place.retries, sleep)
    before: bytes | None = None
    while True:
        answer = bucket.client.get_object(**bucket.at(name))
        try:
            with closing(answer["Body"]) as body:
                require_record_size(name, answer.get("ContentLength", 0), bucket.described())
                content = body.read(RECORD_LIMIT + 1)
                require_record_size(name, len(content), bucket.described())
            reason: object = "the answer ended too early"
            if len(content) == answer.get("ContentLength"):
                if content == before or _is_as_told(content, answer):
                    return content
                first = before is None
                before, reason = content, "the bytes were damaged on the way"
                if first:
                    continue
        except (*_BROKEN, HTTPError, OSError) as error:
            reason = error
        if not patience.has_more():
            raise Unreachable(
                f"can't read {name}: {bucket.described()}: {patience.spent} attempts failed: {reason}", hint="try again"
            )
        patience.wait()


def _is_as_told(content: bytes, answer: GetObjectOutputTypeDef) -> bool:
    if str(answer.get("ServerSideEncryption", "")).startswith("aws:kms"):
        return True
    return answer.get("ETag", "").strip('"') == hashlib.md5(content, usedforsecurity=False).hexdigest()


def _in_pieces(segment: bytearray) -> Iterator[memoryview]:
    # Hashing and writing little at a time finds it in the processor's cache.
    view = memoryview(segment)
    for begin in range(0, len(segment), PIECE):
        yield view[begin : begin + PIECE]


def _skip(body: StreamingBody, count: int) -> None:
    while count and (piece := body.read(min(PIECE, count))):
        count -= len(piece)
