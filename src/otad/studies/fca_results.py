"""FCA against what finds defects from one picture, and against PatchCore: page 13.

A cell of the run is a class and a seed, and has a row a method. A cell of the search is a class and a seed that is not judged; it has
a row for both tuned methods and each set of strides. What the search chooses is written down here, since the run needs it; the page
raises if the search says otherwise.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from otad.data import resize
from otad.data.drawn import textures
from otad.data.drawn.defects import KINDS, damage
from otad.data.packaged import photographs, solar
from otad.data.readers import fabrics, folders
from otad.data.readers.locations import location
from otad.features.handcrafted import minmax
from otad.features.pretrained import efficientnet_lite0, wide_resnet50_2
from otad.methods.maps import smooth
from otad.methods.matching.aota import Aota
from otad.methods.matching.fca import FCA
from otad.methods.matching.ranks import Reference
from otad.methods.matching.weathering import Weathering
from otad.methods.memory.patchcore import PatchCore
from otad.methods.saliency.contrast import HistogramContrast, RegionContrast
from otad.metrics import aupro, f1_max, image_auroc, pixel_auroc
from otad.scale import device, pick
from otad.studies import Cell, Row, Study
from otad.transport import Ties

FIRST_SEED = 300  # smaller ones were used up in choosing the protocol, or are the search's
PARTS = 5  # of the test pictures at paper scale: each is a seed
SIGMA_P, SIGMA_S, T_LOW = 3.0, 1.0, 3
BLUR = 4 / 320  # of Aota's map, as a share of the side
IN_TABLE_6 = ("FCA", "FCA low", "FCA low + KNN", "Aota")
AT_320 = ("dtd_synthetic", "aitex")  # these two come at 320 pixels: there is no full resolution
Strides = tuple[int, ...]
CHOSEN: dict[str, dict[str, Strides]] = {  # by the search; at paper scale by each paper
    "smoke": {"FCA": (4, 8), "PatchCore": (4, 8)},
    "laptop": {"FCA": (4, 8), "PatchCore": (4, 8)},
    "paper": {"FCA": (8,), "PatchCore": (8, 16)},
}


def setting(scale: str) -> dict[str, Any]:
    """Return the sizes of a scale: pictures, patches, seeds, the search."""
    n_good, n_kinds = pick(scale, smoke=(1, 1), laptop=(2, 3))
    full = pick(scale, smoke=64, laptop=256)  # data sets on disk have their own
    return {
        "full": full,
        "low": pick(scale, smoke=32, laptop=96, paper=320),
        "T": pick(scale, smoke=5, laptop=9),
        "side_of_patchcore": min(full, 256),  # for its blur is 4 pixels there
        "n_tuning": pick(scale, smoke=1, laptop=5, paper=0),
        "n_good": n_good,  # test pictures a class
        "n_kinds": n_kinds,
        "n_train": pick(scale, smoke=2, laptop=5),  # normal pictures for PatchCore alone
    }


def groups(scale: str) -> dict[str, tuple[str, ...]]:
    """Return the groups of classes; the last is the objects."""
    if scale == "paper":
        names = folders.categories(location("mvtec_ad"))
        rest = tuple(c for c in names if c not in textures.NAMES)
        return {"mvtec_ad": textures.NAMES} | fabrics.CLASSES | {"objects": rest}
    return {
        "procedural": pick(scale, smoke=("wood",), laptop=textures.NAMES),
        "photographs": pick(scale, smoke=("brick",), laptop=photographs.NAMES),
        "weaves": pick(scale, smoke=("grid",), laptop=("carpet", "grid")),
        "cells": solar.CELLS,
    }


def panel(scale: str) -> tuple[str, ...]:
    """Return the groups that the claims about Table 3 are judged on."""
    return ("mvtec_ad",) if scale == "paper" else ("procedural", "photographs")


def objects(scale: str) -> str:
    """Return the group that is no texture."""
    return "objects" if scale == "paper" else "cells"


def tries(scale: str) -> tuple[Strides, ...]:
    """Return the sets of strides that the search tries with both methods."""
    every: tuple[Strides, ...] = ((4,), (8,), (16,), (4, 8), (8, 16))
    return pick(scale, smoke=((4,), (4, 8)), laptop=every, paper=((8,), (8, 16)))


def best_of(found: Any) -> dict[str, Strides]:
    """Return the strides with the highest mean PRO of each method; found: the rows of the search as a DataFrame."""
    means = found.groupby(["method", "strides"])["PRO"].mean()
    return {m: tuple(map(int, means[m].idxmax().split(" and "))) for m in ("FCA", "PatchCore")}


def n_seeds(scale: str) -> int:
    """Return how many seeds are judged: what may grow without a cell being computed again."""
    return pick(scale, smoke=2, laptop=20, paper=PARTS)


def cells(scale: str) -> list[Cell]:
    """Return the cells of the search, then those of the run."""
    grid, sets = setting(scale), groups(scale)
    tuning = range(FIRST_SEED - grid["n_tuning"], FIRST_SEED)
    judged = range(FIRST_SEED, FIRST_SEED + n_seeds(scale))
    of_panel = [(g, c) for g in panel(scale) for c in sets[g]]
    search = [{"part": "search", "group": g, "class": c, "seed": s} for s in tuning for g, c in of_panel]
    return search + [
        {"part": "run", "group": g, "class": c, "seed": s} for g in sets for c in sets[g] for s in judged
    ]


# Pictures -----------------------------------------------------------------------------------------


def kinds_of(group: str, name: str, s: int, scale: str) -> list[str]:
    """Return good and the kinds of defects of a seed, which take turns; groups of two classes have every kind each time."""
    grid = setting(scale)
    if group not in panel(scale) and scale != "smoke":
        return ["good", *KINDS]
    shown = KINDS[(groups(scale)[group].index(name) + s) % 2 :: 2][: grid["n_kinds"]]
    return ["good"] * grid["n_good"] + list(shown)


@lru_cache(maxsize=1)
def on_disk(group: str, name: str) -> tuple[Any, Tensor]:
    """Return a class of the data sets on disk, and its normal images; MVTec AD's at PatchCore's size, since all at theirs take 5 GB."""
    if group in fabrics.CLASSES:
        data = fabrics.load(location(group), group, name)
        return data, data.train
    place, side = location("mvtec_ad"), setting("paper")["side_of_patchcore"]
    return folders.load(place, name, n_train=1), folders.load(place, name, side).train


def pictures(cell: Cell, scale: str) -> tuple[Any, Tensor, Tensor]:
    """Return normal images for PatchCore, test images and masks; from disk a seed is one of PARTS disjoint parts of the test images."""
    group, name, s = cell["group"], cell["class"], cell["seed"]
    grid = setting(scale)
    if scale == "paper":
        (data, train), part = on_disk(group, name), slice(s - FIRST_SEED, None, PARTS)
        return train, data.test[part], data.masks[part]
    kinds, full, n_train = kinds_of(group, name, s, scale), grid["full"], grid["n_train"]
    if group == "weaves":  # magnified 1.5 times
        large, i = round(1.5 * full), textures.NAMES.index(name)
        fresh = [textures.render(name, large, [s, 20 + i, n])[:, :full, :full] for n in range(len(kinds))]
        images, masks = damage(fresh, kinds, [s, 20 + i, 99])
        return None, images, masks
    if group == "cells":
        data = solar.planted(name, full, n_train, kinds, s, salt=30 + solar.CELLS.index(name))
    else:
        source = textures if group == "procedural" else photographs
        data = source.load(name, full, n_train, grid["n_good"], 1, defects=kinds[grid["n_good"] :], seed=s)
    return data.train, data.test, data.masks


# Contestants --------------------------------------------------------------------------------------


@lru_cache
def network(scale: str, strides: Strides) -> Any:
    """Return the backbone with some of its stages."""
    build = wide_resnet50_2 if scale == "paper" else efficientnet_lite0
    return build(stages=strides, device=device())


def base(scale: str) -> Any:
    """Return the backbone of all claims but fca-10."""
    return network(scale, (8,) if scale == "paper" else (4,))


def enlarge(maps: Sequence[Tensor] | Tensor, like: Tensor) -> Tensor:
    """Return maps (N,H,W) of the size of the images `like`."""
    stacked = torch.stack(list(maps)).float()[:, None]
    return F.interpolate(stacked, like.shape[-2:], mode="bilinear")[:, 0]


def look(net: Callable[[Tensor], list[Tensor]], images: Tensor, stage: int = 0) -> list[Tensor]:
    """Return features (C,h,w) of each image, every channel scaled to [0, 1]."""
    with torch.no_grad():
        return [minmax(net(image)[stage])[0] for image in images.to(device()).split(1)]


def fca(features: Sequence[Tensor], T: int, reference: Reference = "median") -> list[Tensor]:
    """Return FCA's maps; with KNN, ties by raster order: five times faster, and network features hardly have any."""
    ties: Ties = "index" if reference == "knn" else "mean"
    method = FCA(patch_size=T, sigma_p=SIGMA_P, sigma_s=SIGMA_S, reference=reference, ties=ties)
    return [method.score_features(f) for f in features]


