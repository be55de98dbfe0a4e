"""FCA, text against public code: each difference alone, in pairs, on the same pictures and features: page 16.

A cell is a texture and a seed; it has a row a run and area, the whole picture or the centre that the authors' crop leaves.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from otad.data import Dataset
from otad.data.drawn import textures
from otad.data.drawn.defects import KINDS
from otad.data.packaged import photographs
from otad.features.handcrafted import minmax
from otad.features.pretrained import efficientnet_lite0
from otad.methods.matching.aota import Aota
from otad.methods.matching.fca import FCA, patch_weights
from otad.methods.matching.patch_statistics import histogram, moments, sample_weighted_wasserstein
from otad.methods.matching.ranks import gaussian, matched_map
from otad.metrics import aupro, pixel_auroc
from otad.scale import device, pick
from otad.studies import Cell, Row, Study

FIRST_SEED = 0
T, SIGMA_P, SIGMA_S = 5, 3.0, 1.0
BINS = (5, 10, 25)
Score = Callable[[Tensor], Tensor]


def setting(scale: str) -> dict[str, Any]:
    """Return the sizes of a scale: of the pictures, number of seeds, widths of SWW."""
    side = pick(scale, smoke=64, laptop=128)
    return {
        "side": side,
        "n_seeds": pick(scale, smoke=2, laptop=5),
        "border": round(100 / 1024 * side),  # 50 of 512 for the woven fabrics
        "widths": pick(scale, smoke=(3.0, 6.0), laptop=(1.5, 3.0, 6.0)),
    }


def classes(scale: str) -> tuple[str, ...]:
    """Return five procedural textures and three cut from photographs."""
    return pick(scale, smoke=("grass",), laptop=textures.NAMES + photographs.NAMES)


def cells(scale: str) -> list[Cell]:
    """Return a cell a seed and texture."""
    seeds = range(FIRST_SEED, FIRST_SEED + setting(scale)["n_seeds"])
    return [{"seed": s, "texture": name} for s in seeds for name in classes(scale)]


def pictures(cell: Cell, scale: str) -> Dataset:
    """Return one good picture and two with defects; the kinds go round, so that every seed meets all six."""
    name, number = cell["texture"], cell["seed"] - FIRST_SEED
    source = textures if name in textures.NAMES else photographs
    kinds = KINDS[(classes(scale).index(name) + number) % 3 :: 3]
    return source.load(name, setting(scale)["side"], 1, 1, 1, defects=kinds, seed=cell["seed"])


@lru_cache(maxsize=1)
def network() -> Any:
    """Return the backbone."""
    return efficientnet_lite0(stages=(4,), device=device())


def versions(features: Tensor) -> dict[str, Tensor]:
    """Return features as they come; each channel to [0, 1] image by image; negative values cut off before, as a ReLU would."""
    return {"raw": features, "scaled": minmax(features), "rectified": minmax(features.relu())}


# One decision taken the other way -----------------------------------------------------------------


def whole_kernel() -> Tensor:
    """Return Eq. 6 with G_σs as wide as a patch allows (4 σ_s), where the code cuts it at 2 σ_s."""
    line = gaussian(2 * T - 1, SIGMA_S).sum(dim=0)
    unit = torch.eye(T, dtype=torch.float64)[:, None]
    padded = F.pad(unit, (T - 1, T - 1), mode="reflect")
    smooth = F.conv1d(padded, line[None, None])[:, 0].T
    return gaussian(T, SIGMA_P).flatten()[:, None] * torch.kron(smooth, smooth)


def sorted_tiles(f: Tensor) -> Tensor:
    """Return the values of the tiles, sorted: (C, tiles, T²)."""
    return f.unfold(1, T, T).unfold(2, T, T).flatten(3).flatten(1, 2).sort(dim=-1).values


def middle(f: Tensor) -> Tensor:
    """Score by FCA against the median of the tiles, where two values in the middle are averaged."""
    return matched_map(f, patch_weights(T, SIGMA_P, SIGMA_S), sorted_tiles(f).quantile(0.5, dim=1))


def coverage(f: Tensor) -> Tensor:
    """Return the share of the weights g_σp whose patch is centred in the map: 1 inside, less than half in a corner."""
    ones = torch.ones_like(f[:1, None])
    return F.conv2d(ones, gaussian(T, SIGMA_P).to(f)[None, None], padding=T // 2)[0, 0]


def as_printed(f: Tensor) -> Tensor:
    """Score by the paper read literally: all patches, whole kernel, border renormalised; called with raw features."""
    return matched_map(f, whole_kernel(), "median_all") / coverage(f)


def runs(scale: str) -> dict[str, tuple[str, Score]]:
    """Return run → version of the features, and what scores them (C,h,w) → (h,w)."""
    base = FCA(patch_size=T, sigma_p=SIGMA_P, sigma_s=SIGMA_S)
    by_index = FCA(patch_size=T, ties="index")
    every = FCA(patch_size=T, reference="median_all")
    found: dict[str, tuple[str, Score]] = {
        "FCA": ("scaled", base.score_features),
        "unscaled": ("raw", base.score_features),
        "all patches": ("scaled", every.score_features),
        "middle two": ("scaled", middle),
        "index ties": ("scaled", by_index.score_features),
        "rectified": ("rectified", base.score_features),
        "rectified, index ties": ("rectified", by_index.score_features),
        "whole kernel": ("scaled", lambda f: matched_map(f, whole_kernel())),
        "as printed": ("raw", as_printed),
    }
    for s in setting(scale)["widths"]:
        found[f"SWW {s:g}"] = "scaled", lambda f, s=s: sample_weighted_wasserstein(f, T, s)  # type: ignore[misc]
    for b in BINS:
        found[f"histogram {b}"] = "scaled", lambda f, b=b: histogram(f, T, bins=b)  # type: ignore[misc]
    found["moments 1-4"] = "scaled", lambda f: moments(f, T)
    found["moment 1"] = "scaled", lambda f: moments(f, T, powers=(1,))
    found["Aota N/4"] = "scaled", Aota(patch_size=3).score_features
    found["Aota 400"] = "scaled", lambda f: Aota(patch_size=3, k=min(400, f[0].numel())).score_features(f)
    return found


def pairs(scale: str) -> dict[str, tuple[str, str]]:
    """Return difference → the code's run and the other run."""
    return {
        "scaling": ("FCA", "unscaled"),
        "tiles": ("FCA", "all patches"),
        "lower_median": ("FCA", "middle two"),
        "ties": ("index ties", "FCA"),
        "ties_relu": ("rectified, index ties", "rectified"),
        "channels": ("FCA", "summed"),
        "kernel": ("FCA", "whole kernel"),
        "edge": ("FCA", "renormalised"),
        "nearest": ("FCA", "nearest"),
        "bicubic": ("FCA", "bicubic"),
        "sww": ("SWW 6", "SWW 3"),
        "bins": ("histogram 10", "histogram 25"),
        "moments": ("moments 1-4", "moment 1"),
        "aota": ("Aota 400", "Aota N/4"),
        "together": ("index ties", "as printed"),
        "over_sww": ("FCA", "SWW 6"),
        "over_histogram": ("FCA", "histogram 10"),
        "over_narrow_sww": ("FCA", f"SWW {setting(scale)['widths'][0]:g}"),
    }


