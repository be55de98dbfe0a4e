"""Distances d_φ that steer conditional transport: learnt ones, and those that need no learning (FOCT, Sec. 3.2 and 4.2).

A navigator is a callable, memory (n,C) and queries (m,C) → (n,m). Eq. 4 is minimised over φ by `learn`; since nothing holds the
sharpening back, what φ ends up as depends on its starting point, its steps and the unit of the features, not on an optimum.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from otad.checks import checked
from otad.transport.conditional import conditional_transport
from otad.transport.inputs import matrix

Navigator = Callable[[Tensor, Tensor], Tensor]
Measure = Literal["euclidean", "squared"]
BLOCK = 2**25  # values of (M_i − Q_j)² held at a time: 128 MB in float32


@checked
def pairwise(memory: Tensor, queries: Tensor, measure: Measure = "euclidean") -> Tensor:
    """Return the Euclidean distances of all pairs, or their squares: (n,C), (m,C) → (n,m), exact for equal points.

    Raises ValueError for points of different dimensions and an unknown measure.
    """
    memory, queries = matrix(memory, "memory"), matrix(queries, "queries")
    if memory.shape[1] != queries.shape[1]:
        raise ValueError(
            f"memory is {tuple(memory.shape)}, queries are {tuple(queries.shape)}: expected (n,C) and (m,C)."
        )
    if measure not in ("euclidean", "squared"):
        raise ValueError(f'measure is {measure!r}: expected "euclidean" or "squared".')
    found = torch.cdist(memory, queries, compute_mode="donot_use_mm_for_euclid_dist")
    return found if measure == "euclidean" else found.square()


@dataclass(frozen=True)
class Scaled:
    """d = β · cost, without anything to learn: uniform plans at β = 0, the nearest entry as β → ∞."""

    beta: float = 1.0
    measure: Measure = "squared"

    def __call__(self, memory: Tensor, queries: Tensor) -> Tensor:
        """Return (n,m)."""
        return self.beta * pairwise(memory, queries, self.measure)


class PairNetwork(nn.Module):
    """d = MLP((M_i − Q_j)²) for every pair: the printed navigator (Sec. 4.4.3).

    dimension : C of the features. hidden : widths of the hidden layers; the text leaves them open, its code has 1024, 512, 256.
    slope     : of the activation below zero: 0 is the text's ReLU, 0.01 the code's.
    seed      : of the weights.

    Cost: n · m · (C · width + …) multiplications a call, in blocks of BLOCK values.
    """

    @checked
    def __init__(
        self, dimension: int, hidden: Sequence[int] = (512,), slope: float = 0.0, seed: int = 0
    ) -> None:
        """Draw the weights as torch does, from `seed`. Raises ValueError for widths below 1."""
        super().__init__()
        if dimension < 1 or not hidden or min(hidden) < 1:
            raise ValueError(
                f"dimension is {dimension}, hidden {tuple(hidden)}: expected widths of 1 or more."
            )
        sizes = [dimension, *hidden, 1]
        layers: list[nn.Module] = []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for before, after in itertools.pairwise(sizes):
                layers += [nn.Linear(before, after), nn.LeakyReLU(slope)]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, memory: Tensor, queries: Tensor) -> Tensor:
        """Return (n,m)."""
        rows = max(1, BLOCK // (len(queries) * memory.shape[1]))
        return torch.cat(
            [self.layers((part[:, None] - queries).square())[..., 0] for part in memory.split(rows)]
        )


class Embedding(nn.Module):
    """d = ‖E M_i − E Q_j‖² for a linear map E (C → width): each point passes once, not once a pair.

    scale : of the identity that E starts from, so that learning begins at β = scale²; width and seed as usual.
    """

    @checked
    def __init__(self, dimension: int, width: int = 64, scale: float = 1.0, seed: int = 0) -> None:
        """Start from a random projection that keeps squared distances on average, times scale². ValueError for widths below 1."""
        super().__init__()
        if min(dimension, width) < 1:
            raise ValueError(f"dimension is {dimension}, width {width}: expected 1 or more.")
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(dimension, width, generator=generator) * (scale / width**0.5))

    def forward(self, memory: Tensor, queries: Tensor) -> Tensor:
        """Return (n,m)."""
        return pairwise(memory @ self.weight, queries @ self.weight, "squared")


@checked
def learn(
    navigator: nn.Module,
    memory: Tensor,
    queries: Tensor,
    rho: float = 0.5,
    steps: int = 100,
    lr: float = 1e-4,
    decoupled: bool = False,
    measure: Measure = "euclidean",
    pairs: tuple[int, int] | None = None,
    seed: int = 0,
) -> list[float]:
    """Minimise Eq. 4 over the navigator's weights, in place; return the value before each step.

    memory, queries : (n,C), (m,C). steps, lr : Adam's; the text has 100 and 1e-4, its code 100 and 2e-4 with `decoupled` weight decay.
    measure         : the cost: the text's Euclidean distance, or its square, as in the code.
    pairs           : how many entries and queries are drawn anew at each step, from `seed`; None takes all, as printed.

    Raises ValueError where the navigator's distances are not finite, and for settings out of range.
    """
    if steps < 0 or not (math.isfinite(lr) and lr > 0) or (pairs is not None and min(pairs) < 1):
        raise ValueError(
            f"steps is {steps}, lr {lr}, pairs {pairs}: expected steps ≥ 0, lr > 0 and pairs ≥ 1 or None."
        )
    optimiser = (torch.optim.AdamW if decoupled else torch.optim.Adam)(navigator.parameters(), lr=lr)
    generator = torch.Generator().manual_seed(seed)
    losses: list[float] = []
    with torch.enable_grad():
        for _ in range(steps):
            part = memory, queries
            if pairs is not None:
                part = (_drawn(memory, pairs[0], generator), _drawn(queries, pairs[1], generator))
            distance = navigator(*part)
            if not bool(distance.isfinite().all()):
                raise ValueError(
                    f"the navigator's distances are not finite at step {len(losses) + 1}: lower lr, which is {lr}, or scale the "
                    "features."
                )
            loss = conditional_transport(pairwise(*part, measure), distance, rho).value
            losses.append(float(loss.detach()))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return losses


def _drawn(points: Tensor, n: int, generator: torch.Generator) -> Tensor:
    if n >= len(points):
        return points
    return points[torch.randperm(len(points), generator=generator)[:n].to(points.device)]