def aota(features: Sequence[Tensor]) -> list[Tensor]:
    """Return the maps of Aota, Tong and Okatani: local means and nearest neighbours."""
    return [Aota(patch_size=3).score_features(f) for f in features]


def zero_shot(images: Tensor, group: str, scale: str) -> dict[str, Tensor]:
    """Return name to maps (N,H,W), each from its image alone."""
    grid, net = setting(scale), base(scale)
    small, blur = resize(images, (grid["low"], grid["low"])), BLUR * images.shape[-1]
    coarse = look(net, small)
    maps = {
        "FCA low": enlarge(fca(coarse, T_LOW), images),
        "Aota": smooth(enlarge(aota(coarse), images), blur),
    }
    if group != objects(scale):
        maps["FCA low + KNN"] = enlarge(fca(coarse, T_LOW, "knn"), images)
    if group not in AT_320:
        fine = look(net, images)
        maps["FCA"] = enlarge(fca(fine, grid["T"]), images)
        if group in panel(scale):
            maps["Aota full"] = smooth(enlarge(aota(fine), images), blur)
    if group in panel(scale):
        for name, method in (
            ("weathering", Weathering(n_candidates=4096)),
            ("saliency RC", RegionContrast(min_size=50)),
            ("saliency HC", HistogramContrast()),
        ):
            maps[name] = enlarge(method.score(small.to(device())).maps, images)
    return {name: m.cpu() for name, m in maps.items()}


