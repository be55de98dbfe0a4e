"""What more steps bring at severity 5, and stages that are frozen: page 34. The ablation itself is in `ttad_results`.

A cell is a class, a seed and a corruption; its rows are methods, without views, to save time.
"""

from collections.abc import Iterator
from dataclasses import replace

from otad.data.drawn.corruptions import KINDS
from otad.scale import pick
from otad.studies import Cell, Row, Study
from otad.studies.shifted import HARDEST, SHIFTED
from otad.studies.ttad_results import (
    CHOSEN,
    FIRST_SEED,
    METHODS,
    PRINTED_RATE,
    UNFROZEN,
    aurocs,
    fitted,
    named,
    shifted,
)

LOOK = (1, 3, 6, 10)  # epochs after which the scores are taken
PRINTED = "discrete, printed rate"
SETTINGS = {
    "moments": METHODS["TTT++"],
    **dict.fromkeys(("discrete", PRINTED), METHODS["discrete"]),
    **UNFROZEN,
}
# The best on held-out seeds; and for the plan the printed one, with stages frozen and without.
RATE = {
    "moments": CHOSEN["TTT++"],
    "discrete": CHOSEN["discrete"],
    PRINTED: PRINTED_RATE,
    "discrete, all stages": PRINTED_RATE,
}


def n_seeds(scale: str) -> int:
    """Return how many seeds are judged: what may grow without a cell being computed again."""
    return pick(scale, smoke=2, laptop=20, paper=0)


def cells(scale: str) -> list[Cell]:
    """Return a cell a class, seed and corruption; at paper scale none: there `ttad_results` is at severity 5 and freezes nothing."""
    return [
        {"class": name, "seed": seed, "condition": kind}
        for seed in range(FIRST_SEED, FIRST_SEED + n_seeds(scale))
        for name in SHIFTED
        for kind in KINDS
    ]


def compute(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield a row a method: AUROCs in percent before adapting and after the epochs of LOOK, and at the end."""
    data, ttad = fitted(cell["class"], cell["seed"], scale)
    images = shifted(data, cell | {"severity": HARDEST[cell["condition"]]})
    start, epochs = aurocs(ttad, images, data), pick(scale, smoke=2, laptop=10)
    for method, lr in RATE.items():
        one = replace(ttad, **SETTINGS[method], lr=lr, epochs=epochs)
        curve, failed = [start], False
        try:
            for epoch, adapted in enumerate(one.adapting(images), 1):
                if epoch in LOOK:
                    curve.append(aurocs(adapted, images, data))
        except FloatingPointError:
            failed = True
        yield {"method": method, "lr": lr, "curve": curve, "failed": failed, **named(curve[-1])}


STUDY = Study("ttad_ablation", cells, compute, seconds=20.0)
