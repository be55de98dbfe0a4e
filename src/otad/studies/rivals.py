"""Methods that TTAD's and PRADOT's tables have beside them: how each is built and what with; and the search for those that the benchmark lacks.

Settings are those that were searched on the benchmark's held-out classes, four tries each: for methods of the benchmark by its studies,
for STPM, KDAD and UniAD by the cells of this one.
"""

import json
from collections.abc import Iterator
from typing import Any

from otad.features.residual import resnet18
from otad.features.zoo import efficientnet_b4, vgg16
from otad.methods import KDAD, STPM, UniAD
from otad.scale import device
from otad.studies import Cell, Row, Study
from otad.studies import benchmark_arena as arena
from otad.studies import benchmark_results as benchmark
from otad.studies.benchmark_arena import Plan, lite0, sigma


def stpm(scale: str, seed: int, **own: Any) -> STPM:
    """Return STPM; a laptop's student is another Lite0, begun from nothing."""
    net = resnet18((4, 8, 16), device()) if scale == "paper" else lite0(4, 8, 16)
    return STPM(net, sigma=None if scale == "paper" else sigma(scale), seed=seed, **own)


def kdad(scale: str, seed: int, **own: Any) -> KDAD:
    """Return KDAD."""
    net = vgg16((4, 8, 16, 32), device()) if scale == "paper" else lite0(4, 8, 16, 32)
    return KDAD(net, sigma=sigma(scale), seed=seed, **own)


def uniad(scale: str, seed: int, **own: Any) -> UniAD:
    """Return UniAD, which learns one class at a time here; Lite0's channels differ so much in size that a laptop's are standardised."""
    if scale == "paper":
        return UniAD(efficientnet_b4((2, 4, 8, 16), device()), seed=seed, **own)
    return UniAD(lite0(4, 8, 16), (8, 8), dropout=0.0, standardise=True, seed=seed, **own)


BUILDS = {"STPM": stpm, "KDAD": kdad, "UniAD": uniad}
PLANS = {
    "STPM": Plan(
        tuple({"epochs": 10, "lr": lr, "batch_size": b} for b in (8, 16) for lr in (0.1, 0.4)),
        chosen=2,
        smoke={"epochs": 1},
    ),
    "KDAD": Plan(
        tuple(
            {"hidden": h, "epochs": e, "lr": lr, "batch_size": 16}
            for h, e in ((16, 24), (32, 16))
            for lr in (1e-3, 4e-3)
        ),
        chosen=1,
        smoke={"hidden": 4, "epochs": 1},
    ),
    "UniAD": Plan(
        tuple(
            {"hidden": h, "heads": 4, "layers": n, "feedforward": 2 * h, "epochs": e, "lr": lr}
            for h, n, e in ((64, 2, 20), (128, 1, 15))
            for lr in (4e-4, 2e-3)
        ),
        chosen=1,
        smoke={"hidden": 8, "heads": 2, "layers": 1, "feedforward": 8, "epochs": 1},
    ),
}
ALL_BUILDS = benchmark.CONTESTANTS | BUILDS
ALL_PLANS = benchmark.PLANS | PLANS


def settings(method: str, scale: str) -> str:
    """Return what a method is built with as JSON, for a cell's key."""
    return json.dumps(ALL_PLANS[method].settings(scale))


def built(cell: Cell, scale: str) -> Any:
    """Return the method of a cell with its settings, not yet fitted."""
    return ALL_BUILDS[cell["method"]](scale, cell.get("seed", 0), **json.loads(cell["settings"]))


def cells(scale: str) -> list[Cell]:
    """Return the search: a cell a class, method and setting; at smoke scale what a judged cell would be. At paper scale nothing is chosen."""
    if scale == "laptop":
        return list(arena.searches(PLANS))
    return [] if scale == "paper" else arena.cells(scale, PLANS)


def compute(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield the row of a cell, in percent."""
    yield from arena.measured(cell, scale, BUILDS)


STUDY = Study("rivals", cells, compute, seconds=28.0)
