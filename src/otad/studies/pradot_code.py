"""PRADOT, text against public code: each difference alone, in pairs, on the same pictures, features and random numbers.

A cell is a class and a seed; its rows are runs. The first run is the text; each other one changes one argument of `PRADOT`, and
`everything` is the public code (commit c4b6aa9). Four runs take the text's maps as they are and change the judge.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import ot
import torch
from torch import Tensor

from otad.data import Dataset
from otad.data.drawn import scenes
from otad.data.drawn.defects import KINDS, damage
from otad.methods import Scores
from otad.methods.prototypes.pradot import AUTHORS_CODE, PRADOT
from otad.metrics import Defect, auspro
from otad.scale import device, pick
from otad.studies import Cell, Row, Study, scoring
from otad.studies.arenas import categories, on_disk, packaged
from otad.studies.networks import Remembering, stages_of, two_stages
from otad.transport import Coupling

FIRST_SEED = 100
FROM_AD = ("carpet", "transistor")  # beside LOCO's classes at paper scale
RUNS: dict[str, dict[str, Any]] = {"text": {}}
RUNS |= {name: {name: value} for name, value in AUTHORS_CODE.items()}
RUNS |= {"sum": {"combine": "sum"}, "everything": AUTHORS_CODE}
RUNS |= {"never learnt": {"epochs": 0, "initial": "uniform"}}


def setting(scale: str) -> dict[str, Any]:
    """Return the sizes of a scale: of pictures, of the method, of the grid."""
    n, batch_size, max_iter = pick(scale, smoke=(1, 2, 10), laptop=(2, 8, 30), paper=(16, 64, 100))
    epochs, eta = pick(scale, smoke=(2, 0.5), laptop=(6, 0.8), paper=(50, 0.95))
    n_good, n_each = pick(scale, smoke=(2, 1), laptop=(10, 2), paper=(20, 5))
    return {
        "side": pick(scale, smoke=48, laptop=96, paper=224),
        "n_train": pick(scale, smoke=5, laptop=28, paper=150),  # no multiple of the batch
        "n_good": n_good,
        "n_each": n_each,
        "method": {"n": n, "batch_size": batch_size, "max_iter": max_iter, "epochs": epochs, "eta": eta},
    }


def classes(scale: str) -> tuple[str, ...]:
    """Return the classes of a scale: drawn scenes, a texture and a photograph, or at paper scale LOCO's and two of MVTec AD."""
    if scale == "paper":
        return (*categories("mvtec_loco"), *FROM_AD)
    return pick(scale, smoke=("transistor",), laptop=(*scenes.NAMES, "carpet", "brick"))


def n_seeds(scale: str) -> int:
    """Return how many seeds are judged: what may grow without a cell being computed again."""
    return pick(scale, smoke=2, laptop=20, paper=5)


def cells(scale: str) -> list[Cell]:
    """Return a cell a class and seed."""
    seeds = range(FIRST_SEED, FIRST_SEED + n_seeds(scale))
    return [{"class": name, "seed": seed} for name in classes(scale) for seed in seeds]


def pictures(cell: Cell, scale: str) -> Dataset:
    """Return the pictures of a cell; at paper scale they stay, and a seed draws the start alone."""
    name, grid = cell["class"], setting(scale)
    if scale == "paper":
        return on_disk("mvtec_ad" if name in FROM_AD else "mvtec_loco", name, grid["side"])
    sizes = {k: grid[k] for k in ("side", "n_train", "n_good", "n_each")}
    return packaged(name, seed=cell["seed"], **sizes)


@dataclass
class Exact(PRADOT):
    """PRADOT with the plan of Eq. 2, by POT's network simplex."""

    def transport(self, features: Tensor, prototypes: Tensor, alpha: float) -> Coupling:
        """Return the exact plan."""
        M = self.cost(features, prototypes, alpha, normalise=True)[:].double().cpu()
        plan = torch.as_tensor(ot.emd([], [], M.numpy(), numItermax=10**7))
        value = (plan * M).sum().to(features)
        return Coupling(plan.to(features), value, 0, 0.0, True)


def learner(look: Callable, seed: int, scale: str, kind: type[PRADOT] = PRADOT, **settings: Any) -> PRADOT:
    """Return a method of this scale's sizes that has not learnt."""
    return kind(look, **({**setting(scale)["method"], "seed": seed} | settings))


