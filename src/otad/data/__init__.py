"""Images and masks, nothing else: every source returns one `Dataset`.

`drawn` (textures, object scenes, and the defects and corruptions for any picture), `packaged` (photographs of scikit-image,
ELPV's solar cells) and `readers` (your own copy of a data set, in the layouts of MVTec AD, MVTec LOCO AD, Real-IAD and the
fabrics) all end in a function `load(…) -> Dataset`; `annotations` are defects that are told apart.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from otad.checks import check_images, check_room, checked, shown

GOOD = "good"
MOST = 2**15  # pixels a side


@checked
@dataclass(frozen=True)
class Dataset:
    """Normal images to learn from, test images to judge, and what is known about the latter.

    train   : (N,3,H,W) float, RGB in [0,1], normal only.
    test    : (M,3,H,W), the same size.
    masks   : (M,H,W) bool, True on defective pixels; None where a data set has image labels only.
    labels  : (M,) bool, True = defective.
    kinds   : M names, "good" or the type of defect.
    licence : the terms under which the images may be used.

    Raises ValueError for a wrong shape, range or dtype, NaN, an empty normal set, and masks or labels that
    disagree with the images or with each other.
    """

    name: str
    train: Tensor
    test: Tensor
    masks: Tensor | None
    labels: Tensor
    kinds: list[str]
    licence: str

    def __post_init__(self) -> None:
        """Check once, here, so that no page computes on a broken data set."""
        if self.train.ndim and len(self.train) == 0:
            raise ValueError(
                f"{self.name}: the normal set is empty, train has shape {tuple(self.train.shape)}; "
                "give at least one normal image (n_train >= 1, or files in train/good)."
            )
        check_images(self.train, f"{self.name}.train")
        check_images(self.test, f"{self.name}.test")
        if self.train.shape[1:] != self.test.shape[1:]:
            raise ValueError(
                f"{self.name}: train images are {tuple(self.train.shape[2:])}, test images "
                f"{tuple(self.test.shape[2:])}; resize both to one size."
            )
        self._check_labels()
        if self.masks is not None:
            self._check_masks(self.masks)

    def _check_labels(self) -> None:
        n = len(self.test)
        if self.labels.dtype != torch.bool or self.labels.shape != (n,):
            raise ValueError(
                f"{self.name}: labels must be bool of shape ({n},), one a test image, got "
                f"{self.labels.dtype} {tuple(self.labels.shape)}; use (scores > 0) to make booleans."
            )
        if len(self.kinds) != n:
            raise ValueError(
                f"{self.name}: {n} test images, {len(self.kinds)} kinds; give one name an image."
            )
        for index, (kind, defective) in enumerate(zip(self.kinds, self.labels.tolist(), strict=True)):
            if (kind == GOOD) == defective:
                raise ValueError(
                    f"{self.name}: test image {index} has kind {kind!r} and label defective={defective}; "
                    f"good images, and only they, are called {GOOD!r}."
                )

    def _check_masks(self, masks: Tensor) -> None:
        expected = (len(self.test), *self.test.shape[2:])
        if masks.dtype != torch.bool or tuple(masks.shape) != expected:
            raise ValueError(
                f"{self.name}: masks must be bool of shape {expected}, the size of the test images, got "
                f"{masks.dtype} {tuple(masks.shape)}; resize masks with nearest neighbour, then masks > 0."
            )
        wrong = torch.nonzero(masks.flatten(1).any(1) & ~self.labels).flatten().tolist()
        if wrong:
            raise ValueError(f"{self.name}: good test images {wrong[:5]} have a mask; mend mask or label.")


@checked
def pair(size: int | tuple[int, int], least: int = 16) -> tuple[int, int]:
    """Read a size, one side or (height, width) in pixels; ValueError below `least` or above MOST pixels a side."""
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < least:
        raise ValueError(f"size {(height, width)} is too small; give at least {least} pixels a side.")
    if max(height, width) > MOST:
        raise ValueError(f"size {(height, width)} is too large; give at most {MOST} pixels a side.")
    return int(height), int(width)


@checked
def resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (N,C,H,W) to (height, width) by antialiased bilinear interpolation, values kept in [0,1]."""
    if images.ndim != 4 or not images.is_floating_point() or not images.numel() or min(size) < 1:
        raise ValueError(
            f"images are {shown(images)}, size is {size}: expected floats (N,C,H,W), not empty, and sides of 1 or more."
        )
    check_room("the resized batch", *images.shape[:2], *size)
    if tuple(images.shape[2:]) == tuple(size):
        return images
    precise = images.to(torch.promote_types(images.dtype, torch.float32))  # torch resizes no half precision
    smooth = functional.interpolate(precise, size, mode="bilinear", align_corners=False, antialias=True)
    return smooth.clamp(0.0, 1.0).to(images.dtype)
