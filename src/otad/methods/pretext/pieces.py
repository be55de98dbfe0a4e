"""Pieces of a picture, moved: the two defects that CutPaste makes on purpose.

Li et al., CutPaste: Self-Supervised Learning for Anomaly Detection and Localization (CVPR 2021).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from otad.checks import checked
from otad.methods.pretext.patches import check_picture


@checked
def cut_paste(
    image: Tensor,
    rng: np.random.Generator,
    area: tuple[float, float] = (0.02, 0.15),
    aspect: float = 3.3,
    jitter: float = 0.1,
) -> tuple[Tensor, Tensor]:
    """Cut a rectangle out of a picture (3,H,W), shake its colours, paste it elsewhere: the new picture and the mask of what changed.

    area : its share of the picture. aspect : up to so many times as high as wide, or the other way. jitter : of brightness, contrast,
    saturation and hue.
    """
    check_picture(image, smallest=4)
    check_pieces(area, aspect, jitter)
    h, w = image.shape[-2:]
    ratio = rng.uniform(1, aspect) ** rng.choice([-1.0, 1.0])
    pixels = rng.uniform(*area) * h * w
    high = min(max(1, round(math.sqrt(pixels * ratio))), h)
    wide = min(max(1, round(pixels / high)), w)
    (y, x), (v, u) = ((rng.integers(h - high + 1), rng.integers(w - wide + 1)) for _ in range(2))
    pasted = image.clone()
    pasted[:, v : v + high, u : u + wide] = shaken(image[:, y : y + high, x : x + wide], jitter, rng)
    return pasted, (pasted != image).any(dim=0)


@checked
def cut_paste_scar(
    image: Tensor,
    rng: np.random.Generator,
    width: tuple[float, float] = (2, 16),
    length: tuple[float, float] = (10, 25),
    angle: float = 45.0,
    jitter: float = 0.1,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Cut a strip out of a picture (3,H,W), shake its colours, turn it, paste it elsewhere: the new picture and the mask of what changed.

    width, length : in pixels of a picture of 256. angle : largest, in degrees. scale : pixels of this picture for one of those; None = by its longer side.
    """
    check_picture(image, smallest=4)
    check_pieces((0.1, 0.1), 1.0, jitter)
    h, w = image.shape[-2:]
    scale = max(h, w) / 256 if scale is None else scale
    fits = all(0 < low <= high < 1e6 for low, high in (width, length))
    if not (fits and 0 <= angle <= 180 and 0 < scale < 1e6):
        raise ValueError(
            f"width is {width}, length {length}, angle {angle}, scale {scale}: expected pixels above 0, ascending, degrees from 0 to 180, and a "
            "scale above 0."
        )
    high, wide = (
        min(max(1, round(scale * rng.uniform(*r))), side)
        for r, side in zip((width, length), (h, w), strict=True)
    )
    y, x = rng.integers(h - high + 1), rng.integers(w - wide + 1)
    strip = shaken(image[:, y : y + high, x : x + wide], jitter, rng)
    turn, v, u = math.radians(rng.uniform(-angle, angle)), int(rng.integers(h)), int(rng.integers(w))
    down, across = torch.meshgrid(torch.arange(h) - v, torch.arange(w) - u, indexing="ij")
    # Where each pixel lies in the strip, whose centre is pasted on (v, u).
    row = torch.floor(math.cos(turn) * down - math.sin(turn) * across + high / 2).long()
    column = torch.floor(math.sin(turn) * down + math.cos(turn) * across + wide / 2).long()
    inside = ((row >= 0) & (row < high) & (column >= 0) & (column < wide)).to(image.device)
    pasted = image.clone()
    pasted[:, inside] = strip[:, row.to(image.device)[inside], column.to(image.device)[inside]]
    return pasted, (pasted != image).any(dim=0)


def shaken(piece: Tensor, jitter: float, rng: np.random.Generator) -> Tensor:
    """Change brightness, contrast, saturation and hue of a piece (3,h,w) a little, in this order; [0,1]."""
    from torchvision.transforms import functional as change  # takes long, and only training needs it

    light, contrast, colour = (1 + jitter * rng.uniform(-1, 1, 3)).tolist()
    piece = change.adjust_contrast(change.adjust_brightness(piece, light), contrast)
    piece = change.adjust_saturation(piece, colour)
    return change.adjust_hue(piece, float(jitter * rng.uniform(-1, 1))).clamp(0, 1)


def check_pieces(area: tuple[float, float], aspect: float, jitter: float) -> None:
    """Raise ValueError for settings out of range."""
    if not (0 < area[0] <= area[1] <= 1 and 1 <= aspect < torch.inf and 0 <= jitter <= 0.5):
        raise ValueError(
            f"area is {area}, aspect {aspect}, jitter {jitter}: expected two shares in (0,1], ascending, 1 or more, and 0 to 0.5."
        )
