"""What becomes of an anomaly map in the end, whichever method drew it."""

from __future__ import annotations

import torch
from torch import Tensor

from otad.checks import checked, shown


@checked
def smooth(maps: Tensor, sigma: float) -> Tensor:
    """Blur maps (N,H,W) by a Gaussian; weights beyond the border are left out and the rest sum to 1.

    Raises ValueError for sigma ≤ 0.
    """
    if not sigma > 0:
        raise ValueError(f"sigma is {sigma}: expected a width > 0 in pixels, or None for no smoothing.")
    if maps.ndim != 3 or not maps.is_floating_point():
        raise ValueError(f"maps are {shown(maps)}: expected floats (N,H,W).")
    down, across = (_gaussian_matrix(side, sigma).to(maps) for side in maps.shape[-2:])
    return down @ maps @ across.T


def _gaussian_matrix(side: int, sigma: float) -> Tensor:
    """Weights (side,side) of each pixel of a line for each; rows sum to 1."""
    x = torch.arange(side, dtype=torch.float64)
    weights = torch.exp(-0.5 * ((x[:, None] - x) / sigma) ** 2)
    return weights / weights.sum(dim=1, keepdim=True)
