"""Signing what is in a store already, after looking whether it is what its name says.

A signature says that a trusted key's owner stands for the record. What was there before there were keys can't be
proven any more; what can be is checked: that manifests answer the question that they lie under, that pointers lead
somewhere, that the bytes which they name are there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtreg.core.digest import is_digest
from trtreg.core.layout import MANIFESTS, MODELS, REFITS, REJECTED, REVOCATIONS, UNPROVEN, manifest_name
from trtreg.core.manifest import read_manifest
from trtreg.core.records import MalformedRecord
from trtreg.core.trust import split_record

if TYPE_CHECKING:
    from trtreg.core.key import Key
    from trtreg.interfaces import Store

_JSON = (MODELS, REFITS, REVOCATIONS)
_TIMINGS = "timings/"


@dataclass(frozen=True, slots=True)
class Endorsed:
    """A record that was unsigned, and why it still is; empty where it is signed now."""

    name: str
    problem: str


def endorse(store: Store, sign: Callable[[str, bytes], bytes], *, dry_run: bool = False) -> Iterator[Endorsed]:
    """Sign every unsigned record of `store` that is sound; tell of each.

    store  as it lies there, signatures and all
    sign   a record's whole content, signed, from its name and content

    Nobody else should write meanwhile: a record that is replaced in this very moment could come back.
    """
    for name in store.record_names(""):
        content = store.read_record(name)
        if content is None or split_record(content)[1] is not None:
            continue
        problem = _problem(store, name, content)
        if not problem and not dry_run:
            store.replace_record(name, sign(name, content))
        yield Endorsed(name, problem)


def _problem(store: Store, name: str, content: bytes) -> str:
    """What speaks against the record, in words."""
    if name.startswith((MANIFESTS, UNPROVEN, REJECTED)):
        if name.startswith(MANIFESTS) and name.endswith("/blessed"):
            return _problem_of_pointer(store, name, content)
        return _problem_of_manifest(store, name, content)
    if name.startswith(_TIMINGS):
        return "" if name.endswith(f"/{hashlib.sha256(content).hexdigest()}") else "its content has another SHA-256"
    if name.startswith(_JSON):
        return "" if _is_object(content) else "it is no JSON object"
    return "it is of a kind that this trtreg doesn't know"


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
    missing = [file.name for file in manifest.plan.files if not store.has_blob(file)]
    return f"the store lacks {', '.join(missing)}" if missing else ""


def _is_object(content: bytes) -> bool:
    try:
        return isinstance(json.loads(content), dict)
    except ValueError:
        return False


def _as_key(text: str) -> Key:
    from trtreg.core.key import Key

    return Key(text)
