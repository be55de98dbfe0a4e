"""The benchmark, part one: methods that keep what normal pictures look like, as Gaussians or as it is."""

from collections.abc import Iterator
from typing import Any

from otad.features.pretrained import wide_resnet50_2
from otad.features.residual import resnet18, resnet152
from otad.methods import FYD, PANDA, SPADE, PaDiM, PatchCore
from otad.methods.density.padim import Banded
from otad.scale import device
from otad.studies import Cell, Row, Study
from otad.studies import benchmark_arena as arena
from otad.studies.benchmark_arena import Plan, lite0, sigma


def padim(scale: str, seed: int, **own: Any) -> PaDiM:
    """Return PaDiM: its memory and its time are those of a Gaussian a place, so a laptop's begins at stride 8."""
    paper = {"dimension": 550}
    if scale == "paper":
        return Banded(
            wide_resnet50_2((4, 8, 16), device()), sigma=sigma(scale), seed=seed, dimension=paper["dimension"]
        )
    net = lite0(*own.pop("strides"))
    return PaDiM(net, sigma=sigma(scale), seed=seed, **own)


def patchcore(scale: str, seed: int, **own: Any) -> PatchCore:
    """Return PatchCore with a tenth of the patches."""
    net = wide_resnet50_2((8, 16), device()) if scale == "paper" else lite0(*own.pop("strides"))
    return PatchCore(net, sigma=sigma(scale), seed=seed, **own)


def spade(scale: str, seed: int, **own: Any) -> SPADE:
    """Return SPADE: the deepest map, pooled, names the neighbours."""
    net = wide_resnet50_2((4, 8, 16, 32), device()) if scale == "paper" else lite0(*own.pop("strides"))
    return SPADE(net, sigma=sigma(scale), **own)


def panda(scale: str, seed: int, **own: Any) -> PANDA:
    """Return PANDA, its tuning stopped early."""
    net = resnet152((8, 16, 32), device()) if scale == "paper" else lite0(8, 16, 32)
    return PANDA(net, sigma=sigma(scale), seed=seed, **own)


def fyd(scale: str, seed: int, **own: Any) -> FYD:
    """Return FYD, reconstructed: PaDiM once pictures and features are aligned."""
    net = resnet18((4, 8, 16), device()) if scale == "paper" else lite0(8, 16)
    return FYD(net, sigma=sigma(scale), seed=seed, **own)


BUILDS = {"PaDiM": padim, "PatchCore": patchcore, "SPADE": spade, "PANDA": panda, "FYD": fyd}
FINE, COARSE = (4, 8, 16), (8, 16)
PLANS = {
    "PaDiM": Plan(
        tuple({"strides": s, "epsilon": e, "dimension": None} for s in (FINE, COARSE) for e in (0.01, 1.0)),
        chosen=3,
        smoke={"strides": COARSE, "dimension": 20},
    ),
    "PatchCore": Plan(
        tuple(
            {"strides": s, "patch_size": p, "coreset_ratio": r}
            for s, r in ((FINE, 0.02), (COARSE, 0.1))  # about as many entries
            for p in (1, 3)
        ),
        chosen=0,
        smoke={"strides": COARSE},
    ),
    "SPADE": Plan(
        tuple({"strides": (*s, 32), "k": k} for s, ks in ((FINE, (4, 10)), (COARSE, (10, 50))) for k in ks),
        chosen=3,
        smoke={"strides": (16, 32), "k": 2},
    ),
    "PANDA": Plan(
        tuple(  # without the clip a rate of 0.1 diverges
            {"epochs": 8, "lr": lr, "clip": clip}
            for clip, lrs in ((1e-3, (1e-2, 1e-1)), (None, (1e-3, 1e-2)))
            for lr in lrs
        ),
        chosen=2,
        smoke={"epochs": 1},
    ),
    "FYD": Plan(
        tuple(
            {"frozen": frozen, "lr": lr, "epochs": e, "epsilon": 1.0}
            for frozen, e in ((True, 5), (False, 4))
            for lr in (1e-4, 1e-3)
        ),
        chosen=0,
        smoke={"epochs": 1, "dimension": 20, "frozen": True},
    ),
}


def cells(scale: str) -> list[Cell]:
    """Return a cell a class, seed, method and setting."""
    return arena.cells(scale, PLANS)


def compute(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield the row of a cell, in percent; at paper scale one a part of the test pictures."""
    yield from arena.measured(cell, scale, BUILDS)


STUDY = Study("benchmark_memories", cells, compute, seconds=25.0)
