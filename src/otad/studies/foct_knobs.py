"""FOCT's knobs at two shots on sparse products: what the memories keep, how much is picked, L, λ and ρ; the others as printed.

A cell is a class and a seed, its rows are settings. Held-out seeds have the two grids alone: they name the best and the worst setting
of each, whose difference is then judged on other seeds. ρ acts through what a navigator learns, so it is turned with a learnt one.
"""

from collections.abc import Iterator
from itertools import product
from typing import Any

from otad.scale import device, pick
from otad.studies import Cell, Row, Study, foct_learnt
from otad.studies import few_shot as shared
from otad.studies import foct_results as results
from otad.studies.arenas import categories
from otad.studies.few_shot import FIRST_SEED, HELD_OUT

SHOTS = 2
READINGS = results.ALWAYS[
    :2
]  # FOCT as judged; and, for ρ alone, scored against what the stream had left before
# Knob to its arguments and their values; the printed ones are among them. The last capacity holds all picks of a stream.
GRIDS: dict[str, tuple[tuple[str, ...], tuple[tuple[float, ...], ...]]] = {
    "shares": (("alpha", "beta"), ((0.025, 0.1, 0.4), (0.02, 0.075, 0.3))),
    "picks": (("k_foreground", "k_background"), ((2, 10, 40), (10, 40, 160))),
}
LINES: dict[str, tuple[str, tuple[float, ...]]] = {
    "capacity": ("capacity", (25, 50, 100, 200, 400, 1600)),
    "compression": ("lam", (0.05, 0.1, 0.25, 0.5, 1.0)),
    "trade-off": ("rho", (0.0, 0.25, 0.5, 0.75, 1.0)),
}
PRINTED = {"alpha": 0.1, "beta": 0.075, "k_foreground": 10, "k_background": 40, "capacity": 100, "lam": 0.25, "rho": 0.5}  # fmt: skip


def classes(scale: str) -> list[Cell]:
    """Return the classes whose products are sparse, each with its arena: turned scenes, or at paper scale MPDD."""
    if scale == "paper":
        return [{"arena": "mpdd", "class": name} for name in categories("mpdd")]
    return [{"arena": "turned", "class": name} for name in shared.arenas(scale)["turned"]]


def n_seeds(scale: str) -> int:
    """Return how many seeds are judged: what may grow without a cell being computed again."""
    return pick(scale, smoke=2, laptop=20, paper=10)


def cells(scale: str) -> list[Cell]:
    """Return a cell a class and seed, those of the held-out seeds first."""
    held_out = pick(scale, smoke=HELD_OUT[:1], laptop=HELD_OUT)
    seeds = (*held_out, *range(FIRST_SEED, FIRST_SEED + n_seeds(scale)))
    return [kept | {"seed": seed} for seed in seeds for kept in classes(scale)]


def settings(knob: str) -> Iterator[dict[str, Any]]:
    """Yield what a knob is turned to, argument to value."""
    arguments, values = GRIDS[knob] if knob in GRIDS else ((LINES[knob][0],), (LINES[knob][1],))
    for chosen in product(*values):
        yield dict(zip(arguments, chosen, strict=True))


def compute(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield a row a knob and setting, in percent."""
    given, (look, net), seed = results.pictures(cell, scale), results.looks(scale), cell["seed"]
    queries, shots = given.queries.to(device()), given.shots[:SHOTS].to(device())
    for knob in GRIDS if seed in HELD_OUT else (*GRIDS, *LINES):
        learns = knob == "trade-off"
        looked = foct_learnt.rescaled(look, shots, foct_learnt.TYPICAL) if learns else look, net
        for name in READINGS if learns else READINGS[:1]:
            for own in settings(knob):
                more = foct_learnt.cheap() | own if learns else own
                method = results.build(name, given, SHOTS, looked, scale, seed, **more)
                yield {"knob": knob, "method": name} | own | shared.numbers(given, method.score(queries))


STUDY = Study("foct_knobs", cells, compute, seconds=17.0)
