"""Every deliberate failure of trtreg, each with a hint and the exit code of its kind.

A failure says what happened, with the values, and what to do about it. `trtreg_cli.main` prints the message
and the hint on stderr and leaves with `exit_code`; a traceback is a bug in trtreg, never an answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class TrtregError(Exception):
    """What every deliberate error derives from; catch it to catch all that trtreg raises on purpose."""

    exit_code = 1
    kind = "error"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments don't survive Exception's own pickling, and errors cross process borders here.
        return (_remake, (type(self), self.message, self.hint))


def _remake(kind: type[TrtregError], message: str, hint: str) -> TrtregError:
    return kind(message, hint=hint)


class UsageError(TrtregError):
    """The request itself is malformed or contradicts itself."""

    exit_code = 2
    kind = "usage"


class NotFound(TrtregError):
    """No such model, version, alias, sample or engine."""

    exit_code = 3
    kind = "not-found"


class Miss(NotFound):
    """The engine isn't there and the caller forbade building it (`--no-build`, `--offline`)."""

    kind = "miss"


class Unproven(NotFound):
    """The engine is built, but no machine that can run it has put it through the gate yet."""

    kind = "unproven"


class BuildFailed(TrtregError):
    """The precision rewrite or the backend's build failed, ran out of time or of memory."""

    exit_code = 4
    kind = "build-failed"


class OutOfMemory(BuildFailed):
    """Memory was what lacked, the machine's or the GPU's: the same build may do elsewhere, or in an hour."""

    kind = "out-of-memory"


class OutOfTime(BuildFailed):
    """The build took longer than it may."""

    kind = "out-of-time"


class Disturbed(BuildFailed):
    """The builder crashed, or its machine was at fault: a full disk, a library that isn't there."""

    kind = "disturbed"


class Cancelled(BuildFailed):
    """Somebody called the build off."""

    kind = "cancelled"


class LeaseLost(BuildFailed):
    """This builder gave no sign of life for so long that another took its place: it may not publish any more."""

    kind = "lease-lost"


class Rejected(TrtregError):
    """The gate refused the plan: it doesn't agree with ONNX Runtime's run of the original model."""

    exit_code = 5
    kind = "rejected"


class Unreachable(TrtregError):
    """The catalog or the store could not be reached, or refused us."""

    exit_code = 6
    kind = "unreachable"


class Untrusted(TrtregError):
    """Bytes or a manifest that aren't what they claim to be: corrupt, or not to be trusted."""

    exit_code = 7
    kind = "untrusted"


class ReadOnly(UsageError):
    """What was asked for must be written, and the store is only read here."""


class Unsigned(Untrusted):
    """Signatures are required, and nobody has signed this record."""

    kind = "unsigned"


class UnknownSigner(Untrusted):
    """The record is signed by a key that isn't trusted here."""

    kind = "unknown-signer"


class BadSignature(Untrusted):
    """A trusted key is named, but its signature isn't of this record: damaged, or copied from another name."""

    kind = "bad-signature"


class Revoked(Untrusted):
    """The engine was withdrawn after it had been published."""

    kind = "revoked"


class UnusableModel(TrtregError):
    """The model file is malformed, hostile, or uses what no backend here can run."""

    exit_code = 8
    kind = "unusable-model"


EXIT_CODES: dict[int, str] = {
    0: "done",
    2: "usage: the command line or the settings contradict themselves",
    3: "no such model or engine, one that isn't proven yet, or a miss with --no-build or --offline",
    4: "the build failed",
    5: "rejected by the gate",
    6: "the catalog or the store is out of reach",
    7: "untrusted, revoked or corrupt",
    8: "unusable model",
    130: "interrupted",
}


_WORST_FIRST = (6, 7, 8, 2, 4, 5, 3)
"""Of many failures at once: first what speaks against the place or the model, last what only waits for a machine."""


def worst_of(errors: Iterable[TrtregError]) -> TrtregError | None:
    """The one whose exit code a job of many builds ends with; the first of several of that kind."""
    rank = {code: place for place, code in enumerate(_WORST_FIRST)}
    return min(errors, key=lambda error: rank.get(error.exit_code, -1), default=None)


def error_of(kind: str, message: str, hint: str = "") -> TrtregError:
    """The error of a recorded `kind`; what a child process or a stored record names comes back as itself."""
    by_kind = {c.kind: c for c in _all_kinds(TrtregError)}
    return by_kind.get(kind, TrtregError)(message, hint=hint)


def _all_kinds(root: type[TrtregError]) -> list[type[TrtregError]]:
    return [root, *(kind for child in root.__subclasses__() for kind in _all_kinds(child))]
