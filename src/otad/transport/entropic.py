"""Entropic plans of a cost matrix by Sinkhorn's iterations, and their discretisation."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from otad.checks import checked
from otad.transport.inputs import Array, floats, matrix

CACHE_BLOCK, LARGE_BLOCK = 2**21, 2**26  # bytes worked on at a time: about a second-level cache; 64 MiB


class RowBlocks(Protocol):
    """A cost too large to store, that computes rows when asked: `cost[i:j]` is an (j−i, m) tensor.

    The same rows must come out every time; each is asked for a few times, not once an iteration.
    """

    shape: Any
    dtype: torch.dtype
    device: torch.device

    def __getitem__(self, rows: slice) -> Tensor:
        """Return the costs of these rows, (j−i, m)."""
        ...


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


@checked
def sinkhorn(
    cost: Array | RowBlocks,
    reg: float,
    a: Array | None = None,
    b: Array | None = None,
    max_iter: int = 100,
    tol: float = 1e-6,
) -> Coupling:
    """Solve entropic optimal transport by Sinkhorn's iterations, stabilised.

    min ⟨P, C⟩ + reg · Σ P (log P − 1) over P ≥ 0 with P·1 = a and Pᵀ·1 = b (Cuturi 2013; TTAD Eq. 5).
    Columns then rows of the kernel exp(−C / reg) are scaled, two products of matrix and vector an
    iteration. The scalings cannot overflow: before they grow large they move into the exponent, as
    potentials, and the kernel is computed afresh, every row from its own maximum. The row marginal is
    exact on return; what is left of the column marginal is the marginal error.

    cost : (n, m) tensor, finite; its dtype (at least float32) and device are the plan's. Or `RowBlocks`.
    reg  : > 0, in units of cost. The plan tends to an exact one as reg → 0, slowly.
    a, b : (n,), (m,) tensors > 0 of equal sum; None = uniform, 1/n and 1/m.
    tol  : stop when the marginal error (L1 norm of both marginals) is below; 0 runs all iterations.
           float32 rarely gets below 1e-6.

    Memory: one (n, m) array beside the cost, the kernel, which ends as the plan, and a few MiB. Of
    `RowBlocks` no more than a block is held. Time: O(n m) an iteration, one pass over the kernel.
    To autograd the plan is a constant: the gradient of the value in the cost is the plan.

    Raises ValueError for NaN or infinite cost, reg ≤ 0, and marginals of wrong shape, sign or sum.
    Source: Schmitzer, Stabilized sparse scaling algorithms (2019), Sec. 3.2; Peyré and Cuturi,
    Computational Optimal Transport (2019), Sec. 4.4.
    """
    computed = isinstance(getattr(cost, "dtype", None), torch.dtype) and not isinstance(cost, Tensor)
    costs = cast(RowBlocks, cost) if computed else matrix(cost, "cost")
    _check_settings(reg, max_iter, tol)
    row, column = _marginals(a, b, costs)
    with torch.no_grad():
        plan, n_iter = _scale(costs, reg, row, column, max_iter, tol)
    error = float((plan.sum(1) - row).abs().sum() + (plan.sum(0) - column).abs().sum())
    value = torch.stack([(plan[rows] * block).sum() for rows, block in _blocks(costs)]).sum()
    return Coupling(plan, value, n_iter, error, error <= tol)


def _scale(
    cost: Tensor | RowBlocks, reg: float, row: Tensor, column: Tensor, max_iter: int, tol: float
) -> tuple[Tensor, int]:
    """Scale exp(−cost / reg) to the marginals, columns then rows; return the plan and its iterations."""
    potential = _first_potential(cost, reg, column)
    kernel = row.new_empty(len(row), len(column))
    _fill(kernel, cost, reg, potential)
    v, n_iter = torch.ones_like(column), 0
    largest = math.exp(_sixth(kernel))
    while True:
        u, sums = _sweep(kernel, v, row)
        n_iter += 1
        # The plan's column sums are sums · v: the error costs no extra pass.
        if n_iter == max_iter or (tol > 0 and float((sums * v - column).abs().sum()) <= tol):
            break
        v = column / sums
        low, high = torch.aminmax(v)
        if float(high) > largest or float(low) < 1 / largest:
            potential += reg * v.double().log()
            _fill(kernel, cost, reg, potential)
            v.fill_(1)
    return kernel.mul_(u[:, None]).mul_(v), n_iter


def _sweep(kernel: Tensor, v: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
    """Give u = row / (kernel · v) and kernelᵀ · u, reading every row once while it is in the cache."""
    u, sums = torch.empty_like(row), torch.zeros_like(v)
    for rows in _slices(kernel):
        block = kernel[rows]
        u[rows] = row[rows] / (block @ v)
        sums.addmv_(block.T, u[rows])
    return u, sums


# Of the range of exponents, ± log of the largest number, v may use a sixth up and a sixth down. The kernel's
# entries, at most 1, are cut off at four sixths below: what is cut weighs less than two sixths below its row
# (1e-13 of it in float32), and u · kernel · v stays off the slow denormal numbers for all usual masses.


def _sixth(like: Tensor) -> float:
    return math.log(torch.finfo(like.dtype).max) / 6


def _fill(kernel: Tensor, cost: Tensor | RowBlocks, reg: float, potential: Tensor) -> None:
    """Write exp((potential_j − cost_ij) / reg), divided by its row's maximum, into the kernel.

    In double precision up to the exponential: the potentials may be far larger than reg.
    """
    for rows, block in _blocks(cost):
        exponents = potential - block
        exponents -= exponents.amax(dim=1, keepdim=True)
        _exp(exponents, reg, kernel[rows])


def _first_potential(cost: Tensor | RowBlocks, reg: float, column: Tensor) -> Tensor:
    """Give the potential that scales the columns of exp(−cost / reg), by a running log-sum-exp; float64."""
    low = torch.full_like(column, torch.inf, dtype=torch.float64)
    total = torch.zeros_like(low)
    for rows, block in _blocks(cost):
        _check_block(block, (rows.stop - rows.start, len(column)))
        lower = torch.minimum(low, block.amin(dim=0))
        terms = _exp(lower - block, reg, torch.empty_like(block, dtype=column.dtype))
        total = total * torch.exp((lower - low) / reg) + terms.sum(dim=0)
        low = lower
    return low + reg * (column / total).log()


def _exp(x: Tensor, reg: float, out: Tensor) -> Tensor:
    """Write exp(x / reg) into `out`, for x ≤ 0, cut off below; overwrites x."""
    return torch.exp(out.copy_(x.div_(reg).clamp_(min=-4 * _sixth(out))), out=out)


def _blocks(cost: Tensor | RowBlocks) -> Iterator[tuple[slice, Tensor]]:
    """Yield all rows in blocks, which for a tensor are parts of one split: cheap for autograd."""
    slices = list(_slices(cost))
    parts = cost.split(slices[0].stop) if isinstance(cost, Tensor) else (cost[rows] for rows in slices)
    yield from zip(slices, parts, strict=True)


def _slices(cost: Tensor | RowBlocks) -> Iterator[slice]:
    """Cut the rows into blocks: of a matrix in a CPU's memory small ones, which stay in its cache."""
    n, m = cost.shape
    size = CACHE_BLOCK if isinstance(cost, Tensor) and cost.device.type == "cpu" else LARGE_BLOCK
    step = min(n, max(1, size // (m * cost.dtype.itemsize)))
    return (slice(i, min(i + step, n)) for i in range(0, n, step))


@checked
def hard_plan(plan: Array) -> Tensor:
    """Discretise a plan: 1 where an entry is the maximum of its row or of its column, 0 elsewhere.

    TTAD (Sec. 3.4, Eq. 6): π_ij = 1 if j = argmax_j γ_ij or i = argmax_i γ_ij. Not normalised: every row
    and every column keeps at least one partner, popular ones several. Equal maxima all count, so the
    result does not depend on the order of rows and columns.

    plan : (n, m) tensor, finite. Returns (n, m) of the plan's dtype, 0 or 1.
    Raises ValueError for NaN or a plan that is not a matrix.
    """
    plan = matrix(plan, "plan")
    row_best = plan == plan.amax(dim=1, keepdim=True)
    return (row_best | (plan == plan.amax(dim=0, keepdim=True))).to(plan.dtype)


def _check_settings(reg: float, max_iter: int, tol: float) -> None:
    if not (math.isfinite(reg) and reg > 0):
        raise ValueError(
            f"reg is {reg}: expected a finite number > 0; for the exact plan use ot.emd2 of POT."
        )
    if max_iter < 1 or not tol >= 0:
        raise ValueError(f"max_iter is {max_iter} and tol is {tol}: expected max_iter ≥ 1 and tol ≥ 0.")


def _check_block(block: Tensor, shape: tuple[int, int]) -> None:
    if block.shape != shape:
        raise ValueError(f"rows of cost have shape {tuple(block.shape)}: expected {shape}, as asked for.")
    low, high = torch.aminmax(block)
    largest = float(torch.maximum(-low, high))
    if not largest <= 1e300:  # NaN fails as well
        raise ValueError(
            f"cost holds {largest}: expected finite entries; divide cost and reg by 1e10 or more."
        )


def _marginals(a: Array | None, b: Array | None, cost: Tensor | RowBlocks) -> tuple[Tensor, Tensor]:
    n, m = cost.shape
    row, column = _marginal(a, "a", n, cost), _marginal(b, "b", m, cost)
    sums = float(row.sum()), float(column.sum())
    if not math.isclose(*sums, rel_tol=100 * torch.finfo(row.dtype).eps):
        raise ValueError(f"a sums to {sums[0]} and b to {sums[1]}: scale one to the other's sum.")
    return row, column


def _marginal(given: Array | None, name: str, size: int, like: Tensor | RowBlocks) -> Tensor:
    dtype = torch.promote_types(like.dtype, torch.float32)
    if given is None:
        return torch.full((size,), 1 / size, dtype=dtype, device=like.device)
    given = floats(given, name)
    if given.shape != (size,):
        raise ValueError(f"{name} has shape {tuple(given.shape)}: the cost matrix asks for ({size},).")
    if not bool(((given > 0) & given.isfinite()).all()):
        raise ValueError(f"{name} has masses that are not finite and > 0: drop those points and their costs.")
    return given.detach().to(like.device, dtype)