# What each difference is: name | difference | the paper says | the code does | this package.
TEXT = """
crop | border before scoring | centre regions, size not given | 100 px of 1024 dropped, labels recomputed | the page says; never hidden
scaling | feature scaling | not mentioned | min-max, image and channel | as the code, in score()
tiles | median reference over | all patches (Eq. 7) | tiles of stride T | tiles; median_all for Eq. 7
lower_median | median of an even number | not given | the lower value | as the code
ties | ties | not mentioned | unstable sort (here: by index) | share their errors
ties_relu | ties, rectified features | not mentioned | unstable sort (here: by index) | share their errors
channels | channels | summed | averaged: a factor C | averaged
kernel | kernel of σ_s | Gaussian | cut to 5 × 5 | as the code
edge | Eq. 5 at the border | not mentioned | not renormalised | as the code
nearest | resizing the map (nearest) | not mentioned | bilinear (here: less nearest) | as the code
bicubic | resizing the map (bicubic) | not mentioned | bilinear (here: less bicubic) | as the code
oblong | maps that are not square | not mentioned | stop with an error | any h, w ≥ T
sww | σ_w of SWW | not given | 6 (here: less 3) | 6
bins | bins of the histogram | not given | 10 (here: less 25) | 10
moments | moments | mean; higher allowed | 1 to 4 (here: less mean) | 1 to 4
aota | K of Aota's method | N / 4 | 400 | N / 4
together | all of FCA's at once | as printed | as coded | as coded, but ties shared
over_sww | yardstick: FCA less SWW | – | – | –
over_histogram | yardstick: FCA less histogram | – | – | –
"""


