"""One-dimensional transport: on a line the optimal plan matches ranks."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from otad.checks import checked, shown
from otad.transport.inputs import Array, floats, same_dtype

Ties = Literal["mean", "index"]


@checked
def matching_errors(values: Array, reference: Array, ties: Ties = "mean") -> Tensor:
    """Give every value its distance to the reference value of the same rank.

    M(p; P) of FCA (Sec. 3.2): the value of rank i is compared with the i-th order statistic of the
    reference, and |v_(i) − r_(i)| goes back to the place the value came from. The mean over the last axis
    is the 1-D Wasserstein distance W₁. With m ≠ n, rank i faces the stretch [i/n, (i+1)/n] of the
    reference's quantile function and its error is the mean over that stretch.

    values    : (..., n) tensor, in any order.
    reference : (..., m) tensor, sorted along its last axis; leading axes broadcast with those of values.
    ties      : "mean" gives tied values the mean error of the ranks they share, so that the result does
                not depend on the sort; "index" gives them these ranks in order of position.

    Returns (..., n) errors ≥ 0 in the units of the values, in the order of the values.
    Raises ValueError for NaN, empty or unsorted input, and batch shapes that do not broadcast.
    """
    if ties not in ("mean", "index"):
        raise ValueError(f'ties is {ties!r}; expected "mean" or "index".')
    values, reference = same_dtype(floats(values, "values"), floats(reference, "reference"))
    if bool((reference.diff(dim=-1) < 0).any()):
        raise ValueError("reference is not sorted along its last axis: pass reference.sort(-1).values.")
    ranked, order = values.sort(dim=-1, stable=True)
    errors = _rank_errors(ranked, reference)
    if ties == "mean":
        errors = share_ties(errors, ranked)
    order = order.expand_as(errors)
    return torch.empty_like(errors).scatter_(-1, order, errors)


@checked
def wasserstein_1d(x: Array, y: Array) -> Tensor:
    """Measure the 1-D Wasserstein distance W₁ between samples of equal or unequal size.

    W₁ = ∫₀¹ |Q_x(t) − Q_y(t)| dt with the quantile functions Q: on a line, matching ranks is optimal.

    x : (..., n) tensor; y : (..., m) tensor; leading axes broadcast. Every sample weighs the same.

    Returns (...) distances ≥ 0 in the units of the samples. Raises ValueError for NaN or empty input.
    """
    y = floats(y, "y")
    return matching_errors(floats(x, "x"), y.sort(dim=-1).values, ties="index").mean(dim=-1)


def _rank_errors(ranked: Tensor, reference: Tensor) -> Tensor:
    """Mean |v_(i) − Q(t)| over the i-th n-th of the reference's quantile function Q; (..., n)."""
    n, m = ranked.shape[-1], reference.shape[-1]
    try:
        shape = np.broadcast_shapes(ranked.shape[:-1], reference.shape[:-1])
    except ValueError as error:
        raise ValueError(
            f"values of shape {tuple(ranked.shape)} and a reference of shape {tuple(reference.shape)} have "
            "leading axes that do not broadcast: make them equal, or 1, or drop them."
        ) from error
    if n == m:
        return (ranked - reference).abs()
    # Both quantile functions are constant between the merged breakpoints i/n and j/m; counted in units of
    # 1/(nm) these are integers, so no rounding can open or close a gap.
    breaks = torch.cat([torch.arange(n) * m, torch.arange(m + 1) * n]).unique().to(ranked.device)
    start, width = breaks[:-1], breaks.diff()
    i, j = start // m, start // n
    pieces = (ranked[..., i] - reference[..., j]).abs() * (width.to(ranked.dtype) / m)
    return pieces.new_zeros((*shape, n)).index_add(-1, i, pieces)


@checked
def share_ties(errors: Tensor, ranked: Tensor) -> Tensor:
    """Replace the errors of equal neighbours in `ranked` by their mean; same shape. ValueError if shapes differ."""
    fits = errors.ndim >= ranked.ndim > 0 and errors.is_floating_point()
    sides = zip(reversed(ranked.shape), reversed(errors.shape), strict=False)
    if not fits or errors.shape[-1] != ranked.shape[-1] or not all(r in (1, e) for r, e in sides):
        raise ValueError(
            f"errors are {shown(errors)}, ranked {shown(ranked)}: expected floats, and values in the same places."
        )
    new = ranked.diff(dim=-1) != 0
    if bool(new.all()):
        return errors
    group = torch.nn.functional.pad(new, (1, 0)).cumsum(dim=-1).expand_as(errors)
    total = torch.zeros_like(errors).scatter_add(-1, group, errors)
    count = torch.zeros_like(errors).scatter_add(-1, group, torch.ones_like(errors))
    return (total / count.clamp(min=1)).gather(-1, group)
