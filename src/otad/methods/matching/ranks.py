"""Rank matching of every patch of a feature map with references: what SWW and FCA have in common.

FCA paper, Eq. 1 (sum over references), Sec. 3.2 (matching errors) and Sec. 3.3 (references), with the
conventions of the authors' code: the map is padded by reflection, errors are averaged over channels (the
paper adds them: a factor C), and only patches centred in the map count. Eq. 4, 5 and 6 differ in one (T²,T²)
matrix and nothing else, so this file holds all of the sorting and the methods hold their matrix.

The plain version below sorts every patch, on any device, and is what the kernels are tested against;
`otad.kernels` gets the same numbers without sorting or storing one, and is what is used where it can be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from otad.checks import check_room, checked, shown
from otad.kernels import rank_cpu
from otad.transport import Ties, share_ties

Engine = Literal["kernel", "plain"]
Reference = Literal["median", "median_all", "random", "all", "knn"] | Tensor
NAMES = ("median", "median_all", "random", "all", "knn")
# Values sorted at a time. With order, errors, tie groups and their sums each takes about 50 bytes: 100 MB.
BLOCK = 2**21
MAX_KNN = 2**29  # scores: 2 GiB


@checked
def matched_map(
    features: Tensor,
    weights: Tensor,
    reference: Reference = "median",
    n_references: int = 1,
    k: int | None = None,
    ties: Ties = "mean",
    seed: int = 0,
    engine: Engine = "kernel",
) -> Tensor:
    """Match each patch with the references by rank, and spread its T² errors over its T² pixels.

    A(p) = Σ_r Σ_P Σ_j weights[i,j] M_r(j; P), where p is member i of patch P. One patch is centred on each of
    the N = h·w pixels; M_r is the error against reference r, the mean over channels.

    features  : (C,h,w) tensor.
    weights   : (T²,T²) tensor, from the error of member j to the score of member i, in raster order.
    reference : "median", lower median per channel and rank over the tiles of stride T (Eq. 7 as the authors
                compute it); "median_all", the same over all N patches; "random", n_references of the N;
                "all", the sum over all N, exact; "knn", for each pixel the sum of its k smallest scores over
                the N (k = N // 4 if None, Table 5); or a (C,T²) tensor sorted along its last axis.
    ties, seed: ties as in `otad.transport.matching_errors`; seed of "random".
    engine    : "kernel", `otad.kernels` where they apply (not to "knn", gradients or half precision), equal but
                for rounding; "plain", the version in this file.

    Plain: time O(C N T² log T), plus O(C N T²) a reference; "all" O(C N T² log N) once. Memory: 100 to 250 MB
    (see BLOCK). "median_all" and "all" hold all N T² values of a channel, 16 and 32 bytes each; "knn" holds N
    references, 4 C N T² bytes, and N² scores of 4 bytes, at most MAX_KNN of them.

    Returns (h,w) ≥ 0 in units of the features. Raises ValueError for features that are not finite (C,h,w), a
    patch that is even or larger than the map, and references, k, n_references or ties that do not exist.
    """
    patch_size = round(len(weights) ** 0.5) if weights.ndim else 0
    if (
        weights.shape != (patch_size**2,) * 2
        or not weights.is_floating_point()
        or not weights.isfinite().all()
    ):
        raise ValueError(f"weights are {shown(weights)}: expected a finite float matrix (T²,T²).")
    check_features(features, patch_size)
    _check_choice(features, patch_size, reference, n_references, k, ties)
    if engine not in ("kernel", "plain"):
        raise ValueError(f'engine is {engine!r}: expected "kernel" or "plain".')
    fast = engine == "kernel" and _suits_kernels(features, patch_size)
    name = reference if isinstance(reference, str) else "given"
    if name == "all" and fast and features.is_cpu:
        return rank_cpu.matched_all(features, weights, ties)
    if name == "all":
        return _aggregate(features, weights, _against_all(_patches(features, patch_size)), ties)[0]
    references = reference_values(features, patch_size, reference, n_references, seed, engine)
    if name == "knn":
        scores = _aggregate(features, weights, _against_each(references), ties)
        nearest = scores.topk(k or max(1, len(scores) // 4), dim=0, largest=False)
        return nearest.values.sum(dim=0)
    if fast and features.is_cpu:
        return rank_cpu.matched_map(features, references, weights, ties)
    if fast:
        from otad.kernels import rank_gpu  # needs Triton, which comes with torch for CUDA

        return rank_gpu.matched_map(features, references, weights, ties)
    return _aggregate(features, weights, _against_sum(references), ties)[0]


def _suits_kernels(features: Tensor, patch_size: int) -> bool:
    """Tell whether the kernels take these features: they know neither gradients nor half precision."""
    plain = features.requires_grad and torch.is_grad_enabled()
    known = features.dtype in (torch.float32, torch.float64) and patch_size <= rank_cpu.MAX_SIZE
    return known and not plain and (features.is_cpu or features.is_cuda)


@checked
def reference_values(
    features: Tensor,
    patch_size: int,
    reference: Reference = "median",
    n_references: int = 1,
    seed: int = 0,
    engine: Engine = "kernel",
) -> Tensor:
    """Return the sorted reference values, (R,C,T²).

    FCA Sec. 3.3. R is n_references for "random", N for "all" and "knn", else 1. Eq. 7 has a closed form: the
    reference that minimises Σ_P W₁(P, reference) is the median over patches of the values of each rank. Of an
    even number of values this is the lower one, as in the authors' code. Arguments and errors as
    `matched_map`.
    """
    check_features(features, patch_size)
    _check_choice(features, patch_size, reference, n_references, None, "mean")
    if isinstance(reference, Tensor):
        return reference.to(features)[None]
    medians = reference in ("median", "median_all")
    if medians and engine == "kernel" and features.is_cpu and _suits_kernels(features, patch_size):
        return rank_cpu.median_reference(features, patch_size, every=reference == "median_all")[None]
    if reference == "median":
        tiles = features.unfold(1, patch_size, patch_size).unfold(2, patch_size, patch_size)
        return tiles.flatten(3).flatten(1, 2).sort(dim=-1).values.median(dim=1).values[None]
    patches = _patches(features, patch_size)
    if reference == "median_all":
        ranked = (channel.flatten(2).flatten(0, 1).sort(dim=-1).values for channel in patches)
        return torch.stack([channel.median(dim=0).values for channel in ranked])[None]
    number = torch.arange(features[0].numel())
    if reference == "random":
        number = torch.randperm(len(number), generator=torch.Generator().manual_seed(seed))[:n_references]
    width = features.shape[2]
    chosen = patches[:, number // width, number % width]
    return chosen.flatten(2).sort(dim=-1).values.transpose(0, 1)


@checked
def gaussian(size: int, sigma: float) -> Tensor:
    """Return Gaussian weights on a size × size patch; float64, sum 1. Raises ValueError for sigma ≤ 0."""
    if size < 1:
        raise ValueError(f"size is {size}: expected at least one pixel.")
    check_room("the patch", size, size)
    if not sigma > 0:
        raise ValueError(f"sigma is {sigma}: expected a width > 0, in pixels of the feature map.")
    line = torch.exp(-0.5 * ((torch.arange(size, dtype=torch.float64) - size // 2) / sigma) ** 2)
    return torch.outer(line, line) / line.sum() ** 2


def check_features(features: Tensor, patch_size: int) -> None:
    """Raise ValueError unless features are a finite float (C,h,w) tensor that an odd patch fits into."""
    if not isinstance(features, Tensor) or features.ndim != 3 or not features.is_floating_point():
        what = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise ValueError(f"features are {what}: expected a float tensor (C,h,w), one image of a batch.")
    if patch_size < 1 or patch_size % 2 == 0:
        raise ValueError(f"patch_size is {patch_size}: expected an odd number, so that a patch has a centre.")
    if len(features) == 0 or min(features.shape[1:]) < patch_size:
        raise ValueError(
            f"features have shape {tuple(features.shape)}: expected C ≥ 1 and h, w ≥ patch_size = "
            f"{patch_size}; take a smaller patch, a larger image or features of a smaller stride."
        )
    if not bool(features.isfinite().all()):
        bad = int((~features.isfinite()).sum())
        raise ValueError(f"features hold {bad} values that are NaN or infinite: check the images first.")


# How it is computed ----------------------------------------------------------------------------------------

# Given ranked values (c,L,T²) of a few channels, a Matcher returns their errors (c,L,T²), rank by rank: one
# tensor for each map that is wanted. It is prepared once for each slice of channels.
Matcher = Callable[[Tensor], Iterable[Tensor]]


def _patches(features: Tensor, patch_size: int) -> Tensor:
    """View the patches of the reflected map, (C,h,w,T,T), without copying them."""
    padded = F.pad(features[None], (patch_size // 2,) * 4, mode="reflect")[0]
    return padded.unfold(1, patch_size, 1).unfold(2, patch_size, 1)


def _aggregate(features: Tensor, weights: Tensor, prepare: Callable[[slice], Matcher], ties: Ties) -> Tensor:
    """Run over blocks of channels and rows; (R,h,w), one map for each tensor of errors."""
    n_channels, height, width = features.shape
    size = round(weights.shape[0] ** 0.5)
    patches, spread = _patches(features, size), weights.to(features).T / n_channels
    rows = max(1, min(height, BLOCK // (width * size**2)))
    step = max(1, BLOCK // (height * width * size**2))
    maps: list[Tensor] = []
    for c in range(0, n_channels, step):
        channels = slice(c, c + step)
        matcher = prepare(channels)
        for y in range(0, height, rows):
            block = patches[channels, y : y + rows].flatten(3).flatten(1, 2)
            ranked, order = block.sort(dim=-1, stable=True)
            for number, errors in enumerate(matcher(ranked)):
                if ties == "mean":
                    errors = share_ties(errors, ranked)
                by_pixel = torch.empty_like(errors).scatter_(-1, order, errors).sum(dim=0)
                if number == len(maps):
                    maps.append(features.new_zeros(height + size - 1, width + size - 1))
                n_rows = len(by_pixel) // width + size - 1
                maps[number][y : y + n_rows] += _fold(by_pixel @ spread, size, n_rows)
    return torch.stack(maps)[:, size // 2 : size // 2 + height, size // 2 : size // 2 + width]


def _fold(members: Tensor, size: int, n_rows: int) -> Tensor:
    """Add up what the patches (L,T²) give to each pixel of the padded rows; (n_rows, width + T − 1)."""
    width = len(members) // (n_rows - size + 1) + size - 1
    return F.fold(members.T[None], (n_rows, width), kernel_size=size)[0, 0]


def _against_sum(references: Tensor) -> Callable[[slice], Matcher]:
    """Errors against R references, (R,C,T²), added up: one map."""

    def prepare(channels: slice) -> Matcher:
        first, *others = references[:, channels, None]

        def match(ranked: Tensor) -> list[Tensor]:
            errors = (ranked - first).abs()
            for reference in others:
                errors += (ranked - reference).abs()
            return [errors]

        return match

    return prepare


def _against_each(references: Tensor) -> Callable[[slice], Matcher]:
    """Errors against each of R references, (R,C,T²): R maps."""

    def prepare(channels: slice) -> Matcher:
        chosen = references[:, channels, None]
        return lambda ranked: ((ranked - reference).abs() for reference in chosen)

    return prepare


def _against_all(patches: Tensor) -> Callable[[slice], Matcher]:
    """Errors against all N patches, added up, at the cost of one: one map.

    Σ_r |v − a_r| is a function of v alone for each channel and rank. With the N values a_r of that rank
    sorted, their prefix sums P and j of them ≤ v it is v (2j − N) + P_N − 2 P_j.
    """

    def prepare(channels: slice) -> Matcher:
        ranked = patches[channels].flatten(3).flatten(1, 2).sort(dim=-1).values
        columns = ranked.transpose(1, 2).contiguous().sort(dim=-1).values
        n = columns.shape[-1]
        prefix = F.pad(columns.double().cumsum(dim=-1), (1, 0))

        def match(values: Tensor) -> list[Tensor]:
            v = values.transpose(1, 2).contiguous()
            j = torch.searchsorted(columns, v, right=True)
            sums = v.double() * (2 * j - n) + prefix[..., -1:] - 2 * prefix.gather(-1, j)
            return [sums.transpose(1, 2).to(values.dtype)]

        return match

    return prepare


def _check_choice(
    features: Tensor, size: int, reference: Reference, n_references: int, k: int | None, ties: str
) -> None:
    """Raise ValueError for a reference, number of references, k or ties that does not exist."""
    n = features[0].numel()
    if isinstance(reference, Tensor):
        if reference.shape != (len(features), size**2):
            raise ValueError(
                f"the reference has shape {tuple(reference.shape)}: expected (C,T²) = "
                f"{(len(features), size**2)}."
            )
        if not bool((reference.diff(dim=-1) >= 0).all() and reference.isfinite().all()):
            raise ValueError("the reference is not finite and sorted: pass reference.sort(-1).values.")
    elif not isinstance(reference, str) or reference not in NAMES:
        given = repr(reference) if isinstance(reference, str) else f"a {type(reference).__name__}"
        raise ValueError(f"reference is {given}: expected {', '.join(NAMES)} or a (C,T²) tensor.")
    name = reference if isinstance(reference, str) else "a tensor"
    if n_references != 1 and (name != "random" or not 1 <= n_references <= n):
        raise ValueError(
            f"n_references is {n_references} with reference {name}: expected 1 to {n} with random, else 1."
        )
    if k is not None and (name != "knn" or not 1 <= k <= n):
        raise ValueError(f"k is {k} with reference {name}: expected 1 to {n} with knn, else None.")
    if name == "knn" and n**2 > MAX_KNN:
        raise ValueError(
            f"knn compares all pairs of {n} patches, {n**2:.1e} scores: expected at most {MAX_KNN:.1e}; "
            "resize the images (the paper uses 320²) or take features of a larger stride."
        )
    if ties not in ("mean", "index"):
        raise ValueError(f'ties is {ties!r}: expected "mean" or "index".')
