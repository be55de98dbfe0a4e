"""The benchmark, part two: methods that learn a density by a normalising flow."""

from collections.abc import Iterator
from typing import Any

from otad.features.pretrained import wide_resnet50_2
from otad.features.zoo import alexnet, efficientnet_b5
from otad.methods import CFlow, CSFlow, DifferNet, FastFlow
from otad.scale import device
from otad.studies import Cell, Row, Study
from otad.studies import benchmark_arena as arena
from otad.studies.benchmark_arena import Plan, lite0
from otad.studies.benchmark_arena import Smaller as Resized


def differnet(scale: str, seed: int, **own: Any) -> DifferNet:
    """Return DifferNet; the paper judges from 64 angles, a laptop from fewer."""
    net = alexnet((32,), device()) if scale == "paper" else lite0(16)
    return DifferNet(net, seed=seed, **own)


def cflow(scale: str, seed: int, **own: Any) -> CFlow:
    """Return CFlow."""
    net = wide_resnet50_2((8, 16, 32), device()) if scale == "paper" else lite0(*own.pop("strides"))
    return CFlow(net, seed=seed, **own)


def fastflow(scale: str, seed: int, **own: Any) -> FastFlow:
    """Return FastFlow; its map is the energy, at every scale, where the paper has a probability.

    Both have the same order at one place of one map, and another after the mean over maps. The energy is never flat;
    results/parity_anomalib.json says what that is worth in image AUROC.
    """
    net = wide_resnet50_2((4, 8, 16), device()) if scale == "paper" else lite0(*own.pop("strides"))
    return FastFlow(net, output="energy", seed=seed, **own)


def csflow(scale: str, seed: int, **own: Any) -> Any:
    """Return CS-Flow; at paper scale it sees 768 pixels, as in its paper, enlarged from the arena's: three sizes must halve."""
    if scale == "paper":
        return Resized(CSFlow(efficientnet_b5((32,), device()), seed=seed, **own), 768)
    net = lite0(16)  # in a line of its own: in those words all stored rows were computed
    return CSFlow(net, seed=seed, **own)


BUILDS = {"DifferNet": differnet, "CFlow": cflow, "FastFlow": fastflow, "CSFlow": csflow}
FINE, COARSE = (4, 8, 16), (8, 16)
PLANS = {
    "DifferNet": Plan(
        tuple(
            {"hidden": h, "lr": lr, "epochs": e, "views": 4, "test_views": 2}
            for h, e in ((128, 80), (256, 50))
            for lr in (2e-4, 1e-3)
        ),
        chosen=2,
        smoke={"hidden": 16, "epochs": 1, "views": 2, "test_views": 2},
        # 448 (enlarged), 224 and 112 pixels, as in its paper: AlexNet cannot see 56.
        paper={"sizes": (2, 1, 0.5)},
    ),
    "CFlow": Plan(
        tuple(
            {"strides": s, "lr": lr, "epochs": e, "steps": 5, "fibres": 1024, "positions": 32}
            for s, e in ((FINE, 40), (COARSE, 45))
            for lr in (1e-3, 4e-3)
        ),
        chosen=2,
        smoke={"strides": COARSE, "epochs": 1, "steps": 1, "blocks": 2, "positions": 8},
        paper={"epochs": 200},  # 25 times 8, as its code counts them
    ),
    "FastFlow": Plan(
        tuple(
            {"strides": s, "lr": lr, "epochs": e, "batch_size": 16}
            for s, e in ((FINE, 25), (COARSE, 60))
            for lr in (1e-3, 4e-3)
        ),
        chosen=2,
        smoke={"strides": COARSE, "epochs": 1, "steps": 2},
    ),
    "CSFlow": Plan(
        tuple({"hidden": h, "lr": lr, "epochs": e} for h, e in ((32, 30), (64, 20)) for lr in (2e-4, 2e-3)),
        chosen=3,
        smoke={"hidden": 8, "epochs": 1, "blocks": 2, "last_kernel": 3},
    ),
}


def cells(scale: str) -> list[Cell]:
    """Return a cell a class, seed, method and setting."""
    return arena.cells(scale, PLANS)


def compute(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield the row of a cell, in percent; at paper scale one a part of the test pictures."""
    yield from arena.measured(cell, scale, BUILDS)


STUDY = Study("benchmark_flows", cells, compute, seconds=30.0)
