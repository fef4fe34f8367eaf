"""What in a TensorFlow file could run code or reach files once it is loaded: read from its bytes, nothing is loaded.

A graph is a program: its operators read and write files, and a Keras file names the classes that loading calls. What is
known to do so is refused. That is vetting, not proof.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from trtreg.exporting.graph_defs import parse_graph, parse_saved_model

_MOST_CONFIG = 1 << 28
"""Bytes of a Keras model's description, unpacked."""
_SHOWN = 60

_REACHES_OUT = re.compile(
    r"File|Save|Restore|Checkpoint|Dataset|Iterator|Reader|Summary|PyFunc|Print|Debug|Proto|Lmdb|Rpc|Remote|Vocab|"
    r"LoadAndRemap|Send|Recv|Dump|XlaHost"
)
"""In the names of TensorFlow's operators that open files, connect, or call Python."""
_OF_SAVING = frozenset({"SaveV2", "RestoreV2", "MergeV2Checkpoints", "ShardedFilename"})
"""That every SavedModel has, for its own weights, in functions that nothing else calls."""

_FLEX = re.compile(rb"Flex[A-Z]\w*")
"""TensorFlow's own operators within TensorFlow Lite: these may be any."""

_MODULE = re.compile(
    r"(?:keras(?:\.src)?(?:\.(?:layers|models|initializers|regularizers|constraints|activations|optimizers|losses|"
    r"metrics|dtype_policies|ops)(?:\.\w+)*)?|builtins)\Z"
)
_KERAS_MEMBER = re.compile(r"(?:config\.json|metadata\.json|model\.weights\.h5)\Z")
_RUNS = frozenset({"Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"})
"""Keras' classes that hold Python code, or load other programs."""


def saved_model_reasons(content: bytes) -> Iterator[str]:
    """Of `saved_model.pb`. Raises ValueError for what is none."""
    graphs = parse_saved_model(content).meta_graphs
    if not graphs:
        raise ValueError("there is no graph in it")
    for meta in graphs:
        if not meta.object_graph_def:
            yield "it has the form of TensorFlow 1: loading it runs its graph"
        entries = (entry for part in meta.object_graph_def for entry in part.concrete_functions)
        public = {_text(key) for entry in entries for key in entry.key}
        for graph in meta.graph_def:
            yield from _graph_reasons(graph, public)


def is_graph(content: bytes) -> bool:
    """Whether it is a TensorFlow graph's message: one with nodes that have operators."""
    try:
        nodes = parse_graph(content).node
    except ValueError:
        return False
    return bool(nodes) and all(node.name and node.op for node in nodes)


def frozen_graph_reasons(content: bytes) -> Iterator[str]:
    """Of a frozen graph's file. Raises ValueError for what is none."""
    yield from _graph_reasons(parse_graph(content), None)


def tflite_reasons(content: bytes) -> Iterator[str]:
    """Of a TensorFlow Lite file."""
    if found := _FLEX.search(content):
        yield f"it holds {_text(found[0])[:_SHOWN]}, an operator of TensorFlow outside TensorFlow Lite"


def keras_reasons(path: Path) -> Iterator[str]:
    """Of a `.keras` archive. Raises ValueError and zipfile's errors for what is none."""
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if not _KERAS_MEMBER.match(name):
                yield f"it brings {name[:_SHOWN]!r}, a file beside its weights"
        with archive.open("config.json") as file:
            content = file.read(_MOST_CONFIG + 1)
    if len(content) > _MOST_CONFIG:
        raise ValueError(f"its config.json is larger than {_MOST_CONFIG} bytes")
    waiting: list[object] = [json.loads(content)]
    while waiting:
        match waiting.pop():
            case dict() as members:
                if called := _called_by_keras(members):
                    yield f"it calls {called[:_SHOWN]}"
                for key, member in members.items():
                    if reason := _keras_reason(str(key), member):
                        yield reason
                    waiting.append(member)
            case list() as members:
                waiting += members


def _called_by_keras(members: Mapping[str, object]) -> str:
    """The function that stands where a class should: Keras calls whatever is there."""
    match members:
        case {"module": str(module), "class_name": str(name)} if name != "function" and not name.startswith("__"):
            return "" if name[:1].isupper() else f"{module}.{name}"
    return ""


def _keras_reason(key: str, member: object) -> str:
    match key, member:
        case "class_name", str(name) if name in _RUNS:
            return f"its {name} holds Python code, or loads another program"
        case "module", str(module) if not _MODULE.match(module):
            return f"it calls what is in {module[:_SHOWN]!r}"
        case "registered_name", str(name) if ">" in name and not name.startswith("keras"):
            return f"it needs code that isn't Keras': {name[:_SHOWN]!r}"
        case "vocabulary", str(file):
            return f"it reads {file[:_SHOWN]!r}"
    return ""


def _graph_reasons(graph: Any, public: set[str] | None) -> Iterator[str]:
    """public: the functions that loading hands out, of a SavedModel; None for a graph that holds its own weights."""
    functions: dict[str, list[Any]] = {}
    for library in graph.library:
        for function in library.function:
            for signature in function.signature:
                for name in signature.name:
                    functions.setdefault(_text(name), []).extend(function.node_def)
            if not any(signature.name for signature in function.signature):
                functions.setdefault("", []).extend(function.node_def)
    called = set(public or ())
    for nodes in functions.values():
        called |= {name for node in nodes for name in (*_operators(node), *_called(node.attr))}
    for name, nodes in functions.items():
        spared = _OF_SAVING if public is not None and name not in called else frozenset()
        yield from _node_reasons(nodes, spared)
    yield from _node_reasons(graph.node, frozenset())


def _node_reasons(nodes: Sequence[Any], spared: frozenset[str]) -> Iterator[str]:
    for node in nodes:
        for operator in _operators(node):
            # A function's name, too, may stand where an operator's does; its own operators are looked at by themselves.
            if operator not in spared and not operator.startswith("__") and _REACHES_OUT.search(operator):
                yield f"its graph holds {operator[:_SHOWN]}, which reaches files, the network or Python"


def _operators(node: Any) -> list[str]:
    return [_text(name) for name in node.op]


def _called(attributes: Sequence[Any]) -> Iterator[str]:
    """The functions that a node's attributes name, and those that theirs do."""
    waiting = list(attributes)
    while waiting:
        for value in waiting.pop().value:
            listed = [function for part in value.list for function in part.func]
            for function in [*value.func, *listed]:
                yield from map(_text, function.name)
                waiting += function.attr


def _text(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")
