"""FCA: which references, and what they cost in points: page 12. What they cost in seconds stands in `fca_reference_clocks`.

A cell is a texture and a seed; it has a row a statistic and set of references.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from otad.features.handcrafted import minmax
from otad.features.pretrained import efficientnet_lite0, vgg19
from otad.methods.matching.fca import FCA
from otad.methods.matching.loop import ranked_patches, senders
from otad.methods.matching.patch_statistics import histogram, sample_weighted_wasserstein
from otad.methods.matching.ranks import reference_values
from otad.metrics import aupro
from otad.scale import device, pick
from otad.studies import Cell, Row, Study
from otad.studies.fca_textures import classes, dealt

FIRST_SEED = 300  # smaller ones were used up in choosing the protocol
KS = (1, 3, 10, 100)  # random references
NAMES = ("histogram", "SWW", "FCA")
REFERENCES = [*(f"random {k}" for k in KS), "all", "aggregate", "median, all patches"]
Maps = dict[tuple[str, str], Tensor]


def setting(scale: str) -> dict[str, Any]:
    """Return the sizes of a scale; widths in samples, in proportion to a patch of 25."""
    side = pick(scale, smoke=64, laptop=160, paper=256)
    T = pick(scale, smoke=3, laptop=5, paper=25)
    return {
        "side": side,  # of the images, in pixels
        "T": T,  # side of a patch, in samples
        "border": round(0.1 * side),  # pixels left out at each side when scoring
        "sigma_w": 6 * T / 25,
        "sigma_p": 3 * T / 25,
        "sigma_s": 1.0 if T == 25 else None,
        "n_seeds": pick(scale, smoke=2, laptop=10),
        "n_good": 1,  # pictures a texture and seed
        "n_kinds": pick(scale, smoke=1, laptop=3),  # defects a texture and seed
        "n_clocked": pick(scale, smoke=2, laptop=5),  # seeds of the claims about time
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
    """Return the backbone: features at every fourth pixel; at paper scale VGG's first stage."""
    if scale == "paper":
        return vgg19(stages=(1,), device=device())
    return efficientnet_lite0(stages=(4,), device=device())


def features_of(images: Tensor, scale: str) -> Tensor:
    """Return features (N,C,h,w), each channel of each image scaled to [0,1]."""
    with torch.no_grad():
        return minmax(network(scale)(images.to(device()))[0])


def statistics(
    T: int, sigma_w: float, sigma_p: float, sigma_s: float | None, **_: Any
) -> dict[str, Callable]:
    """Return the three statistics, features (C,h,w) and options of the reference → (h,w); ties by index: only mirrored pixels tie."""

    def sww(f: Tensor, **options: Any) -> Tensor:
        return sample_weighted_wasserstein(f, T, sigma_w, ties="index", **options)

    def fca(f: Tensor, **options: Any) -> Tensor:
        return FCA(None, T, sigma_p, sigma_s, ties="index", **options).score_features(f)

    return {"histogram": lambda f, **options: histogram(f, T, sigma_w, **options), "SWW": sww, "FCA": fca}


