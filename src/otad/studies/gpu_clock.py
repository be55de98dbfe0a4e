"""What a graphics card makes of the book's times: Table 2 of FCA and Table 3 of the benchmark at their own sizes, and the two kernels. Pages 12, 15, 26, 45, 54.

Needs a GPU: without one its rows are those that were stored where there was one. Seconds are those of a wall clock that waits until the
card has finished; a first small call compiles what has to be compiled. Maps and weights are random: time does not depend on them.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import ot
import pandas as pd
import torch
from torch import Tensor

from otad import machine
from otad.methods import FOCT
from otad.methods.matching.fca import patch_weights
from otad.methods.matching.patch_statistics import histogram, sample_weighted_wasserstein
from otad.methods.matching.ranks import matched_map
from otad.scale import device, pick
from otad.studies import Cell, Row, Study, benchmark_clock
from otad.studies import fca_reference_clocks as references
from otad.transport import sinkhorn

SEEDS = range(300, 305)  # as page 12
WIDTHS = {"sigma_p": 3.0, "sigma_s": 1.0}  # FCA's, of an error's way to its pixel
# Map (C, side) and T of each comparison of the kernel: the paper's pictures of 320 and 1024 pixels, and its Table 2.
MAPS = {3: (512, 40), 9: (512, 128), 25: (128, 256)}
STATISTICS = ("histogram", "SWW", "FCA")
REFERENCES = (
    "1",
    "3",
    "10",
    "aggregate",
    "all",
    "100",
)  # how many random ones, or which; the longest last
REG = 0.01  # of Sinkhorn's comparison


def setting(scale: str) -> dict[str, Any]:
    """Return the sizes of a scale; smoke runs without a GPU too."""
    return {
        "wide": pick(scale, smoke=32, laptop=256),
        "repeats": pick(scale, smoke=1, laptop=3),
        "photo": pick(scale, smoke=96, laptop=320),
        "maps": pick(scale, smoke={3: (4, 12)}, laptop=MAPS),
        "share": pick(scale, smoke=2, laptop=16),  # the slow ones run on one channel in so many
        "table": pick(scale, smoke=(2, 16, 3), laptop=(128, 256, 25)),  # C, side, T of Table 2
        "largest": pick(scale, smoke=(8, 16, 1.0), laptop=(512, 128, 60.0)),  # C, side, seconds allowed
        "plan": pick(scale, smoke=64, laptop=3136),  # side of Sinkhorn's cost: PRADOT's and TTAD's
        "few": pick(scale, smoke=64, laptop=256),  # side of FOCT's pictures
        "steps": pick(scale, smoke=2, laptop=100),
    }


def cells(scale: str) -> list[Cell]:
    """Return the cells: a seed or a pass each for what is judged, one of each comparison."""
    found: list[Cell] = [{"what": "kernel", "T": T} for T in setting(scale)["maps"]]
    found += [{"what": "sinkhorn"}, {"what": "largest"}, {"what": "FOCT"}]
    found += [{"what": "references", "seed": s} for s in SEEDS[: pick(scale, smoke=1, laptop=len(SEEDS))]]
    found += [{"what": "benchmark", **cell} for cell in benchmark_clock.cells(scale)]
    return found + [
        {"what": "table 2", "statistic": m, "reference": r} for r in REFERENCES for m in STATISTICS
    ]


def compute(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield the rows of a cell. Raises ValueError without a GPU, but at smoke scale."""
    if scale != "smoke" and device().type != "cuda":
        raise ValueError("this study times a GPU, and torch finds none here")
    torch.set_num_threads(1)
    kinds: dict[str, Callable[[Cell, str], Iterator[Row]]] = {
        "kernel": kernel,
        "sinkhorn": plans,
        "largest": largest,
        "FOCT": foct,
        "references": drawn,
        "benchmark": passes,
        "table 2": table2,
    }
    yield from kinds[cell["what"]](cell, scale)


def best(work: Callable[[], object], repeats: int) -> float:
    """Return the least wall seconds of some calls, after the one that compiles and fetches memory."""
    work()
    return machine.seconds(work, repeats)


