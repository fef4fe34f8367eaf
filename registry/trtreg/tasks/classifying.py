"""What a classifier says: its best classes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from trtreg.errors import UsageError
from trtreg.tasks.truth import Array


class TopClasses:
    """One output with a score for each class, whatever ones lie around it: [1, n], [1, n, 1, 1]. Probabilities and
    what is before the softmax have the same order."""

    def takes(self, outputs: Mapping[str, Array]) -> bool:
        return any(_is_scores(array) for array in outputs.values())

    def best_classes(self, outputs: Mapping[str, Array], most: int) -> Array:
        found = [array for array in outputs.values() if _is_scores(array)]
        if len(found) != 1:
            raise UsageError(f"one output with a score for each class is wanted, and the model has {len(found)}")
        scores = found[0].reshape(-1).astype(np.float64)
        # A NaN is no score; of equal ones the first class wins, in every runtime.
        order = np.argsort(-scores, kind="stable")
        return order[~np.isnan(scores[order])][:most]


def _is_scores(array: Array) -> bool:
    return array.dtype.kind == "f" and array.ndim >= 2 and max(array.shape) == array.size > 1
