"""One bucket: its client, made when it is first needed, the names of objects in it, and its errors."""

from __future__ import annotations

import ipaddress
import socket
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from trtreg.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef

    from trtreg.storage.s3_place import BucketPlace

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

        from trtreg.storage.s3_refusals import ABSENT, code_of

        client = self.client
        with self.asking(f"look for {name}"):
            try:
                for _ in range(self.place.retries + 1):
                    answer = client.head_object(**self.at(name))
                    # Where a connection ends within the headers, the answer looks whole.
                    if "ContentLength" in answer and "LastModified" in answer:
                        return answer
                raise ValueError("the server's answers are incomplete")
            except ClientError as error:
                if code_of(error) in ABSENT:
                    return None
                # An answer to HEAD has no body, so that all reasons look alike. The same question once more has one.
                client.get_object(**self.at(name), Range="bytes=0-0")["Body"].close()
                raise


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
