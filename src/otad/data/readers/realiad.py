"""Reader for the user's own copy of Real-IAD; no pixel of it is ever redistributed.

    ROOT/realiad_1024/CATEGORY/OK/S0001/CATEGORY_0001_OK_C1_DATE.jpg
    ROOT/realiad_1024/CATEGORY/NG/TYPE/S0001/CATEGORY_0001_NG_TYPE_C1_DATE.jpg, and .png, its mask
    ROOT/realiad_jsons_sv/CATEGORY.json, or ROOT/realiad_jsons/realiad_jsons_sv/CATEGORY.json

What is trained on and what is tested stands in the JSON file: {"meta": {"prefix": "CATEGORY/", "normal_class":
"OK"}, "train": […], "test": […]} with entries {"category", "anomaly_class", "image_path", "mask_path"}, whose
paths follow the prefix in the folder of the resolution. Every object was taken from five sides, C1 to C5; C1
is the top view, which is all that TTAD uses. A defective object seen from a side that hides its defect is "OK".

Source: Wang et al., Real-IAD (CVPR 2024), and the data set's own files.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from otad.checks import checked
from otad.data import GOOD, Dataset, pair
from otad.data.readers.files import fit_mask, inside, levels, local, save, stack, tell_inverted, visible
from otad.data.readers.folders import LICENCE

SPLIT = "realiad_jsons_sv"
VIEWS = ("C1", "C2", "C3", "C4", "C5")


@dataclass(frozen=True)
class Entry:
    """One picture of a split: where it is, what it shows ("good" or a type of defect), and its mask if defective."""

    image: Path
    kind: str
    mask: Path | None


@checked
def categories(root: str | Path, split: str = SPLIT) -> list[str]:
    """List the categories that a split has a JSON file for; ValueError if there is none."""
    folder = _split_folder(local(root), split)
    found = [path.stem for path in visible(folder) if path.suffix == ".json"]
    if not found:
        raise ValueError(f"{folder} has no JSON file such as audiojack.json.")
    return found


@checked
def load(
    root: str | Path,
    category: str,
    size: int | tuple[int, int] | None = None,
    resolution: int = 1024,
    split: str = SPLIT,
    view: str | None = "C1",
) -> Dataset:
    """Read one category.

    size       : side or (height, width); images are resized by antialiased bilinear interpolation, masks by
                 nearest neighbour; a defect that would vanish keeps its best covered pixel. None keeps the
                 originals, which must then be of one size.
    resolution : of the folder realiad_RESOLUTION. split : the folder of the JSON files. view : "C1" (from
                 above) to "C5", None for all five.

    Images float32 (N,3,H,W) in [0,1], masks bool, both in the order of the file; kinds are "good" or the type of
    defect. Raises ValueError for every deviation from the layout, naming the path, and for files that cannot be
    read.
    """
    if view is not None and view not in VIEWS:
        raise ValueError(f"view is {view!r}: expected one of {', '.join(VIEWS)}, or None for all.")
    expected = None if size is None else pair(size)
    splits = read_split(root, category, resolution, split)
    train, test = (_seen(entries, view, part, category) for part, entries in splits.items())
    wrong = [entry for entry in train if entry.kind != GOOD]
    if wrong:
        raise ValueError(
            f"{wrong[0].image} is {wrong[0].kind!r} and in train, where all must be normal; the split is one "
            f"with noise, take {SPLIT}."
        )
    images, _ = stack(_there(train), expected)
    judged, originals = stack(_there(test), expected, images.shape[2:], train[0].image)
    shape = judged.shape[2], judged.shape[3]
    found = {
        index: fit_mask(_mask(entry.mask, entry.image), entry.mask, originals[index], shape)
        for index, entry in enumerate(test)
        if entry.mask is not None
    }
    masks = torch.zeros(len(judged), *shape, dtype=torch.bool)
    for index, mask in found.items():
        masks[index] = mask
    tell_inverted({path: mask for index, mask in found.items() if (path := test[index].mask) is not None})
    kinds = [entry.kind for entry in test]
    labels = torch.tensor([kind != GOOD for kind in kinds])
    return Dataset(category, images, judged, masks, labels, kinds, LICENCE)


@checked
def read_split(
    root: str | Path, category: str, resolution: int = 1024, split: str = SPLIT
) -> dict[str, list[Entry]]:
    """Read a category's JSON file: {"train": entries, "test": entries}, all five views; ValueError as `load`."""
    root = local(root)
    there = categories(root, split)
    if category not in there:
        raise ValueError(f"{split} has no {category}.json; categories here: {', '.join(there)}.")
    path = _split_folder(root, split) / f"{category}.json"
    pictures = root / f"realiad_{resolution}"
    if not pictures.is_dir():
        raise ValueError(f"{pictures} is missing; unpack the pictures there, or give another resolution=.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        normal, folder = content["meta"]["normal_class"], pictures / content["meta"]["prefix"]
        return {
            part: [_entry(entry, folder, normal) for entry in content[part]] for part in ("train", "test")
        }
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is no split of Real-IAD, with meta (prefix, normal_class), train and test, lists of entries "
            f"with anomaly_class, image_path and mask_path: {error!r}; copy it again."
        ) from error


