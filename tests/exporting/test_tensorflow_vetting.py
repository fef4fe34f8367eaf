"""TensorFlow's files told apart, and looked at before they are loaded: all of it without TensorFlow."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

import pytest

from small_models import write_classifier
from trtreg.core.preparation import Preparation, PrepareOrder
from trtreg.errors import Untrusted, UnusableModel, UsageError
from trtreg.exporting.programs import ProgramKind, program_kind, require_loadable
from trtreg.testing import SilentProgress
from trtreg.workshop.preparing import prepare


def field(number: int, content: bytes | str) -> bytes:
    """One field of a protobuf message, with a length."""
    content = content.encode() if isinstance(content, str) else content
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    return bytes([value]) if value < 0x80 else bytes([value & 0x7F | 0x80]) + _varint(value >> 7)


def node(operator: str, *, calls: str = "") -> bytes:
    """A NodeDef; `calls` is the function that an attribute of it names."""
    attribute = field(5, field(1, "f") + field(2, field(10, field(1, calls)))) if calls else b""
    return field(1, operator.lower()) + field(2, operator) + attribute


def graph(*nodes: bytes, **functions: tuple[bytes, ...]) -> bytes:
    library = b"".join(
        field(1, field(1, field(1, name)) + b"".join(field(3, inner) for inner in inners))
        for name, inners in functions.items()
    )
    return b"".join(field(1, content) for content in nodes) + field(2, library)


def saved_model(folder: Path, content: bytes, *, public: str = "serve", old: bool = False) -> Path:
    """A SavedModel's folder; `old` has TensorFlow 1's form, without objects."""
    objects = b"" if old else field(7, field(2, field(1, public)))
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(b"\x08\x01" + field(2, field(2, content) + objects))
    return folder


def keras(path: Path, config: object, **others: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {"config.json": json.dumps(config), "model.weights.h5": "", **others}.items():
            archive.writestr(name, text)
    return path


def prepared(file: Path, tmp_path: Path, **wanted: object) -> object:
    (tmp_path / "work").mkdir()
    order = PrepareOrder(file=file, folder=tmp_path / "work", preparation=Preparation(**wanted))  # type: ignore[arg-type]
    return prepare(order, SilentProgress())


def test_the_kinds_are_told_by_what_is_in_them(tmp_path: Path) -> None:
    (tmp_path / "net.pb").write_bytes(graph(node("Placeholder")))
    (tmp_path / "net.tflite").write_bytes(b"\x1c\0\0\0TFL3")
    (tmp_path / "text").write_bytes(b"\nno graph")
    assert program_kind(saved_model(tmp_path / "saved", b"")) is ProgramKind.SAVED_MODEL
    assert program_kind(keras(tmp_path / "net.keras", {})) is ProgramKind.KERAS
    assert program_kind(tmp_path / "net.pb") is ProgramKind.FROZEN_GRAPH
    assert program_kind(tmp_path / "net.tflite") is ProgramKind.TFLITE
    assert program_kind(tmp_path / "text") is None
    assert program_kind(write_classifier(tmp_path / "net.onnx")) is None


@pytest.mark.parametrize(
    "operator", ["ReadFile", "WriteFile", "TextLineDataset", "EagerPyFunc", "PrintV2", "SaveV2", "DecodeProtoV2"]
)
def test_a_graph_that_reaches_out_is_not_loaded(operator: str, tmp_path: Path) -> None:
    (tmp_path / "net.pb").write_bytes(graph(node("MatMul"), node(operator)))
    inner = saved_model(tmp_path / "inner", graph(node("Placeholder"), serve=(node("MatMul"), node(operator))))
    outer = saved_model(tmp_path / "outer", graph(node(operator)))
    for file, kind in (
        (tmp_path / "net.pb", ProgramKind.FROZEN_GRAPH),
        (inner, ProgramKind.SAVED_MODEL),
        (outer, ProgramKind.SAVED_MODEL),
    ):
        with pytest.raises(Untrusted, match=operator) as refusal:
            require_loadable(file, kind)
        assert "--unsafe-code" in refusal.value.hint


_SAVING = {"traced_save": (node("ShardedFilename"), node("SaveV2")), "serve": (node("MatMul"),)}


def test_what_saves_a_models_own_weights_is_no_reason_to_refuse_it(tmp_path: Path) -> None:
    content = graph(node("StatefulPartitionedCall", calls="traced_save"), **_SAVING)
    require_loadable(saved_model(tmp_path / "saved", content), ProgramKind.SAVED_MODEL)


def test_saving_that_anything_else_calls_is_a_reason(tmp_path: Path) -> None:
    calling = graph(**_SAVING, caller=(node("PartitionedCall", calls="traced_save"),))
    by_name = graph(**_SAVING, caller=(node("traced_save"),))
    cases = [
        saved_model(tmp_path / "calling", calling),
        saved_model(tmp_path / "named", by_name),
        saved_model(tmp_path / "public", graph(**_SAVING), public="traced_save"),
    ]
    for file in cases:
        with pytest.raises(Untrusted, match=r"SaveV2|ShardedFilename"):
            require_loadable(file, ProgramKind.SAVED_MODEL)


def test_a_saved_model_of_the_first_tensorflow_runs_when_it_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(Untrusted, match="form of TensorFlow 1"):
        require_loadable(saved_model(tmp_path / "saved", graph(node("MatMul")), old=True), ProgramKind.SAVED_MODEL)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"layers": [{"module": "keras.layers", "class_name": "Lambda"}]}, "Lambda holds Python code"),
        ({"a": {"class_name": "__lambda__", "config": {"value": "…"}}}, "__lambda__ holds Python code"),
        ({"class_name": "TFSMLayer", "config": {"filepath": "/elsewhere"}}, "TFSMLayer"),
        ({"module": "os", "class_name": "system"}, "calls os.system"),
        ({"module": "builtins", "class_name": "eval"}, "calls builtins.eval"),
        ({"module": "keras.models", "class_name": "load_model"}, "calls keras.models.load_model"),
        ({"module": "keras.utils", "class_name": "FeatureSpace"}, "calls what is in 'keras.utils'"),
        ({"module": "keras.config", "class_name": "enable_unsafe_deserialization"}, "calls keras.config"),
        ({"class_name": "Mine", "registered_name": "my_package>Mine"}, "needs code that isn't Keras'"),
        ({"class_name": "StringLookup", "config": {"vocabulary": "/etc/passwd"}}, "reads '/etc/passwd'"),
    ],
)
def test_a_keras_file_that_names_other_code_is_not_loaded(config: object, words: str, tmp_path: Path) -> None:
    with pytest.raises(Untrusted) as refusal:
        require_loadable(keras(tmp_path / "net.keras", config), ProgramKind.KERAS)
    assert words in refusal.value.message


def test_layers_pass_and_files_beside_the_weights_do_not(tmp_path: Path) -> None:
    config = {
        "module": "keras",
        "class_name": "Functional",
        "layers": [{"module": "keras.layers", "class_name": "Dense"}],
    }
    require_loadable(keras(tmp_path / "net.keras", config), ProgramKind.KERAS)
    with pytest.raises(Untrusted, match="a file beside its weights"):
        require_loadable(keras(tmp_path / "more.keras", config, **{"assets/x": ""}), ProgramKind.KERAS)


def test_tensorflow_lite_with_tensorflows_own_operators_is_not_loaded(tmp_path: Path) -> None:
    (tmp_path / "net.tflite").write_bytes(b"\x1c\0\0\0TFL3" + b"\0FlexReadFile\0")
    with pytest.raises(Untrusted, match="FlexReadFile"):
        require_loadable(tmp_path / "net.tflite", ProgramKind.TFLITE)


@pytest.mark.parametrize("content", [b"", b"\x12\xff", b"\x08\x01"])
def test_a_damaged_saved_model_is_unusable(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(content)
    with pytest.raises(UnusableModel, match="saved can't be read"):
        prepared(tmp_path / "saved", tmp_path)


def test_a_link_in_a_saved_model_is_not_followed(tmp_path: Path) -> None:
    folder = saved_model(tmp_path / "saved", graph(node("MatMul")))
    (folder / "variables").symlink_to(tmp_path)
    with pytest.raises(UnusableModel, match="is a link"):
        prepared(folder, tmp_path)


def test_of_a_saved_model_the_folder_is_asked_for(tmp_path: Path) -> None:
    folder = saved_model(tmp_path / "saved", graph(node("MatMul")))
    with pytest.raises(UsageError) as refusal:
        prepared(folder / "saved_model.pb", tmp_path)
    assert str(folder) in refusal.value.hint


def test_without_tensorflow_a_program_is_answered_by_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    for name in ("TF_CPP_MIN_LOG_LEVEL", "CUDA_VISIBLE_DEVICES", "KERAS_BACKEND"):
        monkeypatch.setenv(name, "")  # Put back afterwards.
    with pytest.raises(UsageError) as refusal:
        prepared(saved_model(tmp_path / "saved", graph(node("MatMul"))), tmp_path)
    assert "trtreg[tensorflow]" in refusal.value.hint