def few_shot(train: Tensor, images: Tensor, s: int, strides: Strides, scale: str) -> dict[str, Tensor]:
    """Return PatchCore's maps: from one picture with every patch remembered, and from all with a tenth of the patches."""
    side, one = (setting(scale)["side_of_patchcore"],) * 2, (s - FIRST_SEED) % len(train)
    shots = {"PatchCore 1-shot": (1.0, slice(one, one + 1)), "PatchCore all": (0.1, slice(None))}
    small = resize(images, side).to(device())
    maps = {}
    for name, (ratio, which) in shots.items():
        normal = resize(train[which], side).to(device())
        method = PatchCore(network(scale, strides), coreset_ratio=ratio, seed=s)
        maps[name] = enlarge(method.fit(normal).score(small).maps, images).cpu()
    return maps


def fca_at(strides: Strides, images: Tensor, scale: str) -> Tensor:
    """Return maps (N,H,W): the mean over the strides, each with a patch of the same share of the picture."""
    maps: Any = 0
    for n, stride in enumerate(strides):
        share = setting(scale)["T"] * base(scale).strides[0] / stride
        T = max(3, 2 * round((share - 1) / 2) + 1)
        features = look(network(scale, strides), images, n)
        maps = maps + enlarge(fca(features, T), images) / len(strides)
    return maps.cpu()


