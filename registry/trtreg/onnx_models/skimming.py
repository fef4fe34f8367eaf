"""An ONNX file without its heavy weights, as if they had been saved beside it.

Where a weight is heavy, the model that comes out says of it what it would say of external data: it lies in this
file, from here, that long. So the weights of a model in any form are hashed from the file, a piece at a time, and
never pass through protobuf, which copies each of them several times.

Only protobuf's outermost layers are walked: the model's graph, the graph's initializers. What looks irregular
isn't judged here: the caller then reads the whole file, and protobuf decides.
"""

from __future__ import annotations

import os
from typing import BinaryIO

from onnx import TensorProto

HEAVY = 1 << 16
"""Bytes from which on a weight stays in the file."""

_BUFFER = 1 << 13
_SIZED, _PLAIN_LENGTHS = 2, {1: 8, 5: 4}
_GRAPH_OF_MODEL, _INITIALIZER_OF_GRAPH, _RAW_DATA_OF_TENSOR = 7, 5, 9
_DESCENT = (_GRAPH_OF_MODEL, _INITIALIZER_OF_GRAPH)
_LONGEST_VARINT = 10


class Irregular(Exception):
    """The file isn't laid out as ONNX models are."""


def skim(file: BinaryIO, name: str, *, heavy: int = HEAVY) -> bytes:
    """The model in the open `file`, which is called `name` in its folder, with heavy weights left there.

    Raises Irregular.
    """
    return _Skimmer(file, name, heavy).message(os.fstat(file.fileno()).st_size, _DESCENT)


class _Skimmer:
    def __init__(self, file: BinaryIO, name: str, heavy: int) -> None:
        self._file, self._name, self._heavy = file, name, heavy
        self._at, self._buffer, self._buffer_start = 0, b"", 0

    def message(self, end: int, descent: tuple[int, ...]) -> bytes:
        """The message from here to `end`; `descent` are the fields that lead from it to a tensor."""
        light: list[bytes] = []
        reference = b""
        has_raw_data = False
        while self._at < end:
            tag = self._varint(end)
            field, form = tag >> 3, tag & 7
            if form != _SIZED:
                light += _encoded(tag), self._number(form, end)
                continue
            length = self._varint(end)
            if self._at + length > end:
                raise Irregular
            if not descent and field == _RAW_DATA_OF_TENSOR:
                # Of two, protobuf takes the last.
                if has_raw_data:
                    raise Irregular
                has_raw_data = True
                if length >= self._heavy:
                    reference = _reference(self._name, self._at, length)
                    self._at += length
                    continue
            if descent and field == descent[0]:
                content = self.message(self._at + length, descent[1:])
            else:
                content = self._bytes(length)
            light += _encoded(tag), _encoded(len(content)), content
        # At the end, since a `data_location` that comes later would prevail.
        return b"".join([*light, reference])

    def _number(self, form: int, end: int) -> bytes:
        if form == 0:
            return _encoded(self._varint(end))
        if form not in _PLAIN_LENGTHS or self._at + _PLAIN_LENGTHS[form] > end:
            raise Irregular
        return self._bytes(_PLAIN_LENGTHS[form])

    def _varint(self, end: int) -> int:
        number = 0
        for place in range(_LONGEST_VARINT):
            if self._at >= end:
                break
            byte = self._bytes(1)[0]
            number |= (byte & 0x7F) << 7 * place
            if byte < 0x80:
                return number
        raise Irregular

    def _bytes(self, length: int) -> bytes:
        start = self._at - self._buffer_start
        if not 0 <= start <= start + length <= len(self._buffer):
            self._buffer = os.pread(self._file.fileno(), max(length, _BUFFER), self._at)
            self._buffer_start, start = self._at, 0
            if len(self._buffer) < length:
                raise Irregular
        self._at += length
        return self._buffer[start : start + length]


def _reference(name: str, offset: int, length: int) -> bytes:
    tensor = TensorProto(data_location=TensorProto.EXTERNAL)
    for key, value in (("location", name), ("offset", str(offset)), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)
    return bytes(tensor.SerializeToString())


def _encoded(number: int) -> bytes:
    """`number` as protobuf writes it: seven bits a byte, the lowest first."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])
