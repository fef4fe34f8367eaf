"""What an S3 server or the way to it refuses, as a deliberate error: what was tried, where, why, and what to do."""

from __future__ import annotations

from contextlib import contextmanager
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from botocore import exceptions as boto

from trtreg.errors import TrtregError, Unreachable, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ABSENT = {"404", "NoSuchKey", "NotFound"}
NO_UPLOAD = {"NoSuchUpload", "NoSuchKey", "404"}
TAKEN = {"PreconditionFailed", "412"}
COLLIDED = {"ConditionalRequestConflict", "OperationAborted", "409"}
UNKNOWN_HERE = {"NotImplemented", "501", "MethodNotAllowed", "405"}
FORBIDDEN = {"AccessDenied", "403", "AllAccessDisabled", "AccountProblem"}
DAMAGED_ON_THE_WAY = {"BadDigest", "XAmzContentSHA256Mismatch", "IncompleteBody", "XAmzContentChecksumMismatch"}

_ROLES = "docs/s3.md lists what a reader, a builder and an administrator must be allowed"
_CREDENTIALS = "see AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, ~/.aws, profile= in the store's address"

_KMS = "sse_kms_key_id= names a key of the server's, which whoever asks must be allowed to use"
_READ_ONLY = "whoever only reads says readonly=1 in the address, so that nothing is built in vain"
_WRITING = ("write ", "begin to write ", "complete ", "delete ")

# By the server's code: the reason, where its own words are poor, and the hint.
_REASONS: dict[str, tuple[str, str]] = {
    "NoSuchBucket": ("there is no such bucket", "make it, or mend the name in TRTREG_STORE"),
    "AccessDenied": ("access denied", f"{_ROLES}; without s3:ListBucket a missing object looks forbidden, too"),
    "AllAccessDisabled": ("access denied: the bucket is locked", _ROLES),
    "InvalidAccessKeyId": ("the server doesn't know the access key", _CREDENTIALS),
    "SignatureDoesNotMatch": ("the secret key isn't that of the access key", _CREDENTIALS),
    "ExpiredToken": ("the credentials have expired", "log in again"),
    "InvalidToken": ("the session token isn't valid", "log in again"),
    "TokenRefreshRequired": ("the session token must be refreshed", "log in again"),
    "MissingContentLength": ("the server can't take checksums after the body", "set checksums=when_required"),
    "SlowDown": ("the server asks to slow down", "try again later"),
    "ServiceUnavailable": ("the server is busy or going down", "try again later"),
    "InternalError": ("the server failed", "see its own log"),
    "QuotaExceeded": ("the quota is used up", "trtreg store prune, or a larger quota"),
    "InvalidObjectState": ("the object lies in an archive", "let the bucket's lifecycle rules spare trtreg's prefix"),
    "InvalidBucketName": ("the server takes no such bucket name", "mend the name in TRTREG_STORE"),
    "InvalidRequest": ("the server takes no such request", "where sse= is set, it may want https://"),
    "NotImplemented": ("the server doesn't know this request", "trtreg doctor --store says what it can do"),
}
_BY_STATUS = {
    400: ("the server doesn't understand the request", "trtreg doctor --store says what the server can do"),
    403: _REASONS["AccessDenied"],
    500: _REASONS["InternalError"],
    502: ("the server behind the gateway is out of reach", "try again later"),
    503: _REASONS["ServiceUnavailable"],
    504: ("the server behind the gateway doesn't answer", "try again later"),
    507: ("the server is full", "trtreg store prune, or more space"),
}


@contextmanager
def asking(action: str, where: Callable[[], str]) -> Iterator[None]:
    """Raise Unreachable, or UsageError for settings that can't be, for every refusal in the block.

    action  what is tried: `read manifests/a.json`
    where   the store and its server, in words
    """
    try:
        yield
    except boto.ClientError as error:
        raise _refused(action, where(), error) from error
    except (boto.BotoCoreError, ValueError) as error:
        raise _failed(action, where(), error) from error
    except KeyError as error:
        # Cut off on its way, or of a server that doesn't know the request and doesn't say so.
        raise Unreachable(f"can't {action}: {where()}: the server's answer lacks {error}", hint="try again") from error


def code_of(error: boto.ClientError) -> str:
    """The server's word for what is wrong; its status where it has none."""
    return str(error.response.get("Error", {}).get("Code") or status_of(error))


