"""Which statistic of a patch, which features of a pixel: page 11.

A cell is a seed and a texture; it has rows for each feature and statistic: of all pictures together with the border cut and kept, and of
each defect alone. On the first seed two features are also scored with the paper's widths taken as numbers of samples.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from otad.data.drawn import textures
from otad.features.handcrafted import colours, minmax, random_kernels, steerable_pyramid
from otad.features.pretrained import efficientnet_lite0, vgg19
from otad.methods.matching.fca import FCA
from otad.methods.matching.patch_statistics import histogram, moments, sample_weighted_wasserstein
from otad.metrics import aupro, pixel_auroc
from otad.scale import device, pick
from otad.studies import Cell, Row, Study
from otad.studies.fca_textures import classes, dealt

FIRST_SEED = 100  # smaller ones were used up in choosing the protocol
FEATURES = ("colours", "random", "steerable", "network", "network, deeper")
COMPETING = FEATURES[:4]
STATISTICS = ("moments", "histogram", "SWW", "FCA")
SHAKEN = ("network", "steerable")  # features scored with both widths
METRICS = ("PRO", "AUROC")


def setting(scale: str) -> dict[str, Any]:
    """Return the sizes of a scale."""
    side = pick(scale, smoke=64, laptop=160, paper=256)
    n_good, n_kinds = pick(scale, smoke=(1, 2), laptop=(1, 3))
    return {
        "side": side,  # of the images, in pixels
        "step": pick(scale, smoke=4, laptop=4, paper=1),  # pixels between two samples
        "T": pick(scale, smoke=3, laptop=5, paper=25),  # side of a patch, in samples
        "n_random": pick(scale, smoke=4, laptop=8, paper=128),  # random kernels
        "border": round(0.1 * side),  # pixels left out at each side when scoring
        "n_seeds": pick(scale, smoke=2, laptop=10),
        "n_good": n_good,  # pictures a texture and seed
        "n_kinds": n_kinds,
        "n_shaken": 1,  # seeds with both widths
    }


def cells(scale: str) -> list[Cell]:
    """Return a cell a seed and texture."""
    seeds = range(FIRST_SEED, FIRST_SEED + setting(scale)["n_seeds"])
    return [{"seed": s, "texture": name} for s in seeds for name in classes(scale)]


def pictures(cell: Cell, scale: str) -> tuple[Tensor, Tensor, list[str]]:
    """Return a cell's test images (N,3,side,side), masks and kinds."""
    return dealt(cell["texture"], cell["seed"], FIRST_SEED, setting(scale), scale)


@lru_cache
def network(scale: str) -> Any:
    """Return the backbone: two stages, of which the second stands out of competition."""
    if scale == "paper":
        return vgg19(stages=(1, 2), device=device())
    return efficientnet_lite0(stages=(4, 8), device=device())


def dense(name: str, images: Tensor, seed: int, scale: str) -> Tensor:
    """Return features (N,C,h,w): at every pixel, or as the network has them."""
    handmade: dict[str, Callable[[Tensor], Tensor]] = {
        "colours": colours,
        "random": partial(random_kernels, n=setting(scale)["n_random"], seed=seed),
        "steerable": steerable_pyramid,
    }
    if name in handmade:
        return handmade[name](images)
    with torch.no_grad():
        return network(scale)(images)[FEATURES.index(name) - 3]


