"""The benchmark, part three: methods that rebuild a picture, or what a network sees in it, and look at what they cannot rebuild."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from otad.data.drawn import textures
from otad.data.packaged import photographs
from otad.data.readers import dtd
from otad.data.readers.locations import bank
from otad.features.pretrained import wide_resnet50_2
from otad.features.residual import resnet18
from otad.features.zoo import vgg19_layers
from otad.methods import DFR, DRAEM, Glance, ReverseDistillation
from otad.scale import device
from otad.studies import Cell, Row, Study
from otad.studies import benchmark_arena as arena
from otad.studies.benchmark_arena import Plan, Smaller, lite0, sigma

DESCRIBED = 940  # of DTD's 5,640 textures, 20 a class: DRAEM holds three copies while it resizes them, 1.7 GB; of all it would be 10


def reverse_distillation(scale: str, seed: int, **own: Any) -> ReverseDistillation:
    """Return reverse distillation; a laptop's student is small."""
    net = wide_resnet50_2((4, 8, 16), device()) if scale == "paper" else lite0(4, 8, 16)
    return ReverseDistillation(net, sigma=sigma(scale), seed=seed, **own)


def dfr(scale: str, seed: int, **own: Any) -> DFR:
    """Return DFR; Lite0's channels differ so much in size that a laptop's are standardised."""
    net = vgg19_layers(device=device()) if scale == "paper" else lite0(*own.pop("strides"))
    return DFR(net, standardise=scale != "paper", seed=seed, **own)


def glance(scale: str, seed: int, **own: Any) -> Glance:
    """Return Glance, reconstructed."""
    net = resnet18((4, 8, 16), device()) if scale == "paper" else lite0(*own.pop("strides"))
    return Glance(net, sigma=sigma(scale), seed=seed, **own)


def draem(scale: str, seed: int, **own: Any) -> Any:
    """Return DRAEM with foreign textures; a laptop's sees pictures of `side` pixels."""
    if scale == "paper":
        return DRAEM(foreign(scale), seed=seed)
    return Smaller(
        DRAEM(foreign(scale), window=11, seed=seed, **{k: v for k, v in own.items() if k != "side"}),
        own["side"],
    )


@lru_cache(maxsize=1)
def foreign(scale: str) -> Tensor:
    """Return textures (M,3,H,W) that no class of the arena has: two drawn ones, two photographs; at paper scale DTD's, as in the paper."""
    side = arena.setting(scale)["side"]
    if scale == "paper":
        return dtd.textures(bank("dtd"), side, DESCRIBED)
    drawn = [textures.render(name, side, [7, i]) for name in ("grid", "wood") for i in range(4)]
    taken = [photographs.load(name, side, 4, 1, 0, seed=7).train for name in ("grass", "gravel")]
    return torch.cat([torch.stack(drawn), *taken])


BUILDS = {"Glance": glance, "DRAEM": draem, "DFR": dfr, "R-D": reverse_distillation}
FINE, COARSE = (4, 8, 16), (8, 16)
PLANS = {
    "R-D": Plan(
        tuple({"width": w, "lr": lr, "epochs": e} for w, e in ((24, 50), (48, 15)) for lr in (1e-3, 5e-3)),
        chosen=3,
        smoke={"width": 4, "epochs": 1},
    ),
    "DFR": Plan(
        tuple({"strides": s, "lr": lr, "epochs": 30} for s in (FINE, COARSE) for lr in (1e-4, 1e-3)),
        chosen=3,
        smoke={"strides": COARSE, "epochs": 1},
    ),
    "Glance": Plan(
        tuple(
            {"strides": s, "lr": lr, "epochs": e} for s, e in ((COARSE, 20), (FINE, 5)) for lr in (1e-3, 4e-3)
        ),
        chosen=1,
        smoke={"strides": COARSE, "epochs": 1, "size": 8, "hidden": 8, "reach": 2},
    ),
    "DRAEM": Plan(
        tuple(
            {"side": 64, "width": w, "judge_width": w, "lr": lr, "epochs": e}
            for w, e in ((8, 12), (16, 6))
            for lr in (3e-4, 2e-3)
        ),
        chosen=1,
        smoke={"side": 64, "width": 2, "judge_width": 2, "epochs": 1},
        long={"side": 64, "width": 8, "judge_width": 8, "lr": 3e-4, "epochs": 130},
    ),
}


def cells(scale: str) -> list[Cell]:
    """Return a cell a class, seed, method and setting."""
    return arena.cells(scale, PLANS)


def compute(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield the row of a cell, in percent; at paper scale one a part of the test pictures."""
    yield from arena.measured(cell, scale, BUILDS)


STUDY = Study("benchmark_reconstruction", cells, compute, seconds=30.0)
