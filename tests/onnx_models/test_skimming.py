"""Heavy weights stay in the file: the model that is read is the same, and takes little memory."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, numpy_helper

from onnx_models.forms import adding, branching, save
from trtreg.errors import UnusableModel
from trtreg.onnx_models import reading
from trtreg.onnx_models.digest import model_digest
from trtreg.onnx_models.examine import examine
from trtreg.onnx_models.reading import open_model, skim_model
from trtreg.onnx_models.skimming import HEAVY, Irregular, skim
from trtreg.onnx_models.tensors import is_external


def heavy(size: int = HEAVY) -> TensorProto:
    return numpy_helper.from_array(np.arange(size, dtype=np.uint8), "w")


@pytest.mark.data
def test_a_skimmed_model_has_the_digest_of_the_whole_one(shared_data: Path) -> None:
    for path in sorted((shared_data / "models").glob("*.onnx")):
        digest = model_digest(open_model(path), path.parent)
        assert model_digest(skim_model(path), path.parent) == examine(path).digest == digest, path.name


def test_a_heavy_weight_stays_in_the_file_and_a_light_one_does_not(tmp_path: Path) -> None:
    assert is_external(skim_model(save(adding(heavy()), tmp_path / "m.onnx")).graph.initializer[0])
    assert not is_external(skim_model(save(adding(heavy(HEAVY - 1)), tmp_path / "m.onnx")).graph.initializer[0])


def test_every_bit_of_a_heavy_weight_counts(tmp_path: Path) -> None:
    path = save(adding(heavy()), tmp_path / "m.onnx")
    before = examine(path).digest
    content = path.read_bytes()
    place = content.index(bytes(range(200))) + 100
    path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    assert examine(path).digest != before


def test_a_weight_that_says_it_is_not_external_is_skimmed_all_the_same(tmp_path: Path) -> None:
    tensor = heavy()
    tensor.data_location = TensorProto.DEFAULT
    path = save(adding(tensor), tmp_path / "m.onnx")
    assert examine(path).digest == model_digest(adding(heavy()), tmp_path)
    assert is_external(skim_model(path).graph.initializer[0])


def test_a_model_behind_a_link_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    save(adding(heavy()), tmp_path / "elsewhere" / "blob")
    (tmp_path / "m.onnx").symlink_to("elsewhere/blob")
    assert examine(tmp_path / "m.onnx").digest == model_digest(adding(heavy()), tmp_path)
    assert examine(tmp_path / "m.onnx").source.entry == "m.onnx"


def test_a_heavy_weight_of_the_wrong_size_is_refused_with_both_sizes(tmp_path: Path) -> None:
    tensor = heavy()
    tensor.dims[0] += 1
    with pytest.raises(UnusableModel, match=f"'w': its data has {HEAVY} bytes, its shape takes {HEAVY + 1}"):
        examine(save(adding(tensor), tmp_path / "m.onnx"))


def test_of_two_contents_of_one_tensor_protobuf_is_left_to_choose(tmp_path: Path) -> None:
    first, second = heavy(), numpy_helper.from_array(np.zeros(HEAVY, np.uint8), "w")
    empty = adding(first)
    del empty.graph.initializer[:]
    doubled = first.SerializeToString() + TensorProto(raw_data=second.raw_data).SerializeToString()
    path = tmp_path / "m.onnx"
    # A second `graph` is merged into the first, a second `raw_data` takes its place.
    path.write_bytes(empty.SerializeToString() + _field(7, _field(5, doubled)))
    with path.open("rb", buffering=0) as file, pytest.raises(Irregular):
        skim(file, "m.onnx")
    assert examine(path).digest == model_digest(adding(second), tmp_path)


@given(data=st.data())
@settings(max_examples=150)
def test_whatever_is_wrong_with_a_file_skimming_it_changes_no_answer(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray(branching().SerializeToString())
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    path = tmp_path_factory.getbasetemp() / "skimmed.onnx"
    path.write_bytes(content)
    with path.open("rb", buffering=0) as file:
        try:
            light = skim(file, path.name, heavy=4)
        except Irregular:
            return
    assert _answer(light, path) == _answer(bytes(content), path)


def test_a_heavy_inline_model_is_examined_in_little_memory(tmp_path: Path) -> None:
    path = save(adding(heavy(200 << 20)), tmp_path / "m.onnx")
    subprocess.run(
        [sys.executable, "-c", _EXAMINING, str(path)],
        check=True,
        timeout=120,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"},
    )


_EXAMINING = f"""
import pathlib, resource, sys
from trtreg.onnx_models.examine import examine

used = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * {resource.getpagesize()}
resource.setrlimit(resource.RLIMIT_AS, (used + (100 << 20), -1))
assert examine(pathlib.Path(sys.argv[1])).parameters == 200 << 20
"""


def _answer(content: bytes, path: Path) -> str:
    """The digest of what `content`, found at `path`, holds; `refused` for what isn't sound."""
    try:
        return model_digest(reading._parse_named(content, path), path.parent)
    except UnusableModel:
        return "refused"


def _field(number: int, content: bytes) -> bytes:
    length, rest = len(content), bytearray()
    while length > 0x7F:
        rest.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([number << 3 | 2, *rest, length]) + content
