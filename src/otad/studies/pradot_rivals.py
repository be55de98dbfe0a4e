"""The other methods of PRADOT's tables, on the pictures of its study: a cell is a class, a seed and a method."""

from collections.abc import Iterator

import pandas as pd

from otad.methods import Scores
from otad.scale import device, pick
from otad.studies import Cell, Row, Study
from otad.studies import pradot_results as pradot
from otad.studies.rivals import built, settings

NAMES = {  # as the benchmark calls them → as PRADOT's tables do
    "CutPaste": "CutPaste",
    "STPM": "STPM",
    "PaDiM": "PaDiM",
    "SPADE": "SPADE",
    "FastFlow": "FastFlow",
    "DRAEM": "DRAEM",
    "R-D": "RD4AD",
}


def n_seeds(scale: str) -> int:
    """Return how many seeds there are: what may grow without a cell being computed again."""
    return pick(scale, smoke=1, laptop=6, paper=0)


def cells(scale: str) -> list[Cell]:
    """Return a cell a class, seed and method, seed by seed; at paper scale a class is one, with all parts of its test set."""
    kept = [
        {"group": group, "class": name, "method": method, "settings": settings(method, scale)}
        for group, names in pradot.arena(scale).items()
        for name in names
        for method in NAMES
    ]
    if scale == "paper":
        return kept
    return [
        cell | {"seed": seed}
        for seed in range(pradot.FIRST_SEED, pradot.FIRST_SEED + n_seeds(scale))
        for cell in kept
    ]


def compute(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield the row of a cell, in percent; at paper scale one a part of the test pictures."""
    data = pradot.pictures(cell, scale)
    said = built(cell, scale).fit(data.train.to(device())).score(data.test.to(device()))
    found = {NAMES[cell["method"]]: Scores(said.maps.cpu(), said.image_scores.cpu())}
    yield from pradot.judge(data, found, scale)


def means(rows: pd.DataFrame) -> pd.DataFrame:
    """Return means over classes and seeds, a row a method; a seed that lacks a class of a method counts for none."""
    there = rows.groupby("seed").size()
    whole = rows[rows["seed"].map(there) == rows["method"].nunique() * rows["class"].nunique()]
    return whole.groupby("method", sort=False).mean(numeric_only=True).drop(columns="seed")


STUDY = Study("pradot_rivals", cells, compute, seconds=8.0)
