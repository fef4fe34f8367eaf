"""trtreg bench: engines beside the original, by real parts."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from registry.conftest import Told, add
from registry.machines import GPU, machine_with_gpu
from small_models import write_classifier, write_sample
from trtreg.core.benchmark import Copies
from trtreg.errors import NotFound, UsageError
from trtreg.measuring.benching import Bencher
from trtreg.registry import Registry
from trtreg.wiring import wiring


@pytest.fixture
def bencher(told: Told) -> Bencher:
    return wiring.open_bencher(wiring.settings(), told)


def test_the_original_comes_first_and_then_the_engines_as_they_were_named(
    with_model: Registry, bencher: Bencher
) -> None:
    keys = [with_model.get("tiny", precision=precision).key for precision in ("fp16", "fp32")]
    report = bencher.bench([key[:12] for key in keys], rounds=3, warm_up=1)
    assert [row.key for row in report.rows] == ["", *keys]
    assert [row.name for row in report.rows] == ["onnxruntime, original", "onnxruntime fp16", "onnxruntime fp32"]
    assert all(0 < row.run.least <= row.run.p50 <= row.run.p99 for row in report.rows)
    assert {row.copies for row in report.rows} == {Copies.NONE}
    assert (report.rounds, report.warm_up) == (3, 1)
    assert report.inputs == "drawn: images float32[1x3x16x16]"
    assert "onnxruntime" in report.versions


def test_two_engines_of_one_name_are_told_apart_by_their_keys(with_model: Registry, bencher: Bencher) -> None:
    keys = [with_model.get("tiny", precision="fp16", keep_fp32=kept).key for kept in ((), ("Conv",))]
    names = [row.name for row in bencher.bench(keys, rounds=1, warm_up=0).rows]
    assert names[1:] == [f"onnxruntime fp16 {key[:12]}" for key in keys]


def test_an_engine_whose_inputs_are_fp16_is_given_them(with_model: Registry, bencher: Bencher) -> None:
    key = with_model.get("tiny", precision="fp16", keep_io_types=False).key
    assert len(bencher.bench([key], rounds=1).rows) == 2


def test_the_sample_s_first_case_is_run_if_there_is_one(
    registry: Registry, bencher: Bencher, classifier: Path, tmp_path: Path
) -> None:
    add(registry, "tiny", classifier, samples={"pictures": write_sample(tmp_path / "pictures.npz")})
    key = registry.get("tiny").key
    assert bencher.bench([key], rounds=1).inputs == "the first case of pictures"
    with pytest.raises(NotFound, match="tiny@1 has no sample 'photos'"):
        bencher.bench([key], sample="photos")


def test_figures_of_a_gpu_are_kept_under_its_name(with_model: Registry, told: Told) -> None:
    key = with_model.get("tiny").key
    report = wiring.open_bencher(wiring.settings(), told, machine_with_gpu).bench([key], rounds=1)
    assert report.processors.endswith(f", {GPU}")
    (kept,) = with_model.figures(with_model.engine(key))
    assert kept.processor == GPU


def test_of_several_samples_one_must_be_named(
    registry: Registry, bencher: Bencher, classifier: Path, tmp_path: Path
) -> None:
    samples = {name: write_sample(tmp_path / f"{name}.npz", seed=seed) for seed, name in enumerate(("day", "night"))}
    add(registry, "tiny", classifier, samples=samples)
    key = registry.get("tiny").key
    with pytest.raises(UsageError, match="2 samples to run on"):
        bencher.bench([key], rounds=1)
    assert bencher.bench([key], rounds=1, sample="night").inputs == "the first case of night"


def test_engines_of_two_models_are_not_compared(with_model: Registry, bencher: Bencher, tmp_path: Path) -> None:
    add(with_model, "other", write_classifier(tmp_path / "other.onnx", seed=1))
    keys = [with_model.get(name).key for name in ("tiny", "other")]
    with pytest.raises(UsageError, match="these are of tiny@1, other@1"):
        bencher.bench(keys)


def test_an_engine_that_is_not_there_is_not_found(with_model: Registry, bencher: Bencher) -> None:
    with pytest.raises(NotFound, match="no engine with key"):
        bencher.bench(["0123456789ab"])


def test_no_round_measures_nothing(with_model: Registry, bencher: Bencher) -> None:
    with pytest.raises(UsageError, match="at least one round"):
        bencher.bench([with_model.get("tiny").key], rounds=0)


# --- what is kept ------------------------------------------------------------------------------------------


def test_figures_are_kept_with_the_engine_its_host_and_what_it_was_compared_with(
    with_model: Registry, bencher: Bencher
) -> None:
    key = with_model.get("tiny", precision="fp16").key
    report = bencher.bench([key], rounds=2, warm_up=0)
    (figures,) = with_model.figures(with_model.engine(key))
    assert (figures.key, figures.plan_digest) == (key, with_model.engine(key).manifest.plan_digest)
    assert (figures.run, figures.original) == (report.rows[1].run, report.rows[0].run)
    assert figures.speed == report.speed(report.rows[1])
    assert (figures.host, figures.threads, figures.versions) == (
        socket.gethostname(),
        report.threads,
        report.versions,
    )
    assert figures.processor
    bencher.bench([key], rounds=1, warm_up=0, keep=False)
    assert len(with_model.figures(with_model.engine(key))) == 1


def test_where_nothing_can_be_written_the_figures_are_only_told(
    with_model: Registry, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = with_model.get("tiny").key
    monkeypatch.setenv("TRTREG_STORE", f"file://{wiring.settings().home}/store?readonly=1")
    report = wiring.open_bencher(wiring.settings(), told).bench([key], rounds=1, warm_up=0)
    assert len(report.rows) == 2
    assert "the figures aren't kept with the engines" in told.lines[-1]
    assert with_model.figures(with_model.engine(key)) == []
