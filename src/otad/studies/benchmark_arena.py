"""The benchmark's arena: its classes and sizes, what a cell of any of its four studies is, and what is measured in it.

A cell is one method with one setting on one class and seed. Its phase says what for. *score*: the setting that was chosen, on the seeds
that are judged. On held-out classes and seeds, *search*: each of the settings that are tried, as many for every method; *curve*: the chosen
one with a part of its epochs, or more; *long*: a network from scratch with many times the epochs, where its rival of the phases before is a
head on frozen features, or hardly trained. A cell holds its settings as JSON, so that another choice leaves all other cells as they are.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from otad.data import Dataset
from otad.data.drawn import scenes
from otad.data.drawn.defects import KINDS
from otad.data.packaged import solar
from otad.features.pretrained import Backbone, efficientnet_lite0
from otad.methods import Scores
from otad.metrics import aupro, f1_max, image_auroc, pixel_auroc
from otad.scale import device, pick
from otad.studies import Cell, Row
from otad.studies.arenas import categories, on_disk, packaged

FIRST_SEED = 100
PARTS = 5  # of the test pictures at paper scale: each is a seed
HELD_OUT = 0  # the seed that chooses settings; no verdict is its own
SEARCHED = ("carpet", "dish")  # classes that choose settings, and are not judged
PLANTED, REAL = "poly, planted", "mono, real"
TRIES = 4  # settings of each method, the same number for all
SHARES = (0.25, 0.5, 2.0)  # of the chosen epochs, of a curve; the whole is in the search
LONG = ("leather", "bottle")
MARKS = 8  # losses that a row keeps, evenly spread over the epochs

Settings = dict[str, Any]
Build = Callable[..., Any]  # (scale, seed, **settings) → a method that has not learnt


@dataclass(frozen=True)
class Plan:
    """What is done with a method: the settings that are tried at laptop scale, which was chosen, the least that runs, and a long run.

    chosen : position in `tried`. At paper scale a method has its defaults, which are the paper's, but for what `paper` says.
    """

    tried: tuple[Settings, ...]
    chosen: int
    smoke: Settings
    long: Settings | None = None
    paper: Settings = field(default_factory=dict)

    def settings(self, scale: str) -> Settings:
        """Return what the method is built with where it is judged."""
        return pick(scale, smoke=self.smoke, laptop=self.tried[self.chosen], paper=self.paper)


Builds = Mapping[str, Build]
Plans = Mapping[str, Plan]


def setting(scale: str) -> dict[str, int]:
    """Return the sizes of a scale: of pictures, and how many there are; good ones, and of each kind of defect.

    At paper scale all methods get 224 pixels, whatever their papers have; CS-Flow enlarges them to 768, DifferNet to 448.
    """
    return {
        "side": pick(scale, smoke=64, laptop=128, paper=224),
        "n_train": pick(scale, smoke=4, laptop=60),
        "n_good": pick(scale, smoke=2, laptop=20),
        "n_each": pick(scale, smoke=1, laptop=4),
        "n_each_scene": pick(scale, smoke=1, laptop=3),  # they have a kind or two more
    }


def arena(scale: str) -> dict[str, tuple[str, ...]]:
    """Return group to classes: what is judged."""
    if scale == "paper":
        return {"mvtec_ad": categories("mvtec_ad")}
    return {
        "textures": pick(scale, smoke=("tile",), laptop=("leather",)),
        "scenes": pick(scale, smoke=(), laptop=("bottle", "transistor")),
        "photographs": pick(scale, smoke=(), laptop=("brick",)),
        "cells": pick(scale, smoke=(), laptop=(PLANTED, REAL)),
    }


def n_seeds(scale: str) -> int:
    """Return how many seeds are judged: what may grow without a cell being computed again."""
    return pick(scale, smoke=2, laptop=10, paper=PARTS)


def cells(scale: str, plans: Plans) -> list[Cell]:
    """Return the cells of some methods: held-out ones first, then seed by seed; at paper scale a class is one, with all parts of its test set."""
    classes = [(group, name) for group, names in arena(scale).items() for name in names]
    if scale == "paper":
        return [
            _cell("score", c, name, m.settings(scale)) | {"group": g}
            for g, c in classes
            for name, m in plans.items()
        ]
    judged = [
        _cell("score", c, name, m.settings(scale), seed) | {"group": g}
        for seed in range(FIRST_SEED, FIRST_SEED + n_seeds(scale))
        for g, c in classes
        for name, m in plans.items()
    ]
    return judged if scale == "smoke" else [*searches(plans), *_lengths(plans), *judged]


def searches(plans: Plans) -> Iterator[Cell]:
    """Yield the cells that choose a setting."""
    for c in SEARCHED:
        for name, m in plans.items():
            yield from (_cell("search", c, name, tried, HELD_OUT) for tried in m.tried)


def _lengths(plans: Plans) -> Iterator[Cell]:
    """Yield the cells that show whether it is enough, and the long ones."""
    for c in SEARCHED:
        for name, m in plans.items():
            chosen = m.tried[m.chosen]
            for share in SHARES if "epochs" in chosen else ():
                part = chosen | {"epochs": max(1, round(share * chosen["epochs"]))}
                yield _cell("curve", c, name, part, HELD_OUT) | {"share": share}
    for c in LONG:
        for name, m in plans.items():
            if m.long is not None:
                yield _cell("long", c, name, m.long, FIRST_SEED)


def _cell(phase: str, name: str, method: str, settings: Settings, seed: int | None = None) -> Cell:
    seeded = {} if seed is None else {"seed": seed}
    return {"phase": phase, "class": name, **seeded, "method": method, "settings": json.dumps(settings)}


# What a cell computes -----------------------------------------------------------------------------


@lru_cache(maxsize=1)  # the methods of a class and seed follow each other
def pictures(name: str, seed: int, scale: str) -> Dataset:
    """Return a class; a seed draws all of it anew, but for cells and photographs, of which seeds share some. Real defects have no masks."""
    grid = setting(scale)
    side, n_train, n_good, n_each = (grid[k] for k in ("side", "n_train", "n_good", "n_each"))
    if scale == "paper":
        return on_disk("mvtec_ad", name, side)
    if name == PLANTED:
        return solar.planted("poly", side, n_train, ["good"] * n_good + list(KINDS) * n_each, seed, salt=60)
    if name == REAL:
        return solar.load("mono", side, n_train, n_good, len(KINDS) * n_each, seed)
    return packaged(
        name, side, n_train, n_good, grid["n_each_scene"] if name in scenes.NAMES else n_each, seed
    )


@dataclass
class Smaller:
    """A method that is shown pictures of another side; its maps are brought back to theirs."""

    method: Any
    side: int

    def fit(self, images: Tensor) -> Self:
        """Let the method learn from the resized pictures."""
        self.method.fit(self._resized(images))
        self.losses_ = self.method.losses_
        return self

    def score(self, images: Tensor) -> Scores:
        """Return what it says of them."""
        said = self.method.score(self._resized(images))
        maps = F.interpolate(said.maps[:, None], images.shape[-2:], mode="bilinear")[:, 0]
        return Scores(maps, said.image_scores)

    def _resized(self, images: Tensor) -> Tensor:
        size = (self.side, self.side)
        return F.interpolate(images, size, mode="bilinear", antialias=True).clamp(0, 1)


@lru_cache(maxsize=4)
def lite0(*strides: int) -> Backbone:
    """Return EfficientNet-Lite0 with maps of these strides: what all methods look through at laptop scale."""
    return efficientnet_lite0(stages=strides, device=device())


def sigma(scale: str) -> float:
    """Return the width of the Gaussian that smooths maps: 4 pixels at 224, for all methods that smooth."""
    return 4 * setting(scale)["side"] / 224


def scored(cell: Cell, scale: str, build: Build) -> tuple[Dataset, Scores, Row]:
    """Return the pictures of a cell, what the method says of them, and what that took: seconds of one core, or of a GPU's clock, network included; and the losses."""
    seed = cell.get("seed", 0)
    data = pictures(cell["class"], seed, scale)
    train, test = data.train.to(device()), data.test.to(device())
    now = (
        time.perf_counter if train.is_cuda else time.process_time
    )  # other work on the machine does not count
    begun = now()
    method = build(scale, seed, **json.loads(cell["settings"])).fit(train)
    fitted = now()
    said = method.score(test)
    said = Scores(said.maps.cpu(), said.image_scores.cpu())
    spent = {"fit s": round(fitted - begun, 2), "score s": round(now() - fitted, 2)}
    return data, said, spent | {"losses": some(getattr(method, "losses_", []))}


