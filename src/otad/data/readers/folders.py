"""Reader for the user's own data sets in the MVTec AD layout; no pixel of them is ever redistributed.

    ROOT/CATEGORY/train/good/NAME.png
    ROOT/CATEGORY/test/good/NAME.png, test/TYPE/NAME.png
    ROOT/CATEGORY/ground_truth/TYPE/NAME_mask.png, or NAME.png

Without any mask it is a data set with image labels only. Whatever `otad.data.readers.files` reads may stand for .png. Where
the layout is not this one, the error names the first path that is wrong and what to do about it.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from otad.checks import checked
from otad.data import GOOD, Dataset, pair
from otad.data.readers.files import (
    SUFFIXES,
    fit_mask,
    image_files,
    inside,
    levels,
    local,
    save,
    stack,
    tell_inverted,
    visible,
)
from otad.data.readers.files import read_image as read_image  # where it was, for those who look for it here

LICENCE = "user-supplied: see the terms of the data set"


@checked
def categories(root: str | Path) -> list[str]:
    """List the folders in `root` that have a train folder; ValueError if there is none."""
    root = local(root)
    if not root.is_dir():
        raise ValueError(f"{root} is no folder; give the one that holds the categories (carpet, grid, …).")
    found = [path.name for path in visible(root) if (path / "train").is_dir()]
    if not found:
        raise ValueError(
            f"{root} has no category: expected folders such as {root / 'carpet' / 'train' / 'good'}."
        )
    return found


@checked
def load(
    root: str | Path,
    category: str,
    size: int | tuple[int, int] | None = None,
    bits: int | None = None,
    page: int | None = None,
    empty_masks: bool = False,
    n_train: int | None = None,
) -> Dataset:
    """Read one category.

    size        : side or (height, width); images are resized by antialiased bilinear interpolation, masks by nearest
                  neighbour; a defect that would vanish keeps its best covered pixel. None keeps the originals,
                  which must then be of one size.
    bits, page  : of files of 16 bits and of several pages, as in `otad.data.readers.files.read_image`.
    empty_masks : accept defective images whose mask marks nothing.
    n_train     : read the first so many normal images, by name; None: all. Hundreds at 1024 pixels take gigabytes.

    Images float32 (N,3,H,W) in [0,1], masks bool, or None where there is no mask at all; test images in the order
    good, then types, by name. Masks that mark most of their image are warned of. Raises ValueError for every
    deviation from the layout, naming the path, and for files that cannot be read.
    """
    if n_train is not None and n_train < 1:
        raise ValueError(f"n_train is {n_train}: expected 1 or more normal images, or None for all.")
    folder = _category(local(root), category)
    train_paths = image_files(folder / "train" / GOOD)[:n_train]
    test_paths = _test_images(folder)
    mask_paths = _mask_paths(folder, test_paths)
    expected = None if size is None else pair(size)
    train, _ = stack(train_paths, expected, bits=bits, page=page)
    test, originals = stack(test_paths, expected, train[0].shape[1:], train_paths[0], bits, page)
    kinds = [path.parent.name for path in test_paths]
    masks = None
    if mask_paths:
        shape = test.shape[2], test.shape[3]
        masks = torch.zeros(len(test), *shape, dtype=torch.bool)
        for index, path in mask_paths.items():
            empty = empty_masks or kinds[index] == GOOD
            masks[index] = fit_mask(_mask(path), path, originals[index], shape, empty)
        tell_inverted({path: masks[index] for index, path in mask_paths.items()})
    labels = torch.tensor([kind != GOOD for kind in kinds])
    return Dataset(category, train, test, masks, labels, kinds, LICENCE)


# The layout -----------------------------------------------------------------------------------------------


def _category(root: Path, category: str) -> Path:
    there = categories(root)
    if category not in there:
        raise ValueError(f"{root / category} has no train folder; categories here: {', '.join(there)}.")
    return root / category


def _test_images(folder: Path) -> list[Path]:
    test = folder / "test"
    if not test.is_dir():
        raise ValueError(
            f"{test} is missing; the MVTec AD layout needs test/{GOOD} and one folder a defect type."
        )
    kinds = sorted((path.name for path in _folders(test)), key=lambda kind: (kind != GOOD, kind))
    if not kinds:
        raise ValueError(f"{test} has no folders; expected test/{GOOD} and one folder a defect type.")
    return [path for kind in kinds for path in image_files(test / kind)]


def _mask_paths(folder: Path, test_paths: list[Path]) -> dict[int, Path]:
    """Pair every defective test image with its mask, and leave no mask over; nothing where there are no masks."""
    truth = folder / "ground_truth"
    there = [p for kind in _folders(truth) for p in visible(kind)]
    if not there:
        return {}
    masks = {kind: masks_in(truth / kind) for kind in {path.parent.name for path in test_paths}}
    found = {}
    for index, path in enumerate(test_paths):
        kind = path.parent.name
        if (truth / kind / path.stem).is_dir():
            raise ValueError(
                f"{truth / kind / path.stem} is a folder: this is MVTec LOCO's layout, not MVTec AD's."
            )
        if kind != GOOD or path.stem in masks[kind]:
            found[index] = mask_of(path, masks[kind], truth / kind)
    known = {(path.parent.name, path.stem) for path in test_paths}
    for path in there:
        own = {(path.parent.name, path.stem), (path.parent.name, path.stem.removesuffix("_mask"))}
        if path.suffix.lower() in SUFFIXES and not known & own:
            raise ValueError(f"{path} belongs to no test image; copy the data set again.")
    return found


def _folders(parent: Path) -> list[Path]:
    return [path for path in visible(parent) if path.is_dir()] if parent.is_dir() else []


def masks_in(truth: Path) -> dict[str, Path]:
    """List the masks of a folder by the name of their image: NAME_mask or else NAME, with any suffix."""
    files = visible(truth) if truth.is_dir() else []
    plain = {path.stem: path for path in files if path.suffix.lower() in SUFFIXES}
    return plain | {
        stem.removesuffix("_mask"): path for stem, path in plain.items() if stem.endswith("_mask")
    }


def mask_of(image: Path, masks: dict[str, Path], truth: Path) -> Path:
    """Find an image's mask among those of its folder; ValueError, naming it, if it is missing."""
    if not truth.is_dir():
        raise ValueError(f"{truth} is missing; every folder in test but {GOOD} needs one with its masks.")
    if image.stem not in masks:
        raise ValueError(
            f"{truth / f'{image.stem}_mask.png'} is missing, the mask of {image}, and so is {image.stem}.png; copy the "
            "data set again."
        )
    return masks[image.stem]


