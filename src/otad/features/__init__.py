"""Feature maps (N,C,h,w) from images (N,3,H,W)."""

from __future__ import annotations

import torch
from torch import Tensor


def check_images(images: Tensor, smallest: int = 1) -> None:
    """Raise ValueError unless images are float (N,3,H,W), RGB in [0,1], with sides of `smallest` or more."""
    if not isinstance(images, Tensor) or not images.is_floating_point():
        kind = f"a {images.dtype} tensor" if isinstance(images, Tensor) else f"a {type(images).__name__}"
        raise ValueError(f"images are {kind}: expected a float32 tensor in [0,1], as bytes / 255 are.")
    if images.ndim != 4 or images.shape[1] != 3 or len(images) == 0:
        raise ValueError(
            f"images have shape {tuple(images.shape)}: expected (N,3,H,W) with N ≥ 1; one image is "
            "image[None], grey is repeated over the three channels."
        )
    if min(images.shape[-2:]) < smallest:
        raise ValueError(
            f"images have shape {tuple(images.shape)}: expected sides of at least {smallest} pixels; "
            "resize them."
        )
    low, high = (float(end) for end in torch.aminmax(images.detach()))
    if not (low >= 0 and high <= 1):  # NaN fails as well
        what = "NaN" if low != low else f"values from {low:.4g} to {high:.4g}"
        raise ValueError(
            f"images hold {what}: expected [0,1]; divide bytes by 255, clip what noise pushed out."
        )
