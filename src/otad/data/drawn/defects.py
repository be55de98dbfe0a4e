"""Six defects with exact masks, planted on any image.

Every defect is drawn in three steps: a random *shape* (an opacity in [0,1] for each pixel), what the material
looks like there, and a blend. The mask is the support of the shape, opacity > 0, and the opacity never lies
between 0 and `FAINTEST`: what the mask marks is altered, and outside it the image is unchanged to the bit.
Sizes are relative to the image (its short side, or its area), so a defect survives a change of resolution.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates
from torch import Tensor

from otad.checks import checked, shown
from otad.data import GOOD

Array = NDArray[np.float64]
MANY = 100_000  # images of a drawn data set
FAINTEST = 0.2  # opacity of the faintest pixel that counts as touched


def smooth_noise(shape: tuple[int, int], sigma: float, rng: np.random.Generator) -> Array:
    """Gaussian random field of unit variance, correlated over `sigma` pixels."""
    field = gaussian_filter(rng.standard_normal(shape), sigma, mode="reflect")
    return (field - field.mean()) / (field.std() + 1e-12)


def _grid(shape: tuple[int, int]) -> tuple[Array, Array]:
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    return y, x


def _centre(shape: tuple[int, int], rng: np.random.Generator, margin: float = 0.18) -> tuple[float, float]:
    """A point away from the frame, by `margin` of each side."""
    return tuple(side * rng.uniform(margin, 1 - margin) for side in shape)  # type: ignore[return-value]


def _log_uniform(low: float, high: float, rng: np.random.Generator) -> float:
    """Small values as often as large ones: real defects have no typical size."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _opacity(inside: Array, softness: float) -> Array:
    """Turn a signed depth in pixels (positive inside) into an opacity: FAINTEST at the rim, 1 inside."""
    ramp = np.clip(inside / max(softness, 1e-6), 0.0, 1.0)
    return np.where(inside > 0, FAINTEST + (1 - FAINTEST) * ramp, 0.0)


def blob(shape: tuple[int, int], area: float, softness: float, rng: np.random.Generator) -> Array:
    """An irregular, stretched spot of about `area` (share of the image) as opacity (H,W)."""
    unit = np.sqrt(shape[0] * shape[1])
    radius = max(np.sqrt(area / np.pi) * unit, 2.0)
    (cy, cx), angle, stretch = _centre(shape, rng), rng.uniform(0, np.pi), rng.uniform(1.0, 1.7)
    y, x = _grid(shape)
    u = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
    v = (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)
    distance = np.hypot(u / np.sqrt(stretch), v * np.sqrt(stretch))
    ragged = 0.25 * smooth_noise(shape, radius / 2.5, rng) + 0.08 * smooth_noise(
        shape, max(radius / 8, 0.7), rng
    )
    inside = radius * (1 + np.clip(ragged, -0.6, 0.6)) - distance
    inside[distance < 1.5] = np.maximum(inside[distance < 1.5], 1.0)  # never empty, however small the image
    return _opacity(inside, softness * radius)


def stroke(
    shape: tuple[int, int], length: float, width: float, bend: float, rng: np.random.Generator
) -> Array:
    """Signed depth in pixels (positive inside) of a tapering curve; `width` is half its width."""
    (cy, cx), angle = _centre(shape, rng, 0.25), rng.uniform(0, 2 * np.pi)
    steps = max(int(length / 1.5), 8)
    turn = np.cumsum(rng.normal(0, bend / np.sqrt(steps), steps)) + angle
    path = np.stack([np.cumsum(np.sin(turn)), np.cumsum(np.cos(turn))]) * length / steps
    path += np.array([[cy], [cx]]) - path.mean(1, keepdims=True)
    taper = width * np.clip(1.15 * np.sin(np.linspace(0.12, np.pi - 0.12, steps)) ** 0.5, 0.35, 1.0)
    y, x = _grid(shape)
    depth = np.full(shape, -np.inf)
    for py, px, half in zip(*path, taper, strict=True):
        depth = np.maximum(depth, half - np.hypot(y - py, x - px))
    return depth


