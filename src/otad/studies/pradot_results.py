"""PRADOT against PatchCore: where anomalies are logical, and where they are not. On the same pictures and the same features.

A cell is one of three things. *score*: a class and seed; its rows are methods. *curve*: PRADOT's scores while it learns, on a held-out
seed. *search*: both methods with the same two neighbourhoods, on a held-out seed.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from otad.data.drawn import scenes, textures
from otad.data.drawn.defects import KINDS
from otad.data.packaged import photographs, solar
from otad.features.pretrained import wide_resnet50_2
from otad.methods import PRADOT, PatchCore, Scores
from otad.methods.prototypes.pradot import update
from otad.scale import device, pick
from otad.studies import Cell, Row, Study, scoring
from otad.studies.arenas import categories, on_disk, packaged
from otad.studies.networks import Look, Remembering, stages_of, two_stages

FIRST_SEED = 100
PARTS = 5  # of the test pictures at paper scale: each is a seed
HELD_OUT = (0, 1)  # seeds that chose the protocol; no verdict is theirs
CORE, ALL, COSINE = "PatchCore", "PatchCore, all patches", "PatchCore, cosine"
Found = dict[str, Scores]  # by method


def setting(scale: str) -> dict[str, Any]:
    """Return the sizes of a scale: of pictures, of the method, of the grid; p is PatchCore's neighbourhood."""
    n, eta, batch_size = pick(scale, smoke=(1, 0.5, 2), laptop=(4, 0.8, 8), paper=(16, 0.95, 64))
    epochs, max_iter = pick(scale, smoke=(2, 10), laptop=(6, 30), paper=(50, 100))
    n_good, n_each = pick(scale, smoke=(2, 1), laptop=(10, 2))
    return {
        "side": pick(scale, smoke=48, laptop=128, paper=224),
        "n_train": pick(scale, smoke=4, laptop=32),
        "n_good": n_good,
        "n_each": n_each,
        "p": pick(scale, smoke=1, laptop=1, paper=3),
        "marks": pick(
            scale, smoke=(1, 2), laptop=(1, 2, 3, 4, 6, 9, 12)
        ),  # passes after which a curve is scored
        "method": {"n": n, "eta": eta, "batch_size": batch_size, "epochs": epochs, "max_iter": max_iter},
    }


def arena(scale: str) -> dict[str, tuple[str, ...]]:
    """Return group to classes: scenes are for logic; the transistor among them is of both kinds."""
    if scale == "paper":
        return {name: categories(name) for name in ("mvtec_loco", "mvtec_ad")}
    return {
        "scenes": pick(scale, smoke=("transistor",), laptop=scenes.NAMES),
        "textures": pick(scale, smoke=("carpet",), laptop=textures.NAMES),
        "photographs": pick(scale, smoke=(), laptop=photographs.NAMES),
        "cells": pick(scale, smoke=(), laptop=solar.CELLS),
    }


def parts(scale: str) -> tuple[str, list[str], list[str]]:
    """Return the group of logic, the groups of matter, and the classes of the former that belong to the latter, too."""
    logical, shared = ("mvtec_loco", []) if scale == "paper" else ("scenes", ["transistor"])
    return logical, [group for group in arena(scale) if group != logical], shared


def rule(scale: str) -> dict[str, Any]:
    """Return what was fixed before the first seed was run: what a seed draws, and the smallest effect that would matter, in points."""
    drawn = "a seed draws new pictures, defects and prototypes of all classes; photographs and cells overlap between seeds"
    return {
        "resampling": "a seed is one of the disjoint parts of the test images" if scale == "paper" else drawn,
        "unit": "points",
        "smallest_effect": 1.0,
        "effect_reason": "what page 52 takes for “about equal”, fixed before the first seed was run",
    }


def n_seeds(scale: str) -> int:
    """Return how many seeds are judged: what may grow without a cell being computed again."""
    return pick(scale, smoke=2, laptop=20, paper=PARTS)