def kernel(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield seconds of FCA's map by the kernel, by the plain version on the same card, and by the processor's kernel; and how far apart they are."""
    size, T = setting(scale), cell["T"]
    channels, side = size["maps"][T]
    f, weights = references.noise(channels, side, side), patch_weights(T, **WIDTHS).float()
    few = f[:: 1 if side < 64 else size["share"]].contiguous()  # a small map does not fill a card anyway
    here = weights.to(f.device)
    whole = {
        ties: best(partial(matched_map, f, here, ties=ties), size["repeats"]) for ties in ("mean", "index")
    }
    plain = machine.seconds(partial(matched_map, few, here, engine="plain"), size["repeats"])
    slow = partial(matched_map, few.cpu()[:2], weights)
    by = {"kernel": matched_map(few, here), "plain": matched_map(few, here, engine="plain")}
    exact = matched_map(few.double(), here.double(), engine="plain")
    apart = {name: float((found - exact).abs().max() / exact.abs().max()) for name, found in by.items()}
    n, times = side**2, len(f) / len(few)
    # A product of flags and windows, (2T−1)² × T² for each value, and how much of it a card does in a second.
    work = 2 * channels * n * T**2 * (2 * T - 1) ** 2
    yield {
        "C": channels,
        "side": side,
        "kernel": whole["mean"],
        "kernel, raster order": whole["index"],
        "plain": plain * times,
        "processor": best(slow, 1) * channels / 2,
        "TFLOP/s": work / whole["index"] / 1e12,
        "kernel off": apart["kernel"],
        "plain off": apart["plain"],
    }


def plans(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield seconds of a hundred of Sinkhorn's iterations by this package and by POT, on the card and on one thread, and how far apart the plans are."""
    size = setting(scale)
    n, generator = size["plan"], torch.Generator().manual_seed(0)
    x, y = (torch.rand(n, 16, generator=generator) for _ in range(2))
    cost = torch.cdist(x, y).square()
    cost = cost / cost.max()
    ours = partial(sinkhorn, reg=REG, max_iter=100, tol=0.0)
    log: dict[str, Any] = {"method": "sinkhorn_log", "numItermax": 100, "stopThr": 0.0, "warn": False}

    def theirs(c: Tensor) -> Tensor:
        a = c.new_full((n,), 1 / n)
        return ot.sinkhorn(a, a, c, REG, **log)

    there = cost.to(device())
    exact = theirs(there.double())
    yield {
        "n": n,
        "ours": best(partial(ours, there), size["repeats"]),
        "POT": best(lambda: theirs(there), size["repeats"]),
        "ours, processor": machine.seconds(partial(ours, cost), 1),
        "POT, processor": machine.seconds(lambda: theirs(cost), 1),
        "ours off": float((ours(there).plan - exact).abs().sum()),
        "POT off": float((theirs(there) - exact).abs().sum()),
    }


def drawn(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield what page 12 times: the loop at each number of references, and the parts of a picture of 320 pixels."""
    size, seed = setting(scale), cell["seed"]
    references.clocked(seed, 32, 1)  # compiles
    for (statistic, which), spent in references.clocked(seed, size["wide"], size["repeats"]).items():
        yield {"statistic": statistic, "reference": str(which), "seconds": spent}
    net = references.deep(scale)
    references.at_320(seed, net, size["photo"], 1)  # the network's first call looks for its algorithms
    for part, spent in references.at_320(seed, net, size["photo"], 1).items():
        yield {"part": part, "seconds": spent}


def largest(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield the seconds of FCA against all patches of the paper's largest map, and of the loop by the price of a reference."""
    channels, side, limit = setting(scale)["largest"]
    yield references.largest(side, channels, limit) | {"C": channels, "side": side}


def table2(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield the seconds of the package on the map of Table 2 against so many random references, one aggregate or all."""
    channels, side, T = setting(scale)["table"]
    f, which = references.noise(channels, side, side), cell["reference"]
    widths = patch_weights(T, 3.0, None).to(f)
    score: Callable[..., Tensor] = {
        "histogram": partial(histogram, f, T),
        "SWW": partial(sample_weighted_wasserstein, f, T),
        "FCA": partial(matched_map, f, widths),
    }[cell["statistic"]]
    if which.isdigit():
        score = partial(score, reference="random", n_references=int(which))
    elif which == "all":
        score = partial(score, reference="all")
    repeats = 1 if which in ("100", "all") else setting(scale)["repeats"]
    spent = machine.seconds(score, 1) if repeats == 1 else best(score, repeats)
    yield {"seconds": spent, "C": channels, "side": side, "T": T}


def passes(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield what page 26 times: each configuration of the benchmark's Table 3 on one picture."""
    at = "smoke" if scale == "smoke" else "paper"  # where the card is used
    yield from benchmark_clock.compute(cell, at)


def foct(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield the seconds of one query of FOCT as printed: the pair network, learnt anew on all pairs, with features of the paper's size."""
    size = setting(scale)
    net = benchmark_clock.wide("smoke" if scale == "smoke" else "paper", 8, 16)
    shot, query = references.noise(2, 1, 3, size["few"], size["few"])
    method = FOCT(net, steps=size["steps"]).fit(shot)
    one = machine.seconds(lambda: method.score(query), 1)
    again = machine.seconds(lambda: method.score(query), 1)
    assert method.semantic_ is not None
    yield {"seconds": min(one, again), "memory": len(method.semantic_), "side": size["few"]}


# What the pages make of the rows ------------------------------------------------------------------


def table(rows: Iterable[Row]) -> pd.DataFrame:
    """Return the seconds of Table 2 at its own size: a row a reference, as page 12 names them, a column a statistic."""
    found = [row for row in rows if row["what"] == "table 2"]
    named = [
        row | {"row": f"random {row['reference']}" if row["reference"].isdigit() else row["reference"]}
        for row in found
    ]
    seconds = pd.DataFrame(named).pivot_table("seconds", "row", "statistic")
    return seconds[list(STATISTICS)].rename_axis(index=None, columns=None)


def parts(rows: Iterable[Row]) -> pd.DataFrame:
    """Return the seconds of each part of a picture of 320 pixels, a row a seed: as rows of `fca_reference_clocks.at_320`."""
    found = pd.DataFrame([row for row in rows if row["what"] == "references" and "part" in row])
    return found.pivot_table("seconds", "seed", "part").rename_axis(index=None, columns=None)


def clocked(rows: Iterable[Row]) -> pd.DataFrame:
    """Return the seconds of the loop, a row a seed, columns (statistic, reference): as `fca_reference_clocks.over`."""
    found = pd.DataFrame([row for row in rows if row["what"] == "references" and "statistic" in row])
    found["reference"] = [int(r) if r.isdigit() else r for r in found["reference"]]
    return found.pivot_table("seconds", "seed", ["statistic", "reference"], sort=False)


def one(rows: Iterable[Row], what: str) -> Row:
    """Return the row of a comparison that has one."""
    (row,) = (row for row in rows if row["what"] == what)
    return row


def milliseconds(rows: Iterable[Row]) -> pd.DataFrame:
    """Return milliseconds of the benchmark's configurations, a row a pass: as page 26 has those of a processor."""
    found = pd.DataFrame([row for row in rows if row["what"] == "benchmark"])
    return found.pivot(index="seed", columns="configuration", values="ms")


def kernels(rows: Iterable[Row]) -> pd.DataFrame:
    """Return what the kernel takes on each map and how many times as long its rivals take, a row a patch size T."""
    found = pd.DataFrame([row for row in rows if row["what"] == "kernel"]).set_index("T").sort_index()
    sizes = [f"{r.C} × {r.side} × {r.side}" for r in found.itertuples()]
    seconds = found["kernel"]
    return pd.DataFrame(
        {
            "map": sizes,
            "ms": 1000 * seconds,
            "ties in raster order, ms": 1000 * found["kernel, raster order"],
            "sorted on the card": found["plain"] / seconds,
            "one thread": found["processor"] / seconds,
            "off": found["kernel off"],
        }
    )


STUDY = Study("gpu_clock", cells, compute, seconds=9.0, needs_gpu=True)
