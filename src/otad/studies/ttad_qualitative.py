"""TTAD beside detectors that do not adapt, PatchCore, reverse distillation and GNL, at severity 5: pages 35 and 36.

A cell is a class, a seed and a method; its rows are conditions, for students without and with EFDM. Further classes, for Figure 8, have
PatchCore alone, on held-out seeds: whether they may enter the arena of page 30.
"""

import copy
from collections.abc import Iterator
from typing import Any

import pandas as pd
from torch import Tensor

from otad.data import Dataset
from otad.data.drawn import scenes, textures
from otad.data.drawn.corruptions import KINDS, corrupt
from otad.features.pretrained import Backbone, efficientnet_lite0, wide_resnet50_2
from otad.methods import Scores
from otad.methods.distillation.gnl import GNL, OPERATIONS
from otad.methods.memory.ttad import TTAD
from otad.metrics import image_auroc, pixel_auroc
from otad.scale import device, pick
from otad.studies import Cell, Row, Study
from otad.studies.arenas import categories, on_disk
from otad.studies.shifted import FIRST, PLANTED, SHIFTED, solar_cells

FIRST_SEED = 100
HELD_OUT = (0, 1)
BYTES = "contrast, bytes"
RECIPES: dict[str, dict[str, Any]] = {
    "RD": {"consistency": False},
    "GNL": {"operations": OPERATIONS},
    "GNL, no stretching": {"operations": [o for o in OPERATIONS if o not in ("autocontrast", "equalize")]},
    "GNL, contrast too": {"operations": (*OPERATIONS, "contrast", "brightness")},
}
WAYS = {  # columns of Figure 4 → method, EFDM
    "unadapted": ("PatchCore", False),
    "RD": ("RD", False),
    "TTAD": ("TTAD", False),
    "GNL": ("GNL", True),
}
LOOKED_AT = ("PatchCore", "TTAD", "RD", "GNL")  # on every class; all recipes on the first
FURTHER = ("wood", "leather", "transistor")


def setting(scale: str) -> dict[str, Any]:
    """Return the sizes of a scale: of pictures, of the memory, of the students, of the grid."""
    n_good, n_each = pick(scale, smoke=(2, 1), laptop=(15, 5))
    memory = {
        "n_memory": pick(scale, smoke=60, laptop=500, paper=2090),
        "epochs": pick(scale, smoke=1, laptop=10, paper=10),
        "frozen": pick(scale, smoke=4, laptop=4, paper=0),
        "lr": 0.003,
    }
    student = {
        "width": pick(scale, smoke=8, laptop=24, paper=128),
        "epochs": pick(scale, smoke=1, laptop=10, paper=20),
    }
    return {
        "side": pick(scale, smoke=64, laptop=128, paper=224),
        "n_train": pick(scale, smoke=8, laptop=100),
        "n_further": pick(scale, smoke=6, laptop=60),
        "n_good": n_good,
        "n_each": n_each,
        "memory": memory,
        "student": student,
    }


def classes(scale: str) -> tuple[str, ...]:
    """Return the classes of a scale; the first decides."""
    return categories("mvtec_ad") if scale == "paper" else pick(scale, smoke=(FIRST,), laptop=SHIFTED)


def further(scale: str) -> tuple[str, ...]:
    """Return the classes that are shown beside."""
    return classes(scale)[1:4] if scale == "paper" else pick(scale, smoke=FURTHER[:1], laptop=FURTHER)


def n_seeds(scale: str) -> int:
    """Return how many seeds are judged: what may grow without a cell being computed again."""
    return pick(scale, smoke=2, laptop=20)


def cells(scale: str) -> list[Cell]:
    """Return a cell a class, seed and method."""
    judged = [
        {"class": name, "seed": seed, "method": method}
        for k, name in enumerate(classes(scale))
        for seed in range(FIRST_SEED, FIRST_SEED + n_seeds(scale))
        for method in (LOOKED_AT if k or scale == "smoke" else (*LOOKED_AT[:2], *RECIPES))
    ]
    trial = [
        {"class": name, "seed": seed, "method": "PatchCore"}
        for seed in HELD_OUT[: pick(scale, smoke=1, laptop=2)]
        for name in further(scale)
    ]
    return judged + trial


