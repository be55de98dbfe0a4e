"""RegAD beside FOCT: it learns on the other classes, once for each class that is left out, then sees the shots of every split. Page 42.

A cell is an arena, a class and a learning rate; its rows are splits and numbers of shots. *search*: some rates on held-out splits, at two
shots, on the scenes on which every rival had its search; `CHOSEN` has the largest mean of image and pixel AUROC. *score*: the splits that
are judged.
"""

from collections.abc import Iterable, Iterator
from functools import partial

import pandas as pd
from torch import Tensor

from otad.data.drawn import scenes, textures
from otad.features.pretrained import Backbone, efficientnet_lite0
from otad.features.residual import resnet18
from otad.methods import RegAD
from otad.scale import device, pick
from otad.studies import Cell, Row, Study, foct_results
from otad.studies import few_shot as shared
from otad.studies.arenas import categories, on_disk

RATES = (1e-5, 1e-4, 1e-3, 1e-2)  # the second one is RegAD's own
CHOSEN = 1e-5
BEYOND = (1e-6,)  # looked at after the choice, which lies at the edge: shown, not chosen
EACH = 10  # splits a cell, so that more of them leave the first ones as they are
FIRST = 0  # the seed that draws the other classes' pictures: a held-out one


def setting(scale: str) -> dict[str, int]:
    """Return the sizes of a scale: pictures of each other class (0: all), and epochs."""
    return {
        "pictures": pick(scale, smoke=2, laptop=16, paper=0),
        "epochs": pick(scale, smoke=1, laptop=15, paper=50),
    }


def n_seeds(scale: str) -> int:
    """Return how many splits are judged: those of the others."""
    return foct_results.n_seeds(scale)


def cells(scale: str) -> list[Cell]:
    """Return a cell an arena, class and rate; the splits that its rows are of belong to its key."""
    kept = [{"arena": a, "class": c} for a, names in shared.arenas(scale).items() for c in names]
    searched = [c for c in kept if c["arena"] in ("aligned", "turned") and c["class"] in foct_results.WATCHED]
    held_out = [
        {"what": "search", **c, "lr": lr, "splits": [*shared.HELD_OUT]}
        for c in searched
        for lr in RATES + BEYOND
    ]
    splits = [*range(shared.FIRST_SEED, shared.FIRST_SEED + n_seeds(scale))]
    tens = [splits[i : i + EACH] for i in range(0, len(splits), EACH)]
    lr = pick(scale, smoke=CHOSEN, laptop=CHOSEN, paper=RegAD.lr)  # its paper's
    judged = [{"what": "score", **c, "lr": lr, "splits": ten} for ten in tens for c in kept]
    return (held_out if scale != "paper" else []) + judged


def others(arena: str, name: str, scale: str) -> list[Tensor]:
    """Return normal pictures of other classes, a tensor (N,3,H,W) each: at paper scale all of the data set, else scenes and textures."""
    side, n = shared.setting(scale)["side"], setting(scale)["pictures"]
    if scale == "paper":
        return [on_disk(arena, other, side).train for other in categories(arena) if other != name]
    draw = {s: partial(scenes.load, s, side, n, 1, 1, seed=FIRST) for s in scenes.NAMES}
    if arena == "turned":
        draw = {s: partial(shared.turned, s, side, n, ["good"], FIRST) for s in scenes.NAMES}
    every = draw | {t: partial(textures.load, t, side, n, 1, 1, seed=FIRST) for t in textures.NAMES}
    kept = [load for other, load in every.items() if other != name]
    return [load().train for load in kept[: pick(scale, smoke=2, laptop=None)]]


def network(scale: str) -> Backbone:
    """Return the backbone, strides 4, 8 and 16: RegAD's ResNet18, or EfficientNet-Lite0."""
    build = resnet18 if scale == "paper" else efficientnet_lite0
    return build((4, 8, 16), device())


def compute(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield a row a split and number of shots, in percent."""
    method = RegAD(network(scale), epochs=setting(scale)["epochs"], lr=cell["lr"], sigma=shared.sigma(scale))
    method.learn([images.to(device()) for images in others(cell["arena"], cell["class"], scale)])
    for seed in cell["splits"]:
        given = foct_results.pictures(cell | {"seed": seed}, scale)
        for k in shared.SHOTS if cell["what"] == "score" else (2,):
            said = method.fit(given.shots[:k].to(device())).score(given.queries.to(device()))
            yield {"seed": seed, "shots": k, "method": "RegAD"} | shared.numbers(given, said)


def best_rate(rows: Iterable[Row]) -> float:
    """Return the rate with the largest mean of image and pixel AUROC on held-out splits: what `CHOSEN` should be."""
    found = pd.DataFrame([row for row in rows if row["what"] == "search" and row["lr"] in RATES])
    return float(found.groupby("lr")[["image", "pixel"]].mean().mean(axis=1).idxmax())


STUDY = Study("foct_regad", cells, compute, seconds=140.0)