def status_of(error: boto.ClientError) -> int:
    """The HTTP status."""
    return int(_about(error).get("HTTPStatusCode", 0))


def retried(error: boto.ClientError) -> bool:
    """Whether the request had been sent before, so that an earlier one may have been carried out."""
    return int(_about(error).get("RetryAttempts", 0)) > 0


def _about(error: boto.ClientError) -> dict[str, Any]:
    return dict(error.response.get("ResponseMetadata", {}))


def _refused(action: str, where: str, error: boto.ClientError) -> Unreachable:
    code, status = code_of(error), status_of(error)
    described = error.response.get("Error", {})
    message = str(described.get("Message") or "").strip().rstrip(".")
    message = "" if message in ("None", "Unknown", "UnknownError") else message
    if code in ("RequestTimeTooSkewed", "RequestExpired"):
        theirs = _about(error).get("HTTPHeaders", {}).get("date", "unknown")
        reason = f"this machine's clock is wrong: {formatdate(usegmt=True)} here, {theirs} there"
        hint = "set the clock, best by NTP"
    elif code in ("AuthorizationHeaderMalformed", "PermanentRedirect", "301", "IllegalLocationConstraintException"):
        region = described.get("Region") or _about(error).get("HTTPHeaders", {}).get("x-amz-bucket-region")
        reason = f"the bucket is in another region{f', {region}' if region else ''}: {message or code}"
        hint = f"put region={region or 'REGION'} into the store's address"
    elif code in ("KMS.NotFoundException", "KMS.DisabledException") or "kms" in message.lower():
        # Ceph says InvalidAccessKeyId, which is about another key.
        reason, hint = f"it can't be encrypted or decrypted: {message or code} ({code})", _KMS
    elif code in DAMAGED_ON_THE_WAY:
        reason, hint = f"the bytes were damaged on the way ({code})", "use https, and have the network looked at"
    else:
        known = _REASONS.get(code) or (_BY_STATUS.get(status) if code == str(status) or not message else None)
        reason, hint = known or (message or code, "trtreg doctor --store looks closer")
        said = ", ".join(part for part in (code, message if known and message != reason else "") if part)
        reason = f"{reason} ({said})" if known else f"{reason} ({code})"
        if code in FORBIDDEN and action.startswith(_WRITING):
            hint = f"{_ROLES}; {_READ_ONLY}"
    if tried := _about(error).get("RetryAttempts"):
        reason += f", after {int(tried) + 1} attempts"
    return Unreachable(f"can't {action}: {where}: {reason}", hint=hint)


def _failed(action: str, where: str, error: Exception) -> TrtregError:
    text = str(error)
    match error:
        case boto.ProfileNotFound():
            return UsageError(f"can't {action}: {text}", hint="mend profile= in the store's address, or AWS_PROFILE")
        case boto.NoCredentialsError() | boto.PartialCredentialsError() | boto.CredentialRetrievalError():
            reason, hint = "there are no credentials", f"{_CREDENTIALS}; anonymous=1 for a public bucket"
            if not isinstance(error, boto.NoCredentialsError):
                reason = f"the credentials can't be had: {text}"
        case boto.SSLError():
            reason, hint = text, "AWS_CA_BUNDLE names the file of a certificate authority of your own"
        case boto.ConnectTimeoutError() | boto.ReadTimeoutError():
            reason, hint = text, "connect_timeout= and read_timeout= in the store's address take seconds"
        case boto.EndpointConnectionError() | boto.ConnectionClosedError() | boto.HTTPClientError():
            reason, hint = _deepest(error) or text, "is the server running, and does endpoint_url= name it?"
        case _:
            reason, hint = text, "trtreg doctor --store looks closer"
    return Unreachable(f"can't {action}: {where}: {reason}", hint=hint)


def _deepest(error: BaseException) -> str:
    """The operating system's own words, where some lie beneath: botocore's say only that it didn't work."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.strerror:
            return seen.strerror
        inner = getattr(seen, "kwargs", {}).get("error") if isinstance(seen, boto.BotoCoreError) else None
        inner = inner or getattr(seen, "reason", None)
        seen = inner if isinstance(inner, BaseException) else seen.__cause__ or seen.__context__
    return ""
