"""Numbers from anomaly maps and masks: AUROC, average precision, F1-max, AU-PRO, AU-sPRO.

Everything is exact: each distinct score is a threshold, tied scores pass it together. One observation makes
it fast as well: lowering the threshold, a curve climbs only where a *defect* pixel is passed, so it is known
once every defect pixel knows how many good pixels lie above it. Sort the good scores, look the others up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from scipy import ndimage

from otad.checks import as_array, checked

Array = np.ndarray | torch.Tensor
NEIGHBOURS_8 = np.stack([np.zeros((3, 3)), np.ones((3, 3)), np.zeros((3, 3))])  # never across images


@checked
@dataclass(frozen=True)
class Defect:
    """One annotated defect of one image: its mask (H,W) and the area, in pixels, that is enough to find."""

    mask: Array
    saturation_area: float


class Marked(Protocol):
    """What is taken for a defect: a `Defect`, or anything else with its two fields."""

    @property
    def mask(self) -> Array: ...  # noqa: D102

    @property
    def saturation_area(self) -> float: ...  # noqa: D102


@checked
def saturation_area(area: int, saturation: float, relative: bool) -> float:
    """Turn a MVTec LOCO saturation threshold into pixels of a defect of `area` pixels.

    A relative threshold is a share of the area, rounded down; an absolute one is capped by the area.
    Raises ValueError for an area below 0, and a threshold that is not above 0 or, if relative, above 1.
    Source: Bergmann et al., Beyond Dents and Scratches (IJCV 2022), Sec. 4.
    """
    if area < 0 or not 0 < saturation < float("inf") or (relative and saturation > 1):
        raise ValueError(
            f"area is {area} and saturation {saturation}: expected pixels, and a finite threshold > 0, at most 1 if relative."
        )
    return int(saturation * area) if relative else min(saturation, area)


# Ranking: two classes -------------------------------------------------------------------------------------


@checked
def pixel_auroc(maps: Array, masks: Array) -> float:
    """Area under the ROC curve over all pixels of all images, in [0,1].

    The chance that a random defect pixel scores above a random good one; a tie counts one half.

    maps : (N,H,W) scores, higher = more anomalous. masks : (N,H,W) bool or 0/1.
    Raises ValueError for NaN, empty input, shapes that differ, and masks of one class only.
    """
    return _auroc(*_split(maps, masks, "maps", "masks"))


@checked
def image_auroc(scores: Array, labels: Array) -> float:
    """Area under the ROC curve over images, in [0,1].

    scores : (N,), higher = more anomalous. labels : (N,) bool or 0/1. Raises ValueError as `pixel_auroc`.
    """
    return _auroc(*_split(scores, labels, "scores", "labels"))


@checked
def average_precision(scores: Array, labels: Array) -> float:
    """Mean, over the positives, of the precision at the threshold that just finds them; in [0,1].

    The step-wise area under the precision-recall curve: Σ (R_k − R_{k−1}) P_k.

    scores, labels : arrays of one shape, as images' scores or as maps and masks. Raises as `pixel_auroc`.
    """
    good, bad = _split(scores, labels, "scores", "labels")
    true, false = _at_least(bad, bad), _at_least(good, bad)
    return float(np.mean(true / (true + false)))


@checked
def f1_max(scores: Array, labels: Array) -> tuple[float, float]:
    """Best F1 over all thresholds, in [0,1], and the (highest) threshold that reaches it.

    A prediction is positive where score ≥ threshold. Only the scores of positives need trying: between
    two of them a lower threshold adds nothing but false positives.

    scores, labels : arrays of one shape, as images' scores or as maps and masks. Raises as `pixel_auroc`.
    """
    good, bad = _split(scores, labels, "scores", "labels")
    true, false = _at_least(bad, bad), _at_least(good, bad)
    f1 = 2 * true / (len(bad) + true + false)
    best = len(f1) - 1 - int(np.argmax(f1[::-1]))  # ascending scores: the last maximum is the highest
    return float(f1[best]), float(bad[best])


# Localisation: every region counts the same ----------------------------------------------------------------


@checked
def aupro(maps: Array, masks: Array, limit: float = 0.3) -> float:
    """Area under the per-region-overlap curve up to a false-positive rate, divided by it; in [0,1].

    PRO at a threshold is the mean, over the 8-connected regions of all masks, of the covered share of the
    region; FPR is taken over all non-defect pixels of all images, good ones included. Trapezoids join the
    points; the last one is cut at the limit by interpolation.

    maps : (N,H,W) scores, higher = more anomalous. masks : (N,H,W) bool or 0/1. limit : in (0,1].
    Raises ValueError as `pixel_auroc`, and for a limit outside (0,1].
    Source: Bergmann et al., The MVTec Anomaly Detection Dataset (IJCV 2021), Sec. 5.
    """
    return _area(*_regions(maps, masks), limit)


@checked
def auspro(maps: Array, defects: Sequence[Sequence[Marked]], limit: float = 0.05) -> float:
    """Area under the saturated per-region-overlap curve up to a false-positive rate, divided by it; in [0,1].

    sPRO = mean over defects of min(TP / saturation area, 1). A defect is one annotation, connected or not,
    and may overlap others of its image; FPR is taken over the pixels outside the union of all of them.

    maps    : (N,H,W) scores, higher = more anomalous.
    defects : for each image the list of its defects, [] for a good image. limit : in (0,1].
    Raises ValueError as `aupro`, and for a saturation area outside (0, area of the defect].
    Source: Bergmann et al., Beyond Dents and Scratches (IJCV 2022), Sec. 4.
    """
    return _area(*_saturated(maps, defects), limit)


@checked
def pro_curve(maps: Array, masks: Array) -> tuple[np.ndarray, np.ndarray]:
    """All points (FPR, PRO) of the curve under `aupro`, from (0,0) to (1,1), one per distinct score."""
    return _curve(*_regions(maps, masks))


@checked
def spro_curve(maps: Array, defects: Sequence[Sequence[Marked]]) -> tuple[np.ndarray, np.ndarray]:
    """All points (FPR, sPRO) of the curve under `auspro`, from (0,0) to (1,1), one per distinct score."""
    return _curve(*_saturated(maps, defects))


# How it is computed ----------------------------------------------------------------------------------------


def _auroc(good: np.ndarray, bad: np.ndarray) -> float:
    above, reached = _passed(good, bad)
    return 1 - float(np.mean(above + reached)) / (2 * len(good))


def _area(good: np.ndarray, bad: np.ndarray, weight: np.ndarray, limit: float) -> float:
    """Sum over defect pixels of the weight each adds to the curve, times how long it lasts up to the limit.

    Passing a pixel's score moves the FPR from `start` to `stop` (apart only if good pixels tie with it), and
    the trapezoid rule lets its weight come in linearly between the two.
    """
    if not 0 < limit <= 1:
        raise ValueError(f"limit is {limit}: expected a false-positive rate in (0,1], such as 0.3.")
    start, stop = (count / len(good) for count in _passed(good, bad))
    ramp = np.clip(limit - start, 0, stop - start)
    rising = np.divide(ramp**2, 2 * (stop - start), out=np.zeros_like(ramp), where=stop > start)
    area = float(weight @ (rising + np.clip(limit - stop, 0, None)))
    return min(area / limit, 1.0)  # the weights sum to 1 up to rounding


def _curve(good: np.ndarray, bad: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    thresholds = np.unique(np.concatenate([good, bad]))[::-1]
    fpr = _at_least(good, thresholds) / len(good)
    gained = np.concatenate([[0], np.cumsum(weight[::-1])])
    overlap = np.minimum(gained, 1)[_at_least(bad, thresholds)]
    return np.concatenate([[0], fpr]), np.concatenate([[0], overlap])


def _passed(good: np.ndarray, bad: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count, for each defect score, the good scores above it, and those not below it; all ascending."""
    return len(good) - np.searchsorted(good, bad, "right"), _at_least(good, bad)


