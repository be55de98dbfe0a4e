"""PRADOT, one knob at a time: stages, α and averages (Table 2, Figure 3b), numbers of prototypes and batches (Figure 3a).

A cell is one of three things. *maps*: a class and seed, both stages, every α. *batches*: besides, a number n of prototypes a cell and
a memory η; stage 3 alone. *epochs*: more or less learning, on a seed that no verdict uses.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from otad.data import annotations
from otad.data.drawn import scenes, textures
from otad.data.packaged import photographs
from otad.methods import PRADOT
from otad.methods.prototypes.pradot import embeddings
from otad.metrics import auspro, image_auroc, pixel_auroc
from otad.scale import pick
from otad.studies import Cell, Row, Study
from otad.studies.arenas import categories, on_disk, packaged
from otad.studies.networks import Look, stages_of, two_stages

FIRST_SEED = 100
STAGES = ("2", "3")
RATIOS = (0.5, 1, 2, 4)  # of batch to n
FEW = (0.0, 0.3, 0.9)  # α of classes without a layout
PAIR = (0.0, 0.3)  # α of the method: global and local
# What of our transistor is in MVTec AD's; and two sorts of logical defects, wrong position in a fixed layout and wrong count.
AS_IN_MVTEC = ("misplaced", "turned", "bent_lead", "cut_lead", "chipped")
POSITION = {
    "transistor": ("misplaced", "turned", "bent_lead"),
    "tray": ("swapped", "foreign"),
    "bottle": ("underfilled", "overfilled", "label_shifted"),
}
COUNT = {"tray": ("missing", "extra"), "dish": ("missing", "extra")}


def setting(scale: str) -> dict[str, Any]:
    """Return the sizes of a scale: of pictures, of the method, of the grid."""
    n, batch_size = pick(scale, smoke=(2, 4), laptop=(4, 8), paper=(16, 64))
    eta, max_iter = pick(scale, smoke=(0.5, 5), laptop=(0.8, 20), paper=(0.95, 100))
    n_good, n_each = pick(scale, smoke=(2, 1), laptop=(16, 4), paper=(40, 10))
    return {
        "side": pick(scale, smoke=48, laptop=128, paper=224),
        "n_train": pick(scale, smoke=5, laptop=64, paper=200),
        "n_good": n_good,
        "n_each": n_each,
        "alphas": pick(scale, smoke=FEW, laptop=(0.0, 0.15, 0.3, 0.6, 0.9)),
        "ns": pick(scale, smoke=(1, 2, 4), laptop=(1, 4, 8, 16)),
        "largest": pick(scale, smoke=16, laptop=32, paper=64),  # batch
        "steps": pick(scale, smoke=2, laptop=32, paper=300),  # of a cell of Figure 3a
        "tried": pick(scale, smoke=(1, 2), laptop=(1, 2, 3, 6), paper=(10, 50)),  # epochs
        "method": {
            "n": n,
            "eta": eta,
            "batch_size": batch_size,
            "epochs": pick(scale, smoke=2, laptop=3, paper=50),
            "max_iter": max_iter,
        },
    }


def rule(scale: str) -> dict[str, Any]:
    """Return what was fixed before the first seed was run: what a seed draws, and the smallest effect that would matter, in points."""
    drawn = "first prototypes and batches" if scale == "paper" else "all images, first prototypes and batches"
    return {
        "resampling": f"a seed draws {drawn} anew",
        "unit": "points",
        "smallest_effect": 1.0,
        "effect_reason": "what we took for “about equal” before the first seed was run",
    }


def loco(scale: str) -> tuple[str, ...]:
    """Return the classes that stand for MVTec AD LOCO, or its own."""
    if scale == "paper":
        return categories("mvtec_loco")
    return pick(scale, smoke=("tray", "transistor"), laptop=scenes.NAMES)


def ad(scale: str) -> tuple[str, ...]:
    """Return the classes that stand for MVTec AD, or its own."""
    if scale == "paper":
        return categories("mvtec_ad")
    return ("transistor", *pick(scale, smoke=("wood",), laptop=(*textures.NAMES, *photographs.NAMES)))


def grid(scale: str) -> list[tuple[int, float]]:
    """Return the pairs (n, ratio) of Figure 3a: half a picture is no batch, and more pictures than there are is none either."""
    sizes = setting(scale)
    return [(n, r) for n in sizes["ns"] for r in RATIOS if 1 <= n * r <= sizes["largest"]]


def longer(scale: str) -> float:
    """Return the η of a memory four times as long."""
    return 1 - (1 - setting(scale)["method"]["eta"]) / 4


def two(scale: str) -> tuple[str, ...]:
    """Return the classes in which the longer memory is tried."""
    names = loco(scale)
    return names[:1] if scale == "smoke" else (names[0], names[-1])


def n_seeds(scale: str) -> int:
    """Return how many seeds are judged: what may grow without a cell being computed again."""
    return pick(scale, smoke=2, laptop=20)


def cells(scale: str) -> list[Cell]:
    """Return the cells of the tuning seeds, then seed by seed those of maps and batches."""
    sizes, scene_names = setting(scale), loco(scale)
    eta, ns = sizes["method"]["eta"], sizes["ns"]
    tuning = pick(scale, smoke=(0,), laptop=(0, 1))
    first = scene_names[:1] if scale == "smoke" else scene_names[:2]
    found: list[Cell] = [{"part": "epochs", "class": c, "seed": s} for s in tuning for c in first]
    for seed in range(FIRST_SEED, FIRST_SEED + n_seeds(scale)):
        for name in dict.fromkeys((*scene_names, *ad(scale))):
            found.append({"part": "maps", "class": name, "seed": seed})
            if name in scene_names:
                found += [{"part": "batches", "class": name, "seed": seed, "n": n, "η": eta} for n in ns]
        again = {"n": ns[1], "η": longer(scale)}
        found += [{"part": "batches", "class": name, "seed": seed} | again for name in two(scale)]
    return found


# Pictures, and what is judged together -----------------------------------------------------------


@lru_cache(maxsize=1)
def network(scale: str) -> Look:
    """Return the backbone, strides 8 and 16."""
    return two_stages(scale)


@lru_cache(maxsize=2)
def ready(name: str, seed: int, scale: str) -> tuple[Any, list[Tensor], list[Tensor]]:
    """Return a class: its data, and each stage's features (N,C,h,w) of training and of test images."""
    sizes = setting(scale)
    if scale == "paper":
        data = on_disk("mvtec_loco" if name in loco(scale) else "mvtec_ad", name, sizes["side"])
    else:
        data = packaged(name, seed=seed, **{k: sizes[k] for k in ("side", "n_train", "n_good", "n_each")})
    return data, stages_of(network(scale), data.train), stages_of(network(scale), data.test)


