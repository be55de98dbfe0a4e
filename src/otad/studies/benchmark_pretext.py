"""The benchmark, part four: methods that learn from a task made up for the purpose."""

from collections.abc import Iterator
from typing import Any

from otad.features.residual import resnet18
from otad.methods import NSA, CutPaste, PatchSVDD
from otad.scale import device
from otad.studies import Cell, Row, Study
from otad.studies import benchmark_arena as arena
from otad.studies.benchmark_arena import Plan, lite0


def cutpaste(scale: str, seed: int, scratch: bool = False, **own: Any) -> CutPaste:
    """Return CutPaste; a laptop's learns a head on a frozen network, which is another method, unless it begins from `scratch`."""
    if scale == "paper" or scratch:
        return CutPaste(resnet18((32,), device(), weights=None), seed=seed, **own)
    return CutPaste(lite0(16), frozen=True, seed=seed, **own)


def nsa(scale: str, seed: int, scratch: bool = False, **own: Any) -> NSA:
    """Return NSA; a laptop's learns a decoder on a frozen network, which is another method, unless it begins from `scratch`."""
    if scale == "paper" or scratch:
        return NSA(resnet18((4, 8, 16, 32), device(), weights=None), seed=seed, **own)
    return NSA(lite0(4, 8, 16), frozen=True, seed=seed, **own)


def patch_svdd(scale: str, seed: int, **own: Any) -> PatchSVDD:
    """Return Patch SVDD, whose encoders always begin from nothing; a laptop's patches are smaller, as its pictures are."""
    return PatchSVDD(seed=seed, **own)


BUILDS = {"P-SVDD": patch_svdd, "CutPaste": cutpaste, "NSA": nsa}
CROPS = {"patch_size": 64, "stride": 16, "batch_size": 16, "views": 8}  # of the second network of CutPaste
PLANS = {
    "P-SVDD": Plan(
        tuple(
            {"patch_size": 32, "strides": (8, 4), "width": w, "lr": lr, "epochs": e, "crops": 10}
            for w, e in ((8, 8), (12, 5))
            for lr in (3e-4, 2e-3)
        ),
        chosen=2,
        smoke={"patch_size": 32, "strides": (16, 16), "width": 4, "dimension": 8, "epochs": 1, "crops": 2},
        long={"patch_size": 32, "strides": (8, 4), "width": 12, "lr": 2e-3, "epochs": 250, "crops": 10},
    ),
    "CutPaste": Plan(
        tuple(
            CROPS | {"hidden": h, "lr": lr, "epochs": 30, "steps": 20}
            for h in (128, 512)
            for lr in (0.003, 0.03)
        ),
        chosen=2,
        smoke={"patch_size": None, "epochs": 1, "steps": 1, "batch_size": 2, "views": 1, "hidden": 8},
        long={"scratch": True, "patch_size": None, "batch_size": 16, "epochs": 40, "steps": 10},
    ),
    "NSA": Plan(
        tuple(
            {"width": w, "lr": lr, "epochs": e, "batch_size": 16}
            for w, e in ((32, 20), (64, 10))
            for lr in (1e-3, 4e-3)
        ),
        chosen=3,
        smoke={"width": 4, "epochs": 1, "views": 1},
        long={"scratch": True, "epochs": 120, "batch_size": 16},
    ),
}


def cells(scale: str) -> list[Cell]:
    """Return a cell a class, seed, method and setting."""
    return arena.cells(scale, PLANS)


def compute(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield the row of a cell, in percent; at paper scale one a part of the test pictures."""
    yield from arena.measured(cell, scale, BUILDS)


STUDY = Study("benchmark_pretext", cells, compute, seconds=32.0)
