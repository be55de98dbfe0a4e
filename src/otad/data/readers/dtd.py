"""Reader for your own copy of DTD, the Describable Textures Dataset: what DRAEM paints on normal pictures. For research only; no pixel of it is ever redistributed.

    ROOT/images/CLASS/CLASS_0001.jpg, 47 classes of 120 pictures, of about 300 to 640 pixels a side

Nothing in it is normal or defective: it is a bank of textures, so that what comes back is one tensor and no `Dataset`. All
5,640 pictures at 224 × 224 would take 3.4 GB, and a method that resizes them holds them more than once: hence a limit.
Whatever `otad.data.readers.files` reads may stand for .jpg.

Source: Cimpoi et al., Describing Textures in the Wild (CVPR 2014), and the data set's own folders.
"""

from pathlib import Path

import numpy as np
from torch import Tensor

from otad.checks import check_room, checked
from otad.data import pair
from otad.data.readers.files import image_files, local, stack, visible
from otad.data.readers.locations import BANKS

TOLD, LAYOUT = BANKS["dtd"]


@checked
def textures(
    root: str | Path, size: int | tuple[int, int], limit: int | None = None, seed: int = 0
) -> Tensor:
    """Read textures: (N,3,H,W) float32 in [0,1], in the order of `texture_files`.

    size : side or (height, width), by antialiased bilinear interpolation; what is not of that shape is squeezed into
           it, as in DRAEM's code. limit, seed : of `texture_files`.

    Raises ValueError as `texture_files`, and for files that cannot be read.
    """
    expected = pair(size)
    paths = texture_files(root, limit, seed)
    check_room("the textures", len(paths), 3, *expected)
    return stack(paths, expected)[0]


@checked
def texture_files(root: str | Path, limit: int | None = None, seed: int = 0) -> list[Path]:
    """List the pictures by class and name, all or at most `limit` of them.

    Of every class as many as of another, but for one and for classes that have no more; `seed` draws which. A larger limit
    keeps what a smaller one chose.

    Raises ValueError for a limit below 1 and for whatever the layout lacks, naming the first missing path.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit}: expected 1 or more textures, or None for all.")
    rng = np.random.default_rng(seed)
    turns = []  # a class's first picture comes before another's second
    for name, files in _classes(local(root)).items():
        for turn, index in enumerate(rng.permutation(len(files)).tolist()):
            turns.append((turn, rng.random(), name, files[index]))
    return [path for *_, path in sorted(sorted(turns)[:limit], key=lambda found: (found[2], found[3].name))]


def _classes(root: Path) -> dict[str, list[Path]]:
    """Return the pictures of each class by name; ValueError, naming it, for the first path that is missing."""
    folder = root / "images"
    if not folder.is_dir():
        within = f"; {root / root.name} has it: move up what is in there" if _unpacked_twice(root) else ""
        raise ValueError(f"{folder} is missing; {TOLD} has {LAYOUT}{within}.")
    found = {path.name: image_files(path) for path in visible(folder) if path.is_dir()}
    if not found:
        raise ValueError(f"{folder} has no folders; {TOLD} has one a class, such as {folder / 'banded'}.")
    return found


def _unpacked_twice(root: Path) -> bool:
    """Tell whether the archive, which holds a folder of the data set's name, was unpacked inside one: as torchvision does."""
    return (root / root.name / "images").is_dir()
