"""Defects annotated as in MVTec AD LOCO, and the reader of your own copy of that data set.

    ROOT/CATEGORY/defects_config.json
    ROOT/CATEGORY/train/good/NAME.png, validation/good/NAME.png
    ROOT/CATEGORY/test/good/NAME.png, test/logical_anomalies/NAME.png, test/structural_anomalies/NAME.png
    ROOT/CATEGORY/ground_truth/GROUP_anomalies/NAME/000.png, 001.png, …

Every file in a ground-truth folder is one defect, connected or not: 0 outside, and inside one value that the
configuration maps to the defect's name and to its saturation, the area that is enough to find. A logical
defect needs that: where a part is missing, all of its compartment is marked, and one part's area is enough.

Source: Bergmann et al., Beyond Dents and Scratches (IJCV 2022), Sec. 3 and 4, and the data set's own files.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from otad.checks import checked
from otad.data import GOOD, pair
from otad.data.annotations import GROUPS, AnnotatedDataset, Annotation, union
from otad.data.readers.files import (
    Size,
    image_files,
    inside,
    local,
    opened,
    resize_mask,
    save,
    stack,
    visible,
)
from otad.data.readers.folders import LICENCE

CONFIG = "defects_config.json"


# Reading --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rule:
    """One entry of the configuration: what a pixel value stands for, and how much of it is enough."""

    defect_name: str
    pixel_value: int
    saturation_threshold: float
    relative_saturation: bool

    def area(self, pixels: int) -> float:
        """Return the saturation area of a defect of so many pixels of the original image, at least one.

        A relative threshold is a share of the area, rounded down; an absolute one is capped by the area.
        """
        threshold = self.saturation_threshold
        return max(int(threshold * pixels), 1) if self.relative_saturation else min(threshold, pixels)


@checked
def categories(root: str | Path) -> list[str]:
    """List the folders in `root` with a train folder and a configuration; ValueError if there is none."""
    root = local(root)
    if not root.is_dir():
        raise ValueError(f"{root} is no folder; give the one that holds breakfast_box, juice_bottle, ….")
    found = [path.name for path in visible(root) if (path / "train").is_dir()]
    if not found:
        raise ValueError(f"{root} has no category: expected folders such as {root / 'pushpins' / 'train'}.")
    return found


@checked
def load(root: str | Path, category: str, size: int | tuple[int, int] | None = None) -> AnnotatedDataset:
    """Read one category.

    size : side or (height, width); images are resized by antialiased bilinear interpolation, masks by nearest
    neighbour; a defect that would vanish keeps its best covered pixel. The saturation area keeps its *share*
    of the mask, so it means the same at every size. None keeps the originals, which must then be of one size.

    `kinds` are the defects' names, joined by " + " where an image has several; `groups` says logical or
    structural. Test images in the order good, logical, structural, each by name. Raises ValueError for
    every deviation from the layout, naming the first path that is wrong, and for files that cannot be read.
    """
    root = local(root)
    there = categories(root)
    if category not in there:
        raise ValueError(f"{root / category} has no train folder; categories here: {', '.join(there)}.")
    folder = root / category
    rules = read_rules(folder / CONFIG)
    expected = None if size is None else pair(size)
    paths = [(GOOD, path) for path in image_files(folder / "test" / GOOD)]
    for group in GROUPS:
        paths += [(group, path) for path in image_files(folder / "test" / f"{group}_anomalies")]
    train_paths = image_files(folder / "train" / GOOD)
    train, _ = stack(train_paths, expected)
    like = train.shape[2:], train_paths[0]
    validation, _ = stack(image_files(folder / "validation" / GOOD), expected, *like)
    test, originals = stack([path for _, path in paths], expected, *like)
    shape = test.shape[2], test.shape[3]
    there_are = {path for group, path in paths if group != GOOD}
    _no_truth_left_over(folder, there_are)
    defects = [
        [] if group == GOOD else _truth(path, rules, original, shape)
        for (group, path), original in zip(paths, originals, strict=True)
    ]
    names = [" + ".join(dict.fromkeys(a.kind for a in found)) or GOOD for found in defects]
    labels = torch.tensor([group != GOOD for group, _ in paths])
    masks = union(defects, shape)
    groups = [group for group, _ in paths]
    return AnnotatedDataset(category, train, test, masks, labels, names, LICENCE, defects, groups, validation)


@checked
def read_rules(path: str | Path) -> dict[int, Rule]:
    """Read a `defects_config.json`: pixel value → rule; ValueError, naming the file, for any other content."""
    path = local(path)
    if not path.is_file():
        raise ValueError(f"{path} is missing; it says what the pixel values of the ground truth mean.")
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        rules = [_rule(entry) for entry in entries]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{path} is not a list of entries with defect_name, pixel_value (1 to 255), saturation_threshold "
            f"(> 0, at most 1 if relative) and relative_saturation (true or false): {error!r}; copy it again."
        ) from error
    found = {rule.pixel_value: rule for rule in rules}
    if not rules or len(found) < len(rules):
        raise ValueError(
            f"{path} has {len(rules)} entries with {len(found)} pixel values; each needs its own."
        )
    return found


def _rule(entry: dict[str, Any]) -> Rule:
    value, threshold = entry["pixel_value"], float(entry["saturation_threshold"])
    relative = entry["relative_saturation"]
    if type(value) is not int or not 1 <= value <= 255 or type(relative) is not bool:
        raise ValueError(f"pixel_value {value!r}, relative_saturation {relative!r}")
    if not 0 < threshold <= (1 if relative else float("inf")):
        raise ValueError(f"saturation_threshold {threshold}")
    return Rule(str(entry["defect_name"]), value, threshold, relative)


def _truth_folder(image: Path) -> Path:
    return image.parents[2] / "ground_truth" / image.parent.name / image.stem


def _no_truth_left_over(folder: Path, images: set[Path]) -> None:
    known = {_truth_folder(path) for path in images}
    for group in GROUPS:
        truth = folder / "ground_truth" / f"{group}_anomalies"
        for path in visible(truth) if truth.is_dir() else []:
            if path.is_dir() and path not in known:
                raise ValueError(f"{path} belongs to no test image; copy the data set again.")


def _truth(image: Path, rules: dict[int, Rule], original: Size, size: Size) -> list[Annotation]:
    """Read the defects of one image, one a file."""
    folder = _truth_folder(image)
    if not folder.is_dir():
        raise ValueError(
            f"{folder} is missing, the folder with the masks of {image}; copy the data set again."
        )
    return [_annotation(path, rules, original, size) for path in image_files(folder)]


def _annotation(path: Path, rules: dict[int, Rule], original: Size, size: Size) -> Annotation:
    picture, *_ = opened(path)
    mode, values = picture.mode, np.asarray(picture)
    if mode not in ("L", "P") or values.shape != original:
        raise ValueError(
            f"{path} is {mode} {values.shape}, its image is {original}; a mask has one 8-bit channel and its "
            "image's size."
        )
    found = [int(value) for value in np.unique(values) if value]
    if len(found) != 1 or found[0] not in rules:
        raise ValueError(
            f"{path} has the values {found[:5]} beside 0; expected exactly one of {sorted(rules)[:5]}…, the "
            f"pixel values of {CONFIG}."
        )
    rule, mask = rules[found[0]], torch.from_numpy(values > 0)
    pixels = int(mask.sum())
    small = resize_mask(mask, size)
    if small is mask:
        return Annotation(mask, rule.area(pixels), rule.defect_name)
    return Annotation(small, rule.area(pixels) / pixels * int(small.sum()), rule.defect_name)


# For tests ------------------------------------------------------------------------------------------------


@checked
def write(data: AnnotatedDataset, root: str | Path, category: str, rules: Sequence[Rule]) -> None:
    """Write a data set as 8-bit PNG files in the MVTec LOCO layout, with one rule for each name of a defect."""
    folder = inside(local(root), category)
    values = {rule.defect_name: rule.pixel_value for rule in rules}
    for split, images in (("train", data.train), ("validation", data.validation)):
        for index, image in enumerate(images):
            save(image, folder / split / GOOD / f"{index:03d}.png")
    for index, (image, group, found) in enumerate(zip(data.test, data.groups, data.defects, strict=True)):
        name = group if group == GOOD else f"{group}_anomalies"
        save(image, folder / "test" / name / f"{index:03d}.png")
        for number, defect in enumerate(found):
            path = folder / "ground_truth" / name / f"{index:03d}" / f"{number:03d}.png"
            save(defect.mask[None] * (values[defect.kind] / 255), path)
    (folder / CONFIG).write_text(json.dumps([vars(rule) for rule in rules], indent=2), encoding="utf-8")
