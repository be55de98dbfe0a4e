"""Readers for the other three data sets of the FCA paper, from your own copy: DTD-Synthetic, WFT and Aitex.

    DTD-Synthetic, WFT : ROOT/CLASS/train/good/NAME.png, test/KIND/NAME.png, ground_truth/KIND/NAME.png
    Aitex              : ROOT/Defect_images/NUMBER_CODE_FABRIC.png, Mask_images/NUMBER_CODE_FABRIC_mask.png,
                         NODefect_images/ROLL/NUMBER_000_FABRIC.png

The first two follow MVTec AD but for the names of masks, which come with and without `_mask`. Aitex ships
strips of 256 × 4096 pixels, a few with two masks (`_mask1`, `_mask2`), some with a stretch of bare table
beside the fabric; FCA cuts them into squares (Sec. 4.1). No pixel of any of them is redistributed.
"""

import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from otad.checks import checked, shown
from otad.data import GOOD, Dataset, pair, resize
from otad.data.readers.files import (
    LEFTOVERS,
    fit_mask,
    image_files,
    levels,
    local,
    read_image,
    read_sized,
    resize_mask,
    tell_inverted,
    visible,
)
from otad.data.readers.folders import LICENCE, mask_of, masks_in

# Rows of Table 6.
CLASSES = {
    "dtd_synthetic": (
        *("Blotchy_099", "Marbled_078", "Mesh_114", "Stratified_154", "Woven_068", "Woven_125"),
        *("Fibrous_183", "Matted_069", "Perforated_037", "Woven_001", "Woven_104", "Woven_127"),
    ),
    "wft": ("texture_1", "texture_2"),
    "aitex": tuple(f"t_{fabric:02d}" for fabric in range(7)),
}
SIDES = {"dtd_synthetic": 320, "wft": 512, "aitex": 320}  # at which the paper scores, in pixels
# The paper does not say how it finds the table beside the fabric. Ours: fabric has threads, a table has none.
BARE = 0.3  # of the strip's median roughness; below it, columns show the table
RUN = 16  # columns that are judged together


@checked
def load(root: str | Path, dataset: str, category: str, size: int | tuple[int, int] | None = None) -> Dataset:
    """Read one class of one data set.

    dataset, category : a key of `CLASSES` and one of its classes. size : side or (height, width) in pixels;
    None = the paper's, `SIDES`. Images by antialiased bilinear interpolation, masks, cut at half their
    maximum, by nearest neighbour. Aitex: test images are the squares of the defective strips that show fabric
    throughout and hold part of a defect; train has the covered squares of the strips without defect.

    Returns images float32 (N,3,H,W) in [0,1], masks bool; kinds are folders or, for Aitex, defect codes.
    Raises ValueError for unknown names, for whatever the layout lacks, naming the first missing path, and for
    masks of another size than their image.
    """
    root = local(root)
    if dataset not in CLASSES:
        raise ValueError(f"unknown data set {dataset!r}; choose from {', '.join(CLASSES)}.")
    if category not in CLASSES[dataset]:
        raise ValueError(f"{dataset} has no class {category!r}; choose from {', '.join(CLASSES[dataset])}.")
    if not root.is_dir():
        raise ValueError(f"{root} is no folder; give the one that {dataset} was unpacked into.")
    sides = pair(SIDES[dataset] if size is None else size)
    read = _aitex if dataset == "aitex" else _standard
    train, tested = read(root, category, sides)
    test, masks, kinds = zip(*tested, strict=True)
    labels = torch.tensor([kind != GOOD for kind in kinds])
    return Dataset(category, train, torch.stack(test), torch.stack(masks), labels, list(kinds), LICENCE)


Tested = list[tuple[Tensor, Tensor, str]]  # image, mask, kind


# DTD-Synthetic and WFT ------------------------------------------------------------------------------------


def _standard(root: Path, category: str, size: tuple[int, int]) -> tuple[Tensor, Tested]:
    folder = root / category
    train = [read_image(path, size) for path in image_files(folder / "train" / GOOD)]
    kinds = [path.name for path in visible(_folder(folder / "test")) if path.is_dir()]
    tested: Tested = []
    read: dict[Path, Tensor] = {}
    for kind in sorted(kinds, key=lambda kind: kind != GOOD):
        truth = folder / "ground_truth" / kind
        masks = masks_in(truth)
        for path in image_files(folder / "test" / kind):
            image, original = read_sized(path, size)
            mask = torch.zeros(size, dtype=torch.bool)
            if kind != GOOD:
                place = mask_of(path, masks, truth)
                read[place] = mask = fit_mask(_mask(place), place, original, size)
            tested.append((image, mask, kind))
    if not tested:
        raise ValueError(f"{folder / 'test' / GOOD} is missing, and so are folders of defects beside it.")
    tell_inverted(read)
    return torch.stack(train), tested


