"""Every name of TensorRT's that our code uses, against the recorded names of each version that we drive."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from trtreg.backends.tensorrt_api import (
    PRODUCTS,
    TENSORRT,
    TENSORRT_RTX,
    known_architectures,
    member,
    require_architectures,
    unsupported_nodes,
)
from trtreg.errors import UsageError

Api = dict[str, list[str]]

VERSIONS = ["10.0.1", "10.13.3.9", "10.16.1.11", "11.4", "rtx17"]
OUR_FILES = [
    path
    for path in sorted(Path(__file__).parents[2].glob("registry/trtreg/backends/tensorrt*.py"))
    if path.stem != "tensorrt_model"  # it reads ONNX only
]

CLASS_OF = {
    "cache": "ITimingCache",
    "refitter": "Refitter",
    "parser_refitter": "OnnxParserRefitter",
    "serialization": "ISerializationConfig",
    "builder": "Builder",
    "config": "IBuilderConfig",
    "context": "IExecutionContext",
    "_context": "IExecutionContext",
    "engine": "ICudaEngine",
    "_engine": "ICudaEngine",
    "fault": "ParserError",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "profile": "IOptimizationProfile",
    "registry": "IPluginRegistry",
    "runtime": "Runtime",
    "tensor": "ITensor",
}
"""By the names that our code gives to TensorRT's objects; `trt` and `_trt` are the module itself."""

DIFFERENCES = {
    "ComputeCapability": {"rtx17"},
    "IBuilderConfig.num_compute_capabilities": {"rtx17"},
    "IBuilderConfig.set_compute_capability": {"rtx17"},
    "OnnxParser.supports_model_v2": {"10.13.3.9", "10.16.1.11", "11.4", "rtx17"},
    "OnnxParser.num_subgraphs": {"10.13.3.9", "10.16.1.11", "11.4", "rtx17"},
    "OnnxParser.get_subgraph_nodes": {"10.13.3.9", "10.16.1.11", "11.4", "rtx17"},
    "HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY": {"10.13.3.9", "10.16.1.11", "11.4", "rtx17"},
}
"""What only these versions have; `tensorrt_api` asks before it uses it."""


@pytest.fixture
def apis(shared_data: Path) -> dict[str, Api]:
    folder = shared_data.parent / "tensorrt-api"
    if not folder.is_dir():
        pytest.skip(f"no recorded names of TensorRT at {folder}")
    return {version: json.loads((folder / f"{version}.json").read_text()) for version in VERSIONS}


def names_used() -> Iterator[str]:
    """`Class.member`, or the name of what is in the module itself."""
    for path in OUR_FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                yield from _of_attribute(node)
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "member":
                yield from _of_member_call(node)


def _of_attribute(node: ast.Attribute) -> Iterator[str]:
    receiver = _last_name(node.value)
    if node.attr.startswith("__"):
        return
    if receiver in ("trt", "_trt"):
        yield node.attr
    elif receiver in CLASS_OF:
        yield f"{CLASS_OF[receiver]}.{node.attr}"
    elif isinstance(node.value, ast.Attribute) and _last_name(node.value.value) in ("trt", "_trt"):
        yield f"{receiver}.{node.attr}"


def _of_member_call(node: ast.Call) -> Iterator[str]:
    enumeration, name = node.args[1:]
    if isinstance(enumeration, ast.Constant) and isinstance(name, ast.Constant):
        yield ".".join((str(enumeration.value), str(name.value)))


def _last_name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def flags_named_in_strings() -> set[str]:
    words = {
        node.value
        for path in OUR_FILES
        if path.stem == "tensorrt_config"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return {w for w in words if re.fullmatch(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*", w)}


def has(api: Api, name: str) -> bool:
    owner, _, attribute = name.partition(".")
    return owner in api and (not attribute or attribute in api[owner])


def module_of(api: Api, version: str) -> SimpleNamespace:
    """The recorded enumerations as a module, without anything behind them."""
    enumerations = {
        name: SimpleNamespace(**{m: m for m in members}, __members__={m: m for m in members})
        for name, members in api.items()
        if isinstance(members, list)
    }
    return SimpleNamespace(**enumerations, __name__="tensorrt", __version__=version)


@pytest.mark.data
@pytest.mark.parametrize("version", VERSIONS)
def test_every_name_that_our_code_uses_is_there(version: str, apis: dict[str, Api]) -> None:
    expected = {name for name in names_used() if version in DIFFERENCES.get(name, VERSIONS)}
    assert "IBuilderConfig.add_optimization_profile" in expected
    assert sorted(name for name in expected if not has(apis[version], name)) == []


@pytest.mark.data
def test_the_differences_are_those_on_record(apis: dict[str, Api]) -> None:
    found = {name: {v for v in VERSIONS if has(apis[v], name)} for name in DIFFERENCES}
    assert found == DIFFERENCES


@pytest.mark.data
@pytest.mark.parametrize("version", VERSIONS)
def test_every_builder_flag_that_our_code_names_is_there(version: str, apis: dict[str, Api]) -> None:
    known_anywhere = {flag for api in apis.values() for flag in api["BuilderFlag"]}
    ours = flags_named_in_strings() & known_anywhere
    assert ours >= {"TF32", "REFIT", "STRIP_PLAN", "SPARSE_WEIGHTS", "VERSION_COMPATIBLE"}
    assert ours <= set(apis[version]["BuilderFlag"])


@pytest.mark.data
def test_what_an_old_version_lacks_is_refused_with_the_version_that_has_it(apis: dict[str, Api]) -> None:
    old = module_of(apis["10.0.1"], "10.0.1")
    with pytest.raises(UsageError, match=r"10\.0\.1 has no HardwareCompatibilityLevel\.SAME_COMPUTE") as refusal:
        member(old, "HardwareCompatibilityLevel", "SAME_COMPUTE_CAPABILITY")
    assert refusal.value.hint == "TensorRT 10.9 has it"


@pytest.mark.data
def test_only_tensorrt_rtx_builds_for_architectures_that_it_is_told(apis: dict[str, Api]) -> None:
    rtx, full = module_of(apis["rtx17"], "1.7.1.116"), module_of(apis["11.4"], "11.4")
    assert known_architectures(rtx) == (75, 80, 86, 89, 120, 121)
    assert known_architectures(full) == ()
    require_architectures(rtx, PRODUCTS[TENSORRT_RTX], (86, 89), here=())
    require_architectures(full, PRODUCTS[TENSORRT], (89,), here=(89, 120))
    for here, there in (((), "none"), ((90,), "sm_90"), ((89,), "sm_89")):
        with pytest.raises(UsageError, match=f"for the GPU it runs on, which is {there} here"):
            require_architectures(full, PRODUCTS[TENSORRT], (86, 89), here=here)


def test_a_parser_without_a_list_of_supported_subgraphs_names_no_nodes(tmp_path: Path) -> None:
    assert unsupported_nodes(SimpleNamespace(), tmp_path / "never-opened.onnx", 3) == []
