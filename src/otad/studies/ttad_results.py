"""TTAD, its rivals and its ablations under four corruptions: pages 33 and 34.

A cell is a class, a seed and a corruption at one severity; its rows are methods, all adapted to the same shifted pictures from the same
memory. Learning rates are tried in cells of their own, on held-out seeds; `CHOSEN` is what they chose, it is in the key of every cell that
is judged, and page 33 raises if they would choose otherwise.
"""

import functools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from otad.data import Dataset
from otad.data.drawn.corruptions import corrupt
from otad.features.pretrained import Backbone, efficientnet_lite0, wide_resnet50_2
from otad.methods.memory.ttad import TTAD
from otad.metrics import image_auroc, pixel_auroc
from otad.scale import device, pick
from otad.studies import Cell, Row, Study
from otad.studies.arenas import categories, holding, on_disk
from otad.studies.shifted import FIRST, FLAGGED, HARDEST, MATCHED, SHIFTED, solar_cells

FIRST_SEED = 100
HELD_OUT = (0, 1)  # used up in choosing the protocol: no verdict sees them
DATA_SETS = ("mvtec_ad", "realiad")  # at paper scale, of the latter the top views

PLAIN = {"alignment": "discrete", "augmentation": "none"}
METHODS: dict[str, dict[str, Any]] = {
    "PatchCore": {"alignment": "none"},
    "TTT++": PLAIN | {"alignment": "moments"},
    "TTAC": PLAIN | {"alignment": "kl"},
    "Hungarian": PLAIN | {"alignment": "hungarian"},
    "continuous": PLAIN | {"alignment": "continuous"},
    "discrete": PLAIN,
    "discrete, copy": PLAIN | {"augmentation": "copy"},
    "TTAD": PLAIN | {"augmentation": "flips"},
    "BN statistics": PLAIN | {"update": "bn_statistics", "frozen": 0},
    "all parameters": PLAIN | {"update": "all"},
}
RIVALS = ("PatchCore", "TTT++", "TTAC", "TTAD")
UNFROZEN = {"discrete, all stages": PLAIN | {"frozen": 0}}  # on held-out seeds only
PRINTED_RATE = 0.003
AS_PRINTED = {f"{m}, rate 0.003": METHODS[m] for m in ("TTT++", "TTAC")}
TRANSPORT = (0.0003, 0.001, 0.003, 0.01, 0.03)
RATES = {
    "TTT++": (1e-8, 1e-7, 1e-6, 1e-5, 1e-4),
    "TTAC": (1e-7, 1e-6, 1e-5, 1e-4, 1e-3),
    "TTAD": TRANSPORT,
    "Hungarian": TRANSPORT,
    "discrete": TRANSPORT,
    "all parameters": (0.0001, 0.0003, 0.001),
    "discrete, all stages": (PRINTED_RATE,),
}
# The best of RATES on held-out seeds, by `best_rates`. Without labels nobody could choose so: it is kinder than life, and equally to all.
CHOSEN = {
    "TTT++": 1e-5,
    "TTAC": 1e-5,
    "TTAD": 0.01,
    "Hungarian": 0.03,
    "discrete": 0.03,
    "all parameters": 0.0003,
}
SHARED = {"continuous": "discrete", "discrete, copy": "discrete"}  # rates


def setting(scale: str, data: str = "mvtec_ad") -> dict[str, Any]:
    """Return the sizes of a scale: of pictures, of the method, of the grid. `data`: at paper scale, the data set."""
    n_good, n_each = pick(scale, smoke=(3, 1), laptop=(15, 5))
    method = {
        "n_memory": pick(scale, smoke=60, laptop=500, paper=2090),
        "epochs": pick(scale, smoke=1, laptop=10, paper=1 if data == "realiad" else 10),
        "frozen": pick(scale, smoke=4, laptop=4, paper=0),  # stages up to this stride
    }
    return {
        "n_beside": pick(scale, smoke=1, laptop=5),  # of flagged classes, which nothing judges
        "side": pick(scale, smoke=64, laptop=128, paper=224),
        "n_train": pick(scale, smoke=8, laptop=100),
        "n_good": n_good,
        "n_each": n_each,
        "method": method,
    }


def severities(scale: str) -> dict[str, int]:
    """Return the severity of each corruption at which verdicts are judged: the matched ones, at paper scale the printed one."""
    return pick(scale, smoke=MATCHED, laptop=MATCHED, paper=HARDEST)


def n_seeds(scale: str) -> int:
    """Return how many seeds are judged: what may grow without a cell being computed again."""
    return pick(scale, smoke=2, laptop=20, paper=5)


def cells(scale: str) -> list[Cell]:
    """Return a cell a class, seed and corruption, held-out ones first."""
    if scale == "paper":
        return [
            {"data": data, **cell} for data in holding(DATA_SETS) for cell in _judged(scale, categories(data))
        ]
    held_out = [
        {"phase": "held out", "class": FIRST, "seed": seed, "condition": kind, "severity": severity}
        for seed in HELD_OUT
        for kind, severity in severities(scale).items()
    ]
    return held_out + _judged(scale, SHIFTED)


def _judged(scale: str, classes: tuple[str, ...]) -> list[Cell]:
    grid, levels = setting(scale), severities(scale)
    found = []
    for seed in range(FIRST_SEED, FIRST_SEED + n_seeds(scale)):
        beside = seed < FIRST_SEED + grid["n_beside"]
        for name in classes:
            conditions = [("clean", 0), *levels.items()]
            if name not in FLAGGED and levels != HARDEST:
                conditions += HARDEST.items()
            if name not in FLAGGED or beside:
                key = {"phase": "judged", "class": name, "seed": seed}
                if scale != "paper":  # there all have the printed rate
                    key["rates"] = CHOSEN
                found += [key | {"condition": c, "severity": s} for c, s in conditions]
    return found


