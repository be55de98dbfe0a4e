"""Feature Correspondence Analysis: zero-shot texture anomaly maps from one image and no training data.

Ardelean and Weyrich, High-Fidelity Zero-Shot Texture Anomaly Localization Using Feature Correspondence
Analysis (WACV 2024), Sec. 3.2–3.4. Every pixel belongs to T² patches; in each of them rank matching says how
far it is from what a normal patch holds at its rank; FCA adds up these errors of *the pixel*, where earlier
methods add up the errors of *the patch*.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from otad.checks import check_room, checked
from otad.features import check_images, feature_maps
from otad.features.handcrafted import minmax
from otad.methods import Scores
from otad.methods.matching.ranks import Reference, check_features, gaussian, matched_map
from otad.transport import Ties


@checked
@dataclass
class FCA:
    """The method of the paper; its defaults, its names.

    backbone     : images (N,3,H,W) → list of feature maps (N,C,h,w); needed by `score` alone. The paper:
                   WideResNet50-2, stride 8. Maps of several strides are scored apart, and the resized results
                   averaged.
    patch_size   : T, odd, in map pixels: 9 at full resolution, 3 at 320².
    sigma_p      : width of g_σp, which weighs the patches that hold a pixel (Eq. 5).
    sigma_s      : width of the smoothing inside each patch (Eq. 6); None leaves it out (Eq. 5).
    reference, n_references, k, ties, seed : as in `otad.methods.matching.ranks.matched_map`.

    >>> FCA(patch_size=3).score_features(torch.rand(8, 20, 30)).shape
    torch.Size([20, 30])
    """

    backbone: Callable[[Tensor], list[Tensor]] | None = None
    patch_size: int = 9
    sigma_p: float = 3.0
    sigma_s: float | None = 1.0
    reference: Reference = "median"
    n_references: int = 1
    k: int | None = None
    ties: Ties = "mean"
    seed: int = 0

    def score_features(self, features: Tensor) -> Tensor:
        """Score one feature map as it is, without rescaling: (C,h,w) → (h,w), any h, w ≥ patch_size.

        Eq. 6: S(x,y) = Σ_{p ∈ P_xy} [G_σs ∗ M(·; P_p)](x,y) g_σp(p − (x,y)). Scores within T//2 of the border
        are sums over fewer patches and not renormalised, as in the authors' code.

        Returns (h,w) ≥ 0 in units of the features. Raises ValueError as `matched_map`, and for a sigma ≤ 0 or
        a sigma_s too wide for the patch.
        """
        check_features(features, self.patch_size)
        weights = patch_weights(self.patch_size, self.sigma_p, self.sigma_s)
        return matched_map(features, weights, self.reference, self.n_references, self.k, self.ties, self.seed)

    def score(self, images: Tensor) -> Scores:
        """Score images (N,3,H,W) in [0,1], each from itself alone.

        Each channel of each image is scaled to [0,1] first, and the map is resized bilinearly to (H,W), as
        the authors do; the image score is the maximum of the map. Raises ValueError without a backbone, and
        as `score_features`.
        """
        if self.backbone is None:
            raise ValueError(
                "FCA has no backbone: pass one, such as efficientnet_lite0(stages=(8,)), or call "
                "score_features."
            )
        check_images(images)
        with torch.no_grad():  # one image at a time: features can be far larger than images
            return Scores.of_maps(torch.stack([self._map(image) for image in images.split(1)]))

    def _map(self, image: Tensor) -> Tensor:
        """Score one image (1,3,H,W): (H,W), the mean over the strides of the backbone."""
        assert self.backbone is not None
        small = [self.score_features(minmax(stage)[0]) for stage in feature_maps(self.backbone, image)]
        large = [_resize(one, image.shape[-2:]) for one in small]
        return torch.stack(large).mean(dim=0)


@checked
def patch_weights(patch_size: int, sigma_p: float, sigma_s: float | None) -> Tensor:
    """Return the matrix (T²,T²), float64, that turns the errors of a patch into what it adds to each member.

    Eq. 5: diag(g_σp); Eq. 6: diag(g_σp) · (S ⊗ S), where S smooths a line of T errors reflected at its ends.
    G_σs has radius 2 σ_s: 5 × 5 for σ_s = 1. Raises ValueError for a sigma ≤ 0 or a smoothing wider than the
    patch.
    """
    if patch_size < 1 or patch_size % 2 == 0:
        raise ValueError(f"patch_size is {patch_size}: expected an odd number, so that a patch has a centre.")
    check_room(f"patch_size = {patch_size}", patch_size**2, patch_size**2)
    nearness = gaussian(patch_size, sigma_p).flatten()
    if sigma_s is None:
        return torch.diag(nearness)
    radius = max(1, round(2 * min(sigma_s, patch_size))) if sigma_s > 0 else 0
    if not 0 < radius < patch_size:
        raise ValueError(
            f"sigma_s is {sigma_s}, its kernel reaches {radius} pixels to each side: expected 1 or more and fewer than "
            f"patch_size = {patch_size}; use another sigma_s, or None for no smoothing."
        )
    line = gaussian(2 * radius + 1, sigma_s).sum(dim=0)
    # Column j of `smooth` is what one unit of error at j becomes.
    unit = torch.eye(patch_size, dtype=torch.float64)[:, None]
    smooth = F.conv1d(F.pad(unit, (radius, radius), mode="reflect"), line[None, None])[:, 0].T
    return nearness[:, None] * torch.kron(smooth, smooth)


def _resize(one: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(one[None, None], size=size, mode="bilinear", align_corners=False)[0, 0]
