"""One Gaussian for points of many dimensions, its covariance estimated as well as few points allow."""

from __future__ import annotations

import torch
from torch import Tensor


def gaussian(points: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean (C,) and inverse covariance (C,C) of points (n,C); the covariance is drawn towards a multiple of the identity.

    By how much, Ledoit and Wolf say (J. Multivariate Analysis 88, 2004): the less, the more points there are. Points that are all one
    have the inverse 0: nothing is unusual.
    """
    double = points.double()
    mean = double.mean(dim=0)
    centred, (n, c) = double - mean, points.shape
    covariance = centred.T @ centred / n
    scale = covariance.trace() / c
    if not scale > 0:
        return mean.to(points), torch.zeros_like(covariance).to(points)
    away = (covariance - scale * torch.eye(c).to(covariance)).square().sum()
    noise = (centred.square().sum(dim=1).square().sum() / n - covariance.square().sum()) / n
    share = float((noise / away).clamp(0, 1)) if away > 0 else 0.0
    drawn = (1 - share) * covariance + share * scale * torch.eye(c).to(covariance)
    drawn += 1e-9 * scale * torch.eye(c).to(drawn)  # should all of it be in fewer dimensions
    return mean.to(points), torch.linalg.inv(drawn).to(points).contiguous()  # as a file would hold it


def improbability(points: Tensor, mean: Tensor, precision: Tensor) -> Tensor:
    """Return ½ (x − μ)ᵀ Σ⁻¹ (x − μ) of points (n,C): (n,), ≥ 0 up to rounding."""
    away = points - mean
    return 0.5 * ((away @ precision) * away).sum(dim=1)