def contestants(cell: Cell, scale: str) -> list[tuple[str, float]]:
    """Return the methods of a cell, each with its learning rate: the printed one for all if the cell names no other."""
    if cell["phase"] == "held out":
        return [(method, lr) for method, rates in RATES.items() for lr in rates]
    rate = {m: cell.get("rates", {}).get(SHARED.get(m, m), PRINTED_RATE) for m in METHODS}
    beside = dict.fromkeys(AS_PRINTED, PRINTED_RATE) if "rates" in cell else {}
    flagged = cell["class"] in FLAGGED
    if cell["condition"] == "clean":
        names = ["PatchCore"] if flagged else ["PatchCore", "TTAD"]
    elif flagged:
        names = list(RIVALS)
    elif cell["severity"] != severities(scale)[cell["condition"]]:
        names = [*RIVALS, *beside]
    else:
        names = [*METHODS, *beside]
    return [(m, (rate | beside)[m]) for m in names]


def best_rates(rows: pd.DataFrame) -> dict[str, float]:
    """Return the rate of the best mean image AUROC over held-out seeds and corruptions, method by method: what CHOSEN should be."""
    mean = rows.groupby(["method", "lr"])["image"].mean()
    return {m: float(mean[m].idxmax()) for m in RATES if m not in UNFROZEN}


# A cell ---------------------------------------------------------------------------------------------


def network(scale: str) -> Backbone:
    """Return the backbone, strides 8 and 16."""
    build = wide_resnet50_2 if scale == "paper" else efficientnet_lite0
    return build(stages=(8, 16), device=device())


def pictures(name: str, seed: int, scale: str, data: str = "mvtec_ad") -> Dataset:
    """Return a class's pictures. `data`: at paper scale, the data set."""
    grid = setting(scale, data)
    if scale == "paper":
        return on_disk(data, name, grid["side"])
    return solar_cells(name, **{k: grid[k] for k in ("side", "n_train", "n_good", "n_each")}, seed=seed)


@functools.lru_cache(maxsize=1)  # the cells of a class and seed follow each other
def fitted(name: str, seed: int, scale: str, data: str = "mvtec_ad") -> tuple[Dataset, TTAD]:
    """Return a class's pictures, and the memory of its clean ones. `data`: at paper scale, the data set."""
    found, method = pictures(name, seed, scale, data), setting(scale, data)["method"]
    return found, TTAD(network(scale), **method, seed=seed).fit(found.train.to(device()))


def shifted(data: Dataset, cell: Cell) -> Tensor:
    """Return the test pictures under the corruption of a cell."""
    if cell["condition"] == "clean":
        return data.test.to(device())
    return corrupt(data.test, cell["condition"], cell["severity"], seed=cell["seed"]).to(device())


def aurocs(detector: TTAD, images: Tensor, data: Dataset) -> list[float]:
    """Return image and pixel AUROC in percent; without masks, no pixel AUROC."""
    scores = detector.score(images)
    if not bool(scores.maps.isfinite().all()):
        raise FloatingPointError("adapted features have overflown")
    found = [100 * image_auroc(scores.image_scores, data.labels)]
    return found if data.masks is None else [*found, 100 * pixel_auroc(scores.maps, data.masks)]


def named(aurocs: list[float]) -> Row:
    """Return AUROCs by name."""
    return dict(zip(("image", "pixel"), aurocs, strict=False))


def adapt(ttad: TTAD, images: Tensor, data: Dataset, start: list[float], every: bool) -> Row:
    """Return the AUROCs before and after adapting, after `every` epoch or the last one only, and the first step's loss.

    An adaptation that fails, because its loss is no longer a number, leaves the unadapted scores, and says so.
    """
    found, failed = [start], False
    losses: list[float] = []
    try:
        for one in ttad.adapting(images):
            losses = one.losses_
            if every:
                found.append(aurocs(one, images, data))
        if not every:
            found.append(aurocs(one, images, data))
    except FloatingPointError:
        found, failed = [*found, start], True
    return {"curve": found, "failed": failed, "first loss": losses[0] if losses else None}


def checksums(images: Tensor) -> dict[str, float]:
    """Return what any machine must find alike: the mean, and one that notices another order."""
    ramp = torch.linspace(0, 1, images.numel()).view_as(images).to(images)
    return {"mean": float(images.mean()), "ramp": float((ramp * images).mean())}


def compute(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield a row a method: image and pixel AUROC after the last epoch, in percent, and the curve that led there."""
    data, ttad = fitted(cell["class"], cell["seed"], scale, cell.get("data", "mvtec_ad"))
    images = shifted(data, cell)
    start, sums = aurocs(ttad, images, data), checksums(images)
    settings = METHODS | UNFROZEN | AS_PRINTED
    whole = cell["phase"] == "judged" and cell["class"] not in FLAGGED
    for method, lr in contestants(cell, scale):
        found: Row = {"curve": [start], "failed": False}
        if method != "PatchCore":
            one = replace(ttad, **settings[method], lr=lr)
            found = adapt(one, images, data, start, whole and method in RIVALS)
        yield {**sums, "method": method, "lr": lr, **named(found["curve"][-1]), **found}


STUDY = Study("ttad_results", cells, compute, seconds=55.0)
