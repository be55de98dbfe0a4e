"""The episodic memory of a stream: which patches of a query join it, and how it is kept small (FOCT, Sec. 4.2)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from otad.checks import checked
from otad.methods.memory.patchcore import greedy_coreset

Picks = Literal["queries", "entries"]


@checked
def top_queries(forward: Tensor, k: int, entries: Tensor | None = None, picks: Picks = "queries") -> Tensor:
    """Return up to k queries that go to the memory, or to some of its entries, with the largest probability (Eq. 6).

    forward : (n,m) plan of conditional transport. entries : (n,) bool, those that count; None = all.
    picks   : "queries": each query names its best entry, and those whose entry counts are ranked by that probability, as the text
              has it; "entries": each entry that counts names its best query, and what is named is ranked, each query once, as the
              public code has it.

    Equal probabilities leave earlier queries (or entries) first. Raises ValueError for a plan that is no matrix.
    """
    if forward.ndim != 2 or (entries is not None and entries.shape != forward.shape[:1]):
        raise ValueError(
            f"the plan has shape {tuple(forward.shape)}: expected (n,m), and entries of shape (n,)."
        )
    if picks == "entries":
        best, names = (forward if entries is None else forward[entries]).max(dim=1)
        names = names[best.argsort(descending=True, stable=True)]
        first = (names[:, None] == names).int().argmax(dim=1)  # where each name comes first
        return names[first == torch.arange(len(names), device=names.device)][:k]
    best, goal = forward.max(dim=0)
    order = best.argsort(descending=True, stable=True)
    return order[:k] if entries is None else order[entries[goal[order]]][:k]


@checked
def kept_size(length: int, capacity: int | None, lam: float, compression: Literal["paper", "authors"]) -> int:
    """Return how many of `length` vectors are kept: all until the capacity L is reached, then λL; None keeps all.

    "authors": of all vectors that ever came, λ of them as often as it takes until L or fewer are left.
    """
    if capacity is None:
        return length
    if compression == "paper":
        return length if length < capacity else max(1, int(lam * capacity))
    while length > capacity:
        length = int(length * lam)
    return max(1, length)


@checked
def compressed(points: Tensor, n: int, seed: int = 0, projection: int | None = 128) -> Tensor:
    """Return n of the points (L,C) that cover the others, by the greedy coreset (Eq. 7); all of them if that many are wanted."""
    return points if n >= len(points) else points[greedy_coreset(points, n, seed, projection)]
