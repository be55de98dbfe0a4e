"""FCA beside histograms on two drawn pictures: one anomaly lies in the values, the other in the context alone: page 10.

A cell is a picture and a seed, and has a row a method. The lattice comes with extra dots as bright as regular ones are, with extra dots of
one brightness (`level`), and with dots missing.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from otad.methods.matching.fca import FCA
from otad.methods.matching.patch_statistics import histogram
from otad.metrics import average_precision, pixel_auroc
from otad.scale import pick
from otad.studies import Cell, Row, Study

FIRST_SEED = 100  # the pictures were designed on smaller ones
Drawn = tuple[np.ndarray, np.ndarray]


def setting(scale: str) -> dict[str, Any]:
    """Return the sizes of a scale, counted in periods of the lattice: the large patch spans three, the small one about half."""
    period = pick(scale, smoke=5, laptop=7)
    return {
        "period": period,
        "height": 9 * period,
        "width": 11 * period,
        "large": 3 * period,  # sides of the patches, both odd
        "small": period // 2 | 1,
        "n_seeds": pick(scale, smoke=2, laptop=10),
        "levels": pick(scale, smoke=(0.6, 1.0), laptop=(0.6, 0.7, 0.8, 0.9, 1.0)),
    }


def isolated(seed: int, scale: str) -> Drawn:
    """Return a picture with a thin ring, brighter than anything around it, and its mask: (height, width) in [0,1], bool."""
    sizes = setting(scale)
    period, height, width = sizes["period"], sizes["height"], sizes["width"]
    rng = np.random.default_rng([seed, 0])
    field = gaussian_filter(rng.standard_normal((height, width)), 1.0, mode="wrap")
    y, x = (rng.integers(5 * period // 2, side - 5 * period // 2) for side in (height, width))
    distance = np.hypot(np.arange(height)[:, None] - y, np.arange(width) - x)
    mask = np.abs(distance - period / 2) < 1
    ring = 0.92 + 0.02 * rng.standard_normal(mask.shape)
    return np.where(mask, ring, 0.5 + 0.1 * field / field.std()).clip(0, 1), mask


def contextual(seed: int, scale: str, level: float | None = None, extra: bool = True) -> Drawn:
    """Return a lattice of dots with three too many, and its mask: (height, width) in [0,1], bool.

    A table of brightnesses, each spread over a cell of period × period pixels with a dot in its corner; an extra dot sits between four
    others. Its brightness is `level`, or drawn as that of all others. extra=False removes three dots instead.
    """
    sizes = setting(scale)
    period, height, width = sizes["period"], sizes["height"], sizes["width"]
    rng = np.random.default_rng([seed, 1])
    dot, brightness, odd = round(period / 3), rng.uniform(0.6, 1.0, (10, 12)), np.zeros((10, 12))
    i, j = rng.integers(3, 6), rng.integers(3, 8)
    odd[[i, i + 1, i + 1], [j, j, j + 1]] = 1  # three cells in the shape of an L
    cell, between = np.zeros((2, period, period))
    cell[:dot, :dot] = between[-dot - 1 : -1, -dot - 1 : -1] = 1
    if not extra:
        brightness[odd == 1] = 0.25
    shade = rng.uniform(0.6, 1.0, odd.shape) if level is None else level
    picture = 0.25 + np.kron(brightness - 0.25, cell) + extra * np.kron(odd * (shade - 0.25), between)
    mask = np.kron(odd, between if extra else cell) == 1
    y, x = rng.integers(period, size=2)
    picture, mask = (m[y : y + height, x : x + width] for m in (picture, mask))
    return (picture + 0.01 * rng.standard_normal(picture.shape)).clip(0, 1), mask


def three_maps(picture: np.ndarray, scale: str) -> dict[str, Tensor]:
    """Return the maps (h,w) of FCA (Eq. 5, with Eq. 7 over all patches) and of both histograms; the grey value is the only channel."""
    sizes, features = setting(scale), torch.tensor(picture, dtype=torch.float32)[None]
    fca = FCA(patch_size=sizes["large"], sigma_s=None, reference="median_all")
    return {
        "FCA": fca.score_features(features),
        "Hist (large)": histogram(features, sizes["large"]),
        "Hist (small)": histogram(features, sizes["small"]),
    }


def judged(values: Tensor, mask: np.ndarray, scale: str) -> dict[str, float]:
    """Return pixel AUROC and average precision where the large patch lies inside the picture."""
    border = setting(scale)["large"] // 2
    inside = (slice(border, -border),) * 2
    inner, truth = values[inside][None], mask[inside][None]
    return {"AUROC": pixel_auroc(inner, truth), "AP": average_precision(inner, truth)}


def cells(scale: str) -> list[Cell]:
    """Return for each seed the ring, the lattice, the lattice at each brightness, and the one with dots missing."""
    sizes = setting(scale)
    found: list[Cell] = []
    for s in range(FIRST_SEED, FIRST_SEED + sizes["n_seeds"]):
        found += [{"picture": name, "seed": s} for name in ("isolated", "contextual", "missing")]
        found += [{"picture": "lattice", "seed": s, "level": level} for level in sizes["levels"]]
    return found


def compute(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield a row a method."""
    if cell["picture"] == "isolated":
        picture, mask = isolated(cell["seed"], scale)
    else:
        extra = cell["picture"] != "missing"
        picture, mask = contextual(cell["seed"], scale, cell.get("level"), extra)
    for method, values in three_maps(picture, scale).items():
        yield {"method": method, **judged(values, mask, scale)}


STUDY = Study("fca_idea", cells, compute, seconds=0.5)
