"""The methods of TTAD's tables that do not adapt, on the shifted pictures of its study: a cell is a class, a seed and a method that learns once."""

from collections.abc import Iterable, Iterator, Sequence

import pandas as pd

from otad.data.drawn.corruptions import KINDS
from otad.metrics import image_auroc, pixel_auroc
from otad.scale import device
from otad.studies import Cell, Row, Study
from otad.studies import ttad_results as ttad
from otad.studies.arenas import categories, holding
from otad.studies.rivals import built, settings
from otad.studies.shifted import FIRST

NAMES = {
    "KDAD": "kdad",
    "R-D": "rd4ad",
    "UniAD": "uniad",
    "CFlow": "cflow",
}  # → in the table of printed numbers
SHOWN = {"kdad": "KDAD", "rd4ad": "RD4AD", "uniad": "UniAD", "cflow": "CFLOW"}  # → as a reader sees them


def n_seeds(scale: str) -> int:
    """Return how many seeds there are: what may grow without a cell being computed again."""
    return ttad.n_seeds(scale)  # margins are paired


def cells(scale: str) -> list[Cell]:
    """Return a cell a class, seed and method."""
    seeds = range(ttad.FIRST_SEED, ttad.FIRST_SEED + n_seeds(scale))
    classes = [{"class": FIRST}]
    if scale == "paper":
        classes = [{"data": d, "class": c} for d in holding(ttad.DATA_SETS) for c in categories(d)]
    return [
        found | {"seed": seed, "method": m, "settings": settings(m, scale)}
        for seed in seeds
        for found in classes
        for m in NAMES
    ]


def compute(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield a row a condition, clean pictures first: image and pixel AUROC in percent."""
    data = ttad.pictures(cell["class"], cell["seed"], scale, cell.get("data", "mvtec_ad"))
    method = built(cell, scale).fit(data.train.to(device()))
    levels = {"clean": 0} | ttad.severities(scale)
    for condition in ("clean", *KINDS):
        shift = {"condition": condition, "severity": levels[condition], "seed": cell["seed"]}
        said = method.score(ttad.shifted(data, shift))
        row = shift | {"image": 100 * image_auroc(said.image_scores.cpu(), data.labels)}
        if data.masks is not None:
            row["pixel"] = 100 * pixel_auroc(said.maps.cpu(), data.masks)
        yield row


def renamed(rows: Iterable[Row]) -> pd.DataFrame:
    """Return the rows with methods named as `SHOWN` calls them."""
    found = pd.DataFrame(rows)
    return found.assign(method=found["method"].map(NAMES).map(SHOWN))


def means(rows: Iterable[Row], metric: str, conditions: Sequence[str]) -> pd.DataFrame:
    """Return means over seeds, a row a method as `SHOWN` calls it, a column a condition."""
    found = renamed(rows).pivot_table(index="method", columns="condition", values=metric)
    return found.reindex(index=SHOWN.values(), columns=list(conditions))


STUDY = Study("ttad_rivals", cells, compute, seconds=50.0)
