"""Three ways to compare the patch around a pixel with the whole map: moments, histograms, matched samples.

FCA paper, Sec. 3.2: Eq. 2, 3 and 4, with the conventions of the authors' code: the map is padded by
reflection, Gaussian weights sum to 1, and errors are averaged over channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from otad.checks import check_room, checked
from otad.methods.matching.ranks import Reference, check_features, gaussian, matched_map
from otad.transport import Ties

# What a local histogram is compared with: an aggregate of all of them, or some or all of them, one by one.
HistogramReference = Literal["mean", "median", "random", "all"]
HISTOGRAM_REFERENCES = ("mean", "median", "random", "all")


@checked
def moments(
    features: Tensor, patch_size: int, sigma: float = 6.0, powers: Sequence[int] = (1, 2, 3, 4)
) -> Tensor:
    """Compare local moments with their average over the map.

    FCA Eq. 2 with Gaussian weights and higher powers: the mean over channels and powers p of
    (G_σ ∗ F^p − average of G_σ ∗ F^p)². The moments are raw ones, not central.

    features : (C,h,w) tensor. patch_size : T, odd. sigma : of the weights, in map pixels.

    Returns (h,w) ≥ 0. Raises ValueError for features that are not finite (C,h,w), a patch that is even or
    larger than the map, sigma ≤ 0, and no powers.
    """
    check_features(features, patch_size)
    if not powers:
        raise ValueError("powers is empty: expected at least one, such as (1,).")
    total = torch.zeros_like(features[0])
    for power in powers:
        local = _blur(features**power, patch_size, sigma)
        total += (local - local.mean(dim=(1, 2), keepdim=True)).square().mean(dim=0)
    return total / len(powers)


@checked
def histogram(
    features: Tensor,
    patch_size: int,
    sigma: float = 6.0,
    bins: int = 10,
    reference: HistogramReference = "mean",
    n_references: int = 1,
    seed: int = 0,
) -> Tensor:
    """Compare local histograms with one or more references by the earth mover's distance.

    FCA Eq. 3 and, for several references, the sum of Eq. 1. Each channel is scaled to [0,1]; votes are weighted
    by a Gaussian; the distance is the mean over bins of the absolute difference of the cumulative histograms,
    then the mean over channels.

    features     : (C,h,w) tensor; worked on one channel at a time, in about 16 · bins · h · w bytes ("all": 60).
    reference    : "mean", the average histogram of the map; "median", the median of each cumulative bin, which
                   minimises the sum of all distances as Eq. 7 does; "random", n_references of the N = h·w local
                   histograms, in a loop; "all", the sum over all N, exact, at the cost of a sort.
    n_references, seed : of "random"; the patches are those that `matched_map` draws.

    Returns (h,w) in [0, (bins − 1)/bins] for each reference: as the authors divide by bins, what moved from the
    first bin to the last went bins − 1 of them. Raises ValueError as `moments`, and for bins < 2 and a reference
    or number of references that does not exist.
    """
    check_features(features, patch_size)
    if bins < 2:
        raise ValueError(f"bins is {bins}: expected at least 2.")
    check_room("the histograms", bins, *features.shape[1:])
    compare = _comparison(reference, n_references, features[0].numel(), seed)
    edges = torch.arange(bins, device=features.device)[:, None, None]
    total = torch.zeros_like(features[0])
    for channel in features:
        scaled = (channel - channel.min()) / (channel.max() - channel.min() + 1e-8)
        # Votes for "this bin or a lower one": their blur is the cumulative histogram already.
        votes = (torch.floor(0.999 * bins * scaled) <= edges).to(features.dtype)
        total += compare(_blur(votes, patch_size, sigma).flatten(1)).view_as(total)
    return total / len(features)


@checked
def sample_weighted_wasserstein(
    features: Tensor,
    patch_size: int,
    sigma: float = 6.0,
    reference: Reference = "median",
    n_references: int = 1,
    k: int | None = None,
    ties: Ties = "mean",
    seed: int = 0,
) -> Tensor:
    """Match the values of each patch with a reference by rank; weigh the errors by nearness to the centre.

    FCA Eq. 4: S(x,y) = Σ_{p ∈ P_xy} M(p; P_xy) g_σ(p − (x,y)). With equal weights this would be W₁.

    features : (C,h,w) tensor. reference, n_references, k, ties, seed : as in
               `otad.methods.matching.ranks.matched_map`.

    Returns (h,w) ≥ 0 in units of the features. Raises ValueError as `matched_map`, and for sigma ≤ 0.
    """
    check_features(features, patch_size)
    weights = features.new_zeros(patch_size**2, patch_size**2)
    weights[patch_size**2 // 2] = gaussian(patch_size, sigma).flatten().to(features)  # to the centre alone
    return matched_map(features, weights, reference, n_references, k, ties, seed)


def _blur(x: Tensor, size: int, sigma: float) -> Tensor:
    """Average (B,h,w) over Gaussian-weighted patches, the border reflected; rows and columns in turn."""
    line = gaussian(size, sigma).sum(dim=0).to(x)
    padded = F.pad(x[:, None], (size // 2,) * 4, mode="reflect")
    return F.conv2d(F.conv2d(padded, line.view(1, 1, 1, -1)), line.view(1, 1, -1, 1))[:, 0]


def _comparison(
    reference: HistogramReference, n_references: int, n: int, seed: int
) -> Callable[[Tensor], Tensor]:
    """Return what turns cumulative histograms (bins,N) into distances (N,). ValueError for a bad choice."""
    if reference not in HISTOGRAM_REFERENCES:
        raise ValueError(f"reference is {reference!r}: expected {', '.join(HISTOGRAM_REFERENCES)}.")
    if n_references != 1 and (reference != "random" or not 1 <= n_references <= n):
        raise ValueError(
            f"n_references is {n_references} with reference {reference}: expected 1 to {n} with random, else 1."
        )
    if reference == "mean":
        return lambda local: (local - local.mean(dim=1, keepdim=True)).abs().mean(dim=0)
    if reference == "median":
        return lambda local: (local - local.median(dim=1, keepdim=True).values).abs().mean(dim=0)
    if reference == "all":
        return _against_all
    chosen = torch.randperm(n, generator=torch.Generator().manual_seed(seed))[:n_references].tolist()

    def against_each(local: Tensor) -> Tensor:
        total = torch.zeros_like(local[0])
        for number in chosen:
            total += (local - local[:, number : number + 1]).abs().mean(dim=0)
        return total

    return against_each


def _against_all(local: Tensor) -> Tensor:
    """Sum the distances of each of N cumulative histograms (bins,N) to all of them; (N,).

    Bin by bin Σ_r |v − a_r| follows from the place j of v among the sorted a_r: with the sum P_j of the j
    lowest it is v (2j − N) + P_N − 2 P_j, and v adds nothing, whichever of its ties comes first.
    """
    ranked, order = local.sort(dim=1)
    below = torch.arange(local.shape[1], device=local.device)
    prefix = ranked.double().cumsum(dim=1)
    sums = ranked.double() * (2 * (below + 1) - local.shape[1]) + prefix[:, -1:] - 2 * prefix
    return torch.empty_like(sums).scatter_(1, order, sums).mean(dim=0).to(local.dtype)
