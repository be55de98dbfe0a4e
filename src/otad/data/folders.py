"""Reader for the user's own data sets in the MVTec AD layout; no pixel of them is ever redistributed.

    ROOT/CATEGORY/train/good/NAME.png
    ROOT/CATEGORY/test/good/NAME.png, test/TYPE/NAME.png
    ROOT/CATEGORY/ground_truth/TYPE/NAME_mask.png

Grey, colour, palette, RGBA (alpha is dropped) and 16-bit grey files are read. Where the layout is not this
one, the error names the first path that is wrong and what to do about it.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from otad.data import GOOD, Dataset, pair, resize

LICENCE = "user-supplied: see the terms of the data set"
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


def categories(root: str | Path) -> list[str]:
    """List the folders in `root` that have a train folder; ValueError if there is none."""
    root = Path(root)
    if not root.is_dir():
        raise ValueError(f"{root} is no folder; give the one that holds the categories (carpet, grid, …).")
    found = sorted(path.name for path in root.iterdir() if (path / "train").is_dir())
    if not found:
        raise ValueError(
            f"{root} has no category: expected folders such as {root / 'carpet' / 'train' / 'good'}."
        )
    return found


def load(root: str | Path, category: str, size: int | tuple[int, int] | None = None) -> Dataset:
    """Read one category.

    size : side or (height, width); images are resized by antialiased bilinear interpolation, masks by nearest
    neighbour (a defect thinner than the step can vanish). None keeps the originals, which must then be of
    one size. Images float32 (N,3,H,W) in [0,1], masks bool; test images in the order good, then types, by
    name. Raises ValueError for every deviation from the layout, naming the path, and for files that cannot
    be read.
    """
    folder = _category(Path(root), category)
    train_paths = image_files(folder / "train" / GOOD)
    test_paths = _test_images(folder)
    mask_paths = _mask_paths(folder, test_paths)
    expected = None if size is None else pair(size)
    train = stack(train_paths, expected)
    test = stack(test_paths, expected, train[0].shape[1:], train_paths[0])
    masks = torch.zeros(len(test), *test.shape[2:], dtype=torch.bool)
    for index, path in mask_paths.items():
        masks[index] = _mask(path, _size(test_paths[index]), expected)
    kinds = [path.parent.name for path in test_paths]
    labels = torch.tensor([kind != GOOD for kind in kinds])
    return Dataset(category, train, test, masks, labels, kinds, LICENCE)


# The layout -----------------------------------------------------------------------------------------------


def _category(root: Path, category: str) -> Path:
    there = categories(root)
    if category not in there:
        raise ValueError(f"{root / category} has no train folder; categories here: {', '.join(there)}.")
    return root / category


def image_files(folder: Path) -> list[Path]:
    """Image files of one folder by name; ValueError if the folder is missing or has none."""
    if not folder.is_dir():
        raise ValueError(f"{folder} is missing; the layout needs it.")
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    if not found:
        raise ValueError(f"{folder} has no images; expected files ending in {', '.join(SUFFIXES)}.")
    return found


def _test_images(folder: Path) -> list[Path]:
    test = folder / "test"
    if not test.is_dir():
        raise ValueError(
            f"{test} is missing; the MVTec AD layout needs test/{GOOD} and one folder a defect type."
        )
    kinds = sorted((p.name for p in test.iterdir() if p.is_dir()), key=lambda kind: (kind != GOOD, kind))
    if not kinds:
        raise ValueError(f"{test} has no folders; expected test/{GOOD} and one folder a defect type.")
    return [path for kind in kinds for path in image_files(test / kind)]


def _mask_paths(folder: Path, test_paths: list[Path]) -> dict[int, Path]:
    """Pair every defective test image with its mask, and leave no mask over."""
    found = {}
    for index, path in enumerate(test_paths):
        kind = path.parent.name
        if kind == GOOD:
            continue
        truth = folder / "ground_truth" / kind
        if not truth.is_dir():
            raise ValueError(f"{truth} is missing; every folder in test but {GOOD} needs one with its masks.")
        if (truth / path.stem).is_dir():
            raise ValueError(f"{truth / path.stem} is a folder: this is MVTec LOCO's layout, not MVTec AD's.")
        found[index] = truth / f"{path.stem}_mask.png"
        if not found[index].is_file():
            raise ValueError(f"{found[index]} is missing, the mask of {path}; copy the data set again.")
    over = sorted(set((folder / "ground_truth").glob("*/*_mask.png")) - set(found.values()))
    if over:
        raise ValueError(f"{over[0]} belongs to no test image; copy the data set again.")
    return found


# The files ------------------------------------------------------------------------------------------------


def _open(path: Path) -> NDArray[np.float32]:
    """Read one file as (H,W) or (H,W,3) in [0,1]."""
    try:
        with Image.open(path) as picture:
            picture.load()
            if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
                values = np.asarray(picture, dtype=np.float32)
                if picture.mode != "F":
                    values = values / 65535.0
            else:
                grey = picture.mode in ("1", "L", "LA")
                values = np.asarray(picture.convert("L" if grey else "RGB"), dtype=np.float32) / 255.0
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be read as an image ({error}); copy it again.") from error
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > 1:
        raise ValueError(f"{path} has values outside [0,1] of its type; save it as an 8- or 16-bit PNG.")
    return values


def read_image(path: str | Path) -> Tensor:
    """Read one image file as (3,H,W) in [0,1]: grey is repeated, alpha dropped, 16-bit grey scaled.

    Raises ValueError, naming the file, if it is not there, is no image or holds values outside its type's range.
    """
    values = torch.from_numpy(_open(Path(path)))
    return (values.expand(3, -1, -1) if values.ndim == 2 else values.permute(2, 0, 1)).contiguous()


def _size(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.height, picture.width


def stack(
    paths: list[Path],
    size: tuple[int, int] | None,
    like: torch.Size | None = None,
    like_path: Path | None = None,
) -> Tensor:
    """Read files into (N,3,H,W); without a `size`, all must be of the size of the first, or of `like`.

    Raises ValueError, naming the file and the one it differs from, and as `read_image`.
    """
    images: list[Tensor] = []
    for path in paths:
        image = read_image(path)
        if size is not None:
            image = resize(image[None], size)[0]
        like, like_path = (image.shape[1:], path) if like is None else (like, like_path)
        if image.shape[1:] != like:
            raise ValueError(
                f"{path} is {tuple(image.shape[1:])}, {like_path} is {tuple(like)}; "
                "give size= to bring all to one size."
            )
        images.append(image)
    return torch.stack(images)


def _mask(path: Path, original: tuple[int, int], size: tuple[int, int] | None) -> Tensor:
    """Read a mask (H,W) bool; it must be of its image's original size and hold two values, 0 the lower."""
    values = _open(path)
    if values.shape[:2] != original:
        raise ValueError(f"{path} is {values.shape[:2]}, its image is {original}; mask and image must agree.")
    if values.ndim == 3:
        if (values != values[:, :, :1]).any():
            raise ValueError(f"{path} is coloured; a mask has one channel with 0 and 255.")
        values = values[:, :, 0]
    levels = np.unique(values)
    if len(levels) > 2 or not set(levels.tolist()) <= {0.0, float(np.float32(1 / 255)), 1.0}:
        raise ValueError(
            f"{path} has {len(levels)} levels from {levels[0]:.3g} to {levels[-1]:.3g}; a mask has 0 "
            "and 255 only. Threshold it and save it as PNG."
        )
    mask = torch.from_numpy(values > 0)
    if size is None:
        return mask
    return resize_mask(mask, size)


def resize_mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize a mask (H,W) bool by nearest neighbour."""
    return functional.interpolate(mask[None, None].float(), size, mode="nearest-exact")[0, 0] > 0


# For tests ------------------------------------------------------------------------------------------------


def write(dataset: Dataset, root: str | Path, category: str) -> None:
    """Write a data set with masks as 8-bit PNG files in the MVTec AD layout."""
    if dataset.masks is None:
        raise ValueError(f"{dataset.name} has image labels only; the MVTec AD layout needs masks.")
    folder = Path(root) / category
    for index, image in enumerate(dataset.train):
        save(image, folder / "train" / GOOD / f"{index:03d}.png")
    for index, (image, mask, kind) in enumerate(zip(dataset.test, dataset.masks, dataset.kinds, strict=True)):
        save(image, folder / "test" / kind / f"{index:03d}.png")
        if kind != GOOD:
            save(mask[None].float(), folder / "ground_truth" / kind / f"{index:03d}_mask.png")


def save(image: Tensor, path: Path) -> None:
    """Write an image (3,H,W) or mask (1,H,W) in [0,1] as an 8-bit file, with the folders it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = (image * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    Image.fromarray(values.squeeze(-1) if values.shape[-1] == 1 else values).save(path)