def pictures(name: str, seed: int, scale: str) -> Dataset:
    """Return a class: solar cells, a texture or the transistor, at paper scale one of MVTec AD."""
    grid = setting(scale)
    side, n_good, n_each = grid["side"], grid["n_good"], grid["n_each"]
    if scale == "paper":
        return on_disk("mvtec_ad", name, side)
    if name in SHIFTED:
        return solar_cells(name, side, grid["n_train"], n_good, n_each, seed)
    if name in textures.NAMES:
        return textures.load(name, side, grid["n_further"], n_good, n_each, PLANTED, seed=seed)
    return scenes.load(name, side, grid["n_further"], n_good, 2, scenes.STRUCTURAL[name], seed=seed)


def conditions(images: Tensor, seed: int) -> Iterator[tuple[str, Tensor]]:
    """Yield test pictures clean, under each corruption at severity 5, and under contrast stored as bytes."""
    yield "clean", images
    for kind in KINDS:
        yield kind, corrupt(images, kind, 5, seed=seed)
    yield BYTES, corrupt(images, "contrast", 5, levels=256)


def network(scale: str, stages: tuple[int, ...]) -> Backbone:
    """Return the backbone: strides 8 and 16 for the memory, 4 as well for the teacher."""
    build = wide_resnet50_2 if scale == "paper" else efficientnet_lite0
    return build(stages=stages, device=device())


def learnt(method: str, train: Tensor, seed: int, scale: str) -> TTAD | GNL:
    """Return a method fitted to clean pictures: a memory for PatchCore and TTAD, else a student of its recipe."""
    grid = setting(scale)
    if method in RECIPES:
        student = GNL(network(scale, (4, 8, 16)), **grid["student"], seed=seed, **RECIPES[method])
        return student.fit(train)
    return TTAD(network(scale, (8, 16)), **grid["memory"], seed=seed).fit(train)


def asked(student: GNL, match: bool) -> GNL:
    """Return the same student, with or without EFDM."""
    other = copy.copy(student)
    other.match = match
    return other


def looks(
    method: str, detector: TTAD | GNL, images: Tensor, clean: bool = False
) -> Iterator[tuple[bool, Scores]]:
    """Yield (EFDM, scores) of pictures under one condition; TTAD does not adapt to clean ones, as in print."""
    images = images.to(device())
    if isinstance(detector, GNL):
        for match in (False, True):
            yield match, asked(detector, match).score(images)
    else:
        yield False, (detector if clean or method == "PatchCore" else detector.adapt(images)).score(images)


def row(condition: str, match: bool, scores: Scores, data: Dataset) -> Row:
    """Return a row: image and pixel AUROC, in percent; without masks, no pixel AUROC."""
    found: Row = {"condition": condition, "EFDM": match}
    found["image"] = 100 * image_auroc(scores.image_scores.cpu(), data.labels)
    if data.masks is not None:
        found["pixel"] = 100 * pixel_auroc(scores.maps.cpu(), data.masks)
    return found


def compute(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield a row a condition, for students two: without and with EFDM."""
    data = pictures(cell["class"], cell["seed"], scale)
    detector = learnt(cell["method"], data.train.to(device()), cell["seed"], scale)
    for condition, images in conditions(data.test, cell["seed"]):
        for match, scores in looks(cell["method"], detector, images, condition == "clean"):
            yield row(condition, match, scores, data)


def named(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of WAYS, with these names as methods: seeds of verdicts only."""
    names = {pair: way for way, pair in WAYS.items()}
    pairs = zip(rows["method"], rows["EFDM"], strict=True)
    found = rows.assign(method=[names.get(pair) for pair in pairs]).dropna(subset=["method"])
    return found[found["seed"] >= FIRST_SEED]


STUDY = Study("ttad_qualitative", cells, compute, seconds=25.0)
