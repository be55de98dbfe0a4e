"""What FOCT's studies share: few normal pictures of a class, a shuffled stream of queries, and the methods that are compared on them.

A split is a seed: it draws the shots, and, where pictures are drawn, the queries too. At paper scale the queries stay, as in print.
"""

import csv
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from otad.data import Dataset
from otad.data.annotations import AnnotatedDataset, Annotation
from otad.data.drawn import scenes, textures
from otad.data.drawn.defects import KINDS, damage
from otad.data.packaged import solar
from otad.features.foreground import GrabCut, segment_anything
from otad.features.pretrained import efficientnet_lite0, wide_resnet50_2
from otad.methods import FOCT, FastRecon, PaDiM, PatchCore, Scores
from otad.methods.memory.patchcore import patch_features
from otad.metrics import f1_max, image_auroc, pixel_auroc
from otad.scale import device, pick
from otad.studies import Cell, Row
from otad.studies.arenas import categories, on_disk
from otad.studies.networks import Look, Remembering
from otad.transport import Scaled

FIRST_SEED = 100
HELD_OUT = (0, 1)  # seeds that chose arena and settings; no verdict is theirs
ZOOM, WANDER = (
    0.7,
    6.0,
)  # of the turned arena: from farther away, shifted and turned six times as much as the aligned one
PLANTED = 3  # defects of its kind on each bad picture there, and on each bad cell
SHOTS = (1, 2, 4)
NO_FOREGROUND = ("carpet", "grid", "leather", "tile", "wood")  # of MVTec AD: the product fills the picture


def setting(scale: str) -> dict[str, int]:
    """Return the sizes of a scale: of pictures, and how many there are; good ones, and of each kind of defect."""
    return {
        "side": pick(scale, smoke=48, laptop=128, paper=336),
        "n_good": pick(scale, smoke=3, laptop=12),
        "n_each": pick(scale, smoke=1, laptop=2),
    }


@dataclass(frozen=True)
class Task:
    """Shots (4,3,H,W) with the object's masks or None, and queries (M,3,H,W) in the order of the stream, with masks and labels."""

    shots: Tensor
    foreground: Tensor | None
    queries: Tensor
    masks: Tensor
    labels: Tensor
    kinds: list[str]


def rule(table: int) -> dict[str, Any]:
    """Return what was fixed before the first split was run: what a split draws, and the smallest effect that would matter, in points."""
    return {
        "resampling": "a split draws shots, queries and their order; mean of the classes",
        "unit": "points",
        "smallest_effect": 1.0,
        "effect_reason": f"steps between neighbours in Table {table} are of that order",
    }


def arenas(scale: str) -> dict[str, tuple[str, ...]]:
    """Return arena to classes. Aligned and turned are the same scenes; at paper scale MVTec AD is the aligned one, MPDD the turned."""
    if scale == "paper":
        return {name: categories(name) for name in ("mvtec_ad", "mpdd")}
    if scale == "smoke":
        return {"aligned": ("bottle",), "turned": ("bottle",)}
    some = {"textures": ("carpet", "wood"), "cells": solar.CELLS}
    return {"aligned": scenes.NAMES, "turned": scenes.NAMES} | some


def task(cell: Cell, scale: str, defects: tuple[str, ...] | None = None) -> Task:
    """Return the pictures of an arena, class and seed; `defects` are the kinds of a scene, None = all."""
    arena, name, seed, grid = cell["arena"], cell["class"], cell["seed"], setting(scale)
    side, n_good, n_each, n = grid["side"], grid["n_good"], grid["n_each"], max(SHOTS)
    generator = torch.Generator().manual_seed(seed)
    if scale == "paper":
        data: Any = on_disk(arena, name, side)
        data = replace(data, train=listed(arena, name, seed, few(data.train, n, generator), data.train))
        inside = None if name in NO_FOREGROUND else objects(data.train)
    elif arena == "aligned":
        data = scenes.load(name, side, n, n_good, n_each, defects, seed=seed)
        inside = data.foreground
    elif arena == "turned":
        data = turned(name, side, n, ["good"] * n_good + list(KINDS) * n_each, seed)
        inside = data.foreground
    elif arena == "textures":
        data, inside = textures.load(name, side, n, n_good, n_each, seed=seed), None
    else:
        data, inside = cells(name, side, n, ["good"] * n_good + list(KINDS) * n_each, seed), None
    order = torch.randperm(len(data.test), generator=generator)
    kinds = [data.kinds[i] for i in order.tolist()]
    masks = torch.zeros_like(data.test[:, 0], dtype=torch.bool) if data.masks is None else data.masks
    return Task(data.train, inside, data.test[order], masks[order], data.labels[order], kinds)


