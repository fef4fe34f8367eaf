"""One tensor of an ONNX file: its element type, the bytes it must have, and the bytes it has.

The same numbers can lie in `raw_data`, in a typed field or in an external file. Here all forms are measured
against the tensor's own shape, before anything is allocated, and read as the one that `raw_data` would hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from onnx import TensorProto

from trtreg.errors import UnusableModel
from trtreg.onnx_models.wording import shown

_DAMAGED = "the file is damaged: export the model again"
MOST_ELEMENTS = 1 << 62
"""No runtime counts further."""


class ElementType(NamedTuple):
    """dtype: as numpy names it; bits: of one element, 0 for strings; field: where typed elements lie."""

    dtype: str
    bits: int
    field: str


# By name, since an older onnx lacks the newest numbers.
_ELEMENT_TYPES = {
    "FLOAT": ElementType("float32", 32, "float_data"),
    "UINT8": ElementType("uint8", 8, "int32_data"),
    "INT8": ElementType("int8", 8, "int32_data"),
    "UINT16": ElementType("uint16", 16, "int32_data"),
    "INT16": ElementType("int16", 16, "int32_data"),
    "INT32": ElementType("int32", 32, "int32_data"),
    "INT64": ElementType("int64", 64, "int64_data"),
    "STRING": ElementType("string", 0, "string_data"),
    "BOOL": ElementType("bool", 8, "int32_data"),
    "FLOAT16": ElementType("float16", 16, "int32_data"),
    "DOUBLE": ElementType("float64", 64, "double_data"),
    "UINT32": ElementType("uint32", 32, "uint64_data"),
    "UINT64": ElementType("uint64", 64, "uint64_data"),
    "COMPLEX64": ElementType("complex64", 64, "float_data"),
    "COMPLEX128": ElementType("complex128", 128, "double_data"),
    "BFLOAT16": ElementType("bfloat16", 16, "int32_data"),
    "FLOAT8E4M3FN": ElementType("float8_e4m3fn", 8, "int32_data"),
    "FLOAT8E4M3FNUZ": ElementType("float8_e4m3fnuz", 8, "int32_data"),
    "FLOAT8E5M2": ElementType("float8_e5m2", 8, "int32_data"),
    "FLOAT8E5M2FNUZ": ElementType("float8_e5m2fnuz", 8, "int32_data"),
    "FLOAT8E8M0": ElementType("float8_e8m0fnu", 8, "int32_data"),
    "FLOAT6E2M3": ElementType("float6_e2m3fn", 6, "int32_data"),
    "FLOAT6E3M2": ElementType("float6_e3m2fn", 6, "int32_data"),
    "UINT4": ElementType("uint4", 4, "int32_data"),
    "INT4": ElementType("int4", 4, "int32_data"),
    "FLOAT4E2M1": ElementType("float4_e2m1fn", 4, "int32_data"),
    "UINT2": ElementType("uint2", 2, "int32_data"),
    "INT2": ElementType("int2", 2, "int32_data"),
}
_BY_CODE = {code: _ELEMENT_TYPES[name] for name, code in TensorProto.DataType.items() if name in _ELEMENT_TYPES}
_STORES = ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")


def element_type(code: int) -> ElementType:
    """The element type of ONNX's number for it. Raises UnusableModel."""
    try:
        return _BY_CODE[code]
    except KeyError:
        raise UnusableModel(
            f"element type {code} isn't known", hint="export the model again, or update the onnx package"
        ) from None


def element_count(dimensions: Sequence[int]) -> int:
    """How many elements a tensor with these sizes has. Raises UnusableModel for sizes that no tensor has."""
    if any(size < 0 for size in dimensions):
        raise UnusableModel(f"a tensor of the shape {shown(tuple(dimensions[:8]))}", hint=_DAMAGED)
    if 0 in dimensions:
        return 0
    count = 1
    for size in dimensions:
        count *= size
        # Checked at every step: the product of a million sizes would take minutes.
        if count > MOST_ELEMENTS:
            raise UnusableModel(
                f"a tensor of the shape {shown(tuple(dimensions[:8]))} has more than 2^62 elements", hint=_DAMAGED
            )
    return count


def byte_count(tensor: TensorProto) -> int:
    """Bytes that the tensor's shape and type ask for, sub-byte elements packed. Not for strings."""
    return -(-element_count(tensor.dims) * element_type(tensor.data_type).bits // 8)


def is_external(tensor: TensorProto) -> bool:
    """Whether the elements lie in another file."""
    return tensor.data_location == TensorProto.EXTERNAL


def require_sound(tensor: TensorProto) -> None:
    """Raise UnusableModel unless the tensor holds just what its shape and type ask for, in one form only.

    An external tensor must hold nothing itself.
    """
    element = element_type(tensor.data_type)
    if tensor.HasField("segment"):
        raise UnusableModel("it is one segment of a larger tensor", hint="save the tensor whole")
    filled = {store: len(getattr(tensor, store)) for store in _STORES}
    used = [store for store, count in filled.items() if count]
    if is_external(tensor):
        if used:
            raise UnusableModel(f"its elements lie in {used[0]} and in an external file", hint=_DAMAGED)
        return
    allowed = {element.field} if element.dtype == "string" else {element.field, "raw_data"}
    if len(used) > 1 or not allowed.issuperset(used):
        raise UnusableModel(f"{element.dtype} elements can't lie in {' and '.join(used)}", hint=_DAMAGED)
    store = used[0] if used else element.field
    needed, found = _stored_count(tensor, element, store), filled[store]
    if found != needed:
        unit = "bytes" if store == "raw_data" else "entries"
        raise UnusableModel(
            f"{store} has {found} {unit}, while {element.dtype}{list(tensor.dims)[:8]} takes {needed}",
            hint=_DAMAGED,
        )


def inline_bytes(tensor: TensorProto) -> bytes:
    """The elements of a sound inline tensor, as `raw_data` holds them: little-endian and packed.

    Strings, which `raw_data` can't hold, come each with its length before it.
    """
    if raw := tensor.raw_data:
        return raw
    element = element_type(tensor.data_type)
    if element.field == "string_data":
        return b"".join(b"%d:%s" % (len(text), text) for text in tensor.string_data)
    if element.field in ("float_data", "double_data"):
        return _float_bits(tensor, element)
    values = np.fromiter(getattr(tensor, element.field), np.int64 if element.field != "uint64_data" else np.uint64)
    if element.bits == 6:
        return _pack_six_bits(values.astype(np.uint8))
    return values.astype(f"<u{max(element.bits, 8) // 8}").tobytes()


def _stored_count(tensor: TensorProto, element: ElementType, store: str) -> int:
    if store == "raw_data":
        return byte_count(tensor)
    count = element_count(tensor.dims)
    if element.dtype.startswith("complex"):
        return 2 * count
    # Typed 4- and 2-bit elements share an entry, 6-bit elements don't.
    return byte_count(tensor) if element.bits in (2, 4) else count


def _float_bits(tensor: TensorProto, element: ElementType) -> bytes:
    """Through Python floats a signalling NaN would turn quiet; protobuf's own packed form keeps every bit."""
    alone = TensorProto()
    alone.CopyFrom(tensor)
    for field, _ in tensor.ListFields():
        if field.name != element.field:
            alone.ClearField(field.name)
    length = byte_count(tensor)
    return alone.SerializeToString()[-length:] if length else b""


def _pack_six_bits(codes: np.ndarray) -> bytes:
    bits = np.unpackbits(codes[:, None], axis=1, count=6, bitorder="little")
    return np.packbits(bits, bitorder="little").tobytes()
