"""FCA's maps beside those of Aota et al., picture by picture: page 14.

A cell is a texture; it has a row a damaged picture, with the average precision of each method. The page draws the maps themselves;
what else it asks of them stands in `fca_maps_asked`.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from otad.data import GOOD, resize
from otad.data.drawn import textures
from otad.data.drawn.defects import KINDS, damage
from otad.data.packaged import photographs
from otad.data.readers import folders
from otad.data.readers.locations import location
from otad.features.handcrafted import minmax
from otad.features.pretrained import efficientnet_lite0, wide_resnet50_2
from otad.methods.matching.aota import Aota
from otad.methods.matching.fca import FCA
from otad.methods.matching.patch_statistics import histogram
from otad.metrics import average_precision
from otad.scale import device, pick
from otad.studies import Cell, Row, Study

FIRST_SEED, N_DRAWS = 200, 2


def setting(scale: str) -> dict[str, Any]:
    """Return the sizes of a scale: of the pictures, the patch, and the border that is left out of everything."""
    side = pick(scale, smoke=64, laptop=160, paper=1024)
    T = pick(scale, smoke=3, laptop=5, paper=9)
    return {"side": side, "T": T, "border": round(100 / 1024 * side)}


def classes(scale: str) -> tuple[str, ...]:
    """Return the textures; MVTec AD has classes of the names that we draw."""
    every = textures.NAMES + photographs.NAMES
    return pick(scale, smoke=("leather", "grass"), laptop=every, paper=textures.NAMES)


def cells(scale: str) -> list[Cell]:
    """Return a cell a texture."""
    return [{"texture": name} for name in classes(scale)]


def load(name: str, s: int, scale: str) -> tuple[Tensor, Tensor, list[str], Tensor | None]:
    """Return pictures (N,3,side,side), masks, kinds, and the pictures before the damage (None: a folder has no past).

    A draw has a good picture and one with each of the six kinds of defect, planted on pictures that were good.
    """
    side = setting(scale)["side"]
    if scale == "paper":
        data: Any = folders.load(location("mvtec_ad"), name, size=side)
        kept = slice(s - FIRST_SEED, None, N_DRAWS)
        return data.test[kept], data.masks[kept], data.kinds[kept], None
    photo = name in photographs.NAMES
    kinds = [GOOD, *KINDS]
    good = (photographs if photo else textures).load(name, side, 1, len(kinds), 0, seed=s).test
    images, masks = damage(list(good), kinds, [s, classes(scale).index(name)], grey=photo)
    return images, masks, kinds, good


@lru_cache(maxsize=1)
def network(scale: str) -> Any:
    """Return the backbone."""
    if scale == "paper":
        return wide_resnet50_2(stages=(8,), device=device())
    return efficientnet_lite0(stages=(4,), device=device())


def methods(scale: str) -> dict[str, Callable[[Tensor], Tensor]]:
    """Return method → images (N,3,H,W) → maps (N,H,W); Aota's are smoothed over 4 of 320 pixels, at paper scale it is given 320 x 320."""
    net, T = network(scale), setting(scale)["T"]

    def aota(images: Tensor) -> Tensor:
        small = resize(images, (320, 320)) if scale == "paper" else images
        maps = Aota(net, sigma=4 * small.shape[-1] / 320).score(small).maps
        return F.interpolate(maps[:, None], images.shape[-2:], mode="bilinear")[:, 0]

    return {"FCA": lambda x: FCA(net, patch_size=T).score(x).maps, "Aota": aota}


def histograms(images: Tensor, scale: str) -> Tensor:
    """Return maps (N,H,W) of the local histogram, of the same features and patch."""
    with torch.no_grad():
        features = minmax(network(scale)(images.to(device()))[0])
    small = torch.stack([histogram(f, setting(scale)["T"], sigma=6.0, bins=10) for f in features])
    return F.interpolate(small[:, None], images.shape[-2:], mode="bilinear")[:, 0]


def inner(scale: str) -> tuple[Any, ...]:
    """Return the index of what is left after the crop."""
    side, border = setting(scale)["side"], setting(scale)["border"]
    return (..., slice(border, side - border), slice(border, side - border))


def pooled(cell: Cell, scale: str) -> dict[str, Any]:
    """Return all of a texture, cropped: images, masks, kinds, the draw of each, maps of each method, and the same before the damage.

    `whole`, `full`: images and masks before the crop.
    """
    draws = [load(cell["texture"], s, scale) for s in range(FIRST_SEED, FIRST_SEED + N_DRAWS)]
    images, full = torch.cat([d[0] for d in draws]), torch.cat([d[1] for d in draws])
    where = inner(scale)
    found: dict[str, Any] = {
        "whole": images,
        "images": images[where],
        "full": full,
        "masks": full[where].numpy(),
        "kinds": [kind for d in draws for kind in d[2]],
        "draw": np.repeat(range(N_DRAWS), [len(d[0]) for d in draws]),
    }
    for name, score in methods(scale).items():
        found[name] = score(images.to(device())).cpu()[where].numpy()
    past = [d[3] for d in draws if d[3] is not None]
    if past:
        before = torch.cat(past)
        found["before"] = before[where]
        found["FCA before"] = methods(scale)["FCA"](before.to(device())).cpu()[where].numpy()
    return found


def rows(of: dict[str, Any]) -> Iterator[Row]:
    """Yield average precision by both methods, a row a damaged picture, and the share of damaged pixels."""
    for i, mask in enumerate(of["masks"]):
        if mask.any():
            precision = {m: average_precision(of[m][i], mask) for m in ("FCA", "Aota")}
            yield {"i": i, "kind": of["kinds"][i]} | precision | {"share": float(mask.mean())}


def compute(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield the rows of a texture."""
    yield from rows(pooled(cell, scale))


STUDY = Study("fca_maps", cells, compute, seconds=5.0)
