"""The textures of pages 11 and 12: which there are, and which defects a seed meets."""

from functools import lru_cache
from typing import Any

from torch import Tensor

from otad.data import Dataset
from otad.data.drawn import defects, textures
from otad.data.packaged import photographs
from otad.data.readers import folders
from otad.data.readers.locations import location


def classes(scale: str) -> list[str]:
    """Return the textures; MVTec AD has classes of the names that we draw."""
    if scale == "smoke":
        return [textures.NAMES[2], photographs.NAMES[2]]
    return list(textures.NAMES) + ([] if scale == "paper" else list(photographs.NAMES))


def dealt(
    name: str, seed: int, first_seed: int, grid: dict[str, Any], scale: str
) -> tuple[Tensor, Tensor, list[str]]:
    """Return test images (N,3,side,side), masks and kinds of a texture; from disk a seed is one of disjoint parts.

    grid: side, n_seeds, n_good pictures without a defect, n_kinds of the six defects: every other, from the first or the second on.
    """
    if scale == "paper":
        data, part = _on_disk(name, grid["side"]), slice(seed - first_seed, None, grid["n_seeds"])
        assert data.masks is not None
        return data.test[part], data.masks[part], data.kinds[part]
    source = textures if name in textures.NAMES else photographs
    kinds = defects.KINDS[(classes(scale).index(name) + seed) % 2 :: 2][: grid["n_kinds"]]
    data = source.load(name, grid["side"], 1, grid["n_good"], 1, defects=kinds, seed=seed)
    return data.test, data.masks, data.kinds


@lru_cache(maxsize=1)
def _on_disk(name: str, side: int) -> Dataset:
    return folders.load(location("mvtec_ad"), name, size=side)
