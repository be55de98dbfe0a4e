"""Conditional transport: two plans that sum to 1 one way each, and the cost that they expect (FOCT, Sec. 3.2 and 4.2).

Neither marginal is constrained: each query spreads its mass over the memory as a softmax of −d, each entry of the memory spreads its
own over the queries. Without a constraint there is nothing to balance: the smallest value of free distances d is the two-sided
distance of Chamfer, an infimum that no finite d attains (`chamfer`, `nearest_plan`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from otad.checks import checked
from otad.transport.inputs import Array, matrix, same_dtype


@dataclass(frozen=True)
class ConditionalPlan:
    """Both plans between n entries of a memory and m queries, and the evidence for their value.

    forward  : (n,m) ≥ 0, each column sums to 1: where a query goes in the memory (π_n of Eq. 5, transposed).
    backward : (n,m) ≥ 0, each row sums to 1: where an entry goes among the queries (π_m of Eq. 5).
    queries  : (m,) expected cost of each query, Eq. 8; entries : (n,) expected cost of each entry.
    value    : 0-d, ρ · mean of queries + (1 − ρ) · mean of entries, Eq. 4; all in the unit of the cost.
    """

    forward: Tensor
    backward: Tensor
    queries: Tensor
    entries: Tensor
    value: Tensor


@checked
def conditional_transport(cost: Array, distance: Array, rho: float = 0.5) -> ConditionalPlan:
    """Weigh a cost by the softmax of −distance over the memory and over the queries (Eq. 4 and 5).

    cost, distance : (n,m) tensors, memory × queries, finite; the distance has no unit, as it is an exponent.
    rho            : weight in [0,1] of the way from the queries to the memory.

    Everything is differentiable in both. The gradient in the distance is −(ρ/m) · forward · (cost − queries) −
    ((1−ρ)/n) · backward · (cost − entries): it always sharpens, as no entropy stands against it.
    Raises ValueError for shapes that differ, values that are not finite and rho outside [0,1].
    """
    cost, distance = _alike(cost, distance)
    return _expected(cost, torch.softmax(-distance, dim=0), torch.softmax(-distance, dim=1), rho)


@checked
def nearest_plan(cost: Array, rho: float = 0.5) -> ConditionalPlan:
    """Send everything to what is nearest: the limit of `conditional_transport` as its distance grows, and its infimum.

    Equal costs share the mass, so that the result does not depend on the order of entries. `queries` is then the distance to the
    nearest entry, PatchCore's without its Eq. 7, and `value` is `chamfer`. cost, rho, errors: as there.
    """
    cost = matrix(cost, "cost")
    forward, backward = (cost == cost.amin(dim=d, keepdim=True) for d in (0, 1))
    return _expected(
        cost,
        forward.to(cost.dtype) / forward.sum(dim=0),
        backward.to(cost.dtype) / backward.sum(dim=1, keepdim=True),
        rho,
    )


@checked
def chamfer(cost: Array, rho: float = 0.5) -> Tensor:
    """Return ρ · mean over queries of the least cost + (1 − ρ) · mean over the memory of the least cost; 0-d, differentiable."""
    cost = matrix(cost, "cost")
    _check_rho(rho)
    return rho * cost.amin(dim=0).mean() + (1 - rho) * cost.amin(dim=1).mean()


def _expected(cost: Tensor, forward: Tensor, backward: Tensor, rho: float) -> ConditionalPlan:
    _check_rho(rho)
    queries, entries = (forward * cost).sum(dim=0), (backward * cost).sum(dim=1)
    value = rho * queries.mean() + (1 - rho) * entries.mean()
    return ConditionalPlan(forward, backward, queries, entries, value)


def _alike(cost: Array, distance: Array) -> tuple[Tensor, Tensor]:
    costs, distances = same_dtype(matrix(cost, "cost"), matrix(distance, "distance"))
    if costs.shape != distances.shape:
        raise ValueError(
            f"cost has shape {tuple(costs.shape)}, distance {tuple(distances.shape)}: expected (n,m) for both, memory × queries."
        )
    return costs, distances


def _check_rho(rho: float) -> None:
    if not (math.isfinite(rho) and 0 <= rho <= 1):
        raise ValueError(
            f"rho is {rho}: expected a weight in [0,1]; 1 counts the way from queries to memory alone."
        )
