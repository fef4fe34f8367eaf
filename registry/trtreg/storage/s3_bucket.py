"""One bucket: its client, made when it is first needed, the names of objects in it, and its errors."""

from __future__ import annotations

import ipaddress
import socket
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from trtreg.errors import Unreachable, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef

    from trtreg.storage.s3_place import BucketPlace

T = TypeVar("T")

_making = Lock()
_CONNECTIONS = 24
"""At a time: 16 ranges, and the requests beside them."""


class Bucket:
    """What all requests to one store have in common. May be used by several threads."""

    def __init__(self, place: BucketPlace) -> None:
        self.place = place

    @cached_property
    def client(self) -> S3Client:
        """Raises UsageError where boto3 is missing or the settings can't be, Unreachable for what it refuses."""
        try:
            import boto3
        except ImportError:
            raise UsageError(f"the store {self.place} needs boto3", hint="pip install 'trtreg[s3]'") from None
        # boto3's sessions aren't made for being made in two threads at a time.
        with _making, self.asking("open the store"):
            session = boto3.session.Session(
                profile_name=self.place.profile or None, region_name=self.place.region or None
            )
            named, style = self.place.endpoint_url, self.place.path_style
            if style is None and named and not _is_aws(named):
                style = True
            client = self._client(session, path_style=style)
            # The server may be named by this machine's AWS settings.
            if style is None and not _is_aws(client.meta.endpoint_url):
                client = self._client(session, path_style=True)
            return client

    def _client(self, session: Any, *, path_style: bool | None) -> S3Client:
        from botocore import UNSIGNED
        from botocore.config import Config

        place = self.place
        s3: Any = {"addressing_style": {None: "auto", True: "path", False: "virtual"}[path_style]}
        if place.sign_payload is not None:
            s3["payload_signing_enabled"] = place.sign_payload
        client: S3Client = session.client(
            "s3",
            endpoint_url=place.endpoint_url or None,
            # A bucket on a server of one's own has no region, and botocore must sign with some.
            region_name=place.region or session.region_name or ("us-east-1" if place.endpoint_url else None),
            config=Config(
                signature_version=UNSIGNED if place.anonymous else "s3v4",
                s3=s3,
                retries={"mode": "standard", "total_max_attempts": place.retries + 1},
                connect_timeout=place.connect_timeout,
                read_timeout=place.read_timeout,
                tcp_keepalive=True,
                max_pool_connections=_CONNECTIONS,
                request_checksum_calculation=_checksums(place.checksums),
                response_checksum_validation=_checksums(place.checksums),
                user_agent_extra="trtreg",
            ),
        )
        return client

    @cached_property
    def is_near(self) -> bool:
        """Whether one connection fills the line, as to a server in the same room."""
        if self.place.near is not None:
            return self.place.near
        return _is_private(urlsplit(self.client.meta.endpoint_url).hostname or "")

    @property
    def encryption(self) -> dict[str, Any]:
        """Of what is written: the bucket's business, passed through."""
        place = self.place
        named = {"ServerSideEncryption": place.sse, "SSEKMSKeyId": place.sse_kms_key_id}
        return {name: value for name, value in named.items() if value}

    def require_encryption(self, name: str, answer: Mapping[str, Any]) -> None:
        """Raise Unreachable unless the answer to a write says that the server has encrypted as it was asked to. Ceph
        16 takes `AES256`, says nothing, and stores what it got."""
        wanted, told = self.place.sse, answer.get("ServerSideEncryption", "")
        if wanted and told != wanted:
            raise Unreachable(
                f"{self.described()} has encrypted {name} by {told or 'nothing'} where sse={wanted} was asked for",
                hint="take a way that the server knows, or sse= out of the address: what is written is as it says",
            )

    def at(self, name: str) -> dict[str, Any]:
        """Bucket and key of what the store calls `name`, as requests want them."""
        return {"Bucket": self.place.bucket, "Key": self.key(name)}

    def key(self, name: str) -> str:
        """The object's key, or the beginning of keys, for what the store calls `name`."""
        return f"{self.place.prefix}/{name}" if self.place.prefix else name

    def name(self, key: str) -> str:
        """What the store calls the object with this key."""
        return key[len(self.key("")) :]

    def pages(self, request: str, **asked: Any) -> Iterator[dict[str, Any]]:
        """The answers to a request that lists."""
        client: Any = self.client
        return iter(client.get_paginator(request).paginate(Bucket=self.place.bucket, **asked))

    def asking(self, action: str) -> AbstractContextManager[None]:
        """Raise Unreachable, with the store, its server and the reason, for every refusal in the block."""
        from trtreg.storage.s3_refusals import asking

        return asking(action, self.described)

    def described(self) -> str:
        """The bucket and its server, in words."""
        # Not by the property, which may be what fails.
        client = self.__dict__.get("client")
        server = client.meta.endpoint_url if client else self.place.endpoint_url
        path = f"s3://{self.place.bucket}/{self.place.prefix}".rstrip("/")
        return f"{path} at {server}" if server else path

    def head(self, name: str) -> HeadObjectOutputTypeDef | None:
        """What is known of an object; None if there is none."""
        from botocore.exceptions import ClientError

        with self.asking(f"look for {name}"):
            try:
                return self.asked_for(name, lambda: self._head(name))
            except ClientError:
                # An answer to HEAD has no body, so that all reasons look alike. The same question once more has one.
                self.client.get_object(**self.at(name), Range="bytes=0-0")["Body"].close()
                raise

    def _head(self, name: str) -> HeadObjectOutputTypeDef:
        for _ in range(self.place.retries + 1):
            answer = self.client.head_object(**self.at(name))
            # Where a connection ends within the headers, the answer looks whole.
            if "ContentLength" in answer and "LastModified" in answer:
                return answer
        raise ValueError("the server's answers are incomplete")

    def asked_for(self, name: str, request: Callable[[], T]) -> T | None:
        """What `request`, for an object, gives; None if there is no such object. Raises ClientError.

        Who may list below the prefix alone is refused what isn't there like what may not be read, on Ceph and on AWS.
        For him the list has the answer.
        """
        from botocore.exceptions import ClientError

        from trtreg.storage.s3_refusals import ABSENT, FORBIDDEN, code_of

        try:
            return request()
        except ClientError as refusal:
            if code_of(refusal) in ABSENT:
                return None
            if code_of(refusal) not in FORBIDDEN:
                raise
            try:
                is_there = self._is_listed(name)
            except ClientError:
                raise refusal from None
        # Listed, it has come since, or may not be read.
        return request() if is_there else None

    def _is_listed(self, name: str) -> bool:
        key = self.key(name)
        # Of all keys that begin so, the key itself comes first.
        listed = self.client.list_objects_v2(Bucket=self.place.bucket, Prefix=key, MaxKeys=1)
        return any(found.get("Key") == key for found in listed.get("Contents", []))


def _checksums(name: str) -> Any:
    return name


def _is_aws(endpoint: str) -> bool:
    host = urlsplit(endpoint).hostname or ""
    return host.endswith((".amazonaws.com", ".amazonaws.com.cn"))


def _is_private(host: str) -> bool:
    if _is_aws(f"https://{host}"):
        return False
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    return all(ipaddress.ip_address(address.partition("%")[0]).is_private for address in found)
