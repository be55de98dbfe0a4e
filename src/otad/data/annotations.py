"""Defects that are told apart, as MVTec AD LOCO annotates them: what a mask is of, and how much of it is enough to find.

Source: Bergmann et al., Beyond Dents and Scratches (IJCV 2022), Sec. 3 and 4.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from otad.checks import check_images, check_room, checked
from otad.data import GOOD, Dataset

GROUPS = ("logical", "structural")


@checked
@dataclass(frozen=True)
class Annotation:
    """One annotated defect of one image; `otad.metrics.auspro` takes it as it takes its own `Defect`.

    mask            : (H,W) bool, one defect, connected or not.
    saturation_area : pixels of it that are enough to find, 0 < saturation_area ≤ pixels of the mask.
    kind            : name of the type of defect.

    Raises ValueError for a mask that is not bool (H,W) or is empty, and for an area outside the range.
    """

    mask: Tensor
    saturation_area: float
    kind: str

    def __post_init__(self) -> None:
        """Refuse what no metric can use."""
        if self.mask.dtype != torch.bool or self.mask.ndim != 2:
            raise ValueError(
                f"the mask of {self.kind!r} is {self.mask.dtype} {tuple(self.mask.shape)}: expected bool "
                "(H,W); use mask > 0."
            )
        area = int(self.mask.sum())
        if not 0 < self.saturation_area <= area:
            raise ValueError(
                f"{self.kind!r} has {area} pixels and saturation area {self.saturation_area}: expected "
                "0 < saturation area ≤ pixels; leave empty masks out."
            )


@checked
@dataclass(frozen=True)
class AnnotatedDataset(Dataset):
    """A data set whose defects are told apart; `masks` is their union, image by image.

    defects    : for each test image the list of its annotations, [] for a good image.
    groups     : M names, "good", "logical" or "structural".
    validation : (V,3,H,W) normal images that are for tuning, neither trained on nor tested; V may be 0.
    foreground : (N,H,W) bool, where the object is in the training images; None where nobody knows.

    Raises ValueError as `Dataset` does, and where defects and groups disagree with masks and labels.
    """

    defects: list[list[Annotation]]
    groups: list[str]
    validation: Tensor
    foreground: Tensor | None = None

    def __post_init__(self) -> None:
        """Check once, here, as `Dataset` does."""
        super().__post_init__()
        if len(self.validation):
            check_images(self.validation, f"{self.name}.validation")
        if self.foreground is not None and (
            self.foreground.dtype != torch.bool or self.foreground.shape != self.train[:, 0].shape
        ):
            raise ValueError(
                f"{self.name}: foreground is {self.foreground.dtype} {tuple(self.foreground.shape)}: expected bool "
                f"{tuple(self.train[:, 0].shape)}, a mask a training image."
            )
        if not len(self.defects) == len(self.groups) == len(self.test):
            raise ValueError(
                f"{self.name}: {len(self.test)} test images, {len(self.defects)} lists of defects and "
                f"{len(self.groups)} groups; give one of each an image."
            )
        for index, (found, group, bad) in enumerate(
            zip(self.defects, self.groups, self.labels.tolist(), strict=True)
        ):
            expected = GROUPS if bad else (GOOD,)
            if group not in expected or bool(found) != bad:
                raise ValueError(
                    f"{self.name}: test image {index} has group {group!r}, {len(found)} defects and label "
                    f"defective={bad}; expected a group of {expected} and defects only where it is defective."
                )

    def part(self, group: str) -> list[int]:
        """List the test images that belong to one group's evaluation: its own and all good ones.

        LOCO evaluates logical and structural defects apart, each beside all good images, then averages.
        Raises ValueError for a group other than those of `GROUPS`.
        """
        if group not in GROUPS:
            raise ValueError(f"unknown group {group!r}; choose from {', '.join(GROUPS)}.")
        return [index for index, name in enumerate(self.groups) if name in (GOOD, group)]


@checked
def union(defects: Sequence[Sequence[Annotation]], size: tuple[int, int]) -> Tensor:
    """Merge the defects of each image into one mask: (N,H,W) bool."""
    wrong = [a.mask.shape for found in defects for a in found if a.mask.shape != tuple(size)]
    if min(size) < 1 or wrong:
        raise ValueError(
            f"size is {size}, masks have shapes {[tuple(s) for s in wrong[:5]]}: expected that size."
        )
    check_room("the masks", len(defects), *size)
    masks = torch.zeros(len(defects), *size, dtype=torch.bool)
    for mask, found in zip(masks, defects, strict=True):
        for annotation in found:
            mask |= annotation.mask
    return masks
