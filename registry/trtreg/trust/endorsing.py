"""Signing what is in a store already, after looking whether it is what its name says.

A signature says that a trusted key's owner stands for the record. What was there before there were keys can't be
proven any more; what can be is checked: that manifests answer the question that they lie under, that pointers lead
somewhere, that the bytes which they name are there.

Where keys are in use already, what is unsigned is rather what somebody put there who has none. So it isn't signed along
with anything else, but only by who asks for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtreg.core.digest import is_digest
from trtreg.core.figures import read_figures
from trtreg.core.layout import (
    CONDEMNED,
    FIGURES,
    MANIFESTS,
    MODELS,
    REFITS,
    REJECTED,
    REVOCATIONS,
    TIMINGS,
    UNPROVEN,
    is_pointer,
    manifest_name,
    model_name,
)
from trtreg.core.manifest import read_manifest
from trtreg.core.model import Model
from trtreg.core.records import MalformedRecord, from_json
from trtreg.core.refit import read_refit_source
from trtreg.core.revocation import read_revocation
from trtreg.core.trust import split_record
from trtreg.errors import UsageError

if TYPE_CHECKING:
    from trtreg.core.files import StoredFile
    from trtreg.core.key import Key
    from trtreg.core.trust import Trailer
    from trtreg.interfaces import Store


@dataclass(frozen=True, slots=True)
class Endorsed:
    """A record that was to be signed, and why it isn't; empty where it is signed now."""

    name: str
    problem: str


def endorse(
    store: Store,
    sign: Callable[[str, bytes], bytes],
    *,
    fits: Callable[[str, bytes, Trailer], bool] = lambda *_: False,
    instead_of: str = "",
    all_unsigned: bool = False,
    dry_run: bool = False,
) -> Iterator[Endorsed]:
    """Sign the records of `store` that are meant and sound; tell of each.

    store         as it lies there, signatures and all
    sign          a record's whole content, signed, from its name and content
    fits          whether a trusted key has signed a record, from its name, content and trailer
    instead_of    id of the trusted key whose signatures are to give way to ours: then only these are meant
    all_unsigned  the unsigned ones are meant whatever there is. Else, and without `instead_of`, they are as long as no
                  trusted key has signed anything; raises UsageError where one has

    Nobody else should write meanwhile: a record that is replaced in this very moment could come back.
    """
    unsigned, replaced, trusted = _sorted_out(store, fits, instead_of)
    if unsigned and trusted and not (instead_of or all_unsigned):
        raise UsageError(
            f"{unsigned[0]} is unsigned{_and_more(len(unsigned) - 1)}, but {trusted} is signed by a trusted key: "
            "whoever has written since there are keys could have signed",
            hint="--dry-run --all-unsigned lists them, --all-unsigned signs them, if you stand for all of them",
        )
    meant = {*replaced, *(unsigned if all_unsigned or not instead_of else [])}
    for name in sorted(meant):
        record = store.read_record(name)
        if record is None:
            continue
        content, trailer = split_record(record)
        if trailer is not None and not (trailer.key_id == instead_of and fits(name, content, trailer)):
            continue
        if trailer is None and name in replaced:
            continue
        problem = _problem(store, name, content)
        if not problem and not dry_run:
            store.replace_record(name, sign(name, content))
        yield Endorsed(name, problem)


def _sorted_out(
    store: Store, fits: Callable[[str, bytes, Trailer], bool], instead_of: str
) -> tuple[list[str], list[str], str]:
    """The unsigned records, those that the key `instead_of` has signed, and one that any trusted key has, if any."""
    unsigned, replaced, trusted = list[str](), list[str](), ""
    for name in store.record_names(""):
        record = store.read_record(name)
        # Marks that nobody has signed are as good as none: pruning writes them anew.
        if record is None or name == CONDEMNED:
            continue
        content, trailer = split_record(record)
        if trailer is None:
            unsigned.append(name)
            continue
        may_be_replaced = trailer.key_id == instead_of
        if (may_be_replaced or not trusted) and fits(name, content, trailer):
            trusted = trusted or name
            if may_be_replaced:
                replaced.append(name)
    return unsigned, replaced, trusted


def _and_more(others: int) -> str:
    return f", and {others} more are" if others else ""


def _problem(store: Store, name: str, content: bytes) -> str:
    """What speaks against the record, in words."""
    if name.startswith((MANIFESTS, UNPROVEN, REJECTED)):
        if is_pointer(name):
            return _problem_of_pointer(store, name, content)
        return _problem_of_manifest(store, name, content)
    if name.startswith(TIMINGS):
        return "" if name.endswith(f"/{hashlib.sha256(content).hexdigest()}") else "its content has another SHA-256"
    reader = next((read for folder, read in _READERS.items() if name.startswith(folder)), None)
    if reader is None:
        return "it is of a kind that this trtreg doesn't know"
    try:
        own_name, files = reader(name, content)
    except ValueError as error:
        return str(error)
    return f"it is {own_name}" if own_name != name else _missing(store, files)


def _problem_of_pointer(store: Store, name: str, content: bytes) -> str:
    digest, key = content.decode(errors="replace").strip(), name.split("/")[1]
    if not is_digest(digest):
        return "it holds no plan digest"
    there = store.read_record(manifest_name(_as_key(key), digest)) is not None
    return "" if there else f"there is no manifest of the plan {digest}"


def _problem_of_manifest(store: Store, name: str, content: bytes) -> str:
    try:
        manifest = read_manifest(content)
    except MalformedRecord as error:
        return str(error)
    if name.split("/")[1:] != [manifest.key, f"{manifest.plan_digest}.json"]:
        return f"it is the manifest of key {manifest.key} and plan {manifest.plan_digest}"
    return _missing(store, manifest.plan.files)


def _missing(store: Store, files: Iterable[StoredFile]) -> str:
    missing = [file.name for file in files if not store.has_blob(file)]
    return f"the store lacks {', '.join(missing)}" if missing else ""


def _read_model(_: str, content: bytes) -> tuple[str, list[StoredFile]]:
    model = from_json(Model, content)
    files = [file for v in model.versions for file in (*v.facts.source.files, *(s.file for s in v.samples))]
    return model_name(model.name, model.revision), files


def _read_refit(name: str, content: bytes) -> tuple[str, list[StoredFile]]:
    source = read_refit_source(content, name)
    return source.name, list(source.plan.files)


def _read_revocation(_: str, content: bytes) -> tuple[str, list[StoredFile]]:
    return read_revocation(content).record_name, []


def _read_figures(_: str, content: bytes) -> tuple[str, list[StoredFile]]:
    return read_figures(content).record_name, []


_READERS: Mapping[str, Callable[[str, bytes], tuple[str, list[StoredFile]]]] = {
    MODELS: _read_model,
    REFITS: _read_refit,
    REVOCATIONS: _read_revocation,
    FIGURES: _read_figures,
}
"""The name that a record has by its own account, and the files that it needs. Raise MalformedRecord."""


def _as_key(text: str) -> Key:
    from trtreg.core.key import Key

    return Key(text)