def learn(method: PRADOT, stages: list[Tensor], known: dict) -> PRADOT:
    """Give a method its prototypes; those that differ in nothing are learnt once."""
    method.prototypes_ = [{} for _ in stages]
    for k, features in enumerate(stages):
        for alpha in method.alphas:
            key: tuple = (k, alpha, method.initial, method.epochs, method.drop_last, method.val_ratio)
            key += (method.squared, method.coordinates) if alpha else ()
            if key not in known:
                known[key] = method.learn(features, alpha)
            method.prototypes_[k][alpha] = known[key]
    return method


def numbers_of(data: Any, scored: Scores) -> dict[str, float]:
    """Return image and pixel AUROC, and AU-sPRO where defects have groups, in percent."""
    return scoring.overall(data, scored) | (found_of(scored.maps, data) if hasattr(data, "groups") else {})


def found_of(maps: Tensor, data: Any, defects: list[list[Defect]] | None = None) -> dict[str, float]:
    """Return AU-sPRO of both groups of defects, and their mean as `sPRO`."""
    found = scoring.localisation(maps, data, defects)
    return {"sPRO" if key == "mean" else key: value for key, value in found.items()}


# The judge ----------------------------------------------------------------------------------------


def to_the_last(defects: list[list[Defect]]) -> list[list[Defect]]:
    """Return defects of which everything has to be found."""
    return [[Defect(d.mask, int(d.mask.sum())) for d in ds] for ds in defects]


def doubled(data: Any, seed: int) -> tuple[Tensor, list[list[Defect]]]:
    """Return the logical defects with a second, planted one each, and both annotations."""
    which = [i for i, g in enumerate(data.groups) if g == "logical"]
    kinds = [KINDS[k % len(KINDS)] for k in range(len(which))]
    images, masks = damage(list(data.test[which]), kinds, [seed, 55])
    second = [Defect(m, int(m.sum())) for m in masks]
    return images, [[*data.defects[i], d] for i, d in zip(which, second, strict=True)]


def merged(defects: list[list[Defect]]) -> list[list[Defect]]:
    """Return one mask a picture; enough is what was enough before."""
    masks = [torch.stack([torch.as_tensor(d.mask) for d in ds]).any(0) for ds in defects]
    areas = [sum(d.saturation_area for d in ds) for ds in defects]
    return [[Defect(m, min(a, int(m.sum())))] for m, a in zip(masks, areas, strict=True)]


def judged_otherwise(data: Any, maps: Tensor, method: PRADOT, seed: int) -> Iterator[Row]:
    """Yield the runs that keep the text's maps and change the judge; `method` is the text's."""
    yield {"run": "found whole"} | found_of(maps, data, to_the_last(data.defects))
    images, both = doubled(data, seed)
    good = (~data.labels).nonzero()[:, 0].tolist()
    more = torch.cat([maps[good], method.score(images.to(device())).maps.cpu()])
    none: list[list[Defect]] = [[] for _ in good]
    first = [ds[:1] for ds in both]
    for run, marks in (("two, apart", both), ("two, merged", merged(both)), ("two, first only", first)):
        yield {"run": run, "sPRO": 100 * float(auspro(more, none + marks))}


def compute(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield a row a run: image and pixel AUROC, and AU-sPRO of scenes, in percent."""
    data, look, seed = pictures(cell, scale), Remembering(two_stages(scale)), cell["seed"]
    known: dict = {}
    train, test = data.train.to(device()), data.test.to(device())
    stages = stages_of(look, train)
    for run, settings in RUNS.items():
        method = learn(learner(look, seed, scale, **settings), stages, known)
        scored = method.score(test)
        yield {"run": run} | numbers_of(data, scored)
        if run == "text" and hasattr(data, "groups"):
            yield from judged_otherwise(data, scored.maps.cpu(), method, seed)
    for run, kind in (("coarse", PRADOT), ("coarse, exact", Exact)):
        alone = learner(lambda images: look(images)[1:], seed, scale, kind)
        alone.prototypes_ = [{a: alone.learn(stages[1], a) for a in alone.alphas}]
        yield {"run": run} | numbers_of(data, alone.score(test))


STUDY = Study("pradot_code", cells, compute, seconds=6.0)