def random_maps(
    f: Tensor, number: int, T: int, sigma_w: float, sigma_p: float, sigma_s: float | None, **_: Any
) -> Maps:
    """Return the mean map over the first k random references: {(statistic, "random k"): (h,w)}.

    The loop runs once to 100 and is read at 1, 3, 10 and 100, for SWW and FCA alike: the ten references are the three and seven
    more. Channels are taken in blocks, to bound the memory.
    """
    shape, n = f.shape[1:], f[0].numel()
    references = reference_values(f, T, "random", max(KS), seed=number)  # (R,C,T²)
    both = senders(T, sigma_w, sigma_p, sigma_s, device())
    maps: Maps = {}
    for c in range(0, len(f), step := max(1, 2**25 // (n * T * T))):
        ranked, order = ranked_patches(f[c : c + step], T)
        total, errors = torch.zeros_like(ranked), torch.empty_like(ranked)
        for k, reference in enumerate(references[:, c : c + step, None], start=1):
            total += torch.sub(ranked, reference, out=errors).abs_()
            if k not in KS:
                continue
            errors = total / (k * len(f))
            for name, (send, weights) in both.items():
                key = (name, f"random {k}")
                maps[key] = maps.get(key, 0) + send(errors, order, shape, weights)
    return maps


def all_maps(f: Tensor, number: int, scale: str) -> Maps:
    """Return maps of one picture (h,w), per reference: {(statistic, reference): map}."""
    grid = setting(scale)
    maps, each = random_maps(f, number, **grid), statistics(**grid)
    for k in KS:
        drawn = {"reference": "random", "n_references": k, "seed": number}
        maps["histogram", f"random {k}"] = each["histogram"](f, **drawn) / k
    for name, statistic in each.items():
        maps[name, "all"] = statistic(f, reference="all") / f[0].numel()
        maps[name, "aggregate"] = statistic(f)
        whole = "median" if name == "histogram" else "median_all"
        maps[name, "median, all patches"] = statistic(f, reference=whole)
    return maps


def compute(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield PRO in percent, a row a statistic and reference, the same draw of patches for all statistics."""
    images, masks, _ = pictures(cell, scale)
    side, border = setting(scale)["side"], setting(scale)["border"]
    inner = (..., slice(border, -border), slice(border, -border))
    numbers = range(1000 * cell["seed"], 1000 * cell["seed"] + len(images))
    maps = [all_maps(f, n, scale) for f, n in zip(features_of(images, scale), numbers, strict=True)]
    for name, reference in maps[0]:
        m = torch.stack([one[name, reference] for one in maps])[:, None]
        full = F.interpolate(m, size=(side, side), mode="bilinear")[:, 0].cpu()
        yield {"statistic": name, "reference": reference, "PRO": 100 * aupro(full[inner], masks[inner])}


STUDY = Study("fca_references", cells, compute, seconds=2.0)


# What page 12 asks of maps and scores -------------------------------------------------------------


def side_by_side(maps: Maps, references: Sequence[str], scale: str) -> dict[str, dict[str, Any]]:
    """Return what is drawn of one picture's maps, border apart: a picture a statistic (3,side,side) by reference, and the colour scales.

    A statistic has one scale for all references.
    """
    half, side = setting(scale)["T"] // 2, setting(scale)["side"]
    small = torch.stack([torch.stack([maps[n, r] for n in NAMES]) for r in references]).cpu()
    large = F.interpolate(small[..., half:-half, half:-half], (side, side))  # (R,3,side,side)
    ends = [[float(of.min()), float(of.max())] for of in large.unbind(1)]
    return {
        "methods": dict(zip(references, large, strict=True)),
        "scales": dict.fromkeys(references, ends),
    }


def inequalities(v: Mapping[tuple[str, str], Any]) -> dict[str, dict[str, Any]]:
    """Return claim to named gaps in points, positive as claimed; v[statistic, reference] is PRO, a number or a Series over seeds."""
    few = REFERENCES[:4]  # random 1, 3, 10, 100
    more = {f"{n}: {b} over {a.split()[1]}": v[n, b] - v[n, a] for n in NAMES for a, b in pairwise(few)}
    less = {
        f"{n}: gain to {b} over gain to {c}": 2 * v[n, b] - v[n, a] - v[n, c]
        for n in NAMES
        for a, b, c in zip(few, few[1:], few[2:], strict=False)
    }
    ahead = {f"{n}: median over {k}": v[n, "aggregate"] - v[n, k] for n in ("SWW", "FCA") for k in few}
    slightly = {
        f"histogram: {k} over average": v["histogram", k] - v["histogram", "aggregate"]
        for k in ("random 100", "all")
    }
    return {"fca-04": ahead, "fca-06": more | less, "fca-08": slightly}