def features_of(name: str, images: Tensor, seed: int, scale: str) -> Tensor:
    """Return features (N,C,h,w) on one grid: at every `step`-th pixel, which is the network's own stride."""
    found, step = dense(name, images, seed, scale), setting(scale)["step"]
    return found if name.startswith("network") else found[..., step // 2 :: step, step // 2 :: step]


def patch(name: str, scale: str) -> int:
    """Return T: twice the stride takes half the samples, rounded to an odd number."""
    T = setting(scale)["T"]
    return max(3, 2 * (T // 4) + 1) if name == "network, deeper" else T


def statistics(T: int, unit: float) -> dict[str, Callable[[Tensor], Tensor]]:
    """Return the four by name, with Gaussian widths in units of `unit` samples; unit = T / 25 keeps the paper's proportions."""
    smoothing = unit if unit >= 0.5 else None  # narrower, it moves nothing: Eq. 5
    fca = FCA(patch_size=T, sigma_p=3 * unit, sigma_s=smoothing)
    return {
        "moments": lambda f: moments(f, T, sigma=6 * unit),
        "histogram": lambda f: histogram(f, T, sigma=6 * unit, bins=10),
        "SWW": lambda f: sample_weighted_wasserstein(f, T, sigma=6 * unit),
        "FCA": fca.score_features,
    }


def all_maps(
    name: str, images: Tensor, seed: int, scale: str, unit: float | None = None
) -> dict[str, Tensor]:
    """Return maps (N,side,side) of each statistic on one feature; every channel of every image is scaled to [0,1] first."""
    scaled = minmax(features_of(name, images.to(device()), seed, scale))
    T, side, maps = patch(name, scale), setting(scale)["side"], {}
    for statistic, score in statistics(T, T / 25 if unit is None else unit).items():
        small = torch.stack([score(f) for f in scaled])[:, None]
        maps[statistic] = F.interpolate(small, size=(side, side), mode="bilinear")[:, 0].cpu()
    return maps


def inner(scale: str) -> tuple[Any, slice, slice]:
    """Return where pictures are scored: a tenth is cut off at each side, as in the authors' code (100 of 1024 pixels)."""
    border = setting(scale)["border"]
    return (..., slice(border, -border), slice(border, -border))


def scored(maps: Tensor, masks: Tensor) -> dict[str, float]:
    """Return PRO and pixel AUROC in percent."""
    return {"PRO": 100 * aupro(maps, masks), "AUROC": 100 * pixel_auroc(maps, masks)}


def frame(m: Tensor, part: Any) -> float:
    """Return the mean score in what is cut off, against the mean inside."""
    return float((m.sum() - m[part].sum()) / (m.numel() - m[part].numel()) / m[part].mean())


def compute(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield rows of three kinds: border cut and kept; a defect alone; widths as printed."""
    images, masks, kinds = pictures(cell, scale)
    s, part = cell["seed"], inner(scale)
    for feature in FEATURES:
        for statistic, m in all_maps(feature, images, s, scale).items():
            key = {"feature": feature, "statistic": statistic}
            yield key | {"what": "cut"} | scored(m[part], masks[part])
            yield key | {"what": "kept", "frame": frame(m, part)} | scored(m, masks)
            for i, kind in enumerate(kinds):
                if masks[part][i].any():
                    found = 100 * pixel_auroc(m[part][i : i + 1], masks[part][i : i + 1])
                    yield key | {"what": "single", "kind": kind, "AUROC": found}
    if s < FIRST_SEED + setting(scale)["n_shaken"]:
        for feature in SHAKEN:
            for statistic, m in all_maps(feature, images, s, scale, unit=1.0).items():
                yield (
                    {"feature": feature, "statistic": statistic, "what": "widths as printed"}
                    | scored(m[part], masks[part])
                )


def powers_of_colours(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield pixel AUROC of moments of the colours, a row a choice of powers and defect: the exercise of page 11."""
    grid, part = setting(scale), inner(scale)
    wide = 2 * (grid["T"] * grid["step"] // 2) + 1  # the patch in pixels
    chosen = ("blur", "colour", "hole")
    number = 1000 + cell["seed"]
    data: Any = textures.load(cell["texture"], grid["side"], 1, 1, 1, defects=chosen, seed=number)
    f = minmax(colours(data.test))
    padded = F.pad(f, (wide // 2,) * 4, mode="reflect")
    detail = f - F.avg_pool2d(padded, wide, stride=1)
    tries = {"1": (f, (1,)), "2": (f, (2,)), "1 2 3 4": (f, (1, 2, 3, 4)), "2, mean removed": (detail, (2,))}
    for name, (features, powers) in tries.items():
        maps = torch.stack([moments(one, wide, 6 * wide / 25, powers) for one in features])[part]
        for i, kind in enumerate(data.kinds):
            if kind != "good":
                found = 100 * pixel_auroc(maps[i : i + 1], data.masks[part][i : i + 1])
                yield {"powers": name, "kind": kind, "AUROC": found}


STUDY = Study("fca_statistics", cells, compute, seconds=2.0)