@dataclass(frozen=True)
class Scored:
    """One cell: pictures, features (N,C,h,w) in three versions, and the small maps (N,1,h,w) of each run."""

    data: Any
    stages: dict[str, Tensor]
    coarse: dict[str, Tensor]


def scored(cell: Cell, scale: str) -> Scored:
    """Return pictures, features and maps of a cell."""
    data = pictures(cell, scale)
    with torch.no_grad():
        stages = versions(network()(data.test.to(device()))[0])
    coarse = {
        run: torch.stack([score(f) for f in stages[version]])[:, None]
        for run, (version, score) in runs(scale).items()
    }
    return Scored(data, stages, coarse)


def large(maps: Tensor, side: int, mode: str = "bilinear") -> Tensor:
    """Return small maps (N,1,h,w) at the size of the pictures (N,side,side)."""
    return F.interpolate(maps, (side, side), mode=mode)[:, 0].cpu()


def treated(run: str, maps: Tensor, channels: int, side: int) -> Iterator[tuple[str, Tensor]]:
    """Yield the resized map of a run and, for FCA, what else could have been made of it; none of it needs a second run."""
    yield run, large(maps, side)
    if run == "FCA":
        yield "renormalised", large(maps / coverage(maps[0]), side)
        yield "summed", large(maps * channels, side)
        yield "nearest", large(maps, side, "nearest")
        yield "bicubic", large(maps, side, "bicubic")


def rows(of: Scored, scale: str) -> Iterator[Row]:
    """Yield PRO and AUROC in percent, a row a run and area."""
    side, border = setting(scale)["side"], setting(scale)["border"]
    inner = (slice(None), slice(border, side - border), slice(border, side - border))
    masks, channels = of.data.masks, of.stages["raw"].shape[1]
    for method, maps in of.coarse.items():
        for run, full in treated(method, maps, channels, side):
            for area, where in (("whole", (slice(None),)), ("centre", inner)):
                scores = {
                    "PRO": aupro(full[where], masks[where]),
                    "AUROC": pixel_auroc(full[where], masks[where]),
                }
                yield {"run": run, "area": area} | {m: 100 * value for m, value in scores.items()}


def edge(scale: str) -> Tensor:
    """Return each pixel's distance from the border (side, side)."""
    rim = torch.arange(setting(scale)["side"])
    rim = torch.minimum(rim, rim.flip(0))
    return torch.minimum(rim[:, None], rim[None])


def profile(run: str, of: Scored, scale: str) -> list[float]:
    """Return the mean score of good pixels at each distance from the border, centre = 1; `run` may end in ", renormalised"."""
    maps, side, border = of.coarse[run.split(",")[0]], setting(scale)["side"], setting(scale)["border"]
    full = large(maps / coverage(maps[0]) if run.endswith("renormalised") else maps, side)
    good, far = ~of.data.masks, edge(scale)
    centre = full[good & (far >= border)].mean()
    return [float(full[good & (far == d)].mean() / centre) for d in range(2 * border)]


def n_regions(masks: Tensor) -> int:
    """Return how many regions there are in all masks (N,H,W)."""
    return sum(ndimage.label(mask, np.ones((3, 3)))[1] for mask in masks.numpy())


def mirrored(score: Score, f: Tensor) -> tuple[Tensor, Tensor, float]:
    """Return the map, the mirrored map of the mirrored features, and the largest change as a share of the maximum."""
    there, back = score(f).cpu(), score(f.flip(-1)).flip(-1).cpu()
    return there, back, float((there - back).abs().max() / there.max())


def compute(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield the rows of a cell."""
    yield from rows(scored(cell, scale), scale)


STUDY = Study("fca_code", cells, compute, seconds=2.0)
