"""TensorFlow's graphs, read without TensorFlow: the few fields of its messages that name operators and functions.

Declared by hand, as TensorFlow's own declarations come with all of TensorFlow. Names are bytes: whatever a
stranger wrote there is read.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

_Field = descriptor_pb2.FieldDescriptorProto
_TEXT = ""
_MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "SavedModel": {"meta_graphs": (2, "MetaGraphDef")},
    "MetaGraphDef": {"graph_def": (2, "GraphDef"), "object_graph_def": (7, "SavedObjectGraph")},
    "SavedObjectGraph": {"concrete_functions": (2, "FunctionEntry")},
    "FunctionEntry": {"key": (1, _TEXT)},
    "GraphDef": {"node": (1, "NodeDef"), "library": (2, "FunctionDefLibrary")},
    "FunctionDefLibrary": {"function": (1, "FunctionDef")},
    "FunctionDef": {"signature": (1, "OpDef"), "node_def": (3, "NodeDef")},
    "OpDef": {"name": (1, _TEXT)},
    "NodeDef": {"name": (1, _TEXT), "op": (2, _TEXT), "attr": (5, "AttrEntry")},
    "AttrEntry": {"value": (2, "AttrValue")},
    "AttrValue": {"list": (1, "ListValue"), "func": (10, "NameAttrList")},
    "ListValue": {"func": (9, "NameAttrList")},
    "NameAttrList": {"name": (1, _TEXT), "attr": (2, "AttrEntry")},
}
"""By message: its fields' numbers and types. All are declared repeated, so that of a field that stands twice, which
readers merge or take the last of, nothing is overlooked."""


def parse_saved_model(content: bytes) -> Any:
    """The `SavedModel` message; its fields are those above. Raises ValueError."""
    return _parsed("SavedModel", content)


def parse_graph(content: bytes) -> Any:
    """The `GraphDef` message. Raises ValueError."""
    return _parsed("GraphDef", content)


def _parsed(name: str, content: bytes) -> Any:
    try:
        return _classes()[name].FromString(content)
    except DecodeError as error:
        raise ValueError(f"it is no {name}: {error}") from None


@cache
def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="graphs.proto", package="graphs", syntax="proto2")
    for message, fields in _MESSAGES.items():
        declared = file.message_type.add(name=message)
        for field, (number, kind) in fields.items():
            added = declared.field.add(
                name=field, number=number, label=descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
            )
            if kind:
                added.type, added.type_name = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE, f".graphs.{kind}"
            else:
                added.type = descriptor_pb2.FieldDescriptorProto.TYPE_BYTES
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {n: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"graphs.{n}")) for n in _MESSAGES}
