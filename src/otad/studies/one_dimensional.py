"""Referees of page 01: what is said of sorting, rank matching and the median, against those who know nothing of ranks.

Each draws its cases from the generator that it is given, in a fixed order, and returns how far the claim is off: rounding, or it is wrong.
"""

from collections.abc import Callable
from itertools import combinations_with_replacement, permutations
from typing import Any

import numpy as np
import ot
from numpy.typing import NDArray
from scipy.optimize import linprog

from otad.transport import matching_errors, wasserstein_1d

Array = NDArray[np.float64]


def sorting_gaps(rng: np.random.Generator, cases: int) -> tuple[float, float]:
    """Return the largest difference of W₁ from the best of all pairings (6 against 6) and from POT's linear program (13 against 17)."""
    every = np.array(list(permutations(range(6))))
    pairing = program = 0.0
    for _ in range(cases):
        x, y = rng.normal(size=6), rng.normal(size=6)
        cheapest = np.abs(x - y[every]).mean(axis=1).min()
        pairing = max(pairing, abs(float(wasserstein_1d(x, y)) - cheapest))
        x, y = rng.normal(size=13), rng.standard_t(3, size=17)
        least = ot.emd2([], [], np.abs(x[:, None] - y))
        program = max(program, abs(float(wasserstein_1d(x, y)) - least))
    return pairing, program


def draw(rng: np.random.Generator, *shape: int) -> Array:
    """Draw values as they come: uniform, normal, heavy-tailed, rectified, or rounded to 16 grey levels."""
    kinds = [
        rng.random(shape),
        rng.normal(size=shape),
        rng.standard_t(2, shape),
        np.maximum(rng.normal(size=shape), 0),
    ]
    return [*kinds, np.round(15 * kinds[0]) / 15][rng.integers(5)]


def identity_gap(rng: np.random.Generator, cases: int) -> tuple[float, int]:
    """Return the largest |mean(M) − W₁|, with W₁ by POT's `emd2_1d`, under both tie rules, and the number of comparisons.

    Patches of 1 to 121 values and 1 to 4 channels.
    """
    worst, tried = 0.0, 0
    for _ in range(cases):
        size, channels = int(rng.integers(1, 12)) ** 2, int(rng.integers(1, 5))
        patches, reference = draw(rng, channels, size), draw(rng, channels, size)
        pairs = zip(patches, reference, strict=True)
        pot = [ot.emd2_1d(p, r, metric="euclidean") for p, r in pairs]
        for ties in ("mean", "index"):
            mean = matching_errors(patches, np.sort(reference), ties).mean(-1).numpy()
            worst, tried = max(worst, float(np.abs(mean - pot).max())), tried + channels
    return worst, tried


def gain_of_nudges(
    rng: np.random.Generator, start: Array, cost: Callable[[Array], Array], rounds: int
) -> float:
    """Return by how much the best sorted nudge of a sorted reference (ranks,) lowers its cost; 0 if none does.

    cost: references (..., ranks) → sums of distances. Fifty nudges a round, of any size from 1e-6 to 1, of few ranks or all.
    """
    best, gain = cost(start)[0], 0.0
    for _ in range(rounds):
        size = 10.0 ** rng.uniform(-6, 0, (50, 1))
        few = rng.random((50, start.size)) < rng.choice([1, 0.1, 0.01])
        nudges = start + size * few * rng.normal(size=(50, start.size))
        gain = max(gain, float(best - cost(np.sort(nudges, axis=1)).min()))
    return gain


def least_sum(patches: Array) -> float:
    """Return the least Σ|v − r| over sorted r, by linear programming; patches (patches, ranks) are sorted along ranks."""
    count, n = patches.shape
    picks, slack = np.tile(np.eye(n), (count, 1)), np.eye(count * n)
    rising = np.hstack([np.eye(n)[:-1] - np.eye(n)[1:], np.zeros((n - 1, count * n))])
    left = np.vstack([np.hstack([picks, -slack]), np.hstack([-picks, -slack]), rising])
    right = np.concatenate([patches.ravel(), -patches.ravel(), np.zeros(n - 1)])
    return float(linprog(np.r_[np.zeros(n), np.ones(count * n)], left, right, bounds=(None, None)).fun)


def gain_over_median(rng: np.random.Generator, cases: int) -> float:
    """Return by how much a linear program, or the best of all sorted references on a grid of six integers, beats the median; 0 if none does."""
    every = np.array(list(combinations_with_replacement(range(6), 4)))
    gain = 0.0
    for _ in range(cases):
        small = np.sort(rng.normal(size=(rng.integers(2, 8), 6)), axis=1)
        gain = max(gain, _sum_to_median(small) - least_sum(small))
        grid = np.sort(rng.integers(0, 6, (rng.integers(2, 8), 4)), axis=1)
        least = np.abs(grid[:, None] - every).sum((0, 2)).min()
        gain = max(gain, _sum_to_median(grid) - float(least))
    return gain


def _sum_to_median(patches: NDArray[Any]) -> float:
    return float(np.abs(patches - np.median(patches, axis=0)).sum())
