"""Transport plans and costs from arrays: on a line by sorting, on a cost matrix by Sinkhorn's iterations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

Ties = Literal["mean", "index"]
Array = Tensor | np.ndarray


# One dimension: the optimal plan matches ranks ------------------------------------------------------------


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
    values, reference = _same_dtype(_float(values, "values"), _float(reference, "reference"))
    if bool((reference.diff(dim=-1) < 0).any()):
        raise ValueError("reference is not sorted along its last axis: pass reference.sort(-1).values.")
    ranked, order = values.sort(dim=-1, stable=True)
    errors = _rank_errors(ranked, reference)
    if ties == "mean":
        errors = share_ties(errors, ranked)
    order = order.expand_as(errors)
    return torch.empty_like(errors).scatter_(-1, order, errors)


def wasserstein_1d(x: Array, y: Array) -> Tensor:
    """Measure the 1-D Wasserstein distance W₁ between samples of equal or unequal size.

    W₁ = ∫₀¹ |Q_x(t) − Q_y(t)| dt with the quantile functions Q: on a line, matching ranks is optimal.

    x : (..., n) tensor; y : (..., m) tensor; leading axes broadcast. Every sample weighs the same.

    Returns (...) distances ≥ 0 in the units of the samples. Raises ValueError for NaN or empty input.
    """
    y = _float(y, "y")
    return matching_errors(_float(x, "x"), y.sort(dim=-1).values, ties="index").mean(dim=-1)


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


def share_ties(errors: Tensor, ranked: Tensor) -> Tensor:
    """Replace the errors of equal neighbours in `ranked` by their mean; same shape."""
    new = ranked.diff(dim=-1) != 0
    if bool(new.all()):
        return errors
    group = torch.nn.functional.pad(new, (1, 0)).cumsum(dim=-1).expand_as(errors)
    total = torch.zeros_like(errors).scatter_add(-1, group, errors)
    count = torch.zeros_like(errors).scatter_add(-1, group, torch.ones_like(errors))
    return (total / count.clamp(min=1)).gather(-1, group)


def _float(x: Array, name: str) -> Tensor:
    """Check one array and return it as a floating tensor; integers become float64."""
    # A copy of NumPy input, as torch takes neither read-only arrays nor negative strides.
    x = torch.from_numpy(np.array(x)) if isinstance(x, np.ndarray) else torch.as_tensor(x)
    if not x.is_floating_point():
        x = x.to(torch.float64)
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ValueError(f"{name} has shape {tuple(x.shape)}: expected at least one value on its last axis.")
    if bool(x.isnan().any()):
        raise ValueError(f"{name} has {int(x.isnan().sum())} NaN of {x.numel()} values: remove them first.")
    return x


def _same_dtype(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    dtype = torch.promote_types(x.dtype, y.dtype)
    return x.to(dtype), y.to(dtype)


# A cost matrix: entropic plans -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Coupling:
    """A transport plan and the evidence for it.

    plan : (n, m) tensor ≥ 0; value : 0-d tensor ⟨plan, cost⟩; n_iter : iterations run;
    marginal_error : ‖plan·1 − a‖₁ + ‖planᵀ·1 − b‖₁; converged : marginal_error ≤ tol.
    """

    plan: Tensor
    value: Tensor
    n_iter: int
    marginal_error: float
    converged: bool


def sinkhorn(
    cost: Array,
    reg: float,
    a: Array | None = None,
    b: Array | None = None,
    max_iter: int = 100,
    tol: float = 1e-6,
) -> Coupling:
    """Solve entropic optimal transport by Sinkhorn's iterations on logarithms.

    min ⟨P, C⟩ + reg · Σ P (log P − 1) over P ≥ 0 with P·1 = a and Pᵀ·1 = b (Cuturi 2013; TTAD Eq. 5).
    Scaling columns then rows is done on potentials, with log-sum-exp, so small reg cannot overflow. The
    row marginal is exact on return; what is left of the column marginal is the marginal error.

    cost : (n, m) tensor, finite; its dtype and device are the plan's (float32 rarely gets below 1e-6).
    reg  : > 0, in units of cost. The plan tends to an exact one as reg → 0, slowly.
    a, b : (n,), (m,) tensors > 0 of equal sum; None = uniform, 1/n and 1/m.
    tol  : stop when the marginal error (L1 norm of both marginals) is below; 0 runs all iterations.

    To autograd the plan is a constant: the gradient of the value in the cost is the plan.

    Raises ValueError for NaN or infinite cost, reg ≤ 0, and marginals of wrong shape, sign or sum.
    Source: Peyré and Cuturi, Computational Optimal Transport (2019), Sec. 4.4.
    """
    cost = _matrix(cost, "cost")
    fixed = cost.detach()
    _check_settings(fixed, reg, max_iter, tol)
    row, column = _marginals(a, b, fixed)
    plan, n_iter = _scale(-fixed / reg, row, column, max_iter, tol)
    error = float((plan.sum(1) - row).abs().sum() + (plan.sum(0) - column).abs().sum())
    return Coupling(plan, (plan * cost).sum(), n_iter, error, error <= tol)


def _scale(scaled: Tensor, row: Tensor, column: Tensor, max_iter: int, tol: float) -> tuple[Tensor, int]:
    """Scale exp(scaled) to the marginals, columns then rows; return the plan and the iterations it took."""
    work = torch.empty_like(scaled)  # one buffer for all iterations: most of the time would go to allocating
    log_row, log_column, n_iter = row.log(), column.log(), 0
    next_v = log_column - _logsumexp(scaled, 0, work)
    while True:
        v = next_v
        u = log_row - _logsumexp(torch.add(scaled, v, out=work), 1, work)
        n_iter += 1
        if n_iter == max_iter:
            break
        # The plan's column sums are column · exp(v − next_v): the error costs no extra pass.
        next_v = log_column - _logsumexp(torch.add(scaled, u[:, None], out=work), 0, work)
        if tol > 0 and float((column * torch.expm1(v - next_v)).abs().sum()) <= tol:
            break
    # exp(scaled + u + v), written so that rounding cannot spoil the row sums however small reg is.
    return row[:, None] * torch.softmax(torch.add(scaled, v, out=work), dim=1), n_iter


def _logsumexp(x: Tensor, dim: int, work: Tensor) -> Tensor:
    """log Σ exp(x) along an axis; overwrites `work`, which may be x itself."""
    top = x.amax(dim=dim, keepdim=True)
    return torch.sub(x, top, out=work).exp_().sum(dim=dim).log_() + top.squeeze(dim)


def hard_plan(plan: Array) -> Tensor:
    """Discretise a plan: 1 where an entry is the maximum of its row or of its column, 0 elsewhere.

    TTAD (Sec. 3.4, Eq. 6): π_ij = 1 if j = argmax_j γ_ij or i = argmax_i γ_ij. Not normalised: every row
    and every column keeps at least one partner, popular ones several. Equal maxima all count, so the
    result does not depend on the order of rows and columns.

    plan : (n, m) tensor, finite. Returns (n, m) of the plan's dtype, 0 or 1.
    Raises ValueError for NaN or a plan that is not a matrix.
    """
    plan = _matrix(plan, "plan")
    row_best = plan == plan.amax(dim=1, keepdim=True)
    return (row_best | (plan == plan.amax(dim=0, keepdim=True))).to(plan.dtype)


def _matrix(x: Array, name: str) -> Tensor:
    x = _float(x, name)
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(f"{name} has shape {tuple(x.shape)}: expected a matrix (n, m) with n, m ≥ 1.")
    if bool(x.isinf().any()):
        raise ValueError(
            f"{name} holds infinite entries: expected finite ones; forbid a pair by a large cost."
        )
    return x


def _check_settings(cost: Tensor, reg: float, max_iter: int, tol: float) -> None:
    if not (math.isfinite(reg) and reg > 0):
        raise ValueError(
            f"reg is {reg}: expected a finite number > 0; for the exact plan use ot.emd2 of POT."
        )
    if float(cost.abs().max()) / reg > torch.finfo(cost.dtype).max / 4:
        raise ValueError(f"cost / reg overflows {cost.dtype} at reg {reg}: raise reg or use float64.")
    if max_iter < 1 or not tol >= 0:
        raise ValueError(f"max_iter is {max_iter} and tol is {tol}: expected max_iter ≥ 1 and tol ≥ 0.")


def _marginals(a: Array | None, b: Array | None, cost: Tensor) -> tuple[Tensor, Tensor]:
    n, m = cost.shape
    row, column = _marginal(a, "a", n, cost), _marginal(b, "b", m, cost)
    sums = float(row.sum()), float(column.sum())
    if not math.isclose(*sums, rel_tol=100 * torch.finfo(cost.dtype).eps):
        raise ValueError(f"a sums to {sums[0]} and b to {sums[1]}: scale one to the other's sum.")
    return row, column


def _marginal(given: Array | None, name: str, size: int, like: Tensor) -> Tensor:
    if given is None:
        return torch.full((size,), 1 / size, dtype=like.dtype, device=like.device)
    given = _float(given, name)
    if given.shape != (size,):
        raise ValueError(f"{name} has shape {tuple(given.shape)}: the cost matrix asks for ({size},).")
    if not bool(((given > 0) & given.isfinite()).all()):
        raise ValueError(f"{name} has masses that are not finite and > 0: drop those points and their costs.")
    return given.detach().to(like)