def _mask(path: Path) -> Tensor:
    """Read a mask (H,W) bool; it must hold two values, 0 the lower."""
    values = levels(path)
    if values.ndim == 3:
        if (values != values[:, :, :1]).any():
            raise ValueError(f"{path} is coloured; a mask has one channel with 0 and 255.")
        values = values[:, :, 0]
    found = np.unique(values).tolist()
    if len(found) > 2 or found[-1] not in (0, 1, 255, 65535) or (len(found) == 2 and found[0] != 0):
        raise ValueError(
            f"{path} has {len(found)} levels from {found[0]} to {found[-1]}; a mask has 0 "
            "and 255 only. Threshold it and save it as PNG."
        )
    return torch.from_numpy(values > 0)


# For tests ------------------------------------------------------------------------------------------------


@checked
def write(dataset: Dataset, root: str | Path, category: str) -> None:
    """Write a data set as 8-bit PNG files in the MVTec AD layout, without ground_truth if it has no masks."""
    folder = inside(local(root), category)
    for index, image in enumerate(dataset.train):
        save(image, folder / "train" / GOOD / f"{index:03d}.png")
    for index, (image, kind) in enumerate(zip(dataset.test, dataset.kinds, strict=True)):
        save(image, folder / "test" / kind / f"{index:03d}.png")
        if kind != GOOD and dataset.masks is not None:
            mask = dataset.masks[index][None].float()
            save(mask, folder / "ground_truth" / kind / f"{index:03d}_mask.png")
