"""Average precision in COCO's own way, by COCO's own tools: 101 points in steps, crowds left out."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from importlib import import_module
from typing import Any

import numpy as np

from trtreg.errors import UsageError
from trtreg.tasks.detections import MEASURING, Detections
from trtreg.tasks.truth import Array

_AP50, _AP = "coco_ap50", "coco_ap50_95"


class CocoPrecision:
    """Takes picture after picture. Raises UsageError where pycocotools isn't installed.

    most  boxes of a picture that count; COCO's own tables take 100
    """

    def __init__(self, most: int = MEASURING.most) -> None:
        try:
            self._coco: Any = import_module("pycocotools.coco")
            self._eval: Any = import_module("pycocotools.cocoeval")
        except ModuleNotFoundError:
            raise UsageError("COCO's way of measuring needs pycocotools", hint="pip install 'trtreg[vision]'") from None
        self._most = most
        self._images: list[dict[str, object]] = []
        self._annotations: list[dict[str, object]] = []
        self._found: list[dict[str, object]] = []

    def add(self, found: Detections, corners: Array, classes: Array, crowd: Array) -> None:
        """Detections and true boxes of one picture, in the same pixels."""
        image = len(self._images) + 1
        self._images.append({"id": image})
        for box, kind, many in zip(_sized(corners), classes.tolist(), crowd.tolist(), strict=True):
            number = len(self._annotations) + 1
            row = {"id": number, "area": box[2] * box[3], "iscrowd": int(many)}
            self._annotations.append({**row, "image_id": image, "category_id": kind, "bbox": box})
        for box, kind, score in zip(_sized(found.corners), found.classes.tolist(), found.scores.tolist(), strict=True):
            self._found.append({"image_id": image, "category_id": kind, "bbox": box, "score": score})

    def figures(self) -> dict[str, float]:
        """`coco_ap50` and `coco_ap50_95` in percent; NaN without a true box."""
        if not self._annotations:
            return {_AP50: float("nan"), _AP: float("nan")}
        if not self._found:
            return {_AP50: 0.0, _AP: 0.0}
        # They talk on standard output, which is ours.
        with redirect_stdout(io.StringIO()):
            precision = self._precision()
        known = np.where(precision > -1, precision, np.nan)
        return {_AP50: 100 * float(np.nanmean(known[0])), _AP: 100 * float(np.nanmean(known))}

    def _precision(self) -> Array:
        """float[thresholds, recalls, classes]; -1 for classes that don't occur."""
        truth = self._coco.COCO()
        kinds = sorted({int(str(row["category_id"])) for row in [*self._annotations, *self._found]})
        truth.dataset = {
            "info": {},
            "images": self._images,
            "annotations": self._annotations,
            "categories": [{"id": kind} for kind in kinds],
        }
        truth.createIndex()
        judged = self._eval.COCOeval(truth, truth.loadRes(self._found), "bbox")
        judged.params.maxDets = [1, 10, self._most]
        judged.evaluate()
        judged.accumulate()
        every_size, all_boxes = 0, -1
        return np.asarray(judged.eval["precision"][:, :, :, every_size, all_boxes])


def _sized(corners: Array) -> list[list[float]]:
    """left, top, width, height."""
    rows: list[list[float]] = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1).tolist()
    return rows
