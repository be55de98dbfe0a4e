"""FCA: which references, and what they cost in points and seconds: page 12.

A cell is a texture and a seed; it has a row a statistic and set of references. The second half measures time, which no two machines
share: a page calls it where it runs.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from otad.data.drawn import textures
from otad.features.handcrafted import minmax, random_kernels
from otad.features.pretrained import efficientnet_lite0, vgg19, wide_resnet50_2
from otad.methods.matching.fca import FCA
from otad.methods.matching.loop import looped, ranked_patches, senders
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
        "n_seeds": pick(scale, smoke=2, laptop=7),  # ten would not fit into three minutes
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


# Time ---------------------------------------------------------------------------------------------

T_CLOCK = 3  # side of a patch where the loop is timed
WIDTHS: dict[str, Any] = {
    "T": T_CLOCK,
    "sigma_w": 6 * T_CLOCK / 25,
    "sigma_p": 3 * T_CLOCK / 25,
    "sigma_s": None,
}  # Eq. 5
STEP = {"histogram": (100, 1000), "SWW": (10, 100), "FCA": (10, 100)}  # for fca-07


def noise(*shape: int) -> Tensor:
    """Return uniform random numbers, as stand-ins where only time matters."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(FIRST_SEED)).to(device())


def clock() -> float:
    """Return CPU seconds, so that a neighbour on the machine does not stretch them; on a GPU a wall clock."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """Return the least of `repeats` runs."""
    spent = []
    for _ in range(repeats):
        start = clock()
        work()
        spent.append(clock() - start)
    return min(spent)


def clocked(s: int, wide: int, repeats: int) -> dict[tuple[str, Any], float]:
    """Return seconds of each statistic and reference for one seed, its texture and kernel; the reference is drawn or made within.

    wide : side of the map. `exact` is the sum over all references by the package, `package` its time with one aggregate.
    """
    name = textures.NAMES[s % len(textures.NAMES)]
    image = textures.load(name, wide, 1, 1, 1, defects=("hole",), seed=s).test[:1]
    f = minmax(random_kernels(image, 1, seed=s).to(device()))[0]
    T, sigma_w = T_CLOCK, WIDTHS["sigma_w"]
    votes, spent = partial(histogram, f, T, sigma_w), dict[tuple[str, Any], float]()
    for k in sorted({*KS, *STEP["histogram"]}):
        spent["histogram", k] = seconds(partial(votes, reference="random", n_references=k, seed=s), repeats)
    spent["histogram", "aggregate"] = seconds(votes, repeats)
    spent["histogram", "exact"] = seconds(partial(votes, reference="all"), repeats)
    spent["histogram", "package"] = spent["histogram", "aggregate"]
    for name, (send, weights) in senders(**_four(WIDTHS), device=device()).items():
        loop = partial(_drawn_and_looped, f, s, send, weights)
        for k in KS:
            spent[name, k] = seconds(partial(loop, "random", k), repeats if k < 100 else 1)
        spent[name, "aggregate"] = seconds(partial(loop, "median"), repeats)
    return spent | _by_the_package(f, repeats)


def _drawn_and_looped(f: Tensor, seed: int, send: Any, weights: Tensor, which: Any, k: int = 1) -> Tensor:
    return looped(f, reference_values(f, T_CLOCK, which, k, seed=seed), T_CLOCK, send, weights)


def _four(widths: Mapping[str, Any]) -> dict[str, Any]:
    return {"patch_size": widths["T"]} | {k: widths[k] for k in ("sigma_w", "sigma_p", "sigma_s")}


def _by_the_package(f: Tensor, repeats: int) -> dict[tuple[str, Any], float]:
    spent: dict[tuple[str, Any], float] = {}
    choices: dict[str, Any] = {"exact": "all", "package": "median"}
    for label, which in choices.items():
        one = FCA(None, T_CLOCK, WIDTHS["sigma_p"], None, reference=which)
        sww = partial(sample_weighted_wasserstein, f, T_CLOCK, WIDTHS["sigma_w"], reference=which)
        spent["FCA", label] = seconds(partial(one.score_features, f), repeats)
        spent["SWW", label] = seconds(sww, repeats)
    return spent


def to_the_end(side: int) -> dict[str, tuple[list[float], float]]:
    """Return for SWW and FCA the seconds of the loop at each of KS, and of the loop over all patches of a map."""
    f, found = noise(1, side, side), {}
    drawn = reference_values(f, T_CLOCK, "random", side**2, seed=FIRST_SEED)
    for name, (send, weights) in senders(**_four(WIDTHS), device=device()).items():
        few = [seconds(partial(looped, f, drawn[:k], T_CLOCK, send, weights)) for k in KS]
        found[name] = few, seconds(partial(looped, f, drawn, T_CLOCK, send, weights), 1)
    return found


def everybody(n_channels: int, side: int) -> float:
    """Return seconds of the exact sum over all references on so many channels, T = 9."""
    f, fca = noise(n_channels, side, side), FCA(patch_size=9, reference="all")
    fca.score_features(f[:, :16, :16])  # compile, if anything is to be compiled
    return seconds(lambda: fca.score_features(f), 1)


def one_reference(side: int) -> float:
    """Return seconds that the loop takes for one reference on one channel, T = 9."""
    f = noise(1, side, side)
    ranked, order = ranked_patches(f, 9)
    send, weights = senders(9, 2.16, 3.0, 1.0, device())["FCA"]
    return seconds(lambda: send((ranked - ranked[:, :1]).abs(), order, f.shape[1:], weights))


def deep(scale: str) -> Any:
    """Return the paper's own network up to stride 8, with random weights: for time it does not matter what it has learnt."""
    if scale == "smoke":
        return efficientnet_lite0(stages=(8,), device=device())
    return wide_resnet50_2(weights=None, device=device())


def at_320(s: int, net: Any, photo: int, share: int, few: int = 3) -> dict[str, float]:
    """Return the seconds of each part for one picture of `photo` pixels: network, loop of KNN, FCA from the package.

    share : FCA runs on one channel in so many. few : references that the loop is timed for.
    """
    name = textures.NAMES[s % len(textures.NAMES)]
    image = textures.load(name, photo, 1, 1, 1, defects=("hole",), seed=s).test[:1].to(device())
    with torch.no_grad():
        spent = {"network": seconds(lambda: net(image))}
        f = minmax(net(image)[0])[0]
    n, (send, weights) = f[0].numel(), senders(3, 0.72, 3.0, 1.0, device())["FCA"]
    spent["sort"] = seconds(lambda: ranked_patches(f, 3), 1)
    ranked, order = ranked_patches(f, 3)
    references = reference_values(f, 3, "random", few, seed=s)

    def passes() -> None:
        for reference in references[:, :, None]:
            send((ranked - reference).abs(), order, f.shape[1:], weights)

    spent["a reference"] = seconds(passes, 1) / few
    scores = noise(n, n)
    spent["selection"] = seconds(lambda: scores.topk(n // 4, dim=0, largest=False), 1)
    for T in (3, 9):
        fca = FCA(patch_size=T)
        fca.score_features(noise(2, 9, 9))  # compile, if anything is to be compiled
        spent[f"FCA, T = {T}"] = share * seconds(partial(fca.score_features, f[::share]))
    return spent | {"N": n}