def _cut(image: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """A slit: dark in the middle, its lips catch the light."""
    shape = image.shape[1:]
    unit = min(shape)
    half = max(unit * rng.uniform(0.006, 0.014), 1.3)
    depth = stroke(shape, unit * rng.uniform(0.2, 0.5), half, 0.8, rng)
    core = np.clip(depth / half, 0, 1)
    lips = rng.uniform(0.1, 0.3) * (core < 0.4)
    slit = image * (1 - rng.uniform(0.4, 0.95) * core) + lips * (1 - image)
    return slit, _opacity(depth, 0.5 * half)


def _hole(image: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Missing material: what lies beneath is darker, nearly flat, and shadowed at one side."""
    alpha = blob(image.shape[1:], _log_uniform(0.002, 0.02, rng), 0.25, rng)
    beneath = np.median(image, axis=(1, 2), keepdims=True) * rng.uniform(0.1, 0.55)
    gy, gx = np.gradient(gaussian_filter(alpha, 2.0))
    angle = rng.uniform(0, 2 * np.pi)
    shadow = gx * np.cos(angle) + gy * np.sin(angle)
    beneath = beneath * (1 + 0.4 * shadow / (np.abs(shadow).max() + 1e-12)) + 0.1 * (image - image.mean())
    return beneath, alpha


def _colour(image: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """A stain: the structure stays, one tint is multiplied in."""
    alpha = blob(image.shape[1:], _log_uniform(0.005, 0.04, rng), 0.5, rng)
    tint = rng.permutation([rng.uniform(0.3, 0.6), rng.uniform(0.6, 0.9), rng.uniform(0.9, 1.1)])
    strength = _log_uniform(0.2, 0.9, rng)
    return image * (1 - strength + strength * tint[:, None, None]), alpha


def _blur(image: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Worn or smeared: the fine structure is gone, the local mean stays."""
    alpha = blob(image.shape[1:], _log_uniform(0.006, 0.04, rng), 0.4, rng)
    sigma = min(image.shape[1:]) * rng.uniform(0.012, 0.03) + 0.5
    return gaussian_filter(image, (0, sigma, sigma), mode="reflect"), alpha


def _warp(image: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """A dent: pixels are pushed sideways by up to a few per cent of the image; no new value appears."""
    shape = image.shape[1:]
    alpha = blob(shape, _log_uniform(0.01, 0.05, rng), 0.8, rng)
    push = np.clip((alpha - FAINTEST) / (1 - FAINTEST), 0, 1) + 0.15 * (alpha > 0)
    unit, angle = min(shape), rng.uniform(0, 2 * np.pi)
    reach = unit * rng.uniform(0.015, 0.035) + 1.0
    wobble = np.stack([smooth_noise(shape, unit * 0.06, rng) for _ in range(2)])
    direction = np.array([np.sin(angle), np.cos(angle)])[:, None, None] + 0.5 * wobble
    y, x = _grid(shape) + reach * push * direction
    moved = np.stack([map_coordinates(channel, [y, x], order=1, mode="reflect") for channel in image])
    return moved, (alpha > 0).astype(float)


def _contamination(image: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Something that does not belong: a thread, or a few crumbs, each with a lit and a shaded side."""
    shape = image.shape[1:]
    unit = min(shape)
    if rng.random() < 0.5:
        half = max(unit * rng.uniform(0.005, 0.01), 1.2)
        depth = stroke(shape, unit * rng.uniform(0.3, 0.7), half, 2.6, rng)
    else:
        half = max(unit * rng.uniform(0.008, 0.016), 1.5)
        depth = _crumbs(shape, half, int(rng.integers(3, 9)), rng)
    body = np.clip(depth / half, 0, 1)
    gy, gx = np.gradient(gaussian_filter(body, 0.7))
    light = 1 + 0.5 * (gx + gy) / (np.abs(gx + gy).max() + 1e-12)
    grey = rng.choice([rng.uniform(0.05, 0.25), rng.uniform(0.75, 0.95)])
    colour = np.clip(grey + rng.uniform(-0.08, 0.08, 3), 0, 1)[:, None, None] * light
    return rng.uniform(0.65, 0.95) * (colour - image) + image, _opacity(depth, 0.4 * half)


def _crumbs(shape: tuple[int, int], radius: float, count: int, rng: np.random.Generator) -> Array:
    """Signed depth of a few oblong grains scattered around one place."""
    cy, cx = _centre(shape, rng, 0.22)
    y, x = _grid(shape)
    depth = np.full(shape, -np.inf)
    for _ in range(count):
        py, px = np.array([cy, cx]) + rng.normal(0, 0.06 * min(shape), 2)
        py, px = np.clip(py, 2, shape[0] - 3), np.clip(px, 2, shape[1] - 3)
        bearing = np.arctan2(y - py, x - px)
        corners = 1 + 0.3 * np.cos(2 * bearing + rng.uniform(0, 2 * np.pi))
        corners += 0.12 * np.cos(3 * bearing + rng.uniform(0, 2 * np.pi))
        depth = np.maximum(depth, radius * rng.uniform(0.6, 1.3) * corners - np.hypot(y - py, x - px))
    return depth


_DRAW: dict[str, Callable[[Array, np.random.Generator], tuple[Array, Array]]] = {
    "cut": _cut,
    "hole": _hole,
    "colour": _colour,
    "blur": _blur,
    "warp": _warp,
    "contamination": _contamination,
}
KINDS = tuple(_DRAW)


@checked
def plant(image: Tensor, kind: str, seed: int | list[int] = 0) -> tuple[Tensor, Tensor]:
    """Put one defect on one image.

    image : (3,H,W) float in [0,1]; kind : one of `KINDS`; place, size, shape and strength follow from `seed`.
    Returns the damaged image (3,H,W) and its mask (H,W) bool: the support of the defect's shape. Outside it
    the two images are equal to the bit. Raises ValueError for an unknown kind or an image of another shape.
    """
    if kind not in _DRAW:
        raise ValueError(f"unknown defect {kind!r}; choose from {', '.join(KINDS)}.")
    _check_image(image)
    rng = np.random.default_rng(seed)
    original = image.detach().cpu().double().numpy()
    altered, alpha = _DRAW[kind](original, rng)
    blended = np.clip(original + alpha * (altered - original), 0, 1)
    mask = torch.from_numpy(alpha > 0).to(image.device)
    return torch.where(mask, torch.from_numpy(blended).to(image), image), mask


def _check_image(image: Tensor) -> None:
    if image.ndim != 3 or image.shape[0] != 3 or min(image.shape[1:]) < 16 or not image.is_floating_point():
        raise ValueError(
            f"expected one image (3,H,W) of floats, 16 pixels a side or more, got {shown(image)}."
        )
    if not torch.isfinite(image).all() or image.min() < 0 or image.max() > 1:
        raise ValueError("expected finite values in [0,1]; plant the defect before any normalisation.")


@checked
def kinds_of_test(n_train: int, n_good: int, n_per_defect: int, defects: Sequence[str]) -> list[str]:
    """List the kinds of a test set, the good ones first; ValueError for counts that leave an empty set."""
    if n_train < 1 or min(n_good, n_per_defect) < 0 or n_good + n_per_defect * len(defects) < 1:
        raise ValueError(
            f"n_train={n_train}, n_good={n_good}, n_per_defect={n_per_defect} for {len(defects)} defects leaves "
            "the normal set or the test set empty; ask for at least one image in each."
        )
    total = n_train + n_good + n_per_defect * len(defects)
    if total > MANY:
        raise ValueError(f"{total} images are asked for: expected at most {MANY}.")
    return [GOOD] * n_good + [kind for kind in defects for _ in range(n_per_defect)]


@checked
def damage(
    images: Tensor | Sequence[Tensor], kinds: Sequence[str], seed: Sequence[int], grey: bool = False
) -> tuple[Tensor, Tensor]:
    """Plant one defect of its kind on each image that is not to stay good: images (N,3,H,W) and masks (N,H,W).

    grey : damage as a grey-level camera sees it, the mean of the channels; a stain in colour would give
    itself away.
    """
    images = list(images) if not isinstance(images, Tensor) or images.ndim else []
    if not images or len(images) != len(kinds):
        raise ValueError(
            f"{len(images)} images and {len(kinds)} kinds: expected one kind an image, and one image or more."
        )
    for image in images:
        _check_image(image)
        if image.shape != images[0].shape or image.dtype != images[0].dtype:
            raise ValueError(f"images are {shown(images[0])} and {shown(image)}: expected one size and type.")
    damaged, masks = [], []
    for index, (image, kind) in enumerate(zip(images, kinds, strict=True)):
        mask = torch.zeros(image.shape[1:], dtype=torch.bool)
        if kind != GOOD:
            original = image
            image, mask = plant(original, kind, [*seed, index])
            if grey:
                image = torch.where(mask, image.mean(0, keepdim=True), original)
        damaged.append(image)
        masks.append(mask)
    return torch.stack(damaged), torch.stack(masks)