def cells(scale: str) -> list[Cell]:
    """Return a cell a class and seed, and those of the held-out seeds; at paper scale a class is one, with all parts of its test set."""
    kept = [
        {"what": "score", "group": group, "class": name}
        for group, names in arena(scale).items()
        for name in names
    ]
    if scale == "paper":
        return kept
    seeds = range(FIRST_SEED, FIRST_SEED + n_seeds(scale))
    watched = pick(scale, smoke=("transistor",), laptop=("tray", "bottle"))
    held_out = pick(scale, smoke=HELD_OUT[:1], laptop=HELD_OUT)
    return [cell | {"seed": seed} for cell in kept for seed in seeds] + [
        {"what": what, "class": name, "seed": seed}
        for what in ("curve", "search")
        for name in watched
        for seed in held_out
    ]


def pictures(cell: Cell, scale: str) -> Any:
    """Return the pictures of a cell; a seed draws all of them anew, or, at paper scale, they are those of the class."""
    grid, group, name = setting(scale), cell.get("group", "scenes"), cell["class"]
    side, n_train, n_good, n_each = (grid[k] for k in ("side", "n_train", "n_good", "n_each"))
    if scale == "paper":
        return on_disk(group, name, side)
    if group == "cells":
        kinds = ["good"] * n_good + list(KINDS) * n_each
        return solar.planted(name, side, n_train, kinds, cell["seed"], 50 + solar.CELLS.index(name))
    return packaged(name, side, n_train, n_good, n_each, seed=cell["seed"])


# The contestants ----------------------------------------------------------------------------------


def pradot(look: Look, seed: int, scale: str) -> PRADOT:
    """Return PRADOT as its text has it, with this scale's sizes."""
    return PRADOT(look, seed=seed, **setting(scale)["method"])


def directions(look: Look) -> Look:
    """Return a network whose feature vectors have length one."""
    return lambda images: [F.normalize(f, dim=1) for f in look(images)]


