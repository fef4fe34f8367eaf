"""Pictures made larger or smaller as OpenCV does it for YOLOv5, on whose pixels the detectors were trained and are
measured: larger between the nearest four pixels, in 11 bits of fixed point; smaller by the mean of what each new pixel
covers. Pillow's filters give other pixels, and then other boxes."""

from __future__ import annotations

import math

import numpy as np

from trtreg.tasks.truth import Array

_ONE = 1 << 11


def scaled(picture: Array, width: int, height: int) -> Array:
    """uint8[height, width, channels] of the uint8 `picture`."""
    if picture.shape[:2] == (height, width):
        return picture
    if height <= picture.shape[0] and width <= picture.shape[1]:
        return _shrunk(picture, width, height)
    return _enlarged(picture, width, height)


def _shrunk(picture: Array, width: int, height: int) -> Array:
    if picture.shape[:2] == (2 * height, 2 * width):
        return _halved(picture)
    rows = _means(picture.astype(np.float32), height)
    means = _means(rows.transpose(1, 0, 2), width).transpose(1, 0, 2)
    return np.ascontiguousarray(np.clip(np.rint(means), 0, 255), np.uint8)


def _halved(picture: Array) -> Array:
    """Of exactly half the size OpenCV makes sums, whose halves it rounds up; elsewhere it rounds to even numbers."""
    wide = picture.astype(np.int32)
    total = wide[0::2, 0::2] + wide[1::2, 0::2] + wide[0::2, 1::2] + wide[1::2, 1::2]
    return np.asarray((total + 2) >> 2, np.uint8)


def _means(lines: Array, wanted: int) -> Array:
    """Of each stretch of the first axis, its ends counting by how much of them lies in it."""
    size = len(lines)
    edges = np.arange(wanted + 1) * (size / wanted)
    low, high = edges[:-1], edges[1:]
    first = np.floor(low).astype(np.int64)
    total = np.zeros((wanted, *lines.shape[1:]), np.float32)
    for step in range(math.ceil(size / wanted) + 1):
        covered = np.clip(np.minimum(high, first + step + 1) - np.maximum(low, first + step), 0, None)
        share = (covered / (high - low)).astype(np.float32)
        total += lines[np.minimum(first + step, size - 1)] * share[:, None, None]
    return total


def _enlarged(picture: Array, width: int, height: int) -> Array:
    left, right, across = _neighbours(picture.shape[1], width)
    above, below, down = _neighbours(picture.shape[0], height)
    wide = picture.astype(np.int32)
    rows = wide[:, left] * across[0][None, :, None] + wide[:, right] * across[1][None, :, None]
    # In OpenCV's order: four bits are dropped before the second product, so that 32 bits hold it.
    upper = ((rows[above] >> 4) * down[0][:, None, None]) >> 16
    lower = ((rows[below] >> 4) * down[1][:, None, None]) >> 16
    return np.asarray(np.clip((upper + lower + 2) >> 2, 0, 255), np.uint8)


def _neighbours(size: int, wanted: int) -> tuple[Array, Array, tuple[Array, Array]]:
    """For each wanted place, the two pixels that it lies between and their shares."""
    places = ((np.arange(wanted, dtype=np.float64) + 0.5) * (size / wanted) - 0.5).astype(np.float32)
    low = np.floor(places).astype(np.int64)
    share = places - low
    share = np.where((low < 0) | (low >= size - 1), np.float32(0), share)
    low = np.clip(low, 0, size - 1)
    second = np.rint(share * _ONE).astype(np.int32)
    first = np.rint((np.float32(1) - share) * _ONE).astype(np.int32)
    return low, np.minimum(low + 1, size - 1), (first, second)
