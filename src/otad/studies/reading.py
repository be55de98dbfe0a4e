"""Rows of a study as its pages lay them out: frames from rows. Pure: nothing is computed anew, drawn or judged.

It is no part of what a cell computes, so that a page may be laid out anew and no cell be stale.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from otad.studies.shifted import FLAGGED


def views(rows: pd.DataFrame, levels: dict[str, int]) -> dict[str, pd.DataFrame]:
    """Return rows by what they are for: "" = a verdict's; ", severity 5" and ", flagged class" stand beside and decide nothing.

    levels: the severity of each corruption at which verdicts are judged.
    """
    decides = ~rows["class"].isin(FLAGGED)
    matched = rows["severity"] == rows["condition"].map(levels | {"clean": 0})
    found = {"": rows[decides & matched], ", severity 5": rows[decides & ~matched]}
    return found | {", flagged class": rows[~decides & matched]}


def means(rows: pd.DataFrame, metric: str, methods: Iterable[str], conditions: Sequence[str]) -> pd.DataFrame:
    """Return means over seeds and classes, a row a method (those of `methods` that there are), a column a condition."""
    found = rows.pivot_table(index="method", columns="condition", values=metric)
    return found.reindex(index=[m for m in methods if m in found.index], columns=list(conditions))


def by_seed(rows: pd.DataFrame, metric: str, *more: str) -> pd.DataFrame:
    """Return a row a condition and seed (and what `more` names, before them), a column a method; the rest is averaged."""
    keys = [*more, "condition", "seed"]
    return rows.pivot_table(index=keys, columns="method", values=metric, sort=False)


def lead(
    found: pd.DataFrame, better: str, worse: str, conditions: Iterable[str], told: str = ""
) -> dict[str, list[float]]:
    """Return one inequality a condition, its name to the lead of one method over another, seed by seed; `found`: of `by_seed`."""
    gaps = found[better] - found[worse]
    return {f"{told}{kind}: {better} > {worse}": gaps.loc[kind].tolist() for kind in conditions}


def curve(rows: pd.DataFrame, place: int, at: Sequence[float] | None = None) -> pd.DataFrame:
    """Return curves, a row a seed, classes averaged, a column a point of `at` (none: 0, 1, …); failed runs are left out.

    place: of the number in each point of the column `curve`: 0 = image, 1 = pixel AUROC.
    """
    kept = rows[~rows["failed"]]
    lines = {
        s: np.mean([[e[place] for e in c] for c in cs], axis=0) for s, cs in kept.groupby("seed")["curve"]
    }
    found = pd.DataFrame(lines).T
    return found if at is None else found.set_axis(list(at), axis=1)
