"""FastRecon: a query is rebuilt from few normal patches by regression, kept near the mean of the shots; what is left is anomalous.

Fang et al., FastRecon: Few-shot Industrial Anomaly Detection via Fast Feature Reconstruction (ICCV 2023), Sec. 3. In FOCT's ablation
it stands for the linear measure ("vanilla", Table 3).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from otad.checks import checked, shown
from otad.features import check_images, feature_maps
from otad.methods import Scores
from otad.methods.maps import smooth
from otad.methods.memory.patchcore import greedy_coreset, patch_features


@checked
@dataclass
class FastRecon:
    """The method of the paper.

    backbone      : images (N,3,H,W) → list of feature maps (N,C,h,w). The paper: WideResNet50-2, strides 8, 16.
    patch_size    : odd neighbourhood over which features are averaged.
    coreset_ratio : share of the shots' patches that a query is rebuilt from.
    lam           : λ, the pull towards the mean of the shots at the same place.
    projection, seed : of the greedy coreset. sigma : of the map's smoothing, in image pixels; None = none.

    coreset_ : (n,C), mean_ : (C,h,w), size_ : (height, width) of the pictures.
    """

    backbone: Callable[[Tensor], Sequence[Tensor]]
    patch_size: int = 3
    coreset_ratio: float = 0.01
    lam: float = 2.0
    projection: int | None = 128
    sigma: float | None = 4.0
    seed: int = 0
    coreset_: Tensor | None = field(default=None, init=False, repr=False)
    mean_: Tensor | None = field(default=None, init=False, repr=False)
    size_: tuple[int, int] | None = field(default=None, init=False, repr=False)

    def fit(self, images: Tensor) -> Self:
        """Learn from a few normal images (N,3,H,W) in [0,1]. Raises ValueError for bad or no images and a ratio outside (0,1]."""
        if not 0 < self.coreset_ratio <= 1:
            raise ValueError(
                f"coreset_ratio is {self.coreset_ratio}: expected a share in (0,1], such as 0.01."
            )
        check_images(images)
        with torch.no_grad():
            maps = torch.cat([self.features(image) for image in images.split(1)])
        points = maps.movedim(1, -1).flatten(0, 2)
        n = max(1, round(self.coreset_ratio * len(points)))
        self.coreset_ = points[greedy_coreset(points, n, self.seed, self.projection)]
        self.mean_, self.size_ = maps.mean(dim=0), (images.shape[-2], images.shape[-1])
        return self

    def features(self, images: Tensor) -> Tensor:
        """Return the patch features of images (N,3,H,W): (N,C,h,w)."""
        return patch_features(feature_maps(self.backbone, images), self.patch_size)

    def score(self, images: Tensor) -> Scores:
        """Score images (N,3,H,W) in [0,1]: maps are what the reconstruction leaves, in units of the features.

        Raises ValueError before `fit`, and for images of another size, as the mean belongs to places.
        """
        if self.coreset_ is None or self.mean_ is None:
            raise ValueError("FastRecon has no coreset yet: call fit with normal images first.")
        check_images(images)
        if tuple(images.shape[-2:]) != self.size_:
            raise ValueError(
                f"images are {tuple(images.shape[-2:])}, FastRecon was fitted to {self.size_}: it compares place by place; resize them."
            )
        with torch.no_grad():
            maps, scores = zip(*(self._one(image) for image in images.split(1)), strict=True)
        return Scores(torch.cat(maps), torch.stack(scores))

    def _one(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Score one image (1,3,H,W): its map (1,H,W) and its score."""
        assert self.coreset_ is not None
        assert self.mean_ is not None
        features = self.features(image)[0]
        points, mean = features.flatten(1).T, self.mean_.flatten(1).T
        left = torch.linalg.vector_norm(points - reconstruct(points, self.coreset_, mean, self.lam), dim=1)
        large = F.interpolate(left.view(1, 1, *features.shape[1:]), image.shape[-2:], mode="bilinear")[0]
        return large if self.sigma is None else smooth(large, self.sigma), left.max()


@checked
def reconstruct(queries: Tensor, coreset: Tensor, mean: Tensor, lam: float = 2.0) -> Tensor:
    """Rebuild each query from the coreset: W S with the W that minimises ‖Q − W S‖² + λ ‖W S − μ‖².

    W S = P_S (Q + λ μ) / (1 + λ), with the projection P_S onto the span of the coreset: a coreset that spans everything leaves
    λ / (1 + λ) · (Q − μ), whichever patches it holds. Computed by an orthonormal basis, as the printed inverse does not exist where
    the coreset has more entries than dimensions.

    queries, mean : (m,C) tensors. coreset : (n,C). Returns (m,C). Raises ValueError for other shapes and λ < 0.
    """
    if (
        queries.ndim != 2
        or queries.shape != mean.shape
        or coreset.ndim != 2
        or coreset.shape[1] != queries.shape[1]
    ):
        raise ValueError(
            f"queries are {shown(queries)}, mean {shown(mean)}, coreset {shown(coreset)}: expected (m,C), (m,C) and (n,C)."
        )
    if not (math.isfinite(lam) and lam >= 0):
        raise ValueError(f"lam is {lam}: expected a finite pull of 0 or more.")
    basis = _basis(coreset)
    return ((queries + lam * mean) @ basis) @ basis.T / (1 + lam)


def _basis(points: Tensor) -> Tensor:
    """Return an orthonormal basis (C,r) of the span of points (n,C); directions of rounding size are left out."""
    _, sizes, directions = torch.linalg.svd(points, full_matrices=False)
    kept = sizes > sizes[0] * max(points.shape) * torch.finfo(points.dtype).eps
    return directions[kept].T
