"""Every part of a model of one kind, wherever it lies: in subgraphs, functions, attributes, sparse tensors.

It follows protobuf's own description of the messages, so that no place can be forgotten, nor one that a newer
ONNX adds.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TypeVar

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

Part = TypeVar("Part", bound=Message)


def parts(message: Message, kind: type[Part]) -> Iterator[Part]:
    """Every message of type `kind` inside `message`, at any depth, in the order of the file."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        # A tensor holds no tensor: looking into it would only copy its weights.
        may_hold = kind.DESCRIPTOR in _inside(field.message_type)
        if not may_hold and field.message_type != kind.DESCRIPTOR:
            continue
        for inner in (value,) if isinstance(value, Message) else value:
            if isinstance(inner, kind):
                yield inner
            if may_hold:
                yield from parts(inner, kind)


@cache
def _inside(outer: Descriptor) -> frozenset[Descriptor]:
    """The types of all messages that a message of the type `outer` can hold, at any depth."""
    reached: set[Descriptor] = set()
    waiting = [outer]
    while waiting:
        found = {f.message_type for f in waiting.pop().fields if f.message_type is not None} - reached
        reached |= found
        waiting += found
    return frozenset(reached)
