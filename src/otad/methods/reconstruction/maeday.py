"""MAEDAY: what a masked autoencoder cannot paint in from its surroundings is anomalous.

Schwartz et al., MAEDAY: MAE for few- and zero-shot AnomalY-Detection (CVIU 2024), the zero-shot part: an
autoencoder trained on ImageNet reconstructs the hidden 75 % of an image, for 32 random masks; the errors are
averaged. Its weights come from no package registry, so this method runs at paper scale only: `vit_mae` loads
them. FCA prints its published numbers (Table 3) rather than a run.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from otad.checks import check_room, checked, shown
from otad.features import check_images
from otad.features.pretrained import IMAGENET_MEAN, IMAGENET_STD
from otad.methods import Scores
from otad.methods.maps import smooth

# Images (B,3,S,S) in [0,1] and hidden patches (B,g,g), bool, each row hiding as many → images (B,3,S,S), of
# which only the hidden patches count.
Painter = Callable[[Tensor, Tensor], Tensor]


@checked
@dataclass
class MAEDAY:
    """The zero-shot method.

    model      : a Painter, such as `vit_mae()`.
    n_masks    : reconstructions of an image, at least 2; 32.
    mask_ratio : share of the patches that is hidden, in [0.5,1); 0.75.
    patch_size : of the model, in pixels; image_size : S, to which images are resized, a multiple of it.
    sigma      : width of the Gaussian that smooths the map of S × S errors; None = no smoothing. Ours.
    batch_size : masks at a time.
    seed       : of the masks, which are the same for every image.
    """

    model: Painter
    n_masks: int = 32
    mask_ratio: float = 0.75
    patch_size: int = 16
    image_size: int = 224
    sigma: float | None = 1.4
    batch_size: int = 8
    seed: int = 0

    def score(self, images: Tensor) -> Scores:
        """Score images (N,3,H,W) in [0,1], each from itself alone.

        Maps are squared errors, the mean over colours and over the masks that hide a pixel, resized to (H,W);
        the image score is the maximum. Raises ValueError for bad images and parameters, and for a model that
        returns another shape.
        """
        check_images(images)
        if min(self.image_size, self.patch_size, self.batch_size) < 1 or self.image_size % self.patch_size:
            raise ValueError(
                f"image_size is {self.image_size}, batch_size {self.batch_size}: expected 1 or more, and an image_size that "
                f"is a multiple of patch_size = {self.patch_size}."
            )
        check_room(f"image_size = {self.image_size}", 3, self.image_size, self.image_size)
        hidden = random_masks(self.n_masks, self.image_size // self.patch_size, self.mask_ratio, self.seed)
        with torch.no_grad():
            maps = torch.cat([self._map(image, hidden.to(images.device)) for image in images.split(1)])
            if self.sigma is not None:
                maps = smooth(maps, self.sigma)
            maps = F.interpolate(maps[:, None], images.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
        return Scores.of_maps(maps)

    def _map(self, image: Tensor, hidden: Tensor) -> Tensor:
        """Mean error of one image (1,3,H,W) under masks (M,g,g): (1,S,S)."""
        size = (self.image_size, self.image_size)
        small = F.interpolate(image, size, mode="bilinear", align_corners=False, antialias=True).clamp(0, 1)
        total, count = small.new_zeros(size), small.new_zeros(size)
        for masks in hidden.split(self.batch_size):
            painted = self.model(small.expand(len(masks), -1, -1, -1), masks)
            if not isinstance(painted, Tensor) or painted.shape != (len(masks), 3, *size):
                raise ValueError(
                    f"the model returned {shown(painted)}: expected {(len(masks), 3, *size)}, images of "
                    "the size it was given."
                )
            pixels = masks.repeat_interleave(self.patch_size, 1).repeat_interleave(self.patch_size, 2)
            total += ((painted - small).square().mean(dim=1) * pixels).sum(dim=0)
            count += pixels.sum(dim=0)
        return (total / count)[None]


@checked
def random_masks(n_masks: int, side: int, mask_ratio: float = 0.75, seed: int = 0) -> Tensor:
    """Draw masks of side × side patches: (n_masks, side, side) bool, True = hidden.

    Each random order of the patches is cut into groups, and each group is visible once: all patches are
    hidden about equally often, and none never. Raises ValueError for fewer than 2 masks and a share outside
    [0.5,1).
    """
    if n_masks < 2 or side < 2 or not 0.5 <= mask_ratio < 1:
        raise ValueError(
            f"n_masks is {n_masks}, side {side}, mask_ratio {mask_ratio}: expected at least 2 masks of 2 × 2 "
            "patches and a share in [0.5,1)."
        )
    check_room("the masks", n_masks, side, side)
    generator = torch.Generator().manual_seed(seed)
    n_patches = side**2
    visible = max(1, int(n_patches * (1 - mask_ratio)))
    groups = n_patches // visible
    orders = [torch.randperm(n_patches, generator=generator) for _ in range(math.ceil(n_masks / groups))]
    shown = torch.cat([order[: groups * visible].view(groups, visible) for order in orders])[:n_masks]
    return torch.ones(n_masks, n_patches, dtype=torch.bool).scatter(1, shown, False).view(-1, side, side)


class HuggingFaceMAE(nn.Module):
    """A Painter around a `ViTMAEForPreTraining` of the library transformers; normalises inside."""

    mean: Tensor
    std: Tensor

    def __init__(self, mae: Any) -> None:
        """Take a model that predicts pixels; ValueError for one that predicts normalised patches."""
        super().__init__()
        if mae.config.norm_pix_loss:
            raise ValueError(
                "this autoencoder was trained with norm_pix_loss: its output has no colours; take one that "
                "predicts pixels, such as facebook/vit-mae-large."
            )
        self.mae: Any = mae.eval().requires_grad_(False)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor, hidden: Tensor) -> Tensor:
        """Paint: images (B,3,S,S) in [0,1], hidden (B,g,g) → (B,3,S,S)."""
        order = hidden.flatten(1).to(images)  # the library shows the patches with the least "noise"
        shown = int((~hidden[0]).sum())
        self.mae.config.mask_ratio = 1 - (shown + 0.5) / order.shape[1]  # it takes the integer part
        patches = self.mae((images - self.mean) / self.std, noise=order).logits
        return self.mae.unpatchify(patches) * self.std + self.mean


def vit_mae(
    name: str = "facebook/vit-mae-large",
    revision: str | None = None,
    device: torch.device | str | None = None,
) -> HuggingFaceMAE:
    """Load a masked autoencoder with ImageNet weights through transformers; fetched once, then cached.

    name : a model of the Hugging Face hub, or a folder that `save_pretrained` wrote. revision : commit, to
    pin the weights: print it beside a result.

    Raises ValueError without the library transformers, and for weights that cannot be loaded.
    """
    try:
        from transformers import ViTMAEForPreTraining
    except ImportError as error:
        raise ValueError(
            "MAEDAY's weights are loaded by the library transformers, which is not installed: run pip install "
            "transformers, or pass MAEDAY a model of your own."
        ) from error
    try:
        mae = ViTMAEForPreTraining.from_pretrained(name, revision=revision or "main")
    except OSError as error:
        raise ValueError(
            f"the weights {name!r} cannot be loaded: {error}. Give a name on the hub or a folder with "
            "config.json and model.safetensors."
        ) from error
    return HuggingFaceMAE(mae).to(device)