# Numbers ------------------------------------------------------------------------------------------


def crop(maps: Tensor) -> Tensor:
    """Drop a tenth of the picture at each side, as the authors do (100 of 1024 pixels)."""
    border = round(0.1 * maps.shape[-1])
    return maps[:, border:-border, border:-border]


def numbers_of(name: str, maps: Tensor, masks: Tensor) -> dict[str, float]:
    """Return PRO and AUROC of pixels, image AUROC and F1 where they are asked for, in percent; all but `PRO whole` after the crop."""
    found = {"PRO whole": aupro(maps, masks)}
    maps, masks = crop(maps), crop(masks)
    bad = masks.flatten(1).any(1)
    found |= {"PRO": aupro(maps, masks), "AUROC": pixel_auroc(maps, masks)}
    if bad.any() and not bad.all():
        found["image AUROC"] = image_auroc(maps.flatten(1).amax(1), bad)
    if name in IN_TABLE_6:
        found["F1"] = f1_max(maps, masks)[0]
    return {metric: round(100 * value, 4) for metric, value in found.items()}


@dataclass(frozen=True)
class Contest:
    """One class and seed: test images (N,3,H,W), masks (N,H,W), and the maps (N,H,W) of each method."""

    images: Tensor
    masks: Tensor
    maps: dict[str, Tensor]

    def rows(self) -> Iterator[Row]:
        """Yield a row a method, with checksums of the pictures."""
        same = {"damaged": float(self.masks.float().mean()), "grey": float(self.images.mean())}
        for method, maps in self.maps.items():
            yield same | {"method": method} | numbers_of(method, maps, self.masks)


def contest(cell: Cell, scale: str) -> Contest:
    """Return pictures and all maps of a cell of the run."""
    train, images, masks = pictures(cell, scale)
    maps, strides = zero_shot(images, cell["group"], scale), CHOSEN[scale]
    if cell["group"] in (*panel(scale), objects(scale)):
        maps["FCA tuned"] = fca_at(strides["FCA"], images, scale)
        maps |= few_shot(train, images, cell["seed"], strides["PatchCore"], scale)
    return Contest(images, masks, maps)


def examples(
    contests: Sequence[Contest], methods: Sequence[str], whole: bool = False, side: int = 256
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Return images, masks and maps of the last defective picture of each, all of one size; uncropped with a good one before it."""
    found: list[Tensor] = []
    for c in contests:
        bad = c.masks.flatten(1).any(1)
        picks = torch.cat([(~bad).nonzero()[: int(whole), 0], bad.nonzero()[-1:, 0]])
        layers = torch.cat([c.images, c.masks[:, None], *(c.maps[m][:, None] for m in methods)], dim=1)[picks]
        border = 0 if whole else round(0.1 * layers.shape[-1])
        inner = layers[..., border : layers.shape[-2] - border, border : layers.shape[-1] - border]
        found.append(F.interpolate(inner, (side, side), mode="bilinear"))
    images, masks, maps = torch.cat(found).split((3, 1, len(methods)), dim=1)
    return images, masks[:, 0] > 0.5, {m: maps[:, k] for k, m in enumerate(methods)}


def search(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield a row for both methods with each of the tries."""
    train, images, masks = pictures(cell, scale)
    for strides in tries(scale):
        of_patchcore = few_shot(train, images, cell["seed"], strides, scale)["PatchCore all"]
        for method, maps in (("FCA", fca_at(strides, images, scale)), ("PatchCore", of_patchcore)):
            found = round(100 * aupro(crop(maps), crop(masks)), 4)
            yield {"method": method, "strides": " and ".join(map(str, strides)), "PRO": found}


def compute(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield the rows of a cell of either part."""
    yield from search(cell, scale) if cell["part"] == "search" else contest(cell, scale).rows()


STUDY = Study("fca_results", cells, compute, seconds=5.0)