def pooled(look: Look, size: int) -> Look:
    """Return a network whose maps are averaged over size × size pixels, as PatchCore does."""

    def features(images: Tensor) -> list[Tensor]:
        return [F.avg_pool2d(f, size, 1, size // 2, count_include_pad=False) for f in look(images)]

    return features


def contestants(look: Look, other: Look, seed: int, scale: str) -> dict[str, Any]:
    """Return name to a method that has not learnt: PRADOT by the first network, four kinds of PatchCore by the second."""
    p, width = setting(scale)["p"], 4 * setting(scale)["side"] / 224  # 4 pixels at 224
    core = {"sigma": width, "seed": seed}
    return {
        "PRADOT": pradot(look, seed, scale),
        CORE: PatchCore(other, coreset_ratio=0.1, patch_size=p, **core),
        ALL: PatchCore(other, coreset_ratio=1.0, patch_size=p, **core),
        COSINE: PatchCore(directions(other), coreset_ratio=0.1, patch_size=p, **core),
        f"PatchCore, p = {4 - p}": PatchCore(other, coreset_ratio=0.1, patch_size=4 - p, **core),
    }


@lru_cache(maxsize=1)
def networks(scale: str) -> tuple[Look, Look]:
    """Return PRADOT's network and PatchCore's: one and the same, but at paper scale."""
    net = two_stages(scale)
    return net, (wide_resnet50_2(stages=(8, 16), device=device()) if scale == "paper" else net)


# What a cell computes -----------------------------------------------------------------------------


def scored(cell: Cell, scale: str) -> tuple[Any, Found]:
    """Return the pictures of a cell, and what each method says of them."""
    data, (net, other) = pictures(cell, scale), networks(scale)
    look = Remembering(net)
    rival = look if other is net else Remembering(other)
    train, test = data.train.to(device()), data.test.to(device())
    found = {}
    methods = contestants(look, rival, cell.get("seed", 0), scale)
    for name in list(methods):
        said = methods.pop(name).fit(train).score(test)  # a memory of all patches does not wait for the end
        found[name] = Scores(said.maps.cpu(), said.image_scores.cpu())
    return data, found


def numbers(data: Any, said: Scores) -> Row:
    """Return metric to percent; where defects have groups, image AUROC and AU-sPRO of each, and their means."""
    row = scoring.overall(data, said)
    if hasattr(data, "groups"):
        row |= {f"image {key}": v for key, v in scoring.detection(said.image_scores, data).items()}
        row |= {f"sPRO {key}": v for key, v in scoring.localisation(said.maps, data).items()}
    return row


def judge(data: Any, found: Found, scale: str) -> Iterator[Row]:
    """Yield a row a method; at paper scale one for each of the disjoint parts of the test pictures, which are its seeds."""
    if scale != "paper":
        yield from ({"method": name} | numbers(data, said) for name, said in found.items())
        return
    for k in range(PARTS):
        part = range(len(data.test))[k::PARTS]
        some = part_of(data, part)
        for name, said in found.items():
            here = Scores(said.maps[part], said.image_scores[part])
            yield {"seed": FIRST_SEED + k, "method": name} | numbers(some, here)


def part_of(data: Any, part: range) -> Any:
    """Return a data set with some of its test pictures."""
    fields = {k: getattr(data, k)[part] for k in ("test", "masks", "labels")}
    lists = [k for k in ("kinds", "defects", "groups") if hasattr(data, k)]
    return replace(data, **fields, **{k: [getattr(data, k)[i] for i in part] for k in lists})


def passes(method: PRADOT, features: Tensor, alpha: float) -> Iterator[tuple[Tensor, float]]:
    """Yield prototypes and mean transport cost after each pass over the features, without end: Algorithm 1, as `PRADOT.learn` has it."""
    generator = torch.Generator().manual_seed(method.seed)
    _, c, h, w = features.shape
    prototypes = torch.randn(method.n, h, w, c, generator=generator).to(features)
    order = torch.randperm(len(features), generator=generator)
    while True:
        shuffled, costs = order[torch.randperm(len(order), generator=generator)], []
        for batch in shuffled.split(method.batch_size):
            coupling = method.transport(features[batch], prototypes, alpha)
            prototypes = update(prototypes, coupling.plan, features[batch], method.eta)
            costs.append(float(coupling.value))
        yield prototypes, float(np.mean(costs))


def curve(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield the cost of transport and the scores of a scene after some passes."""
    data, look, marks = pictures(cell, scale), Remembering(networks(scale)[0]), setting(scale)["marks"]
    method, test = pradot(look, cell["seed"], scale), data.test.to(device())
    running = [{a: passes(method, f, a) for a in method.alphas} for f in stages_of(look, data.train)]
    for epoch in range(1, marks[-1] + 1):
        states = [{a: next(run) for a, run in runs.items()} for runs in running]
        if epoch in marks:
            method.prototypes_ = [{a: p for a, (p, _) in state.items()} for state in states]
            cost = float(np.mean([value for state in states for _, value in state.values()]))
            yield {"epochs": epoch, "cost": cost} | numbers(data, method.score(test))


def search(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield the scores of both methods with a neighbourhood of one pixel and of three."""
    data, look = pictures(cell, scale), Remembering(networks(scale)[0])
    train, test = data.train.to(device()), data.test.to(device())
    width = 4 * setting(scale)["side"] / 224
    for size in (1, 3):
        tried = {
            "PRADOT": pradot(pooled(look, size), cell["seed"], scale),
            CORE: PatchCore(look, size, sigma=width, seed=cell["seed"]),
        }
        for name, method in tried.items():
            yield {"method": name, "p": size} | numbers(data, method.fit(train).score(test))


def fewer(cell: Cell, scale: str, shares: Iterable[int]) -> Iterator[Row]:
    """Yield the scores of both methods with a half, a quarter … of a class's normal pictures; PRADOT learns from as many batches."""
    data, (net, other) = pictures(cell, scale), networks(scale)
    for share in shares:
        few = data.train[: len(data.train) // share].to(device())
        methods = contestants(net, other, cell.get("seed", 0), scale)
        methods["PRADOT"].epochs *= share
        for name in ("PRADOT", CORE):
            said = methods[name].fit(few).score(data.test.to(device()))
            yield {"method": name, "normal pictures": len(few)} | numbers(data, said)


def compute(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield a row a method, a number of passes, or a method and neighbourhood, in percent."""
    if cell["what"] == "score":
        yield from judge(*scored(cell, scale), scale)
    else:
        yield from (curve if cell["what"] == "curve" else search)(cell, scale)


STUDY = Study("pradot_results", cells, compute, seconds=6.0)
