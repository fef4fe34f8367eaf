from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtreg.core.architecture import architecture_of, parse_architecture
from trtreg.core.builder_settings import (
    HELP,
    BuilderSettings,
    HardwareCompatibility,
    Weights,
    foreign_to_onnxruntime,
)
from trtreg.core.key import Question
from trtreg.core.recipe import Precision, Recipe, parse_shape
from trtreg.core.records import from_json, to_json
from trtreg.core.target import Target

TARGET = Target(runtime="tensorrt", runtime_version="10.13.3.9", architecture="sm_89", platform="linux-x86_64")

OTHER_THAN_DEFAULT = {
    "tf32": False,
    "workspace": 1 << 30,
    "optimization_level": 5,
    "hardware_compatibility": HardwareCompatibility.AMPERE_PLUS,
    "version_compatible": True,
    "sparsity": True,
    "weights": Weights.STRIPPED,
    "plugins": ("a" * 64,),
    "max_aux_streams": 0,
}


def settings(**chosen: object) -> BuilderSettings:
    return BuilderSettings(**chosen)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("architecture", "has_tf32"),
    [("x86_64", False), ("aarch64", False), ("sm_75", False), ("sm_80", True), ("sm_120", True)],
)
def test_onnx_runtime_takes_no_setting_but_tf32_on_gpus_that_have_it(architecture: str, has_tf32: bool) -> None:
    everything = settings(**OTHER_THAN_DEFAULT)
    foreign = set(OTHER_THAN_DEFAULT) - ({"tf32"} if has_tf32 else set())
    assert set(foreign_to_onnxruntime(everything, architecture).chosen) == foreign
    assert not foreign_to_onnxruntime(settings(), architecture).chosen


@pytest.mark.parametrize("name", [f.name for f in fields(BuilderSettings)])
def test_every_setting_is_keyed_told_and_explained(name: str) -> None:
    chosen = settings(**{name: OTHER_THAN_DEFAULT[name]})
    default, other = Recipe(), Recipe(builder=chosen)
    assert Question("m", default, TARGET).key != Question("m", other, TARGET).key
    assert list(chosen.chosen) == [name]
    assert name in str(chosen)
    assert HELP[name]
    assert from_json(Recipe, to_json(other)) == other


def test_defaults_are_called_so() -> None:
    assert str(BuilderSettings()) == "defaults"
    assert str(settings(tf32=False, max_aux_streams=0)) == "tf32=no max_aux_streams=0"


@pytest.mark.parametrize(
    "wrong",
    [
        {"workspace": 0},
        {"optimization_level": 6},
        {"optimization_level": -1},
        {"max_aux_streams": -1},
        {"plugins": ("b" * 64, "a" * 64)},
        {"plugins": ("a" * 64, "a" * 64)},
        {"plugins": ("libplugin.so",)},
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"workspace|level|streams|plugins"):
        settings(**wrong)


def test_several_profiles_keep_their_order() -> None:
    shapes = [parse_shape(s) for s in ("a=1x3", "a=2x3", "b=1", "b=2")]
    recipe = Recipe(profiles=tuple(shapes))
    assert recipe.optimization_profiles == ((shapes[0], shapes[2]), (shapes[1], shapes[3]))
    assert Recipe().optimization_profiles == ((),)


@pytest.mark.parametrize("shapes", [("b=1", "a=1"), ("a=1", "a=2", "b=1"), ("a=1", "a=1")])
def test_profiles_that_are_unsorted_incomplete_or_repeated_are_refused(shapes: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"listed by|every input|are the same"):
        Recipe(profiles=tuple(map(parse_shape, shapes)))


def test_fp8_is_calibrated_like_int8() -> None:
    assert Recipe(precision=Precision.FP8, calibration="0" * 64)
    with pytest.raises(ValueError, match="fp8 needs a calibration sample"):
        Recipe(precision=Precision.FP8)


@given(st.lists(st.integers(10, 999), min_size=1))
def test_architectures_have_one_spelling(capabilities: list[int]) -> None:
    text = architecture_of(tuple(capabilities))
    assert parse_architecture(text) == tuple(sorted(set(capabilities)))
    assert parse_architecture(", ".join(reversed(text.split(",")))) == parse_architecture(text)


@pytest.mark.parametrize("text", ["", "sm", "sm_", "sm_8", "sm_089", "SM_89", "sm_8.9", "sm_8९", "sm_89;sm_90"])
def test_what_is_no_architecture_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no GPU architecture"):
        parse_architecture(text)