def subsets(data: Any, name: str, scale: str) -> dict[str, list[int]]:
    """Return the test images that are judged together: name of the set to their numbers, good ones among them."""
    wanted = {}
    if name in loco(scale):
        pairs = list(zip(data.kinds, data.groups, strict=True))
        wanted = {group: {kind for kind, g in pairs if g == group} for group in annotations.GROUPS}
        wanted |= {"position": set(POSITION.get(name, ())), "count": set(COUNT.get(name, ()))}
    if name in ad(scale):
        scene = name in loco(scale)
        wanted["AD"] = set(AS_IN_MVTEC if scene else data.kinds)
        if scene:
            wanted["AD, damage only"] = {"cut_lead", "chipped"}
    return {
        key: [i for i, kind in enumerate(data.kinds) if kind in kinds | {"good"}]
        for key, kinds in wanted.items()
        if kinds
    }


def judged(maps: Tensor, data: Any, name: str, scale: str) -> Row:
    """Return detection and localisation of maps (N,H,W) in each set, in percent; an image's score is its map's maximum."""
    found = {}
    for key, among in subsets(data, name, scale).items():
        some = maps[among]
        found[f"{key} image"] = image_auroc(some.amax((1, 2)), data.labels[among])
        if key.startswith("AD"):
            found[f"{key} local"] = pixel_auroc(some, data.masks[among])
        else:
            found[f"{key} local"] = auspro(some, [data.defects[i] for i in among])
    return {key: round(100 * value, 4) for key, value in found.items()}