@lru_cache(maxsize=1)
def segmenter() -> tuple[str, Callable[[Tensor], Tensor]]:
    """Return what finds the object at paper scale, and its name: SAM as in print, or GrabCut where SAM's library is not installed.

    Raises ValueError where it is, and its weights are missing or damaged: no cell takes another segmenter unasked.
    """
    if find_spec("transformers") is None:
        return "GrabCut, as the extra “sam” is not installed", GrabCut()
    return "SAM", segment_anything(device=device())


def objects(shots: Tensor) -> Tensor | None:
    """Return the object's masks (n,H,W) in shots; None where one is hardly anything or nearly everything, so that there is nothing to part."""
    found = segmenter()[1](shots.to(device())).cpu()
    share = found.flatten(1).float().mean(1)
    return found if bool(((share > 0.01) & (share < 0.99)).all()) else None


def few(images: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """Draw n of these normal pictures, each once; ValueError if there are fewer."""
    if len(images) < n:
        raise ValueError(
            f"{n} shots are to be drawn from {len(images)} normal pictures: give {n} or more, or ask for fewer shots."
        )
    return images[torch.randperm(len(images), generator=generator)[:n]]


def listed(dataset: str, name: str, split: int, drawn: Tensor, images: Tensor) -> Tensor:
    """Return a split's shots as foct_splits.csv lists them, so that no generator has to repeat itself; what was drawn for another folder.

    The file numbers the normal pictures of a class in the order of their names, and says of how many.
    """
    with (Path(__file__).parent / "foct_splits.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            key = row["dataset"], row["class"], int(row["split"]), int(row["normal"])
            if key == (dataset, name, split, len(images)):
                return images[[int(i) for i in row["shots"].split()]]
    return drawn


def turned(name: str, side: int, n: int, kinds: list[str], seed: int) -> Any:
    """Draw a scene from afar, shifted and turned; of eight planted defects, those that lie most on the object stay."""
    drawn = [[seed, scenes.NAMES.index(name), 77, i] for i in range(n + len(kinds))]
    images = torch.stack([scenes.render(name, side, s, zoom=ZOOM, wander=WANDER)[0] for s in drawn])
    objects = torch.stack([scenes.foreground(name, side, s, zoom=ZOOM, wander=WANDER) for s in drawn])
    tries = [damage(list(images[n:]), kinds, [seed, 78, place]) for place in range(8)]
    share = torch.stack([(m & objects[n:]).sum((1, 2)) / m.sum((1, 2)).clamp(min=1) for _, m in tries])
    test, marks = laid(images[n:], tries, share.argsort(0, descending=True)[:PLANTED])
    found = [[Annotation(m, float(m.sum()), k)] if m.any() else [] for m, k in zip(marks, kinds, strict=True)]
    groups = ["structural" if k != "good" else k for k in kinds]
    return AnnotatedDataset(
        name,
        images[:n],
        test,
        marks,
        marks.flatten(1).any(1),
        kinds,
        scenes.LICENCE,
        found,
        groups,
        test[:0],
        objects[:n],
    )


def cells(name: str, side: int, n: int, kinds: list[str], seed: int) -> Dataset:
    """Load normal solar cells and plant defects on those that are not to stay good."""
    data = solar.load(name, side, n, len(kinds), 0, seed)
    salt = 40 + solar.CELLS.index(name)
    tries = [damage(list(data.test), kinds, [seed, salt, place], grey=True) for place in range(PLANTED)]
    every = torch.arange(PLANTED)[:, None].expand(-1, len(kinds))
    test, marks = laid(data.test, tries, every)
    return replace(
        data, name=f"{name}, planted", test=test, masks=marks, labels=marks.flatten(1).any(1), kinds=kinds
    )


def laid(images: Tensor, tries: list[tuple[Tensor, Tensor]], chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Lay several damages over each image: of `tries` (images and masks each) those of the indices `chosen` (K,N), one after the other."""
    pictures, masks = (torch.stack(found) for found in zip(*tries, strict=True))
    marks, each = torch.zeros_like(masks[0]), torch.arange(len(images))
    for places in chosen:
        here = masks[places, each]
        images, marks = torch.where(here[:, None], pictures[places, each], images), marks | here
    return images, marks


# The contestants ----------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def network(scale: str) -> Look:
    """Return the backbone, strides 8 and 16: the paper's WideResNet50-2, or EfficientNet-Lite0."""
    build = wide_resnet50_2 if scale == "paper" else efficientnet_lite0
    return build(stages=(8, 16), device=device())


def patches(net: Look) -> Look:
    """Return the patch features that all memories share, averaged over 3 × 3 and joined, each picture looked at once."""
    return Remembering(lambda images: [patch_features(net(images), 3)])


def sharpened(look: Look, shots: Tensor, sharpness: float) -> Callable[[int], Scaled]:
    """Return the navigator d = β ‖M − Q‖², β such that d of a pair of the shots' patches is `sharpness` on average."""
    points = torch.cat([look(shot)[0] for shot in shots.split(1)]).movedim(1, -1).flatten(0, 2)
    typical = 2 * float(points.var(dim=0, correction=0).sum())
    return lambda _: Scaled(sharpness / typical)


# FOCT as it is compared: its switches, and what it takes for foreground. "after": the calibrated memory of Sec. 4.3 and Figure 4.
VARIANTS: dict[str, tuple[dict[str, Any], str]] = {
    "CT": ({"online": False, "memory": "after"}, "none"),
    "OCT": ({"memory": "after"}, "none"),
    "FOCT": ({"memory": "after"}, "exact"),
    "FOCT, own picks out": ({"memory": "before"}, "exact"),
    "FOCT, Eq. 8 as printed": ({"memory": "semantic"}, "exact"),
    "CT, own picks out": ({"online": False, "memory": "before"}, "none"),
    "OCT, own picks out": ({"memory": "before"}, "none"),
    "FOCT, inverted mask": ({"memory": "after"}, "inverted"),
    "FOCT, random mask": ({"memory": "after"}, "random"),
    "FOCT out, inverted mask": ({"memory": "before"}, "inverted"),
    "FOCT out, nearest": ({"memory": "before", "navigator": None}, "exact"),
}


def foreground_of(kind: str, exact: Tensor | None, seed: int) -> Tensor | None:
    """Return masks (k,H,W) of the kind "exact", "inverted", "random" (squares of a cell, as many as the object has) or "none"."""
    if exact is None or kind == "none":
        return None
    if kind == "random":
        n, height, width = exact.shape
        share, generator = float(exact.float().mean()), torch.Generator().manual_seed(seed)
        small = torch.rand(n, -(-height // 8), -(-width // 8), generator=generator) < share
        return small.repeat_interleave(8, 1).repeat_interleave(8, 2)[:, :height, :width]
    return ~exact if kind == "inverted" else exact


def sigma(scale: str) -> float:
    """Return the width of the Gaussian that smooths maps: 4 pixels at 224, for all methods."""
    return 4 * setting(scale)["side"] / 224


def foct(look: Look, shots: Tensor, scale: str, seed: int, sharpness: float, **settings: Any) -> FOCT:
    """Return FOCT with the cheap navigator, not yet fitted."""
    cheap = {"navigator": sharpened(look, shots, sharpness), "patch_size": 1}
    return FOCT(look, **(cheap | {"sigma": sigma(scale), "seed": seed} | settings))


def rival(name: str, look: Look, net: Look, scale: str, seed: int, **settings: Any) -> Any:
    """Return PaDiM, PatchCore or FastRecon, not yet fitted."""
    common = {"sigma": sigma(scale), "seed": seed}
    if name == "PaDiM":
        return PaDiM(net, **common, **settings)
    kind = {"PatchCore": PatchCore, "FastRecon": FastRecon}[name]
    return kind(look, patch_size=1, **common, **settings)


def numbers(given: Task, said: Scores) -> Row:
    """Return AUROC and F1-max of images and pixels, in percent."""
    tops, maps = said.image_scores.cpu(), said.maps.cpu()
    found = {
        "image": image_auroc(tops, given.labels),
        "image F1": f1_max(tops, given.labels)[0],
        "pixel": pixel_auroc(maps, given.masks),
        "pixel F1": f1_max(maps, given.masks)[0],
    }
    return {key: 100 * float(value) for key, value in found.items()}
