"""What references cost in seconds: page 12.

No two machines share times, so the page calls these functions where it runs; only a graphics card's are stored, by `gpu_clock`.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from otad.data.drawn import textures
from otad.features.handcrafted import minmax, random_kernels
from otad.features.pretrained import efficientnet_lite0, wide_resnet50_2
from otad.methods.matching.fca import FCA
from otad.methods.matching.loop import looped, ranked_patches, senders
from otad.methods.matching.patch_statistics import histogram, sample_weighted_wasserstein
from otad.methods.matching.ranks import reference_values
from otad.scale import device
from otad.studies import clocks
from otad.studies.fca_references import FIRST_SEED, KS, NAMES

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
    return clocks.seconds(work, 0.0, repeats, clock)


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


# What page 12 makes of the times ------------------------------------------------------------------


def over(seeds: Sequence[int], wide: int, repeats: int) -> pd.DataFrame:
    """Return `clocked`, a row a seed, after a small run that compiles or loads what a first call needs."""
    clocked(seeds[0], 32, 1)
    return pd.DataFrame([pd.Series(clocked(s, wide, repeats)) for s in seeds])


def line(y: Any) -> dict[str, float]:
    """Return the straight line t = a + b k through the times of KS: a, b and R²."""
    y = np.asarray(y, dtype=float)
    b, a = np.polyfit(KS, y, 1)
    left = ((y - a - b * np.array(KS)) ** 2).sum() / ((y - y.mean()) ** 2).sum()
    return {"a": a, "b": b, "R2": 1 - left}


def lines(times: pd.DataFrame, n: int) -> pd.DataFrame:
    """Return the line of each statistic and seed, and `all`: what it says of n references, but no less than the most of KS took."""
    found = {}
    for name in NAMES:
        for i, y in times[name][list(KS)].iterrows():
            own = line(y)
            found[name, i] = own | {"all": max(own["a"] + own["b"] * n, y.iloc[-1])}
    return pd.DataFrame(found).T


def took(times: pd.DataFrame, fitted: pd.DataFrame) -> pd.DataFrame:
    """Return mean seconds as Table 2 has them, a column a statistic, *all* by the line; the last two rows are the package's own."""
    mean, every = times.mean(), fitted["all"].groupby(level=0).mean()
    labels: dict[Any, str] = {k: f"random {k}" for k in KS} | {"all": "all", "aggregate": "aggregate"}
    labels |= {"exact": "all, exact (package)", "package": "aggregate (package)"}
    return pd.DataFrame(
        {n: {label: every[n] if r == "all" else mean[n, r] for r, label in labels.items()} for n in NAMES}
    )


def curves(times: pd.DataFrame, fitted: pd.DataFrame, n: int) -> dict[str, dict[str, pd.DataFrame]]:
    """Return what is drawn of each statistic: the loop's times at KS, the mean line from 1 to n, the exact sum at n."""
    ks = np.geomspace(1, n, 7).round().astype(int).tolist()
    mean = fitted.groupby(level=0).mean()
    return {
        name: {
            "loop": times[name][list(KS)],
            "loop, by the line": pd.DataFrame(
                [{k: mean.loc[name, "a"] + mean.loc[name, "b"] * k for k in ks}]
            ),
            "all, exact": times[name][["exact"]].set_axis([n], axis=1),
        }
        for name in NAMES
    }


def largest(side: int, channels: int, limit: float) -> dict[str, float]:
    """Return seconds of FCA against all patches of a map, T = 9: `exact`, and by the `loop` at the price of one reference.

    Four channels say how long all would take; if that is more than `limit`, the number is scaled up from them. `ran`: how many did run.
    """
    ran = min(4, channels)
    exact = everybody(ran, side) * channels / ran
    if exact < limit:
        exact, ran = everybody(channels, side), channels
    return {"exact": exact, "ran": ran, "loop": one_reference(side) * channels * side**2}


def with_one(parts: pd.DataFrame) -> pd.Series:
    """Return the seconds of a picture by the plain loop with one reference; parts: rows of `at_320`."""
    return parts["network"] + parts["sort"] + parts["a reference"]


def with_all(parts: pd.DataFrame) -> pd.Series:
    """Return the seconds of a picture by the plain loop with the nearest of all N references, which the line foretells."""
    return parts["network"] + parts["sort"] + parts["N"] * parts["a reference"] + parts["selection"]


def network_shares(parts: pd.DataFrame) -> dict[int, pd.Series]:
    """Return the network's share of the time with FCA from the package, by T."""
    return {T: parts["network"] / (parts["network"] + parts[f"FCA, T = {T}"]) for T in (3, 9)}


def budget(parts: pd.DataFrame) -> pd.DataFrame:
    """Return the mean seconds of each part of a picture."""
    mean = parts.mean()
    spent = {"network": mean["network"]}
    spent |= {f"FCA from the package, median, T = {T}": mean[f"FCA, T = {T}"] for T in (3, 9)}
    every = (parts["N"] * parts["a reference"]).mean()
    spent |= {"loop: sort, T = 3": mean["sort"], "loop: one reference": mean["a reference"]}
    spent |= {f"loop: {int(mean['N'])} references, by the line": every}
    return pd.DataFrame({"seconds": spent | {"selection of the nearest quarter": mean["selection"]}})


def powers(times: pd.DataFrame) -> dict[str, pd.Series]:
    """Return of each statistic the exponent over its STEP from k to 10 k: log of (t_10k − t_1) / (t_k − t_1) to log of (10 k − 1) / (k − 1)."""
    found = {}
    for name, (k, more) in STEP.items():
        once, few, many = (times[name, n] for n in (1, k, more))
        steps = (many - once) / (few - once).clip(lower=1e-9)
        found[name] = np.log(steps) / math.log((more - 1) / (k - 1))
    return found


def fixed(times: pd.DataFrame, fitted: pd.DataFrame, name: str) -> pd.Series:
    """Return the cost that all references share, the line's a, as a share of the time for one."""
    return fitted.loc[name, "a"] / times[name, 1]


def margins(
    times: pd.DataFrame, fitted: pd.DataFrame, close: float, straight: float, many: float
) -> dict[str, dict[str, list[float]]]:
    """Return of fca-05 and fca-07 the margins of each inequality, one a seed; those of ratios are logarithms.

    close: the factor within which the median costs one reference. straight: how far an exponent may be from 1. many: how many
    times the median all must cost.
    """
    cost: dict[str, Any] = {}
    for name in ("SWW", "FCA"):
        one, median = times[name, 1], times[name, "aggregate"]
        apart, near = np.log(median / one), math.log(close)
        cost[f"{name}: median at most {close} times one reference"] = near - apart
        cost[f"{name}: one reference at most {close} times the median"] = near + apart
        every = np.log(fitted.loc[name, "all"] / median / many)
        cost[f"{name}: all over {many:g} times the median"] = every
    growth: dict[str, Any] = {}
    for name, power in powers(times).items():
        growth[f"{name}: exponent above {1 - straight:g}"] = power - (1 - straight)
        growth[f"{name}: exponent below {1 + straight:g}"] = 1 + straight - power
        growth[f"{name}: shared cost above zero"] = fixed(times, fitted, name)
    both = {"fca-05": cost, "fca-07": growth}
    return {c: {name: list(x) for name, x in named.items()} for c, named in both.items()}
