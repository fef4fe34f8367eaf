"""The canonical digest of a model: the same for every way to store it, another for every other model.

All that a file says counts, unless it is named here as not counting:

    doesn't count                                        because
    doc strings, metadata, the producer, the model's     they say where a model comes from, not what it does
    own domain and version, the names of graphs
    order of nodes, initializers, value infos,           a graph is a set: names tie it together
    attributes, functions, operator sets
    raw, typed or external storage of a tensor           the numbers are the same
    an empty text, against none                          protobuf's writers differ in it

What might surprise and does count: names of nodes (a recipe may name those that stay in fp32), shapes of
intermediate values (runtimes and the precision rewriting believe them), the IR version (a runtime may refuse one,
and the cure is a model that differs in nothing else), an attribute that spells out its default (only its operator
knows that it is one), and fields that this onnx package doesn't know. A tensor is its SHA-256 over the bytes that
`raw_data` would hold, so NaNs count by their payload. Floats in attributes count by their bits, except that Python
turns a signalling NaN there into the quiet one.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet
from onnx import ModelProto, TensorProto

from trtreg.core.digest import digest_of
from trtreg.onnx_models.external_files import ExternalRange, external_range, external_ranges, open_inside
from trtreg.onnx_models.regular_files import sha256_of_range
from trtreg.onnx_models.tensors import element_type, inline_bytes, is_external

DIGEST_DOMAIN = "onnx-model-1"
"""Raise its number when the same model would get another digest."""

_UNCOUNTED = {
    "doc_string",
    "metadata_props",
    *(f"ModelProto.{name}" for name in ("producer_name", "producer_version", "domain", "model_version")),
    "GraphProto.name",
}
_UNORDERED = {
    *(f"ModelProto.{name}" for name in ("opset_import", "functions")),
    *(
        f"GraphProto.{name}"
        for name in ("node", "initializer", "sparse_initializer", "value_info", "quantization_annotation")
    ),
    "NodeProto.attribute",
    *(f"FunctionProto.{name}" for name in ("node", "attribute", "attribute_proto", "opset_import", "value_info")),
}
_Digests = Mapping[ExternalRange, "Future[str]"]


def model_digest(model: ModelProto, folder: Path, *, hashers: Executor | None = None) -> str:
    """The canonical digest, 64 hexadecimal digits, of a sound `model` whose external data lies in `folder`.

    External data is hashed by `hashers`, or else by one thread a core, in pieces of 1 MiB. Raises UnusableModel
    where it can't be read.
    """
    if hashers is None:
        with hashing_threads() as own:
            return model_digest(model, folder, hashers=own)
    hashed = {place: hashers.submit(_hashed_range, folder, place) for place in sorted(external_ranges(model))}
    try:
        return digest_of(DIGEST_DOMAIN, _canonical(model, hashed))
    finally:
        for unread in hashed.values():
            unread.cancel()


def hashing_threads() -> ThreadPoolExecutor:
    """One thread a core: hashing lets go of the interpreter's lock, and more would only take turns."""
    return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="hashing")


def _hashed_range(folder: Path, place: ExternalRange) -> str:
    # Opened for each range anew: a model may have a file for every tensor, more than a process may hold open.
    with open_inside(folder, place.name) as file:
        return sha256_of_range(file, place.offset, place.length)


def _canonical(message: Message, hashed: _Digests) -> dict[str, object]:
    if isinstance(message, TensorProto):
        return _canonical_tensor(message, hashed)
    kind = message.DESCRIPTOR.name
    shown: dict[str, object] = {}
    for field, value in message.ListFields():
        place = f"{kind}.{field.name}"
        if field.name in _UNCOUNTED or place in _UNCOUNTED or _is_empty_text(field, value):
            continue
        if isinstance(value, Message):
            shown[field.name] = _canonical(value, hashed)
        elif field.message_type is not None:
            members = [digest_of(place, _canonical(member, hashed)) for member in value]
            shown[field.name] = tuple(sorted(members) if place in _UNORDERED else members)
        else:
            shown[field.name] = _canonical_scalars(field, value, is_ordered=place not in _UNORDERED)
    return shown | _unknown(message)


def _canonical_tensor(tensor: TensorProto, hashed: _Digests) -> dict[str, object]:
    if is_external(tensor):
        content = hashed[external_range(tensor)].result()
    else:
        content = hashlib.sha256(inline_bytes(tensor)).hexdigest()
    return {
        "name": tensor.name,
        "dtype": element_type(tensor.data_type).dtype,
        "dims": tuple(tensor.dims),
        "content": content,
        **_unknown(tensor),
    }


def _canonical_scalars(field: FieldDescriptor, value: Any, *, is_ordered: bool) -> object:
    if isinstance(value, int | str | bytes):
        return value
    if isinstance(value, float):
        return struct.pack("<f", value)
    if field.cpp_type == FieldDescriptor.CPPTYPE_FLOAT:
        return np.fromiter(value, "<f4").tobytes()
    return tuple(value if is_ordered else sorted(value))


def _is_empty_text(field: FieldDescriptor, value: object) -> bool:
    # Among alternatives even an empty text says which one was chosen.
    return value == "" and field.containing_oneof is None


def _unknown(message: Message) -> dict[str, object]:
    found = _unknown_fields(UnknownFieldSet(message))
    return {"unknown fields": found} if found else {}


def _unknown_fields(fields: UnknownFieldSet) -> tuple[object, ...]:
    return tuple(
        (f.field_number, f.wire_type, _unknown_fields(f.data) if isinstance(f.data, UnknownFieldSet) else f.data)
        for f in fields
    )
