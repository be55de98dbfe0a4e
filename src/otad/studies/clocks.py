"""What FCA and its rivals cost as maps, patches and channels grow: page 15.

Times belong to the machine that measures them, so nothing of this is stored: the page calls these functions where it runs. Processor
seconds of one thread on random features: what other programs do meanwhile does not count.
"""

import time
from collections.abc import Callable
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from otad.methods.matching.aota import Aota
from otad.methods.matching.fca import patch_weights
from otad.methods.matching.patch_statistics import histogram, moments
from otad.methods.matching.ranks import matched_map
from otad.methods.nearest import squared_distances
from otad.scale import pick

ODD = (3, 5, 7, 9, 13, 19, 25)
# What is swept over which values, and what stands still meanwhile. n is the side of the map, N = n². Each method has sizes of its own, so
# that the largest takes a fraction of a second and the smallest is not all overhead.
SWEEPS: dict[str, dict[str, tuple[tuple[int, ...], dict[str, int]]]] = {
    "N": {
        "moments": ((64, 96, 128, 192, 256, 384), {"T": 9, "C": 8}),
        "histogram": ((32, 48, 64, 96, 128, 192), {"T": 9, "C": 2}),
        "Aota": ((16, 24, 32, 48, 64), {"T": 3, "C": 64}),
        "FCA": ((16, 24, 32, 48, 64, 96), {"T": 9, "C": 4}),
        "FCA + KNN": ((8, 10, 12, 14, 16), {"T": 5, "C": 16}),
        "FCA, kernel": ((32, 48, 64, 96, 128), {"T": 9, "C": 32}),
    },
    "T": {
        "moments": (ODD, {"n": 128, "C": 8}),
        "histogram": (ODD, {"n": 64, "C": 8}),
        "Aota": (ODD, {"n": 40, "C": 64}),
        "FCA": (ODD, {"n": 40, "C": 4}),
        "FCA + KNN": ((3, 5, 7, 9), {"n": 12, "C": 16}),
        "FCA, kernel": ((3, 5, 7, 9, 13, 19), {"n": 40, "C": 64}),
    },
    "C": {
        "moments": ((8, 16, 32, 64, 128, 256), {"n": 64, "T": 9}),
        "histogram": ((4, 8, 16, 32, 64), {"n": 64, "T": 9}),
        "Aota": ((16, 32, 64, 128, 256, 512), {"n": 40, "T": 3}),
        "FCA": ((2, 4, 8, 16, 32), {"n": 32, "T": 9}),
        "FCA + KNN": ((8, 16, 32, 64), {"n": 12, "T": 5}),
        "FCA, kernel": ((32, 64, 128, 256), {"n": 40, "T": 9}),
    },
    "K": {
        "Aota": ((25, 50, 100, 200, 400, 800), {"n": 40, "T": 3, "C": 64}),
        "FCA + KNN": ((8, 16, 32, 64, 128), {"n": 16, "T": 3, "C": 8}),
    },
    "B": {"histogram": ((5, 10, 20, 40, 80), {"n": 48, "T": 9, "C": 4})},
}


def fca(f: Tensor, T: int, reference: Any = "median", k: int | None = None, engine: Any = "plain") -> Tensor:
    """Return FCA's map (h,w) of features (C,h,w); `plain` sorts every patch as the paper has it, `kernel` does not sort."""
    return matched_map(f, patch_weights(T, 3.0, 1.0), reference=reference, k=k, engine=engine)


METHODS: dict[str, Callable[..., Tensor]] = {
    "moments": lambda f, T: moments(f, T, powers=(1,)),
    "histogram": lambda f, T, B=10: histogram(f, T, bins=B),
    "Aota": lambda f, T, K=None: Aota(patch_size=T, k=K).score_features(f),
    "FCA": fca,
    "FCA + KNN": lambda f, T, K=None: fca(f, T, "knn", K),
    "FCA, kernel": lambda f, T: fca(f, T, engine="kernel"),
}


def noise(side: int, channels: int) -> Tensor:
    """Return uniform random features (channels, side, side), the same at every call."""
    return torch.rand(channels, side, side, generator=torch.Generator().manual_seed(0))


def seconds(
    work: Callable[[], object],
    least: float = 0.015,
    repeats: int = 1,
    clock: Callable[[], float] = time.process_time,
) -> float:
    """Return processor seconds of one call: the mean over as many as take `least` seconds together, the best of `repeats` means."""
    found = []
    for _ in range(repeats):
        calls, start = 0, clock()
        while True:
            work()
            calls, spent = calls + 1, clock() - start
            if spent >= least:
                break
        found.append(spent / calls)
    return min(found)


def settings(scale: str) -> list[dict[str, Any]]:
    """Return every point of every sweep: what is swept (`in`), the method, and its sizes n, T, C and, where they are swept, K or B."""
    few = pick(scale, smoke=2, laptop=99)  # the smallest ones
    return [
        {"in": variable, "method": method, "n" if variable == "N" else variable: value, **fixed}
        for variable, methods in SWEEPS.items()
        for method, (values, fixed) in methods.items()
        for value in values[:few]
    ]


def swept(scale: str, rounds: int, least: float) -> pd.DataFrame:
    """Return a row a point and round, in each round every sweep once: its sizes (N = n²), and the seconds of a map."""
    for work in METHODS.values():  # first calls set things up
        work(noise(12, 4), 3)
    rows = []
    for turn in range(rounds):
        for point in settings(scale):
            f, more = noise(point["n"], point["C"]), {k: v for k, v in point.items() if k in "KB"}
            work = METHODS[point["method"]]
            spent = seconds(lambda w=work, f=f, p=point, m=more: w(f, p["T"], **m), least)  # type: ignore[misc]
            rows.append(point | {"N": point["n"] ** 2, "round": turn, "seconds": spent})
    return pd.DataFrame(rows)


def steps_of_fca(T: int, repeats: int, least: float) -> dict[str, float]:
    """Return seconds of the parts of one map of 40 × 40, for one channel: sort, look-up, weights."""
    padded = F.pad(noise(40, 1)[None], (T // 2,) * 4, mode="reflect")[0, 0]
    patches = padded.unfold(0, T, 1).unfold(1, T, 1).reshape(-1, T * T)
    ranked, order = patches.sort(dim=-1, stable=True)
    reference, weights = ranked.median(0).values, patch_weights(T, 3.0, 1.0).float()
    works: dict[str, Callable[[], object]] = {
        "sort": lambda: patches.sort(dim=-1, stable=True),
        "look-up": lambda: torch.empty_like(ranked).scatter_(-1, order, (ranked - reference).abs()),
        "weights": lambda: ranked @ weights,
    }
    return {name: seconds(work, least, repeats) for name, work in works.items()}


def steps_of_aota(side: int, channels: int, repeats: int, least: float) -> dict[str, float]:
    """Return seconds of the parts of one map: all distances between locations, and the selection of the quarter that is nearest."""
    points = noise(side, channels).flatten(1).T.contiguous()
    distances = squared_distances(points, points)
    works: dict[str, Callable[[], object]] = {
        "distances": lambda: squared_distances(points, points),
        "selection": lambda: distances.topk(side**2 // 4, dim=1, largest=False, sorted=False),
    }
    return {name: seconds(work, least, repeats) for name, work in works.items()}


def duel(side: int, channels: int, T: int, names: tuple[str, ...], least: float) -> dict[str, float]:
    """Return seconds of some of METHODS on the same map, the better of two runs."""
    f = noise(side, channels)
    return {name: seconds(lambda w=METHODS[name]: w(f, T), least, 2) for name in names}  # type: ignore[misc]
