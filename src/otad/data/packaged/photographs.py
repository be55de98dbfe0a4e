"""Real textures: crops of three photographs that scikit-image carries, with defects planted.

`brick`, `grass` and `gravel` are 512 × 512 grey-level photographs (CC0). One half of a picture gives the
training crops, the other half the test crops, so no pixel is in both. Within a half, and over seeds, crops do
overlap: a picture holds only four disjoint crops of 256 px, so an interval over seeds is narrower than it
would be with fresh photographs, and pages that show one say so.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from skimage import data as pictures
from torch import Tensor

from otad.checks import checked
from otad.data import GOOD, Dataset, pair
from otad.data.drawn.defects import KINDS, MANY, damage, kinds_of_test

LICENCE = "CC0 (scikit-image data: brick, grass, gravel)"
NAMES = ("brick", "grass", "gravel")
SIDE = 512  # of every picture


def _position(name: str) -> int:
    if name not in NAMES:
        raise ValueError(f"unknown photograph {name!r}; choose from {', '.join(NAMES)}.")
    return NAMES.index(name)


@checked
@cache
def picture(name: str) -> Tensor:
    """Return the whole source photograph (512,512) float32 in [0,1]; ValueError for an unknown name."""
    _position(name)
    return torch.from_numpy(getattr(pictures, name)().astype(np.float32) / 255.0)


@checked
def halves(seed: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Cut a picture in two along one axis, both drawn from the seed: the training half and the test half."""
    rng = np.random.default_rng([seed, 0])
    axis, flip = rng.integers(0, 2, 2)
    parts = []
    for part in (slice(0, SIDE // 2), slice(SIDE // 2, SIDE)):
        region = [slice(0, SIDE), slice(0, SIDE)]
        region[axis] = part
        parts.append((region[0], region[1]))
    return (parts[1], parts[0]) if flip else (parts[0], parts[1])


@checked
def corners(
    name: str, size: int | tuple[int, int], n_train: int, n_test: int, seed: int
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Draw the upper left corners (y, x) of the training crops and of the test crops in the source picture.

    Raises ValueError where a crop of `size` does not fit into half a picture.
    """
    height, width = pair(size)
    if min(n_train, n_test) < 0 or n_train + n_test > MANY:
        raise ValueError(
            f"n_train is {n_train}, n_test {n_test}: expected 0 or more, and at most {MANY} in all."
        )
    drawn = []
    for split, (rows, columns) in enumerate(halves(seed)):
        free_y, free_x = rows.stop - rows.start - height, columns.stop - columns.start - width
        if min(free_y, free_x) < 0:
            raise ValueError(
                f"a crop of {(height, width)} does not fit into half a picture, "
                f"{(rows.stop - rows.start, columns.stop - columns.start)}; use size=256 or less."
            )
        rng = np.random.default_rng([seed, _position(name), 1 + split])
        count = n_test if split else n_train
        ys = rows.start + rng.integers(0, free_y + 1, count)
        xs = columns.start + rng.integers(0, free_x + 1, count)
        drawn.append(list(zip(ys.tolist(), xs.tolist(), strict=True)))
    return drawn[0], drawn[1]


def _crop(name: str, corner: tuple[int, int], size: tuple[int, int]) -> Tensor:
    (y, x), (height, width) = corner, size
    return picture(name)[y : y + height, x : x + width].expand(3, -1, -1).clone()


@checked
def load(
    name: str,
    size: int | tuple[int, int] = 192,
    n_train: int = 20,
    n_good: int = 10,
    n_per_defect: int = 5,
    defects: Sequence[str] = KINDS,
    seed: int = 0,
) -> Dataset:
    """Crop a data set out of one photograph: train from one half, test from the other, with defects.

    size : side or (height, width), at most 256 px. Raises ValueError for unknown names, crops that do not
    fit, and counts that leave the normal set or the test set empty.
    """
    kinds = kinds_of_test(n_train, n_good, n_per_defect, defects)
    train_corners, test_corners = corners(name, size, n_train, len(kinds), seed)
    train = torch.stack([_crop(name, corner, pair(size)) for corner in train_corners])
    fresh = [_crop(name, corner, pair(size)) for corner in test_corners]
    test, masks = damage(fresh, kinds, [seed, _position(name), 3], grey=True)
    labels = torch.tensor([kind != GOOD for kind in kinds])
    return Dataset(name, train, test, masks, labels, kinds, LICENCE)
