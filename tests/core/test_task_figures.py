"""Whether an engine does its task as its team requires."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.test_verdict import REPORT, TOLERANCE
from trtreg.core.files import StoredFile
from trtreg.core.sample import Pictures, Sample, Task
from trtreg.core.task_figures import TaskFigures, require_measurable, task_faults
from trtreg.core.verdict import Verdict

FILE = StoredFile("coco128.zip", 7, "a" * 64)
PICTURES = Pictures(task=Task.DETECTION, preprocess="letterbox:640", family="yolov5", count=128, labels=929)
LABELLED = Sample(name="coco128", file=FILE, pictures=PICTURES)
UNLABELLED = replace(LABELLED, pictures=replace(PICTURES, labels=0))
TENSORS = replace(LABELLED, pictures=None)
COCO128 = TaskFigures(
    sample="coco128",
    sha256="a" * 64,
    count=128,
    figures={"ap50": 0.0, "latency": 19.0},
    reference={"ap50": 64.4, "latency": 90.0},
)


def test_a_task_that_is_done_badly_rejects_what_is_near_enough_and_is_said_first() -> None:
    report = REPORT.with_tasks((COCO128,), ("ap50 >= reference - 1", "latency <= reference"), 20.0)
    assert (report.verdict, report.reasons) == (Verdict.REJECTED, ("ap50 0.0 < 63.4",))
    assert report.seconds == REPORT.seconds + 20
    far = replace(REPORT, reasons=("y: no",)).with_tasks((COCO128,), ("ap50 >= 50",), 20.0)
    assert far.reasons == ("ap50 0.0 < 50.0", "y: no")


def test_a_task_that_is_done_well_saves_nothing_that_differs_too_much() -> None:
    report = replace(REPORT, verdict=Verdict.REJECTED, reasons=("y: no",)).with_tasks((COCO128,), ("ap50 >= 0",), 1.0)
    assert (report.verdict, report.reasons) == (Verdict.REJECTED, ("y: no",))


def test_other_requirements_judge_a_report_by_what_was_measured_then() -> None:
    report = REPORT.with_tasks((COCO128,), ("ap50 >= reference - 1",), 1.0)
    assert report.reasons_under(TOLERANCE, report.required) == ("ap50 0.0 < 63.4",)
    assert report.reasons_under(TOLERANCE, ("latency <= 15", "top1 >= 75")) == ("latency 19.0 > 15.0",)
    assert report.reasons_under(TOLERANCE) == ()


def test_an_engine_that_fails_on_a_picture_meets_no_requirement() -> None:
    failed = replace(COCO128, figures={}, reference={}, failure="the engine fails: out of memory")
    report = REPORT.with_tasks((failed,), ("ap50 >= 1", "latency <= 5"), 1.0)
    assert report.reasons == ("the engine fails: out of memory",)
    assert report.reasons_under(TOLERANCE, ("recall >= 1",)) == report.reasons


def test_each_sample_counts_and_what_none_has_measured_fails() -> None:
    night = replace(COCO128, sample="night", figures={"ap50": 70.0}, reference={"ap50": 71.0})
    required = ("ap50 >= reference - 1", "top1 >= 75")
    assert task_faults(required, (COCO128, night)) == ("coco128: ap50 0.0 < 63.4", "top1 was not measured")


@pytest.mark.parametrize(
    ("figure", "samples"),
    [("ap50", [TENSORS]), ("agreement", [TENSORS]), ("ap50", [UNLABELLED]), ("top1", [LABELLED]), ("mAP", [LABELLED])],
    ids=str,
)
def test_a_figure_that_no_sample_measures_cannot_be_required(figure: str, samples: list[Sample]) -> None:
    with pytest.raises(
        ValueError, match=rf"'{figure} >= 1' asks for {figure}, and yolov5s@1's samples measure latency"
    ):
        require_measurable([f"{figure} >= 1"], samples, "yolov5s@1's samples")


def test_what_a_sample_measures_can_be_required_of_it() -> None:
    require_measurable(["ap50 >= 1", "coco_ap50 >= 1", "agreement >= 0.9"], [TENSORS, LABELLED], "ours")
    require_measurable(["agreement >= 0.9", "latency <= 5"], [UNLABELLED], "ours")
    require_measurable(["latency <= 1.2 * reference"], [], "ours")
