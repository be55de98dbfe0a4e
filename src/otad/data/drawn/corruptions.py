"""Four shifts of a picture, in five steps: noise, blur, brightness, contrast.

The generation process of ImageNet-C with its published parameters, on tensors: Hendrycks and Dietterich,
Benchmarking Neural Network Robustness to Common Corruptions and Perturbations (ICLR 2019). TTAD (Sec. 4.1)
takes these four at severity 5. Two things to know before a comparison:

- The parameters were made for pictures of 224 × 224. A disk of radius 10 takes 9 % of that side and 13 % of
  160 pixels, so blur bites harder on small pictures; the other three do not know the size.
- ImageNet-C is a set of files: its pictures are cut to 8 bits, and then compressed. Here they stay floats,
  unless `levels=256` asks for bytes, rounded down as the generating process does. (JPEG is left out.) Under
  contrast 5 a picture has 1/20 of its range left, some 13 of 256 levels, so the cut costs detail for good.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from otad.checks import checked
from otad.data import check_images

T = TypeVar("T")

SEVERITIES = (1, 2, 3, 4, 5)
NOISE = (0.08, 0.12, 0.18, 0.26, 0.38)  # standard deviation
DEFOCUS = ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))  # radius in pixels, softness of the rim
BRIGHTNESS = (0.1, 0.2, 0.3, 0.4, 0.5)  # added to the value of HSV
CONTRAST = (0.4, 0.3, 0.2, 0.1, 0.05)  # share of the contrast that is left


@checked
def corrupt(images: Tensor, kind: str, severity: int = 5, seed: int = 0, levels: int | None = None) -> Tensor:
    """Corrupt a batch by one of `KINDS`.

    images   : (N,3,H,W) float, RGB in [0,1]. Each is corrupted by itself, so a batch may be cut anywhere.
    severity : 1 (mild) to 5. seed : of the noise; the others draw nothing.
    levels   : None leaves floats; 256 rounds down to what 8 bits can hold, in steps of 1/255.

    Returns images of the same shape, dtype and device, in [0,1]; the input is not changed. Raises ValueError
    for an unknown kind, a severity outside 1 … 5, fewer than two levels, and images that are not such a batch.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown corruption {kind!r}; choose from {', '.join(KINDS)}.")
    if levels is not None and levels < 2:
        raise ValueError(f"levels is {levels}: expected at least 2, 256 for bytes, None for floats.")
    shifted = KINDS[kind](images, severity, seed)
    if levels is None:
        return shifted
    # Products such as 0.2 · 255 fall short of the whole number they stand for: a hair is added before the cut.
    return ((shifted * (levels - 1) + 1e-4).floor() / (levels - 1)).clamp(0.0, 1.0)


@checked
def gaussian_noise(images: Tensor, severity: int = 5, seed: int = 0) -> Tensor:
    """Add independent normal noise to every value and clip to [0,1].

    Image n of a batch gets the noise number n of the seed, the same on every device. As `corrupt`.
    """
    scale = _parameter(images, severity, NOISE)
    shape = tuple(images.shape[1:])
    draws = [np.random.default_rng([seed, n]).standard_normal(shape, np.float32) for n in range(len(images))]
    return (images + scale * torch.from_numpy(np.stack(draws)).to(images)).clamp(0.0, 1.0)


@checked
def defocus_blur(images: Tensor, severity: int = 5) -> Tensor:
    """Average over a disk, as an open aperture does; the picture is reflected at its border. As `corrupt`.

    Raises ValueError for pictures too small to be reflected, sides of 9 pixels or less (11 at severity 5).
    """
    radius, softness = _parameter(images, severity, DEFOCUS)
    kernel = disk(radius, softness).to(images)
    pad = kernel.shape[0] // 2
    if min(images.shape[-2:]) <= pad:
        raise ValueError(
            f"images are {tuple(images.shape[-2:])}: defocus blur of severity {severity} reflects {pad} pixels at "
            f"each side and needs sides of more than {pad}; take larger images."
        )
    planes = functional.pad(images.flatten(0, 1)[:, None], (pad,) * 4, mode="reflect")
    return functional.conv2d(planes, kernel[None, None]).view_as(images).clamp(0.0, 1.0)


@checked
def brightness(images: Tensor, severity: int = 5) -> Tensor:
    """Raise the value of HSV, V = max(R,G,B), up to 1; hue and saturation stay. As `corrupt`.

    With those two fixed a colour is V times a constant, so it is enough to scale; black becomes grey.
    """
    added = _parameter(images, severity, BRIGHTNESS)
    value = images.amax(dim=1, keepdim=True)
    raised = (value + added).clamp(0.0, 1.0)
    scaled = images * (raised / value.clamp(min=torch.finfo(images.dtype).tiny))
    return torch.where(value > 0, scaled, raised).clamp(0.0, 1.0)


@checked
def contrast(images: Tensor, severity: int = 5) -> Tensor:
    """Draw every value towards the mean of its channel in its picture. As `corrupt`."""
    left = _parameter(images, severity, CONTRAST)
    mean = images.mean(dim=(2, 3), keepdim=True)
    return ((images - mean) * left + mean).clamp(0.0, 1.0)


@cache
def disk(radius: int, softness: float) -> Tensor:
    """Return the kernel of a defocused point: a disk whose rim a small Gaussian softens; float64.

    17 × 17 up to radius 8 with a 3 × 3 Gaussian, beyond that (2·radius + 1)² with 5 × 5, reflected at the border
    of the kernel, as published; a disk that reaches that border sums to a little more than 1 (1.013 at most).
    """
    half, reach = (8, 1) if radius <= 8 else (radius, 2)
    line = torch.arange(-half, half + 1, dtype=torch.float64)
    inside = (line[:, None] ** 2 + line**2 <= radius**2).to(torch.float64)
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=torch.float64) / softness) ** 2)
    weights /= weights.sum()
    padded = functional.pad((inside / inside.sum())[None, None], (reach,) * 4, mode="reflect")
    return functional.conv2d(padded, (weights[:, None] * weights)[None, None])[0, 0]


def _parameter(images: Tensor, severity: int, values: tuple[T, ...]) -> T:
    """Check the batch and look up the parameter of a severity."""
    check_images(images)
    if severity not in SEVERITIES:
        raise ValueError(f"severity is {severity!r}: expected one of {SEVERITIES}, mild to strong.")
    return values[severity - 1]


# Called with (images, severity, seed); only the noise draws anything.
KINDS: dict[str, Callable[[Tensor, int, int], Tensor]] = {
    "gaussian noise": gaussian_noise,
    "defocus blur": lambda images, severity, seed: defocus_blur(images, severity),
    "brightness": lambda images, severity, seed: brightness(images, severity),
    "contrast": lambda images, severity, seed: contrast(images, severity),
}
