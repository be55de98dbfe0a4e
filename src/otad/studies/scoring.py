"""Numbers of maps, as several studies print them: in percent, groups of defects apart, each beside all good pictures."""

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

from otad.data import annotations
from otad.methods import Scores
from otad.metrics import Defect, auspro, image_auroc, pixel_auroc


def overall(data: Any, scored: Scores) -> dict[str, float]:
    """Return image and pixel AUROC over all test pictures, in percent."""
    image = image_auroc(scored.image_scores.cpu(), data.labels)
    return {"image": 100 * float(image), "pixel": 100 * float(pixel_auroc(scored.maps.cpu(), data.masks))}


def by_group(data: Any, measure: Callable[[list[int]], float]) -> dict[str, float]:
    """Return a measure of each group of defects beside all good pictures, and their mean, in percent."""
    found = {group: 100 * float(measure(data.part(group))) for group in annotations.GROUPS}
    return found | {"mean": float(np.mean(list(found.values())))}


def localisation(maps: Tensor, data: Any, defects: list[list[Defect]] | None = None) -> dict[str, float]:
    """Return AU-sPRO of both groups, and their mean, in percent; `defects` are those of the data unless given."""
    marked = data.defects if defects is None else defects
    return by_group(data, lambda which: auspro(maps.cpu()[which], [marked[i] for i in which]))


def detection(tops: Tensor, data: Any) -> dict[str, float]:
    """Return image AUROC of both groups, and their mean, in percent."""
    return by_group(data, lambda which: image_auroc(tops.cpu()[which], data.labels[which]))


def each_localised(data: Any, maps: Tensor) -> np.ndarray:
    """Return AU-sPRO of each defective picture beside all good ones, in percent (M,); NaN for the good ones.

    Where defects are not told apart, a picture has one, of which everything has to be found.
    """
    good, found = (~data.labels).nonzero()[:, 0].tolist(), np.full(len(maps), np.nan)
    for i in data.labels.nonzero()[:, 0].tolist():
        whole = [Defect(data.masks[i], int(data.masks[i].sum()))]
        defects = data.defects[i] if hasattr(data, "defects") else whole
        found[i] = 100 * auspro(maps[[*good, i]], [*[[] for _ in good], defects])
    return found
