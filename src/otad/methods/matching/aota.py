"""The earlier zero-shot method for textures: is there anything like this patch elsewhere in the image?

Aota, Tong and Okatani, Zero-Shot versus Many-Shot: Unsupervised Texture Anomaly Detection (WACV 2023), as the
FCA paper describes it (Sec. 3.3 and 4.3): local means of deep features (Eq. 2, first moment), compared with
their K nearest neighbours among all locations of the same image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from otad.checks import checked
from otad.features import check_images, feature_maps
from otad.features.handcrafted import minmax
from otad.methods import Scores
from otad.methods.maps import smooth
from otad.methods.matching.ranks import check_features
from otad.methods.nearest import BLOCK, squared_distances


@checked
@dataclass
class Aota:
    """The method as FCA compares with it; resize images to 320 × 320 first, as both papers do.

    backbone   : images (N,3,H,W) → list of feature maps (N,C,h,w); needed by `score` alone. The paper:
                 WideResNet50-2, stride 8. Maps of several strides are scored apart and averaged.
    patch_size : T, odd, side of the window over which features are averaged, in map pixels.
    k          : K, neighbours of a location; None = N // 4 of N = h·w locations (FCA, Table 5). That is the
                 400 which public code fixes for 320² images at stride 8, N = 1600.
    sigma      : width of the Gaussian that smooths the resized map, in image pixels; None = no smoothing.
    scale      : min-max scale each channel of each image first, as FCA's code does for every method.

    >>> Aota(patch_size=3).score_features(torch.rand(8, 20, 30)).shape
    torch.Size([20, 30])
    """

    backbone: Callable[[Tensor], list[Tensor]] | None = None
    patch_size: int = 3
    k: int | None = None
    sigma: float | None = 4.0
    scale: bool = True

    def score_features(self, features: Tensor) -> Tensor:
        """Score one feature map as it is: (C,h,w) → (h,w), any h, w ≥ patch_size.

        S(x,y) = mean of the K smallest ‖f(x,y) − f(p)‖² over all locations p, where f is the local mean of a
        reflected map. (x,y) itself is among them, with distance 0.

        Time O(N² C). Works on BLOCK distances at a time, 64 MB and as much again to select from; 4 N C bytes
        for the means.

        Returns (h,w) ≥ 0 in squared units of the features. Raises ValueError for features that are not finite
        (C,h,w), a patch that is even or larger than the map, and k outside 1 … N.
        """
        check_features(features, self.patch_size)
        n = features[0].numel()
        k = max(1, n // 4) if self.k is None else self.k
        if not 1 <= k <= n:
            raise ValueError(
                f"k is {k}: expected 1 to {n}, the number of locations of a {features.shape[1]} × "
                f"{features.shape[2]} map; None takes a quarter of them."
            )
        padded = F.pad(features[None], (self.patch_size // 2,) * 4, mode="reflect")
        points = F.avg_pool2d(padded, self.patch_size, stride=1)[0].flatten(1)
        points = (points - points.mean(dim=1, keepdim=True)).T.contiguous()  # small numbers cancel less
        scores = [
            squared_distances(block, points).topk(k, dim=1, largest=False, sorted=False).values.mean(dim=1)
            for block in points.split(max(1, BLOCK // n))
        ]
        return torch.cat(scores).view(features.shape[1:])

    def score(self, images: Tensor) -> Scores:
        """Score images (N,3,H,W) in [0,1], each from itself alone.

        The map is resized bilinearly to (H,W) and smoothed (public code: to 320², by nearest neighbour); the
        image score is its maximum, which the paper calls α(I). Raises ValueError without a backbone, and as `score_features`.
        """
        if self.backbone is None:
            raise ValueError(
                "Aota has no backbone: pass one, such as efficientnet_lite0(stages=(8,)), or call "
                "score_features."
            )
        check_images(images)
        with torch.no_grad():  # one image at a time: features can be far larger than images
            return Scores.of_maps(torch.cat([self._map(image) for image in images.split(1)]))

    def _map(self, image: Tensor) -> Tensor:
        """Score one image (1,3,H,W): (1,H,W), the mean over the strides of the backbone."""
        assert self.backbone is not None
        stages = [(minmax(stage) if self.scale else stage)[0] for stage in feature_maps(self.backbone, image)]
        small = [self.score_features(stage)[None, None] for stage in stages]
        large = torch.cat([F.interpolate(one, image.shape[-2:], mode="bilinear")[0] for one in small])
        mean = large.mean(dim=0, keepdim=True)
        return mean if self.sigma is None else smooth(mean, self.sigma)