def _at_least(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    return len(scores) - np.searchsorted(scores, thresholds, "left")


def _regions(maps: Array, masks: Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sorted good scores, sorted defect scores and the share of mean PRO that each defect pixel is worth."""
    maps, masks = _maps(maps), _binary(masks, "masks")
    _same_shape(maps, masks, "maps", "masks")
    good, bad = _classes(maps, masks, "masks")
    # Only images with a defect are labelled: the good ones cannot hold a region.
    defective = masks.any(axis=(1, 2))
    regions, count = ndimage.label(masks[defective], NEIGHBOURS_8)
    region = regions[masks[defective]]
    weight = 1 / (count * np.bincount(region)[region])
    order = np.argsort(bad)
    return np.sort(good), bad[order], weight[order]


def _saturated(maps: Array, defects: Sequence[Sequence[Marked]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `_regions`, with weight only on the highest pixels of each defect, up to its saturation area."""
    maps = _maps(maps)
    if len(defects) != len(maps):
        raise ValueError(
            f"{len(defects)} lists of defects for {len(maps)} maps: expected one each, [] if good."
        )
    union = np.zeros(maps.shape, dtype=bool)
    scores, weights = [], []
    for number, (image, found) in enumerate(zip(maps, defects, strict=True)):
        for defect in found:
            mask = _defect_mask(defect, image.shape, number)
            union[number] |= mask
            scores.append(np.sort(image[mask]))
            # The i-th highest pixel counts while i < saturation area. In a group of ties that crosses it
            # this gives the group the right sum, and the trapezoid needs no more than the sum.
            left = np.clip(defect.saturation_area - np.arange(len(scores[-1])), 0, 1)
            weights.append(left[::-1] / defect.saturation_area)
    good, _ = _classes(maps, union, "defects")
    bad, weight = np.concatenate(scores), np.concatenate(weights) / len(scores)
    order = np.argsort(bad)
    return np.sort(good), bad[order], weight[order]


def _defect_mask(defect: Marked, shape: tuple[int, ...], number: int) -> np.ndarray:
    mask = _binary(defect.mask, f"the mask of a defect of image {number}")
    if mask.shape != shape:
        raise ValueError(
            f"a defect mask of image {number} has shape {mask.shape}, its map {shape}: resize one."
        )
    if not 0 < defect.saturation_area <= mask.sum():
        raise ValueError(
            f"a defect of image {number} has {mask.sum()} pixels, saturation area {defect.saturation_area}: "
            "expected 0 < saturation area ≤ pixels, as saturation_area() returns."
        )
    return mask


# What is accepted ------------------------------------------------------------------------------------------


def _split(scores: Array, labels: Array, name: str, label_name: str) -> tuple[np.ndarray, np.ndarray]:
    """Check scores and labels and return the sorted scores of the good and of the anomalous."""
    scores, labels = _scores(scores, name), _binary(labels, label_name)
    _same_shape(scores, labels, name, label_name)
    good, bad = _classes(scores, labels, label_name)
    return np.sort(good), np.sort(bad)


def _classes(scores: np.ndarray, labels: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    good, bad = scores[~labels], scores[labels]
    if not len(good) or not len(bad):
        raise ValueError(
            f"{name} mark {len(bad)} of {labels.size} entries as anomalous: expected some of each, as this "
            "metric compares them; pass good and anomalous test images together."
        )
    return good, bad


def _scores(x: Array, name: str) -> np.ndarray:
    x = as_array(x, name)
    if x.size == 0:
        raise ValueError(f"{name} has shape {x.shape}: expected at least one value.")
    if np.isnan(x).any():
        raise ValueError(
            f"{name} has {np.isnan(x).sum()} NaN of {x.size} values: find out where they come from."
        )
    return x


def _maps(x: Array) -> np.ndarray:
    x = _scores(x, "maps")
    if x.ndim != 3:
        raise ValueError(f"maps has shape {x.shape}: expected (N,H,W); a single map is maps[None].")
    return x


def _binary(x: Array, name: str) -> np.ndarray:
    if x is None:
        raise ValueError(
            f"{name} is None: a data set with image labels only has no metric of pixels; use image_auroc."
        )
    x = as_array(x, name)
    if x.dtype == bool:
        return x
    if not ((x == 0) | (x == 1)).all():
        raise ValueError(f"{name} has values {np.unique(x)[:5]}: expected bool or 0/1, as from mask > 0.")
    return x.astype(bool)


def _same_shape(x: np.ndarray, y: np.ndarray, name: str, other: str) -> None:
    if x.shape != y.shape:
        raise ValueError(
            f"{name} has shape {x.shape} and {other} {y.shape}: expected equal shapes; resize one."
        )
