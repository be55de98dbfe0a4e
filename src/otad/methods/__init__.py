"""Anomaly detectors, one method a file, sorted by idea: what they all return and what they all can do.

`from otad.methods import FCA` finds every method, whichever folder it lies in, and imports that one alone;
`save` and `load` keep what one has learnt in a file.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from otad.checks import checked

METHODS = {
    "FCA": "otad.methods.matching.fca",
    "Aota": "otad.methods.matching.aota",
    "Weathering": "otad.methods.matching.weathering",
    "PatchCore": "otad.methods.memory.patchcore",
    "FOCT": "otad.methods.memory.foct",
    "FastRecon": "otad.methods.memory.fastrecon",
    "TTAD": "otad.methods.memory.ttad",
    "PaDiM": "otad.methods.density.padim",
    "RegAD": "otad.methods.density.regad",
    "SPADE": "otad.methods.density.spade",
    "PANDA": "otad.methods.density.panda",
    "FYD": "otad.methods.density.fyd",
    "FastFlow": "otad.methods.flows.fastflow",
    "CFlow": "otad.methods.flows.cflow",
    "CSFlow": "otad.methods.flows.csflow",
    "DifferNet": "otad.methods.flows.differnet",
    "PRADOT": "otad.methods.prototypes.pradot",
    "GNL": "otad.methods.distillation.gnl",
    "Glance": "otad.methods.distillation.glance",
    "KDAD": "otad.methods.distillation.kdad",
    "ReverseDistillation": "otad.methods.distillation.reverse_distillation",
    "STPM": "otad.methods.distillation.stpm",
    "UniAD": "otad.methods.distillation.uniad",
    "ViTAD": "otad.methods.distillation.vitad",
    "DFR": "otad.methods.reconstruction.dfr",
    "DRAEM": "otad.methods.reconstruction.draem",
    "MAEDAY": "otad.methods.reconstruction.maeday",
    "CutPaste": "otad.methods.pretext.cutpaste",
    "NSA": "otad.methods.pretext.nsa",
    "PatchSVDD": "otad.methods.pretext.patch_svdd",
    "HistogramContrast": "otad.methods.saliency.contrast",
    "RegionContrast": "otad.methods.saliency.contrast",
}


def __getattr__(name: str) -> Any:
    """Import a method when it is asked for, so that nobody waits for the others."""
    if name in ("save", "load"):
        return getattr(importlib.import_module("otad.methods.persistence"), name)
    if name not in METHODS:
        raise AttributeError(f"otad.methods has no {name!r}; its methods are {', '.join(sorted(METHODS))}")
    return getattr(importlib.import_module(METHODS[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *METHODS, "save", "load"})


@checked
@dataclass(frozen=True)
class Scores:
    """What a detector says about N images; higher = more anomalous.

    maps         : (N,H,W) tensor, one value a pixel of the image, in the method's own unit.
    image_scores : (N,) tensor, one value an image.

    Raises ValueError where the two do not belong together.
    """

    maps: Tensor
    image_scores: Tensor

    def __post_init__(self) -> None:
        """Refuse maps and scores of different numbers of images."""
        if self.maps.ndim != 3 or self.image_scores.shape != self.maps.shape[:1]:
            raise ValueError(
                f"maps of shape {tuple(self.maps.shape)} with image_scores of shape "
                f"{tuple(self.image_scores.shape)}: expected (N,H,W) and (N,)."
            )

    @classmethod
    def of_maps(cls, maps: Tensor) -> Self:
        """Score every image by the maximum of its map, as all but one of the papers do."""
        return cls(maps, torch.amax(maps, dim=(1, 2)))


class Detector(Protocol):
    """Scores images (N,3,H,W) in [0,1]. A zero-shot method is this and no more."""

    def score(self, images: Tensor) -> Scores:
        """Return one map and one score an image."""
        ...


class TrainableDetector(Detector, Protocol):
    """A detector that first looks at normal images; what it learns is kept in names that end in `_`."""

    def fit(self, images: Tensor) -> Self:
        """Learn from normal images (N,3,H,W) in [0,1]; raises ValueError for none."""
        ...