# The layout -----------------------------------------------------------------------------------------------


def _split_folder(root: Path, split: str) -> Path:
    """The folder of the JSON files: they come in an archive with a folder around them, or without."""
    places = (inside(root, split), inside(root / "realiad_jsons", split))
    for place in reversed(places):  # realiad_jsons/realiad_jsons before realiad_jsons
        if place.is_dir():
            return place
    raise ValueError(f"{places[0]} is missing; give the folder that holds it and realiad_1024.")


def _entry(entry: dict[str, Any], folder: Path, normal: str) -> Entry:
    image, kind, mask = (entry[key] for key in ("image_path", "anomaly_class", "mask_path"))
    if kind == normal:
        return Entry(folder / image, GOOD, None)
    if not mask:
        raise ValueError(f"{folder / image} is {kind!r} and has no mask_path; copy the JSON files again.")
    return Entry(folder / image, str(kind), folder / mask)


def _seen(entries: Sequence[Entry], view: str | None, part: str, category: str) -> list[Entry]:
    """Keep one view: its name stands in the file's, between underscores."""
    kept = [entry for entry in entries if view is None or view in entry.image.stem.split("_")]
    if not kept:
        raise ValueError(f"{category} has no picture in {part} with view {view}; give view=None for all.")
    return kept


# The files ------------------------------------------------------------------------------------------------


def _there(entries: Sequence[Entry]) -> list[Path]:
    """Return the entries' picture files; ValueError for one that is missing."""
    for entry in entries:
        if not entry.image.is_file():
            raise ValueError(f"{entry.image} is missing, and the split needs it; copy the data set again.")
    return [entry.image for entry in entries]


def _mask(path: Path, image: Path) -> Tensor:
    """Read a mask (H,W) bool: every value above 0 is defect."""
    if not path.is_file():
        raise ValueError(f"{path} is missing, the mask of {image}; copy the data set again.")
    mask = torch.from_numpy(levels(path) > 0)
    return mask.any(-1) if mask.ndim == 3 else mask


# For tests ------------------------------------------------------------------------------------------------


@checked
def write(data: Dataset, root: str | Path, category: str, resolution: int = 1024, split: str = SPLIT) -> None:
    """Write a data set with masks in the layout of Real-IAD: each test picture as C1 and, black, as C2."""
    if data.masks is None:
        raise ValueError(f"{data.name} has image labels only; Real-IAD's layout needs masks.")
    root = local(root)
    folder = inside(root / f"realiad_{resolution}", category)
    parts: dict[str, list[dict[str, Any]]] = {"train": [], "test": []}
    for index, image in enumerate(data.train):
        path = f"OK/S{index:04d}/{category}_{index:04d}_OK_C1_20240101000000.png"
        save(image, folder / path)
        parts["train"].append(_row(category, "OK", path, None))
    for index, (image, mask, kind) in enumerate(zip(data.test, data.masks, data.kinds, strict=True)):
        good = kind == GOOD
        place = f"OK/S1{index:03d}" if good else f"NG/{kind}/S1{index:03d}"
        for view, picture in (("C1", image), ("C2", torch.zeros_like(image))):
            path = f"{place}/{category}_1{index:03d}_{view}_20240101000000.png"
            save(picture, folder / path)
            hidden = good or view == "C2"
            if not hidden:
                save(mask[None].float(), folder / f"{place}/mask_{view}.png")
            parts["test"].append(
                _row(category, "OK" if hidden else kind, path, None if hidden else f"{place}/mask_{view}.png")
            )
    content = {"meta": {"normal_class": "OK", "prefix": f"{category}/"}, **parts}
    target = root / split / f"{category}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(content), encoding="utf-8")


def _row(category: str, kind: str, image: str, mask: str | None) -> dict[str, Any]:
    return {"category": category, "anomaly_class": kind, "image_path": image, "mask_path": mask}
