"""Twelve readings of AU-PRO found in the wild, beside the exact one: each a function from maps and masks to a number.

They stand in public repositories and their issue trackers (anomalib #1651 and #3718, open-iad #12, PyramidFlow #13, SubspaceAD #11), and
are written here in a line or two of our own. Maps (N,H,W) and masks (N,H,W) are NumPy arrays.
"""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage

from otad.metrics import aupro

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Reading = Callable[[Array, Mask], float]
CORNERS = np.ones((3, 3))  # neighbours through corners, too
LIMIT = 0.3


def shares(masks: Mask, structure: Array | None = CORNERS) -> Array:
    """Return what each pixel adds to the PRO: 1 / (number of regions · pixels of its region)."""
    labels, count = np.zeros(masks.shape, dtype=int), 0
    for label, mask in zip(labels, masks, strict=True):
        found, n = ndimage.label(mask, structure)
        label[mask] = found[mask] + count
        count += n
    return np.where(masks, 1 / (count * np.bincount(labels.ravel())[labels]), 0.0)


def walk(maps: Array, false: Array, share: Array) -> tuple[Array, Array]:
    """Return FPR and PRO at every distinct score, given what each pixel adds to them."""
    order = np.argsort(maps, axis=None)[::-1]
    last = np.append(np.diff(maps.ravel()[order]) != 0, True)  # of its ties
    x, y = (np.cumsum(weight.ravel()[order])[last] for weight in (false, share))
    return np.concatenate([[0.0], x]), np.concatenate([[0.0], y])


def area(x: Array, y: Array, limit: float = LIMIT) -> float:
    """Return the area under straight lines up to the limit, divided by it."""
    inside = x < limit
    x, y = np.append(x[inside], limit), np.append(y[inside], np.interp(limit, x, y))
    return float(np.trapezoid(y, x) / limit)


def plain(maps: Array, masks: Mask, limit: float = LIMIT, structure: Array | None = CORNERS) -> float:
    """Return AU-PRO by the plain walk."""
    return area(*walk(maps, ~masks / (~masks).sum(), shares(masks, structure)), limit)


# Readings ------------------------------------------------------------------------------------------


def thresholds_200(maps: Array, masks: Mask) -> float:
    """Take 200 evenly spaced thresholds, drop points beyond the limit, and stretch the rest of the FPR axis to 1."""
    x, y = walk(maps, ~masks / (~masks).sum(), shares(masks))
    scores = np.unique(maps)[::-1]
    steps = np.linspace(maps.max(), maps.min(), 200)
    passed = np.searchsorted(-scores, -steps, "right")  # number of distinct scores ≥ each step
    x, y = x[passed], y[passed]
    x, y = x[x < LIMIT], y[x < LIMIT]
    return float(np.trapezoid(y, x / x.max())) if x.max() > 0 else 0.0


def averaged_end_point(maps: Array, masks: Mask) -> float:
    """Cut each region's curve at its last point within the limit, average the curves point by point, divide by the mean last FPR."""
    curves = []
    labels, count = ndimage.label(masks, np.stack([np.zeros((3, 3)), CORNERS, np.zeros((3, 3))]))
    for k in range(1, count + 1):
        here = (labels == k) | ~masks
        false = (~masks)[here] / (~masks).sum()
        x, y = walk(maps[here], false, (labels == k)[here] / (labels == k).sum())
        points = np.linspace(0, (x <= LIMIT).sum() - 1, 1000)  # resampled by number, not by FPR
        curves.append([np.interp(points, np.arange(len(x)), v) for v in (x, y)])
    x, y = np.mean(curves, axis=0)
    return float(np.trapezoid(y, x) / x[-1])


def per_image_fpr(maps: Array, masks: Mask) -> float:
    """Take the FPR of each image first, then the mean over images."""
    false = ~masks / (~masks).sum(axis=(1, 2), keepdims=True) / len(masks)
    return area(*walk(maps, false, shares(masks)))


def anomalous_only(maps: Array, masks: Mask) -> float:
    """Leave good images out."""
    defective = masks.any(axis=(1, 2))
    return plain(maps[defective], masks[defective])


def one_region(maps: Array, masks: Mask) -> float:
    """Take all defect pixels of an image for one region."""
    defective, pixels = masks.any(axis=(1, 2)).sum(), masks.sum(axis=(1, 2), keepdims=True)
    return area(*walk(maps, ~masks / (~masks).sum(), masks / (defective * np.maximum(pixels, 1))))


def reshaped(block: int, rule: Callable[[Array, Mask], Mask]) -> Reading:
    """Average the maps over blocks, and let `rule` decide from the defective share of a block."""

    def reading(maps: Array, masks: Mask) -> float:
        both = torch.from_numpy(np.stack([maps, masks], axis=1).astype(np.float64))
        small, share = F.avg_pool2d(both, block).numpy().transpose(1, 0, 2, 3)
        return plain(small, rule(share, masks))

    return reading


def trimmed(maps: Array, masks: Mask) -> float:
    """Cut a tenth of each side off map and mask."""
    border = round(0.1 * maps.shape[-1])
    inner = np.s_[:, border:-border, border:-border]
    return plain(maps[inner], masks[inner])


def scaled(maps: Array, masks: Mask) -> float:
    """Divide each map by its own range."""
    low, high = maps.min(axis=(1, 2), keepdims=True), maps.max(axis=(1, 2), keepdims=True)
    return plain((maps - low) / (high - low), masks)


READINGS: dict[str, Reading] = {
    "exact": aupro,
    "200 thresholds, rescaled": thresholds_200,
    "averaged end point": averaged_end_point,
    "never cut": lambda maps, masks: plain(maps, masks, 1.0),
    "anomalous images only": anomalous_only,
    "FPR per image": per_image_fpr,
    "one region an image": one_region,
    "4-connectivity": lambda maps, masks: plain(maps, masks, structure=None),
    "quarter resolution": reshaped(4, lambda share, masks: masks[:, ::4, ::4]),
    "quarter, any": reshaped(4, lambda share, masks: share > 0),
    "quarter, half": reshaped(4, lambda share, masks: share > 0.5),
    "border dropped": trimmed,
    "each map scaled to [0,1]": scaled,
}

# What each does differently, in words.
NOTES = {
    "200 thresholds, rescaled": "200 evenly spaced thresholds; points beyond 0.3 dropped; the rest of the FPR axis stretched to 1",
    "averaged end point": "each region's curve is cut at its last point within 0.3; curves are averaged point by point, whatever "
    "their FPR; divided by the mean last FPR",
    "never cut": "limit 1",
    "anomalous images only": "good images play no part in the FPR",
    "FPR per image": "FPR of each image first, then the mean over images",
    "one region an image": "all defect pixels of an image are one region",
    "4-connectivity": "corners do not connect",
    "quarter resolution": "map averaged, mask sampled at every fourth pixel",
    "quarter, any": "map averaged; a mask pixel counts if any of its 16 is defective",
    "quarter, half": "map averaged; a mask pixel counts if more than half of its 16 are defective",
    "border dropped": "a tenth of each side is cut off map and mask before scoring",
    "each map scaled to [0,1]": "maps divided by their own range, so a good image's noise shouts as loudly as a defect",
}