# Aitex ----------------------------------------------------------------------------------------------------


def _aitex(root: Path, category: str, size: tuple[int, int]) -> tuple[Tensor, Tested]:
    fabric = category.removeprefix("t_")
    broken, truth, intact = (_folder(root / f"{name}_images") for name in ("Defect", "Mask", "NODefect"))
    tested: Tested = []
    for path in _of_fabric(broken, fabric):
        strip = read_image(path)
        masks = _strip_mask(truth, path.stem, strip)
        for image, mask in _pieces(strip, masks):
            if mask.any():
                tested.append((_fit(image, size), resize_mask(mask, size), path.stem.split("_")[1]))
    if not tested:
        raise ValueError(
            f"{broken} has no square of fabric {fabric} with a defect and without bare table; check its masks in "
            f"{truth}."
        )
    train = []
    for path in _of_fabric(intact, fabric):
        strip = read_image(path)
        train += [_fit(image, size) for image, _ in _pieces(strip, torch.zeros_like(strip[0]).bool())]
    if not train:
        raise ValueError(f"{intact} has no square of fabric {fabric} without bare table; copy it again.")
    return torch.stack(train), tested


def _of_fabric(folder: Path, fabric: str) -> list[Path]:
    """Strips of one fabric in a folder and its rolls: NUMBER_CODE_FABRIC."""
    found = sorted(
        path
        for path in folder.rglob(f"*_*_{fabric}.png")
        if not any(p.startswith(".") or p in LEFTOVERS for p in path.relative_to(folder).parts)
    )
    if not found:
        raise ValueError(f"{folder / f'*_{fabric}.png'} is missing: no strip of fabric {fabric} is there.")
    return found


def _strip_mask(truth: Path, stem: str, strip: Tensor) -> Tensor:
    """Union of the masks of a strip; a few strips have two."""
    found = [p for p in (truth / f"{stem}_mask{number}.png" for number in ("", 1, 2)) if p.is_file()]
    if not found:
        raise ValueError(f"{truth / f'{stem}_mask.png'} is missing; copy the data set again.")
    size = strip.shape[1], strip.shape[2]
    mask = torch.stack([fit_mask(_mask(path), path, size, size, empty=True) for path in found]).any(dim=0)
    if not mask.any():
        warnings.warn(f"{found[0]} marks nothing: its strip is left out, defect and all.", stacklevel=2)
    return mask


def _pieces(strip: Tensor, mask: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Cut a strip (3,H,W) and its mask into squares of side H from the left; those with bare table are left out."""
    side = strip.shape[1]
    bare = bare_columns(strip)
    for x in range(0, strip.shape[2] - side + 1, side):
        if not bare[x : x + side].any():
            yield strip[:, :, x : x + side], mask[:, x : x + side]


@checked
def bare_columns(strip: Tensor) -> Tensor:
    """Tell which columns of a strip (3,H,W) show no fabric: (W,) bool.

    A column is bare if it lies in a run of `RUN` columns whose mean step between vertical neighbours is below
    `BARE` times the median of the strip. At least half of the strip must be fabric.
    """
    if strip.ndim != 3 or not strip.is_floating_point() or min(strip.shape) < 1 or strip.shape[1] < 2:
        raise ValueError(f"strip is {shown(strip)}: expected floats (3,H,W) with H ≥ 2 and W ≥ 1.")
    grey = strip.mean(dim=0)
    rough = grey.diff(dim=0).abs().mean(dim=0)[None]
    run = min(RUN, rough.shape[1])
    smooth = functional.avg_pool1d(rough, run, stride=1)
    flat = (smooth < BARE * smooth.median()).float()
    return functional.max_pool1d(functional.pad(flat, (run - 1, run - 1)), run, stride=1)[0] > 0


# Files ----------------------------------------------------------------------------------------------------


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise ValueError(f"{path} is missing; the layout of this data set needs it.")
    return path


def _mask(path: Path) -> Tensor:
    """Read a mask (H,W) bool: above half its maximum."""
    values = levels(path)
    grey = values.max(-1) if values.ndim == 3 else values
    return torch.from_numpy(grey > grey.max() / 2)


def _fit(image: Tensor, size: tuple[int, int]) -> Tensor:
    return resize(image[None], size)[0]
