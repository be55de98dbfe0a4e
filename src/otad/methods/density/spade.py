"""SPADE: the most similar normal pictures, and in each scale of features the nearest place of any of them.

Cohen and Hoshen, Sub-Image Anomaly Detection with Deep Pyramid Correspondences (2020), Sec. 3. Nothing is learnt: everything is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from otad.checks import checked
from otad.features import check_images, feature_maps
from otad.methods import Scores
from otad.methods.maps import smooth
from otad.methods.nearest import nearest


@checked
@dataclass
class SPADE:
    """The method of the paper.

    backbone : images (N,3,H,W) → list of feature maps (N,C,h,w), the deepest last: its mean over places names a picture's neighbours.
               The paper: WideResNet50-2, strides 4, 8, 16, and the pooled 2,048 channels.
    k        : neighbours whose places a query is compared with. kappa : places over which a distance is averaged.
    pyramid  : one distance in the concatenation of all maps (the text); False: a distance in each map, averaged (public reimplementation).
    squared  : image score as the mean squared distance to the neighbours; False: the mean distance.
    sigma    : of the map's smoothing, in image pixels; None = none.

    whole_ : (N,C) pooled, maps_ : the maps of all training pictures.
    """

    backbone: Callable[[Tensor], Sequence[Tensor]]
    k: int = 50
    kappa: int = 1
    pyramid: bool = True
    squared: bool = True
    sigma: float | None = 4.0
    whole_: Tensor | None = field(default=None, init=False, repr=False)
    maps_: list[Tensor] = field(default_factory=list, init=False, repr=False)

    def fit(self, images: Tensor) -> Self:
        """Keep the features of normal images (N,3,H,W) in [0,1]: 4 Σ C h w bytes each. Raises ValueError for bad or no images, k and kappa below 1."""
        if min(self.k, self.kappa) < 1:
            raise ValueError(f"k is {self.k}, kappa {self.kappa}: expected 1 or more.")
        check_images(images)
        with torch.no_grad():
            parts = [feature_maps(self.backbone, part) for part in images.split(16)]
        maps = [torch.cat(scale) for scale in zip(*parts, strict=True)]
        self.whole_, self.maps_ = maps[-1].mean(dim=(2, 3)), self._scales(maps)
        return self

    def score(self, images: Tensor) -> Scores:
        """Score images (N,3,H,W) in [0,1]: maps are distances in units of the features. Raises ValueError before `fit`."""
        if self.whole_ is None:
            raise ValueError("SPADE knows no picture yet: call fit with normal images first.")
        check_images(images)
        with torch.no_grad():
            maps, tops = zip(*(self._one(image) for image in images.split(1)), strict=True)
        return Scores(torch.cat(maps), torch.cat(tops))

    def _one(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Score one image (1,3,H,W): its map (1,H,W) and its score (1,)."""
        assert self.whole_ is not None
        maps = feature_maps(self.backbone, image)
        far, which = nearest(maps[-1].mean(dim=(2, 3)), self.whole_, min(self.k, len(self.whole_)))
        found = []
        for query, gallery in zip(self._scales(maps), self.maps_, strict=True):
            small = correspondence(query[0], gallery[which[0]], self.kappa)
            found.append(
                F.interpolate(small[None, None], image.shape[-2:], mode="bilinear", align_corners=False)
            )
        large = torch.stack(found).mean(dim=0)[0]
        score = far.square().mean(dim=1) if self.squared else far.mean(dim=1)
        return large if self.sigma is None else smooth(large, self.sigma), score

    def _scales(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return the maps, or their concatenation at the size of the largest."""
        if not self.pyramid:
            return list(maps)
        size = max((m.shape[-2:] for m in maps), key=lambda hw: hw[0] * hw[1])
        return [
            torch.cat([F.interpolate(m, size, mode="bilinear", align_corners=False) for m in maps], dim=1)
        ]


@checked
def correspondence(query: Tensor, gallery: Tensor, kappa: int = 1) -> Tensor:
    """Return how far each place of a map (C,h,w) is from the kappa nearest of all places of the gallery (K,C,h,w), on average: (h,w)."""
    if query.ndim != 3 or gallery.ndim != 4 or query.shape[0] != gallery.shape[1]:
        raise ValueError(
            f"query is {tuple(query.shape)}, gallery {tuple(gallery.shape)}: expected (C,h,w) and (K,C,h,w)."
        )
    points = gallery.movedim(1, -1).flatten(0, 2)
    far, _ = nearest(query.flatten(1).T, points, min(kappa, len(points)))
    return far.mean(dim=1).view(query.shape[1:])