# What a cell computes -----------------------------------------------------------------------------


def learner(seed: int, scale: str, **settings: Any) -> PRADOT:
    """Return a method of this scale's sizes that has not learnt."""
    return PRADOT(network(scale), seed=seed, **(setting(scale)["method"] | settings))


def mapped(
    method: PRADOT, features: Tensor, prototypes: Tensor, alpha: float, side: int
) -> tuple[Tensor, Tensor]:
    """Return maps of Eq. 6 (N,side,side), upsampled, and the prototypes chosen (N,h,w)."""
    costs, chosen = method.assign(features, prototypes, alpha)
    maps = F.interpolate(costs[:, None], size=(side, side), mode="bilinear", align_corners=False)
    return maps[:, 0].cpu(), chosen


def averaged(method: PRADOT, train: Tensor, test: Tensor, side: int) -> Tensor:
    """Return the mean of the global and the local map of one stage, learnt and scored."""
    both = (mapped(method, test, method.learn(train, a), a, side)[0] for a in PAIR)
    return torch.stack(list(both)).mean(0)


def errands(
    features: Tensor, prototypes: Tensor, chosen: Tensor, data: Any, sets: dict[str, list[int]]
) -> Row:
    """Return what a visit costs, means over normal images and over the damaged cells of each set.

    "strange": 1 − cosine between embedding and chosen prototype; "far": their distance, in sides of the image.
    """
    n, h, w = chosen.shape
    z = F.normalize(embeddings(features), dim=1)
    p = F.normalize(prototypes.flatten(0, 2), dim=1)[chosen.flatten()]
    cell, own = chosen.cpu() % (h * w), torch.arange(h * w).view(h, w)
    down, right = (cell // w - own // w).float() / h, (cell % w - own % w).float() / w
    away = {"strange": (1 - (z * p).sum(1)).view(n, h, w).cpu(), "far": torch.hypot(down, right)}
    hurt = F.adaptive_avg_pool2d(data.masks[:, None].float(), (h, w))[:, 0] > 0.3
    where = {"normal": ~data.labels[:, None, None] & torch.ones_like(hurt)}
    for key, among in sets.items():
        here = torch.zeros(n, dtype=torch.bool)
        here[among] = True
        where[key] = hurt & here[:, None, None]
    return {
        f"{key} {what}": round(float(values[cells].mean()), 5)
        for key, cells in where.items()
        for what, values in away.items()
        if cells.any()
    }


def ablate(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield the rows of Table 2 and Figure 3b: a stage (or both) and an α (or the average of two)."""
    name, side = cell["class"], setting(scale)["side"]
    data, train, test = ready(name, cell["seed"], scale)
    alphas = setting(scale)["alphas"] if name in (*loco(scale), "transistor") else FEW
    method, sets = learner(cell["seed"], scale), subsets(data, name, scale)
    maps: dict[tuple[str, Any], Tensor] = {}
    for stage, f, g in zip(STAGES, train, test, strict=True):
        for alpha in alphas:
            p = method.learn(f, alpha)
            maps[stage, alpha], chosen = mapped(method, g, p, alpha, side)
            scores = judged(maps[stage, alpha], data, name, scale)
            yield {"stage": stage, "α": f"{alpha:g}"} | scores | errands(g, p, chosen, data, sets)
        maps[stage, "avg"] = (maps[stage, 0.0] + maps[stage, 0.3]) / 2
        yield {"stage": stage, "α": "avg"} | judged(maps[stage, "avg"], data, name, scale)
    for which in (*alphas, "avg"):
        both = (maps["2", which] + maps["3", which]) / 2
        label = which if which == "avg" else f"{which:g}"
        yield {"stage": "2+3", "α": label} | judged(both, data, name, scale)


def batches(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield the rows of Figure 3a for one n, a ratio each, all with the same number of steps; four times as many for a longer memory."""
    sizes, n, eta = setting(scale), cell["n"], cell["η"]
    data, train, test = ready(cell["class"], cell["seed"], scale)
    steps = sizes["steps"] * (4 if eta == longer(scale) else 1)
    for ratio in (r for m, r in grid(scale) if m == n):
        size = min(int(n * ratio), len(data.train))
        epochs = max(1, round(steps * size / len(data.train)))
        method = learner(cell["seed"], scale, n=n, batch_size=size, epochs=epochs, eta=eta)
        maps = averaged(method, train[1], test[1], sizes["side"])
        yield {"B/n": ratio} | judged(maps, data, cell["class"], scale)


def converge(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield the rows that chose the number of epochs: a number and a stage each."""
    sizes = setting(scale)
    data, train, test = ready(cell["class"], cell["seed"], scale)
    for epochs in sizes["tried"]:
        for stage, f, g in zip(STAGES, train, test, strict=True):
            maps = averaged(learner(cell["seed"], scale, epochs=epochs), f, g, sizes["side"])
            yield {"stage": stage, "epochs": epochs} | judged(maps, data, cell["class"], scale)


def crowd(name: str, seed: int, scale: str) -> Iterator[Row]:
    """Yield for the second and third n, and each ratio, how near prototypes of stage 3 lie to each other at α = 0, and how many are used.

    "apart": mean 1 − cosine to the closest other prototype. "visited": share of those that normal test pictures visit, in percent.
    """
    data, train, test = ready(name, seed, scale)
    for n, ratio in (pair for pair in grid(scale) if pair[0] in setting(scale)["ns"][1:3]):
        size = min(int(n * ratio), len(data.train))
        epochs = max(1, round(setting(scale)["steps"] * size / len(data.train)))
        method = learner(seed, scale, n=n, batch_size=size, epochs=epochs)
        p = method.learn(train[1], 0.0)
        unit = F.normalize(p.flatten(0, 2), dim=1)
        likeness = (unit @ unit.T).fill_diagonal_(-1).amax(1)
        visited = method.assign(test[1], p, 0.0)[1][~data.labels].unique()
        apart = float(1 - likeness.mean())
        yield {"n": n, "B/n": ratio, "apart": apart, "visited": 100 * len(visited) / len(unit)}


def compute(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield the rows of a cell, scores in percent."""
    yield from {"maps": ablate, "batches": batches, "epochs": converge}[cell["part"]](cell, scale)


# What the claims say of Table 2 -------------------------------------------------------------------


def better(table: pd.DataFrame, means: pd.DataFrame, cells: list[tuple[str, str]]) -> pd.Series:
    """Return of some cells (stage, α) the one whose mean over seeds is best, score by score."""
    best = {c: means.loc[cells, c].idxmax() for c in table}
    return pd.Series({c: table.loc[cell, c] for c, cell in best.items()})


def differences(table: pd.DataFrame, means: pd.DataFrame) -> pd.DataFrame:
    """Return what claims 04 to 07 and 19 say of a table as differences that should be positive: a row (claim, what), a column a score.

    table: scores of one seed, or printed ones, a row (stage, α). means: of all seeds; they say which of two is the better.
    """
    found, averages = {}, [(s, "avg") for s in STAGES]
    two = table.loc[("2+3", "avg")] - better(table, means, averages)
    for s, claim in zip(STAGES, ("pradot-04", "pradot-05"), strict=True):
        average = table.loc[(s, "avg")]
        for a in ("0", "0.3"):
            found[claim, f"average > α = {a}"] = average - table.loc[(s, a)]
        gain = average - better(table, means, [(s, "0"), (s, "0.3")])
        found["pradot-06", f"gain > averaging's, stage {s}"] = two - gain
    one, other = (table.loc[cell] for cell in averages)
    local = [c for c in table if c.endswith(" local")]
    found["pradot-07", "stage 2 > stage 3"] = (one - other)[local]
    found["pradot-19", "α = 0 > α = 0.3"] = table.loc[("3", "0")] - table.loc[("3", "0.3")]
    return pd.DataFrame(found).T.sort_index().rename_axis(["claim", "what"])[list(table)]


STUDY = Study("pradot_ablations", cells, compute, seconds=8.0)
