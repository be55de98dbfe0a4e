"""Nearest entries of a memory: what methods with a memory, and methods that search a picture in itself, share."""

from __future__ import annotations

import torch
from torch import Tensor

from otad.checks import checked

BLOCK = 2**24  # distances held at a time: 64 MB in float32


@checked
def nearest(queries: Tensor, memory: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
    """Find the k nearest entries of a memory: distances (n,k), ascending, and indices (n,k).

    The search expands the square, which is fast; the distances found are then computed directly, which is
    exact (a query that is in the memory gets 0) and differentiable.

    queries : (n,C) tensor. memory : (M,C) tensor. Works on BLOCK distances at a time, 64 MB, twice.
    Raises ValueError for shapes that do not fit and k outside 1 … M.
    """
    if queries.ndim != 2 or memory.ndim != 2 or queries.shape[1] != memory.shape[1] or not memory.numel():
        raise ValueError(
            f"queries have shape {tuple(queries.shape)}, memory {tuple(memory.shape)}: expected (n,C), (M,C)."
        )
    _check_alike(queries, memory)
    if not 1 <= k <= len(memory):
        raise ValueError(f"k is {k}: expected 1 to {len(memory)}, the number of entries of the memory.")
    rows = max(1, BLOCK // max(len(memory), k * memory.shape[1]))
    centre = memory.detach().mean(dim=0)
    centred, found = memory.detach() - centre, []
    for block in queries.split(rows):
        squared = squared_distances(block.detach() - centre, centred)
        # One minimum is an order of magnitude faster than a selection of one.
        entries = squared.argmin(1, keepdim=True) if k == 1 else squared.topk(k, largest=False).indices
        distances = torch.linalg.vector_norm(block[:, None] - memory[entries], dim=2)
        order = distances.argsort(dim=1, stable=True)
        found.append((distances.gather(1, order), entries.gather(1, order)))
    return torch.cat([distances for distances, _ in found]), torch.cat([entries for _, entries in found])


def _check_alike(queries: Tensor, memory: Tensor) -> None:
    """Raise ValueError unless both are floats of one type and on one device."""
    kinds = [(x.dtype, x.device) for x in (queries, memory)]
    if kinds[0] != kinds[1] or not queries.is_floating_point():
        raise ValueError(
            f"queries are {queries.dtype} on {queries.device}, memory {memory.dtype} on {memory.device}: expected floats "
            "of one type on one device; move one with .to()."
        )


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Return ‖a_i − b_j‖² ≥ 0 for (n,C) and (m,C): (n,m), at 4 n m bytes and no more.

    It expands the square, so it is exact up to rounding of the size of ‖a_i‖² + ‖b_j‖²: centre both first.
    """
    rows, columns = (torch.linalg.vector_norm(points, dim=1).square() for points in (a, b))
    return torch.addmm(columns, a, b.T, alpha=-2).add_(rows[:, None]).clamp_(min=0)
