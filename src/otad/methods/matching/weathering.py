"""Weathering: how old does each part of a material look, judged by how rare its patches are?

Bellini, Kleiman and Cohen-Or, Time-varying Weathering in Texture Space (SIGGRAPH 2016): the first step of
their pipeline estimates an age map by prevalence analysis: intact material is common, so a patch that
resembles many others is young and one that resembles few is old. FCA (Sec. 4.3, Table 3) takes the age for an
anomaly score. FCA names no parameters; those below are ours, as are the plain colour distances. Its blind
spot: a flat patch is nearer to any other than those are to each other, so whatever is smooth looks young.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from otad.checks import checked
from otad.features import check_images
from otad.features.handcrafted import minmax
from otad.methods import Scores
from otad.methods.nearest import squared_distances

BLOCK = 2**23  # distances held at a time: 32 MB in float32


@checked
@dataclass
class Weathering:
    """The age map as a zero-shot detector; it works on colours and needs no backbone.

    patch_size   : T, side of a patch in image pixels.
    share        : of the patches of the image, how many must be similar before a patch counts as common: its
                   age is the mean distance to the nearest `share` of them.
    stride       : pixels between the patches that are aged, at most T; a pixel takes the mean over the patches
                   it is in.
    n_candidates : patches searched for similar ones, drawn without replacement; None = every patch.
    normalise    : stretch each map to [0,1], as an age; image scores are taken before, or all would be 1.
    seed         : of the draw of the candidates.

    >>> Weathering(patch_size=5).score(torch.rand(1, 3, 20, 30)).maps.shape
    torch.Size([1, 20, 30])
    """

    patch_size: int = 9
    share: float = 0.01
    stride: int = 4
    n_candidates: int | None = None
    normalise: bool = True
    seed: int = 0

    def age(self, image: Tensor) -> Tensor:
        """Estimate the age of one image (3,H,W) in [0,1]: (H,W).

        age(P) = mean over the K patches Q most similar to P of ‖P − Q‖ / √(3 T²), where K = share · number of
        candidates and patches that overlap P are left out: they resemble it whatever it shows.

        With A patches aged and M candidates, time O(A M T²), memory 12 T² (A + M) bytes for the patches and
        about four times 32 MB for BLOCK distances at a time: 200 MB for all candidates of 256².

        Returns values in [0,1], the root mean square difference of colours. Raises ValueError for a bad
        image, a patch with nothing beside it that does not overlap, and parameters out of range.
        """
        check_images(image[None])
        self._check(image)
        size = self.patch_size
        image = image - image.mean(dim=(1, 2), keepdim=True)  # small numbers cancel less in a − b
        patches = image.unfold(1, size, 1).unfold(2, size, 1).movedim(0, 2)  # (h,w,3,T,T), a view
        ys, xs = (_grid(side, self.stride).to(image.device) for side in patches.shape[:2])
        at = torch.cartesian_prod(ys, xs).int()
        others = self._candidates(patches).to(image.device)
        mine, theirs = (patches[p[:, 0], p[:, 1]].flatten(1) for p in (at, others))
        k = max(1, round(self.share * len(others)))
        rows = max(1, BLOCK // len(others))
        blocks = zip(mine.split(rows), at.split(rows), strict=True)
        ages = torch.cat([_mean_distance(*block, theirs, others, size, k) for block in blocks])
        return _spread(ages.view(len(ys), len(xs)), ys, xs, image.shape[1:], size)

    def score(self, images: Tensor) -> Scores:
        """Score images (N,3,H,W) in [0,1], each from itself alone. Raises ValueError as `age`."""
        check_images(images)
        scores = Scores.of_maps(torch.stack([self.age(image) for image in images]))
        return Scores(minmax(scores.maps[:, None])[:, 0], scores.image_scores) if self.normalise else scores

    def _candidates(self, patches: Tensor) -> Tensor:
        """Corners (M,2) of the patches that are searched."""
        height, width = patches.shape[:2]
        number = torch.arange(height * width, dtype=torch.int32)
        if self.n_candidates is not None:
            generator = torch.Generator().manual_seed(self.seed)
            order = torch.randperm(len(number), generator=generator, dtype=torch.int32)
            number = order[: self.n_candidates].sort().values
        return torch.stack([number // width, number % width], dim=1)

    def _check(self, image: Tensor) -> None:
        if not 1 <= self.stride <= self.patch_size or not 0 < self.share <= 1:
            raise ValueError(
                f"patch_size is {self.patch_size}, stride {self.stride}, share {self.share}: expected "
                "1 ≤ stride ≤ patch_size, so that every pixel is in a patch, and a share in (0,1]."
            )
        if self.n_candidates is not None and self.n_candidates < 1:
            raise ValueError(f"n_candidates is {self.n_candidates}: expected at least 1, or None for all.")
        low, high = sorted(image.shape[1:])
        longest = 3 * self.patch_size - 1  # so that a patch in the middle has one beside it
        if low < self.patch_size or high < longest:
            raise ValueError(
                f"the image is {tuple(image.shape[1:])}: expected sides of at least {self.patch_size} and "
                f"{longest} pixels for patch_size = {self.patch_size}; take smaller patches."
            )


def _mean_distance(mine: Tensor, at: Tensor, theirs: Tensor, others: Tensor, size: int, k: int) -> Tensor:
    """Mean distance of patches (n,D) at corners (n,2) to the k nearest of (M,D) that do not overlap: (n,)."""
    overlap = (at[:, :1] - others[:, 0]).abs() < size
    overlap &= (at[:, 1:] - others[:, 1]).abs() < size
    squared = squared_distances(mine, theirs).masked_fill_(overlap, torch.inf)
    distances = squared.topk(k, dim=1, largest=False, sorted=False).values.sqrt()
    # Fewer than k may be left in a small image or draw: the mean is over those there are.
    there = distances.isfinite()
    if not bool(there.any(dim=1).all()):
        raise ValueError(f"some patches overlap all {len(others)} candidates: raise n_candidates.")
    return distances.where(there, 0).sum(dim=1) / there.sum(dim=1) / mine.shape[1] ** 0.5


def _grid(side: int, stride: int) -> Tensor:
    """Every stride-th position, and the last one, so that every pixel is in some patch."""
    return torch.unique(torch.cat([torch.arange(0, side, stride), torch.tensor([side - 1])]))


def _spread(ages: Tensor, ys: Tensor, xs: Tensor, shape: torch.Size, size: int) -> Tensor:
    """Give each pixel the mean age of the patches that hold it: (H,W)."""
    down, across = (_cover(corner, side, size).to(ages) for corner, side in zip((ys, xs), shape, strict=True))
    return down @ ages @ across.T / torch.outer(down.sum(dim=1), across.sum(dim=1))


def _cover(corners: Tensor, side: int, size: int) -> Tensor:
    """Tell which patch holds which pixel of a line: (side, patches) of 0 and 1."""
    offset = torch.arange(side, device=corners.device)[:, None] - corners
    return (offset >= 0) & (offset < size)
