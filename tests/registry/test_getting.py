"""get: from the cache, from the store, or built; and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import trtreg
from registry.conftest import Told, add
from small_models import write_classifier, write_sample, write_vanishing
from trtreg.core.lifecycle import EngineState
from trtreg.errors import Miss, NotFound, Rejected, Untrusted, UsageError
from trtreg.registry import Registry
from trtreg.wiring import wiring


def test_the_first_get_builds_and_the_second_comes_from_the_cache(with_model: Registry) -> None:
    first = with_model.get("tiny", precision="fp16")
    second = with_model.get("tiny", precision="fp16")

    assert (first.source, second.source) == ("built", "cache")
    assert first.path == second.path
    assert first.key == second.key == first.manifest.key


def test_another_cache_is_filled_from_the_store_without_building(with_model: Registry, tmp_path: Path) -> None:
    built = with_model.get("tiny")
    told = Told()
    elsewhere = wiring.open_registry(settings=wiring.settings({"cache": str(tmp_path / "elsewhere")}), progress=told)

    fetched = elsewhere.get("tiny", build=False)

    assert fetched.source == "store"
    assert fetched.path.read_bytes() == built.path.read_bytes()
    assert "build" not in told.stages


def test_the_plan_answers_like_the_model(with_model: Registry, classifier: Path) -> None:
    import onnxruntime

    images = np.random.default_rng(1).random((1, 3, 16, 16), dtype=np.float32)
    reference = onnxruntime.InferenceSession(classifier, providers=["CPUExecutionProvider"])

    outputs = with_model.get("tiny").load().run({"images": images})

    np.testing.assert_allclose(outputs["scores"], reference.run(None, {"images": images})[0], rtol=1e-4, atol=1e-5)


def test_the_front_door_opens_the_same_registry(with_model: Registry) -> None:
    built = with_model.get("tiny")

    assert trtreg.open_registry().get("tiny").key == built.key


def test_each_precision_shape_and_exclusion_has_a_key_of_its_own(with_model: Registry) -> None:
    engines = [
        with_model.get("tiny"),
        with_model.get("tiny", precision="fp16"),
        with_model.get("tiny", precision="fp16", keep_fp32=["MatMul"]),
        with_model.get("tiny", precision="fp16", keep_io_types=False),
    ]

    assert len({e.key for e in engines}) == 4


def test_a_shape_that_only_repeats_the_model_is_the_same_question(with_model: Registry) -> None:
    assert with_model.get("tiny", shapes={"images": "1x3x16x16"}).key == with_model.get("tiny").key


def test_a_newer_version_is_served_as_soon_as_it_is_added(with_model: Registry, tmp_path: Path) -> None:
    before = with_model.get("tiny")
    add(with_model, "tiny", write_classifier(tmp_path / "newer.onnx", seed=1))

    after = with_model.get("tiny")

    assert after.key != before.key
    assert with_model.get("tiny@1").key == before.key
    assert with_model.get("tiny@latest").key == after.key


def test_a_moved_alias_is_followed_at_once(with_model: Registry, tmp_path: Path) -> None:
    add(with_model, "tiny", write_classifier(tmp_path / "newer.onnx", seed=1), aliases=["prod"])
    newer = with_model.get("tiny@prod")
    with_model.models.set_alias(trtreg_name("tiny@1"), "prod")

    assert with_model.get("tiny@prod").key == with_model.get("tiny@1").key != newer.key


def test_an_unknown_model_names_those_that_there_are(with_model: Registry) -> None:
    with pytest.raises(NotFound, match="no model 'tinny'") as refused:
        with_model.get("tinny")
    assert "tiny" in refused.value.hint


@pytest.mark.parametrize("choice", [{"build": False}, {"offline": True}])
def test_a_miss_that_may_not_be_built_is_a_miss(with_model: Registry, choice: dict[str, bool]) -> None:
    with pytest.raises(Miss, match=r"tiny@1 \(fp16\)"):
        with_model.get("tiny", precision="fp16", **choice)  # type: ignore[arg-type]


def test_offline_is_answered_from_the_cache(with_model: Registry) -> None:
    built = with_model.get("tiny")

    assert with_model.get("tiny", offline=True).path == built.path


def test_what_the_gate_rejects_is_not_served_and_its_report_is_kept(registry: Registry, tmp_path: Path) -> None:
    add(registry, "vanishing", write_vanishing(tmp_path / "o.onnx"))

    with pytest.raises(Rejected, match="the gate rejects vanishing@1"):
        registry.get("vanishing", precision="fp16")

    (record,) = registry.engines(state=EngineState.REJECTED)
    assert record.manifest.gate is not None
    assert record.manifest.gate.reasons
    with pytest.raises(Miss):
        registry.get("vanishing", precision="fp16", offline=True)


def test_a_rejected_engine_is_not_built_again_for_nothing(registry: Registry, told: Told, tmp_path: Path) -> None:
    add(registry, "vanishing", write_vanishing(tmp_path / "o.onnx"))
    with pytest.raises(Rejected):
        registry.get("vanishing", precision="fp16")
    builds = told.stages.count("build")

    with pytest.raises(Rejected, match="before"):
        registry.get("vanishing", precision="fp16")

    assert told.stages.count("build") == builds


def test_a_rejected_engine_is_built_again_when_asked_for_or_when_the_samples_are_others(
    registry: Registry, told: Told, tmp_path: Path
) -> None:
    path = write_vanishing(tmp_path / "o.onnx")
    add(registry, "vanishing", path)
    with pytest.raises(Rejected):
        registry.get("vanishing", precision="fp16")
    with pytest.raises(Rejected, match="rejects"):
        registry.get("vanishing", precision="fp16", rebuild=True)
    builds = told.stages.count("build")
    np.savez(tmp_path / "ones.npz", x=np.ones((1, 64), np.float32))
    add(registry, "vanishing", path, samples={"ones": tmp_path / "ones.npz"})

    with pytest.raises(Rejected, match="rejects"):
        registry.get("vanishing", precision="fp16")
    assert told.stages.count("build") == builds + 1


@pytest.mark.data
@pytest.mark.parametrize("on_its_sample", [True, False])
def test_what_only_fp32_behind_the_scenes_makes_right_is_rejected_and_passes_where_it_is_kept_in_fp32(
    on_its_sample: bool, registry: Registry, shared_data: Path
) -> None:
    samples = {"own": shared_data / "samples" / "needs_constraints.npz"} if on_its_sample else {}
    add(registry, "needs", shared_data / "models" / "needs_constraints.onnx", samples=samples)

    for again in ("", "before: "):
        with pytest.raises(Rejected, match=f"{again}the 16-bit arithmetic itself: matmul_out_3: relative L2 error 1 >"):
            registry.get("needs", precision="fp16")

    (record,) = registry.engines(state=EngineState.REJECTED)
    assert record.manifest.gate is not None
    assert record.manifest.gate.original[0].relative_l2 == 0
    kept = registry.get("needs", precision="fp16", keep_fp32=["Add", "Sub"]).manifest.gate
    assert kept is not None
    assert kept.arithmetic[0].relative_l2 <= 2e-3


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_only_16_bit_recipes_have_their_arithmetic_tried(precision: str, with_model: Registry) -> None:
    report = with_model.get("tiny", precision=precision).manifest.gate
    assert report is not None
    assert bool(report.arithmetic) == (precision == "fp16")


def test_a_rebuild_serves_the_new_plan_and_loses_no_bytes(with_model: Registry) -> None:
    first = with_model.get("tiny")
    again = with_model.get("tiny", rebuild=True)

    assert again.source == "built"
    assert again.manifest.plan_digest == first.manifest.plan_digest
    assert with_model.get("tiny").source == "cache"


def test_a_manifest_copied_under_another_key_is_refused(with_model: Registry, tmp_path: Path) -> None:
    wanted = with_model.get("tiny", precision="fp16")
    other = with_model.get("tiny")
    store = Path(wiring.settings().store)
    folder = store / "manifests" / wanted.key
    shutil.rmtree(folder)
    shutil.copytree(store / "manifests" / other.key, folder)
    elsewhere = wiring.open_registry(settings=wiring.settings({"cache": str(tmp_path / "elsewhere")}))

    with pytest.raises(Untrusted, match=other.key):
        elsewhere.get("tiny", precision="fp16")


def test_a_flipped_bit_in_the_store_is_found_before_anything_loads_it(with_model: Registry, tmp_path: Path) -> None:
    built = with_model.get("tiny")
    file = built.manifest.plan.files[0]
    blob = Path(wiring.settings().store) / "blobs" / file.sha256[:2] / file.sha256
    content = bytearray(blob.read_bytes())
    content[len(content) // 2] ^= 1
    blob.chmod(0o644)
    blob.write_bytes(content)
    elsewhere = wiring.open_registry(settings=wiring.settings({"cache": str(tmp_path / "elsewhere")}))

    with pytest.raises(Untrusted):
        elsewhere.get("tiny")


def test_an_engine_whose_files_are_lost_is_told_so_and_comes_back_with_a_rebuild(
    with_model: Registry, tmp_path: Path
) -> None:
    file = with_model.get("tiny").manifest.plan.files[0]
    blob = Path(wiring.settings().store) / "blobs" / file.sha256[:2] / file.sha256
    blob.unlink()
    elsewhere = wiring.open_registry(settings=wiring.settings({"cache": str(tmp_path / "elsewhere")}))
    with pytest.raises(NotFound, match="has lost its files") as refused:
        elsewhere.get("tiny")
    assert "--rebuild" in refused.value.hint
    from trtreg.core.names import parse_model_name
    from trtreg.core.request import Request

    request = Request(model=parse_model_name("tiny"))
    with pytest.raises(NotFound, match=file.sha256):
        elsewhere.urls(request, 60)
    assert elsewhere.get("tiny", rebuild=True).source == "built"
    assert elsewhere.urls(request, 60)[-1].sha256 == file.sha256


def test_a_lost_catalog_row_comes_back_with_the_next_fetch(with_model: Registry, tmp_path: Path) -> None:
    built = with_model.get("tiny")
    import sqlite3

    with sqlite3.connect(wiring.settings().catalog.removeprefix("sqlite:///")) as catalog:
        catalog.execute("delete from engines")
    catalog.close()
    elsewhere = wiring.open_registry(settings=wiring.settings({"cache": str(tmp_path / "elsewhere")}))

    assert elsewhere.get("tiny").source == "store"
    assert [r.manifest.key for r in elsewhere.engines()] == [built.key]


def test_int8_is_calibrated_on_a_sample_and_says_so_if_there_is_none(with_model: Registry, classifier: Path) -> None:
    with pytest.raises(UsageError, match="no sample"):
        with_model.get("tiny", precision="int8")
    add(with_model, "tiny", classifier, samples={"real": write_sample(classifier.with_name("real.npz"))})

    engine = with_model.get("tiny", precision="int8")

    sample = with_model.models.find(trtreg_name("tiny")).samples[0]
    assert engine.manifest.recipe.calibration == sample.file.sha256


def test_the_manifest_tells_where_the_engine_comes_from(with_model: Registry) -> None:
    engine = with_model.get("tiny", precision="fp16")
    plain = json.loads(engine.manifest_json)

    assert plain["provenance"]["model"] == "tiny@1"
    assert {"trtreg", "onnxruntime"} <= set(plain["provenance"]["versions"])
    assert {"rewrite", "build", "gate"} <= set(plain["provenance"]["seconds"])
    assert plain["rewritten_digest"] != plain["model_digest"]


def test_the_gate_can_be_run_again_and_withdraws_what_no_longer_passes(with_model: Registry) -> None:
    engine = with_model.get("tiny", precision="fp16")
    _, report = with_model.judge_again(engine.key[:12])
    assert report.verdict == "passed"
    with_model.models.set_tolerance("tiny", {"relative_l2": 0.0, "cosine": 1.0, "max_error": 0.0})

    record, report = with_model.judge_again(engine.key)

    assert (report.verdict, record.state) == ("rejected", EngineState.REJECTED)
    with pytest.raises(Rejected):
        with_model.get("tiny", precision="fp16")
    with_model.models.set_tolerance("tiny", {})
    record, _ = with_model.judge_again(engine.key)
    assert record.state is EngineState.PUBLISHED
    assert with_model.get("tiny", precision="fp16", build=False).key == engine.key


def test_a_rebuild_that_is_rejected_leaves_nothing_to_be_served(with_model: Registry) -> None:
    with_model.get("tiny", precision="fp16")
    with_model.models.set_tolerance("tiny", {"relative_l2": 0.0, "cosine": 1.0, "max_error": 0.0})
    with pytest.raises(Rejected):
        with_model.get("tiny", precision="fp16", rebuild=True)

    with pytest.raises(Rejected):
        with_model.get("tiny", precision="fp16")
    with pytest.raises(Miss):
        with_model.get("tiny", precision="fp16", offline=True)


@pytest.mark.parametrize("damaged", ["manifest", "blob"])
def test_a_rebuild_heals_a_damaged_store(with_model: Registry, tmp_path: Path, damaged: str) -> None:
    built = with_model.get("tiny")
    store = Path(wiring.settings().store)
    sha256 = built.manifest.plan.files[0].sha256
    manifest = store / "manifests" / built.key / f"{built.manifest.plan_digest}.json"
    file = manifest if damaged == "manifest" else store / "blobs" / sha256[:2] / sha256
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.unlink()
    file.write_bytes(content)
    elsewhere = wiring.open_registry(settings=wiring.settings({"cache": str(tmp_path / "elsewhere")}))
    with pytest.raises(Untrusted):
        elsewhere.get("tiny")

    with_model.get("tiny", rebuild=True)

    assert elsewhere.get("tiny").source == "store"


def test_the_gate_judges_by_the_model_that_the_engine_was_made_from(with_model: Registry, classifier: Path) -> None:
    engine = with_model.get("tiny", precision="fp16")
    add(with_model, "another", classifier, tolerance={"relative_l2": 0.0, "cosine": 1.0, "max_error": 0.0})

    _, report = with_model.judge_again(engine.key)

    assert report.verdict == "passed"


def test_the_same_shape_twice_is_a_clear_refusal(with_model: Registry) -> None:
    from trtreg.core.recipe import parse_shape
    from trtreg.core.request import Request

    shape = parse_shape("images=1x3x16x16")
    for shapes in ((shape, shape), (shape,)):
        request = Request(model=trtreg_name("tiny"), shapes=shapes)
        if len(shapes) == 1:
            assert with_model.explain(request).answer == "miss"


def test_building_alone_fills_the_store_and_not_the_cache(with_model: Registry) -> None:
    from trtreg.core.request import Request

    request = Request(model=trtreg_name("tiny"))
    manifest = with_model.build(request)

    assert with_model.build(request) == manifest
    with pytest.raises(Miss):
        with_model.get("tiny", offline=True)
    assert with_model.get("tiny").source == "store"


def test_explain_tells_a_miss_from_a_hit_and_names_what_differs(with_model: Registry) -> None:
    from trtreg.core.recipe import Precision
    from trtreg.core.request import Request

    with_model.get("tiny")
    miss = with_model.explain(Request(model=trtreg_name("tiny"), precision=Precision.FP16))
    hit = with_model.explain(Request(model=trtreg_name("tiny")))

    assert (miss.answer, hit.answer) == ("miss", "cache")
    assert miss.nearest[0].differences == {"recipe.precision": ("fp16", "fp32")}
    assert miss.expected_seconds


def trtreg_name(text: str):  # type: ignore[no-untyped-def]
    from trtreg.core.names import parse_model_name

    return parse_model_name(text)
