"""Patches of pictures and what is said of them: what methods share that cut pictures up."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from otad.checks import check_images, checked


@checked
def check_picture(image: Tensor, name: str = "image", smallest: int = 1) -> None:
    """Refuse anything that is no single picture: float (3,H,W), RGB in [0,1], sides of `smallest` or more."""
    if image.ndim != 3:
        raise ValueError(f"{name} has shape {tuple(image.shape)}: expected one picture (3,H,W).")
    check_images(image[None], name, smallest)


@checked
def sliding(images: Tensor, side: int, stride: int) -> Tensor:
    """Cut images (N,3,H,W) into all patches at multiples of a stride: (N, rows, columns, 3, side, side), a view.

    Raises ValueError for patches larger than the images and a stride below 1.
    """
    if images.ndim != 4 or not 1 <= side <= min(images.shape[-2:]) or stride < 1:
        raise ValueError(
            f"side is {side}, stride {stride}, images are {tuple(images.shape)}: expected (N,3,H,W), a patch that fits and a stride ≥ 1."
        )
    return images.unfold(2, side, stride).unfold(3, side, stride).permute(0, 2, 3, 1, 4, 5)


@checked
def distribute(
    scores: Tensor, size: tuple[int, int], side: int, stride: int, sigma: float | None = None
) -> Tensor:
    """Give every pixel the mean score of all patches that cover it: (N,rows,columns) → (N,H,W).

    sigma : weight of a patch falls like a Gaussian from its centre, of this width in pixels; None = it covers all its pixels alike.
    A pixel that no patch covers, at the right or lower rim, has the score of the nearest that is covered.

    Raises ValueError where so many patches of this side and stride do not lie in the size.
    """
    h, w = (
        ((n - 1) * stride + side for n in scores.shape[-2:])
        if scores.ndim == 3 and scores.numel()
        else (0, 0)
    )
    fits = scores.is_floating_point() and 0 < h <= size[0] and 0 < w <= size[1] and min(side, stride) > 0
    if not fits or (sigma is not None and not sigma > 0):
        raise ValueError(
            f"scores of shape {tuple(scores.shape)} for patches of side {side} and stride {stride} need {h} × {w} pixels, sigma is {sigma}: expected floats (N,rows,columns) in {size}, and sigma above 0."
        )
    line = torch.arange(side, dtype=torch.float64) - (side - 1) / 2
    line = torch.ones_like(line) if sigma is None else torch.exp(-0.5 * (line / sigma) ** 2)
    kernel = torch.outer(line, line).to(scores)[None, None]
    total = F.conv_transpose2d(scores[:, None], kernel, stride=stride)
    share = F.conv_transpose2d(torch.ones_like(scores[:1, None]), kernel, stride=stride)
    # Where the stride leaves gaps between patches nobody has said anything.
    mean = torch.where(share > 0, total / share.clamp_min(torch.finfo(share.dtype).tiny), total.new_zeros(()))
    return F.pad(mean, (0, size[1] - w, 0, size[0] - h), mode="replicate")[:, 0]


def random_crop(image: Tensor, side: int, rng: np.random.Generator) -> Tensor:
    """Return a square of a picture (3,H,W), anywhere in it: (3,side,side), a view."""
    y, x = (int(rng.integers(whole - side + 1)) for whole in image.shape[-2:])
    return image[:, y : y + side, x : x + side]
