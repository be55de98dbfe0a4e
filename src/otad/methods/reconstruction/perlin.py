"""Foreign textures behind a cloudy mask: the defects that DRAEM makes on purpose.

Zavrtanik, Kristan and Skočaj, DRAEM: A Discriminatively Trained Reconstruction Embedding for Surface Anomaly Detection (ICCV 2021);
the clouds are Perlin, An Image Synthesizer (SIGGRAPH 1985), with his smoother steps of 2002.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from otad.checks import check_room, checked
from otad.methods.distillation.gnl import ALTER, SEVERITY
from otad.methods.flows.differnet import turned
from otad.methods.pretext.patches import check_picture

MOST = 10


@checked
def paint_texture(
    image: Tensor, source: Tensor, rng: np.random.Generator, beta: float = 0.8, cells: int = 5
) -> tuple[Tensor, Tensor]:
    """Lay a foreign texture over parts of a picture, both (3,H,W): the new picture and the mask of what changed, which may be empty.

    I · (1 − M) + M · ((1 − β) A + β I), β ~ U(0, beta), M a cloud (`cloud`), A the source after three of ten changes.

    Raises ValueError for pictures of different sizes and settings out of range.
    """
    check_picture(image, smallest=8)
    check_picture(source, "source")
    if image.shape != source.shape or not 0 <= beta < 1:
        raise ValueError(
            f"image is {tuple(image.shape)}, source {tuple(source.shape)}, beta {beta}: expected one size and a share in [0,1)."
        )
    mask = cloud((image.shape[1], image.shape[2]), rng, cells).to(image.device)
    painted = overlaid(image, altered(source, rng), mask, float(rng.uniform(0, beta)))
    return painted, (painted != image).any(dim=0)


def overlaid(image: Tensor, texture: Tensor, mask: Tensor, beta: float) -> Tensor:
    """Return the picture outside the mask (H,W) and (1 − β) of the texture + β of the picture inside: (3,H,W)."""
    return torch.where(mask, (1 - beta) * texture + beta * image, image)


@checked
def cloud(size: tuple[int, int], rng: np.random.Generator, cells: int = 5) -> Tensor:
    """Draw a mask (H,W): Perlin noise above ½, of 2⁰ to 2^cells cells down and across, turned by up to 90°."""
    if not 0 <= cells <= MOST:
        raise ValueError(f"cells is {cells}: expected 0 to {MOST}, of which 2 to the power are cells.")
    counts = tuple(2 ** int(k) for k in rng.integers(0, cells + 1, 2))
    angles = torch.from_numpy(2 * math.pi * rng.random((counts[0] + 1, counts[1] + 1)))
    noise = perlin(angles, size)
    turn = math.radians(float(rng.uniform(-90, 90)))
    cos, sin = math.cos(turn), math.sin(turn)
    h, w = size
    move = torch.tensor([[[cos, -sin * h / w, 0.0], [sin * w / h, cos, 0.0]]], dtype=noise.dtype)
    grid = F.affine_grid(move, [1, 1, h, w], align_corners=False)
    return F.grid_sample(noise[None, None], grid, align_corners=False)[0, 0] > 0.5


@checked
def perlin(angles: Tensor, size: tuple[int, int]) -> Tensor:
    """Return Perlin noise (H,W) whose gradients at the corners of the cells are (cos, sin) of angles (rows + 1, columns + 1).

    Between the corners of a cell, what their gradients say is mixed by 6 t⁵ − 15 t⁴ + 10 t³; times √2.
    """
    if angles.ndim != 2 or min(angles.shape) < 2 or not angles.is_floating_point() or min(size) < 1:
        raise ValueError(
            f"angles have shape {tuple(angles.shape)}, size is {size}: expected floats (rows + 1, columns + 1) and sides of 1 or more."
        )
    check_room("the noise", *size)
    places = [
        torch.arange(side, dtype=angles.dtype) * (n - 1) / side
        for side, n in zip(size, angles.shape, strict=True)
    ]
    (row, column), (y, x) = ([p.long() for p in places], [p - p.floor() for p in places])
    down, across = ((6 * t**5 - 15 * t**4 + 10 * t**3) for t in (y, x))

    def said(below: int, right: int) -> Tensor:
        """What the gradient of one corner of each pixel's cell says."""
        at = angles[row + below][:, column + right]
        return at.cos() * (y - below)[:, None] + at.sin() * (x - right)

    left, right = (torch.lerp(said(0, side), said(1, side), down[:, None].expand(size)) for side in (0, 1))
    return math.sqrt(2) * torch.lerp(left, right, across.expand(size))


def altered(source: Tensor, rng: np.random.Generator) -> Tensor:
    """Change a picture (3,H,W) by three of ten operations, in random order; [0,1]."""
    for name in rng.choice(list(CHANGES), 3, replace=False):
        source = CHANGES[str(name)](source, rng).clamp(0, 1)
    return source


def _by_level(name: str) -> Callable[[Tensor, np.random.Generator], Tensor]:
    return lambda x, rng: ALTER[name](x, float(rng.uniform(0.1, SEVERITY)))


CHANGES: dict[str, Callable[[Tensor, np.random.Generator], Tensor]] = {
    **{
        name: _by_level(name)
        for name in ("autocontrast", "equalize", "posterize", "solarize", "color", "sharpness")
    },
    "gamma": lambda x, rng: x ** float(rng.uniform(0.5, 2)),
    "light": lambda x, rng: float(rng.uniform(0.8, 1.2)) * x + float(rng.uniform(-30, 30)) / 255,
    "negative": lambda x, rng: 1 - x,
    "turn": lambda x, rng: turned(x[None], torch.tensor([math.radians(rng.uniform(-45, 45))]))[0],
}
