"""PaDiM: one Gaussian for every place of the picture, and the Mahalanobis distance to its mean.

Defard et al., PaDiM: a Patch Distribution Modeling Framework (ICPR workshops 2021), Sec. III. It supposes that pictures are aligned:
what is at a place in one of them is there in all. From one picture there is no covariance, and the distance is Euclid's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from otad.checks import check_numbers, checked
from otad.features import check_images, check_maps, feature_maps
from otad.methods import Scores
from otad.methods.maps import smooth


@checked
@dataclass
class PaDiM:
    """The method of the paper.

    backbone   : images (N,3,H,W) → list of feature maps (N,C,h,w). The paper: ResNet18 or WideResNet50-2, strides 4, 8, 16.
    dimension  : d channels kept of all, drawn from `seed`; None keeps all. The paper: 100 of 448 and 550 of 1792.
    epsilon    : added to the diagonal of every covariance (Eq. 1), in squared units of the features.
    upsampling : how maps are brought to the largest before they are concatenated; public code repeats values ("nearest").
    sigma      : width of the Gaussian that smooths the resized map, in image pixels; None = no smoothing.

    mean_ : (h·w,d), factor_ : (h·w,d,d) lower Cholesky factors of the covariances, channels_ : (d,), size_ : of the pictures.
    """

    backbone: Callable[[Tensor], Sequence[Tensor]]
    dimension: int | None = 100
    epsilon: float = 0.01
    upsampling: Literal["bilinear", "nearest"] = "bilinear"
    sigma: float | None = 4.0
    seed: int = 0
    mean_: Tensor | None = field(default=None, init=False, repr=False)
    factor_: Tensor | None = field(default=None, init=False, repr=False)
    channels_: Tensor | None = field(default=None, init=False, repr=False)
    size_: tuple[int, int] | None = field(default=None, init=False, repr=False)

    def fit(self, images: Tensor) -> Self:
        """Learn mean and covariance of every place from normal images (N,3,H,W) in [0,1].

        Memory 4 h w d² bytes; time O(h w d³). Raises ValueError for bad or no images, a dimension below 1 and an epsilon that
        leaves a covariance singular.
        """
        if not self.epsilon >= 0 or (self.dimension is not None and self.dimension < 1):
            raise ValueError(
                f"epsilon is {self.epsilon}, dimension {self.dimension}: expected epsilon ≥ 0, dimension ≥ 1 or None."
            )
        check_images(images)
        with torch.no_grad():
            all_channels = torch.cat([self._embedded(image) for image in images.split(1)])
            self.channels_ = self._chosen(all_channels.shape[1]).to(images.device)
            points = all_channels[:, self.channels_].flatten(2).permute(2, 0, 1).double()  # (places, N, d)
            self.mean_ = points.mean(dim=1)
            self.factor_ = self._factors(points - self.mean_[:, None]).to(images.dtype).contiguous()
            self.mean_, self.size_ = self.mean_.to(images.dtype), (images.shape[-2], images.shape[-1])
        return self

    def _chosen(self, available: int) -> Tensor:
        """Draw the channels; all of them in order if that many are wanted."""
        if self.dimension is None or self.dimension >= available:
            return torch.arange(available)
        generator = torch.Generator().manual_seed(self.seed)
        return torch.randperm(available, generator=generator)[: self.dimension]

    def _factors(self, centred: Tensor) -> Tensor:
        """Return the Cholesky factors (places,d,d) of the unbiased covariances, epsilon on their diagonals."""
        covariance = centred.mT @ centred / max(1, centred.shape[1] - 1)
        covariance.diagonal(dim1=1, dim2=2).add_(self.epsilon)
        factor, failed = torch.linalg.cholesky_ex(covariance)
        if bool(failed.any()):
            raise ValueError(
                f"{int((failed > 0).sum())} of {len(failed)} covariances of {centred.shape[1]} pictures are singular with epsilon "
                f"{self.epsilon}: raise epsilon, or give more pictures than dimensions ({centred.shape[2]})."
            )
        return factor

    def _embedded(self, images: Tensor) -> Tensor:
        """Return all maps at the size of the largest, concatenated: (N,ΣC,h,w)."""
        maps = feature_maps(self.backbone, images)
        check_maps(maps, len(images))
        size = max((m.shape[-2:] for m in maps), key=lambda hw: hw[0] * hw[1])
        corners = None if self.upsampling == "nearest" else False
        return torch.cat(
            [F.interpolate(m, size, mode=self.upsampling, align_corners=corners) for m in maps], 1
        )

    def distances(self, images: Tensor) -> Tensor:
        """Return the Mahalanobis distance of every place: (N,h,w). Raises ValueError before `fit` and for another size."""
        if self.mean_ is None or self.factor_ is None or self.size_ is None:
            raise ValueError("PaDiM knows no picture yet: call fit with normal images first.")
        check_images(images)
        if tuple(images.shape[-2:]) != self.size_:
            raise ValueError(
                f"images are {tuple(images.shape[-2:])}, PaDiM was fitted to {self.size_}: it compares place by place; resize them."
            )
        with torch.no_grad():
            features = torch.cat([self._embedded(image) for image in images.split(1)])[:, self.channels_]
            points = features.flatten(2).permute(2, 1, 0) - self.mean_[:, :, None]  # (places, d, N)
            white = torch.linalg.solve_triangular(self.factor_, points, upper=False)
            return torch.linalg.vector_norm(white, dim=1).T.view(len(images), *features.shape[2:])

    def score(self, images: Tensor) -> Scores:
        """Score images (N,3,H,W) in [0,1] of the size that was fitted: maps are distances without a unit."""
        distances = self.distances(images)
        large = F.interpolate(distances[:, None], images.shape[-2:], mode="bilinear", align_corners=False)[
            :, 0
        ]
        return Scores.of_maps(large if self.sigma is None else smooth(large, self.sigma))


@checked
@dataclass
class Banded(PaDiM):
    """PaDiM of many places and channels: the same Gaussians, made one band of places after the other.

    At 56 × 56 places, 550 channels and 200 pictures the factors are 3.8 GB, the features 1.4; all places at once would take 20 GB. A
    narrow band also stays in the cache: at 28 × 28 places, 100 channels and 60 pictures `fit` takes about half the time.

    band : places whose covariances are in memory together, in double precision.
    """

    band: int = 16

    def fit(self, images: Tensor) -> Self:
        """Learn as PaDiM does. Memory 4 h w d (d + N) bytes. Raises ValueError where PaDiM does, and for a band below 1."""
        check_numbers(self, "[1,inf)", "band", "dimension")
        check_numbers(self, "[0,inf)", "epsilon")
        check_images(images)
        with torch.no_grad():
            some: list[Tensor] = []
            for image in images.split(1):
                embedded = self._embedded(image)[0]
                if not some:
                    channels = self._chosen(len(embedded)).to(images.device)
                some.append(embedded[channels].flatten(1).T)
            features = torch.stack(some, dim=1)  # (places, N, d)
            mean = features.new_empty(len(features), len(channels))
            factor = features.new_empty(*mean.shape, len(channels))
            for band in zip(*(x.split(self.band) for x in (features, mean, factor)), strict=True):
                points = band[0].double()
                middle = points.mean(dim=1)
                band[1].copy_(middle)
                band[2].copy_(self._factors(points.sub_(middle[:, None])))
        self.mean_, self.factor_, self.channels_ = mean, factor, channels
        self.size_ = (images.shape[-2], images.shape[-1])
        return self

    def _factors(self, centred: Tensor) -> Tensor:
        """Return what PaDiM does, faster: divided before they are multiplied, and the upper factor, which needs no copy."""
        scaled = centred * max(1, centred.shape[1] - 1) ** -0.5
        covariance = scaled.mT @ scaled
        covariance.diagonal(dim1=1, dim2=2).add_(self.epsilon)
        factor, failed = torch.linalg.cholesky_ex(covariance, upper=True)
        return super()._factors(centred) if bool(failed.any()) else factor.mT  # which says what is singular

    def distances(self, images: Tensor) -> Tensor:
        """Return the Mahalanobis distance of every place, (N,h,w), sixteen pictures at a time."""
        return torch.cat([super(Banded, self).distances(some) for some in images.split(16)])
