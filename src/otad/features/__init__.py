"""Feature maps (N,C,h,w) from images (N,3,H,W)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from otad.checks import check_images, shown

__all__ = ["check_images", "check_maps", "feature_maps"]


def feature_maps(backbone: Callable[[Tensor], Sequence[Tensor]], images: Tensor) -> list[Tensor]:
    """Call a backbone, anybody's, and check what it returns: one or more finite float maps (N,C,h,w), N as images."""
    maps = backbone(images)
    if isinstance(maps, Sequence) and not len(maps):
        raise ValueError("the backbone returned no feature map: expected at least one map; give it a stage.")
    check_maps(maps, len(images))
    if not all(bool(m.isfinite().all()) for m in maps):
        raise ValueError("the backbone returned values that are NaN or infinite: check images and weights.")
    return list(maps)


def check_maps(maps: Sequence[Tensor], n: int) -> None:
    """Raise ValueError unless these are float maps (N,C,h,w) of N = n images."""
    several = isinstance(maps, Sequence)
    if not several or not all(
        isinstance(m, Tensor) and m.ndim == 4 and m.is_floating_point() and len(m) == n and m.numel()
        for m in maps
    ):
        came = ", ".join(map(shown, maps)) if several else shown(maps)
        raise ValueError(
            f"the feature maps are {came}: expected a list of float tensors (N,C,h,w) with N = {n}."
        )