def some(losses: list[float]) -> list[float]:
    """Return at most MARKS of the losses, evenly spread; the last is always among them."""
    places = torch.linspace(0, len(losses) - 1, min(MARKS, len(losses))).round().int().tolist()
    return [round(losses[i], 5) for i in places]


def numbers(data: Any, said: Scores) -> Row:
    """Return image AUROC and F1-max, and where there are masks pixel AUROC, PRO and F1-max of pixels, in percent."""
    found = {
        "image": image_auroc(said.image_scores, data.labels),
        "image F1": f1_max(said.image_scores, data.labels)[0],
    }
    if data.masks is not None:
        found |= {"pixel": pixel_auroc(said.maps, data.masks), "PRO": aupro(said.maps, data.masks)}
        found["pixel F1"] = f1_max(said.maps, data.masks)[0]
    return {key: 100 * float(value) for key, value in found.items()}


def measured(cell: Cell, scale: str, builds: Builds) -> Iterator[Row]:
    """Yield the row of a cell; at paper scale one for each of the disjoint parts of the test pictures, which are its seeds."""
    data, said, spent = scored(cell, scale, builds[cell["method"]])
    if scale != "paper":
        yield numbers(data, said) | spent
        return
    for k in range(PARTS):
        part = range(len(data.test))[k::PARTS]
        masks = None if data.masks is None else data.masks[part]
        kinds = [data.kinds[i] for i in part]
        few = replace(data, test=data.test[part], masks=masks, labels=data.labels[part], kinds=kinds)
        yield (
            {"seed": FIRST_SEED + k} | numbers(few, Scores(said.maps[part], said.image_scores[part])) | spent
        )
