"""Labels that are wrong in a known way: pictures with two planted defects each, and masks made doubtful from their exact ones.

`parts` (N,K,H,W) bool are the exact masks of the K defects of N pictures, all False in a good one. Every fault returns masks (N,H,W) bool,
as an annotator of that habit would draw them.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy import ndimage
from skimage.morphology import convex_hull_image
from torch import Tensor

from otad.checks import checked, shown
from otad.data.drawn.defects import KINDS, plant

TRIES = 500  # to find a place for a defect


# Pictures -------------------------------------------------------------------------------------------------


@checked
def plant_two(
    image: Tensor, kinds: Sequence[str], seed: Sequence[int], gap: float, least: float = 0.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Put two defects on one image (3,H,W), farther apart than `gap` pixels, each of which can be seen.

    Returns the damaged image, the two exact masks (2,H,W) bool, and how much each changes its pixels (2,): the mean absolute difference in
    [0,1], over mask and channels, `least` or more (a blurred piece of plain wall looks as before, and nobody would mark it). Raises
    ValueError for other than two kinds, a gap or change below 0, and where one finds no place.
    """
    if len(kinds) != 2 or not gap >= 0 or not least >= 0:
        raise ValueError(
            f"kinds are {list(kinds)}, gap is {gap}, least {least}: expected two kinds, a gap of 0 or more pixels, a change of 0 or more."
        )
    once, first, weak = _planted(image, kinds[0], [*seed, 0], np.ones(image.shape[1:], bool), least)
    apart = ~_within(first.numpy(), gap)
    twice, second, strong = _planted(once, kinds[1], [*seed, 1], apart, least)
    return twice, torch.stack([first, second]), torch.stack([weak, strong])


def _planted(
    image: Tensor, kind: str, seed: list[int], room: np.ndarray, least: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Plant until the defect lies in the room (H,W) and changes its pixels enough: image, mask and change."""
    for attempt in range(TRIES):
        damaged, mask = plant(image, kind, [*seed, attempt])
        change = (damaged - image).abs().mean(dim=0)[mask].mean()
        if float(change) >= least and not (mask.numpy() & ~room).any():
            return damaged, mask, change
    raise ValueError(
        f"{TRIES} tries found no place for a {kind} on an image of {tuple(image.shape[1:])}: make the gap smaller, or the least change."
    )


@checked
def two_defects(
    images: Tensor,
    seed: Sequence[int],
    gap: float,
    least: float = 0.0,
    kinds: Sequence[str] = KINDS,
) -> tuple[Tensor, Tensor, Tensor]:
    """Put two defects of different kinds on each image (N,3,H,W); the first kinds take turns, the second are drawn.

    Returns damaged images, `parts` (N,2,H,W) bool and changes (N,2), as `plant_two`. Raises ValueError as it does, for no image, and
    for fewer than two kinds.
    """
    if images.ndim != 4 or not len(images):
        raise ValueError(f"images are {shown(images)}: expected (N,3,H,W), one or more.")
    if len(set(kinds)) < 2:
        raise ValueError(f"kinds are {list(kinds)}: expected two or more of {', '.join(KINDS)}.")
    found = []
    for index, image in enumerate(images):
        first = kinds[index % len(kinds)]
        others = [kind for kind in kinds if kind != first]
        second = others[int(np.random.default_rng([*seed, index]).integers(len(others)))]
        found.append(plant_two(image, (first, second), [*seed, index], gap, least))
    damaged, parts, changes = zip(*found, strict=True)
    return torch.stack(damaged), torch.stack(parts), torch.stack(changes)


# Labels ---------------------------------------------------------------------------------------------------


@checked
def exact(parts: Tensor) -> Tensor:
    """Mark all defects, each pixel of them and no other."""
    return _parts(parts).any(dim=1)


@checked
def unmarked(parts: Tensor, missing: Tensor) -> Tensor:
    """Leave out one defect of each picture: `missing` (N,) integers, its number; −1 leaves out none.

    Raises ValueError for numbers of defects that are not there.
    """
    kept = _parts(parts).clone()
    n, k = kept.shape[:2]
    if (
        missing.shape != (n,)
        or missing.is_floating_point()
        or not bool(((missing >= -1) & (missing < k)).all())
    ):
        raise ValueError(
            f"missing is {shown(missing)}: expected ({n},) integers, −1 or the number of a defect below {k}."
        )
    rows = (missing >= 0).nonzero()[:, 0]
    kept[rows, missing[rows].long()] = False
    return kept.any(dim=1)


@checked
def dilated(parts: Tensor, by: float) -> Tensor:
    """Mark what lies within `by` pixels of a defect. Raises ValueError for a distance below 0."""
    if not by >= 0:
        raise ValueError(f"by is {by}: expected a distance of 0 or more pixels.")
    return _drawn(parts, lambda mask: _within(mask, by))


@checked
def boxes(parts: Tensor) -> Tensor:
    """Mark the smallest upright rectangle around each defect."""
    return _drawn(parts, _box)


@checked
def hulls(parts: Tensor, by: float = 0.0) -> Tensor:
    """Mark the convex hull of each defect, and what lies within `by` pixels of it. Raises ValueError for a distance below 0."""
    if not by >= 0:
        raise ValueError(f"by is {by}: expected a distance of 0 or more pixels.")
    return _drawn(parts, lambda mask: _within(convex_hull_image(mask), by))


@checked
def in_turns(first: Tensor, second: Tensor) -> Tensor:
    """Mark every second picture with a defect as `second` (N,H,W) does and the others as `first`: two annotators, two habits.

    Raises ValueError for labels of different pictures.
    """
    if first.shape != second.shape or first.dtype != torch.bool or second.dtype != torch.bool:
        raise ValueError(f"labels are {shown(first)} and {shown(second)}: expected bool of one shape.")
    masks = first.clone()
    turns = first.flatten(1).any(dim=1).nonzero()[1::2, 0]
    masks[turns] = second[turns]
    return masks


@checked
def called_good(masks: Tensor, pictures: Tensor) -> Tensor:
    """Empty the masks (N,H,W) of some `pictures` (n,) by their numbers: nobody has seen that they are defective.

    Raises ValueError for numbers of pictures that are not there.
    """
    if (
        pictures.ndim != 1
        or pictures.is_floating_point()
        or not bool(((pictures >= 0) & (pictures < len(masks))).all())
    ):
        raise ValueError(f"pictures is {shown(pictures)}: expected numbers from 0 to {len(masks) - 1}.")
    left = masks.clone()
    left[pictures.long()] = False
    return left


def _parts(parts: Tensor) -> Tensor:
    if parts.ndim != 4 or parts.dtype != torch.bool or not parts.numel():
        raise ValueError(
            f"parts are {shown(parts)}: expected bool (N,K,H,W), a mask a defect; use masks > 0."
        )
    return parts


def _drawn(parts: Tensor, draw: Callable[[np.ndarray], np.ndarray]) -> Tensor:
    """Draw each defect that is there anew, and join those of a picture."""
    found = torch.zeros_like(_parts(parts)[:, 0])
    for n, k in parts.flatten(2).any(dim=2).nonzero().tolist():
        found[n] |= torch.from_numpy(draw(parts[n, k].cpu().numpy())).to(found)
    return found


def _within(mask: np.ndarray, by: float) -> np.ndarray:
    return ndimage.distance_transform_edt(~mask) <= by


def _box(mask: np.ndarray) -> np.ndarray:
    filled = np.zeros_like(mask)
    filled[ndimage.find_objects(mask.astype(int))[0]] = True
    return filled
