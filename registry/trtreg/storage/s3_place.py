"""A bucket as TRTREG_STORE names it: `s3://bucket/prefix?endpoint_url=…`. Credentials are never part of the name."""

from __future__ import annotations

import re
from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from trtreg.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}\Z")
_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+=-]*(?:/[A-Za-z0-9][A-Za-z0-9._@+=-]*)*\Z")
_CHECKSUMS = ("when_required", "when_supported")


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketPlace:
    """A bucket, or what lies below `prefix` in one.

    endpoint_url    the server; AWS, or what the AWS settings of this machine say, unless given
    region          likewise
    profile         which section of the AWS settings has the credentials
    anonymous       ask without credentials: a public bucket
    path_style      `http://server/bucket/…` rather than `http://bucket.server/…`; None: as the server is known to want
    checksums       `when_required` or `when_supported`: botocore's own, beside the SHA-256 that trtreg checks. Older
                    servers refuse the second over TLS
    sign_payload    whether each request's signature covers its body; None: over plain HTTP only
    sse, sse_kms_key_id   encryption at rest, passed on to the server: `AES256`, `aws:kms`
    near            whether one connection fills the line; None: if the server's address is a private one
    ranges          connections at a time to a server that isn't near
    readonly        never write here
    connect_timeout, read_timeout   seconds
    retries         times that a request is repeated, and that a broken stream is picked up without having gone on
    """

    bucket: str
    prefix: str = ""
    endpoint_url: str = ""
    region: str = ""
    profile: str = ""
    anonymous: bool = False
    path_style: bool | None = None
    checksums: str = "when_required"
    sign_payload: bool | None = None
    sse: str = ""
    sse_kms_key_id: str = ""
    near: bool | None = None
    ranges: int = 8
    readonly: bool = False
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    retries: int = 4

    def __str__(self) -> str:
        """As it would be written, without what is as by default."""
        options = [
            f"{f.name}={quote(_written(getattr(self, f.name)), safe=':/@+')}"
            for f in fields(self)
            if f.default is not MISSING and f.name != "prefix" and getattr(self, f.name) != f.default
        ]
        path = f"/{self.prefix}" if self.prefix else ""
        return f"s3://{self.bucket}{path}{'?' if options else ''}{'&'.join(options)}"

    @property
    def identity(self) -> str:
        """Which place it is, however it is asked."""
        return f"s3://{self.bucket}/{self.prefix} {self.endpoint_url.rstrip('/').lower()}".rstrip()


def parse_bucket(text: str) -> BucketPlace:
    """Read `s3://…`. Raises UsageError; no message repeats what could be a secret."""
    try:
        parts = urlsplit(text)
        host = parts.netloc
    except ValueError as error:
        raise UsageError(f"the store's address can't be read: {error}") from None
    if "@" in host:
        raise _no_secrets()
    if not _BUCKET.match(host):
        raise UsageError(f"{host!r} can't name a bucket", hint="write s3://BUCKET/PREFIX")
    prefix = unquote(parts.path).strip("/")
    if prefix and not _PREFIX.match(prefix):
        raise UsageError(
            f"{prefix!r} can't be a store's prefix", hint="letters, digits and . _ @ + = - in parts joined by /"
        )
    if parts.fragment:
        raise UsageError("a store's address has no part after '#'", hint="write %23 where a value needs one")
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    place = BucketPlace(bucket=host, prefix=prefix, **_options(given))
    _require_endpoint(place.endpoint_url)
    if place.sse_kms_key_id and not place.sse.startswith("aws:kms"):
        raise UsageError("sse_kms_key_id needs sse=aws:kms")
    return place


def _options(given: Mapping[str, str]) -> dict[str, Any]:
    names = [f.name for f in fields(BucketPlace) if f.name not in ("bucket", "prefix")]
    if unknown := sorted(set(given) - set(names)):
        if any(word in name.lower() for name in unknown for word in ("key", "secret", "token", "password")):
            raise _no_secrets()
        raise UsageError(f"a bucket has no option {', '.join(unknown)}", hint=f"there are {', '.join(names)}")
    return {name: _READ[name](name, value) for name, value in given.items()}


def _no_secrets() -> UsageError:
    return UsageError(
        "credentials don't belong into a store's address, which is shown and logged",
        hint="they are taken from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, ~/.aws, or the machine's role",
    )


def _require_endpoint(url: str) -> None:
    if not url:
        return
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None:
        raise _no_secrets()
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.path.strip("/"):
        raise UsageError(f"endpoint_url={url} is no server", hint="write endpoint_url=https://HOST:PORT")


def _text(_: str, value: str) -> str:
    return value


def _flag(name: str, value: str) -> bool:
    if value.lower() not in _FLAGS:
        raise UsageError(f"{name}={value} is neither yes nor no", hint=f"{name}=1 or {name}=0")
    return _FLAGS[value.lower()]


def _checksums(name: str, value: str) -> str:
    if value not in _CHECKSUMS:
        raise UsageError(f"{name}={value} is unknown", hint=" or ".join(f"{name}={known}" for known in _CHECKSUMS))
    return value


def _count(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and int(value) <= _MOST[name]) or (name == "ranges" and not int(value)):
        raise UsageError(f"{name}={value} is no number up to {_MOST[name]}")
    return int(value)


def _seconds(name: str, value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = float("nan")
    if not 0 < seconds <= _LONGEST:
        raise UsageError(f"{name}={value} is no number of seconds up to {_LONGEST:.0f}")
    return seconds


def _written(value: object) -> str:
    return str(int(value)) if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


_FLAGS = {"1": True, "yes": True, "true": True, "on": True, "0": False, "no": False, "false": False, "off": False}
_MOST = {"ranges": 16, "retries": 100}
"""More than 16 segments in memory would break the promise about it."""
_LONGEST = 3600.0

_READ = {
    **dict.fromkeys(("endpoint_url", "region", "profile", "sse", "sse_kms_key_id"), _text),
    **dict.fromkeys(("anonymous", "path_style", "sign_payload", "near", "readonly"), _flag),
    "checksums": _checksums,
    **dict.fromkeys(("ranges", "retries"), _count),
    **dict.fromkeys(("connect_timeout", "read_timeout"), _seconds),
}
