"""What page 21 asks of the benchmark's four studies: all methods, what the search chose, means by seed, and curves."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from otad.studies import Cell, Row, Study
from otad.studies import benchmark_flows as flows
from otad.studies import benchmark_memories as memories
from otad.studies import benchmark_pretext as pretext
from otad.studies import benchmark_reconstruction as reconstruction
from otad.studies.benchmark_arena import SEARCHED, Plan, Settings

PARTS = {part.STUDY.name: part for part in (reconstruction, memories, pretext, flows)}
STUDIES: tuple[Study, ...] = tuple(part.STUDY for part in PARTS.values())
PLANS: dict[str, Plan] = reconstruction.PLANS | memories.PLANS | pretext.PLANS | flows.PLANS
CONTESTANTS = (
    reconstruction.BUILDS | memories.BUILDS | pretext.BUILDS | flows.BUILDS
)  # name → how it is built
# The paper's two schools, in the order of its tables and by the names they are printed under.
SCHOOLS = {
    "reconstruction": ("Glance", "DRAEM", "DFR", "R-D"),
    "representation": (
        *("PaDiM", "P-SVDD", "FYD", "SPADE", "PANDA", "CutPaste", "NSA"),
        *("DifferNet", "CFlow", "FastFlow", "CSFlow", "PatchCore"),
    ),
}
SCHOOL = {name: school for school, names in SCHOOLS.items() for name in names}
ORDER = tuple(SCHOOL)
KEYS = {
    "R-D": "rd4ad",
    "P-SVDD": "patch_svdd",
}  # in the table of printed numbers; the others are there in small letters
# What the paper's second observation names; all others are neither.
BANKS, FLOWS = ("SPADE", "PANDA", "PatchCore", "P-SVDD"), tuple(flows.BUILDS)
# Heads on frozen features where the paper trains a whole network from nothing: other methods, cheap, and named so.
STAND_INS = ("CutPaste", "NSA")
# When each method came out, by the paper's list of references: the number of a preprint has year and month, a conference its year.
MONTHS = {
    "SPADE": (2020, 5),
    "DFR": (2020, 12),
    "CutPaste": (2021, 4),
    "PatchCore": (2021, 6),
    "CFlow": (2021, 7),
}
MONTHS |= {"NSA": (2021, 9), "FYD": (2021, 10), "FastFlow": (2021, 11), "R-D": (2022, 1)}
YEARS = {"P-SVDD": 2020, "CSFlow": 2022} | dict.fromkeys(
    ("PaDiM", "DRAEM", "DifferNet", "PANDA", "Glance"), 2021
)


def dates() -> pd.DataFrame:
    """Return from and until when a method may have come out, in years: a month of it, or a whole year."""
    found = {m: (year + (month - 1) / 12, year + month / 12) for m, (year, month) in MONTHS.items()}
    found |= {m: (year, year + 1) for m, year in YEARS.items()}
    return pd.DataFrame(found, index=["from", "until"]).T.loc[list(ORDER)]


def cells(scale: str) -> list[tuple[Study, Cell]]:
    """Return all cells of the four studies, each with its study."""
    return [(study, cell) for study in STUDIES for cell in study.cells(scale)]


def ordered(names: Iterable[str]) -> list[str]:
    """Return some methods in the order of the paper's tables."""
    some = set(names)
    return [name for name in ORDER if name in some]


def judged(rows: Iterable[Row]) -> pd.DataFrame:
    """Return the rows that are judged: of the seeds in which no class of no method is missing; ValueError if there is no such seed."""
    scores = pd.DataFrame([row for row in rows if row["phase"] == "score"])
    if len(scores):
        there = scores.groupby("seed").size()
        wanted = scores["method"].nunique() * scores["class"].nunique()
        scores = scores[scores["seed"].map(there) == wanted]
    if not len(scores):
        raise ValueError(
            "no seed has a row of every method and class: `make results` computes what is missing"
        )
    return scores


def by_seed(scores: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return the mean over classes of a metric, a row a seed, a column a method; classes without the metric are left out for all."""
    table = scores.pivot_table(index="seed", columns="method", values=metric, aggfunc="mean")
    return table[ordered(table.columns)].rename_axis(columns=None)


def schools(values: pd.Series | pd.DataFrame, names: Iterable[str]) -> dict[str, Any]:
    """Return the lead of the representing methods over the rebuilding ones, of the schools' means and of their best.

    values: a number a method, or a column a method; then a lead is one number a row. names: the methods that count.
    """
    members = {school: [m for m in ordered(names) if SCHOOL[m] == school] for school in SCHOOLS}
    table = values.to_frame().T if isinstance(values, pd.Series) else values
    ends = {school: table[some].agg(["mean", "max"], axis=1) for school, some in members.items()}
    gap = ends["representation"] - ends["reconstruction"]
    found = {"mean": gap["mean"], "best": gap["max"]}
    return {k: float(v.iloc[0]) for k, v in found.items()} if isinstance(values, pd.Series) else found


def leads(printed: pd.Series, k: int) -> dict[str, tuple[str, str]]:
    """Return the inequalities of “memory banks and flows do best”: each of the k of them that lead in print, against all of neither kind."""
    rivals = [m for m in ordered(printed.index) if m not in (*BANKS, *FLOWS)]
    first = printed.drop(rivals).nlargest(k).index
    return {f"{m} > {rival}": (m, rival) for m in first for rival in rivals}


def gaps(values: pd.Series | pd.DataFrame, pairs: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    """Return the margin of each inequality: one number, or, where a method has a column, one a row."""
    found = {name: values[first] - values[second] for name, (first, second) in pairs.items()}
    return {name: v.tolist() if isinstance(v, pd.Series) else float(v) for name, v in found.items()}


def searched(rows: Iterable[Row]) -> pd.DataFrame:
    """Return what the search found: method, position of the setting, its text, and the mean of image and pixel AUROC over held-out classes."""
    tried = pd.DataFrame([row for row in rows if row["phase"] == "search"])
    if not len(tried):
        return pd.DataFrame(columns=["method", "position", "settings", "score"])
    tried["score"] = tried[["image", "pixel"]].mean(axis=1)
    mean = tried.groupby(["method", "settings"], sort=False)["score"].agg(["mean", "size"]).reset_index()
    mean = mean[mean["size"] == len(SEARCHED)].rename(columns={"mean": "score"})
    mean["position"] = [position(m, s) for m, s in zip(mean["method"], mean["settings"], strict=True)]
    return mean[["method", "position", "settings", "score"]]


def position(method: str, settings: str) -> int:
    """Return which of a method's tried settings this text is; −1 if none."""
    known = [json.dumps(tried) for tried in PLANS[method].tried]
    return known.index(settings) if settings in known else -1


def best(found: pd.DataFrame) -> dict[str, int]:
    """Return the position of the best setting of each method of which all were tried: what `chosen` should be."""
    return {
        str(method): int(part.loc[part["score"].idxmax(), "position"])
        for method, part in found[found["position"] >= 0].groupby("method", sort=False)
        if len(part) == len(PLANS[str(method)].tried)
    }


def curves(rows: Iterable[Row], metric: str = "image") -> pd.DataFrame:
    """Return a metric on held-out classes after a share of the chosen epochs, a row a trained method, a column a share; 1 is the search's."""
    kept = []
    for row in rows:
        chosen = json.dumps(PLANS[row["method"]].tried[PLANS[row["method"]].chosen])
        if row["phase"] == "curve":
            kept.append(row)
        elif row["phase"] == "search" and row["settings"] == chosen and "epochs" in json.loads(chosen):
            kept.append(row | {"share": 1.0})
    if all(row["share"] == 1.0 for row in kept):  # the search alone is no curve
        return pd.DataFrame()
    table = pd.DataFrame(kept).pivot_table(index="method", columns="share", values=metric)
    return table.reindex(ordered(table.index)).rename_axis(index=None, columns=None)


def lengths(learnt: pd.DataFrame) -> pd.DataFrame:
    """Return what the last epoch gives, what the best of all lengths up to it, and what twice the epochs; of `curves`."""
    best_of = learnt[[share for share in learnt if share <= 1]].max(axis=1)
    return pd.DataFrame(
        {"last epoch": learnt[1.0], "best of ¼, ½, 1": best_of, "twice the epochs": learnt[2.0]}
    )


def overview(found: pd.DataFrame) -> pd.DataFrame:
    """Return the setting of each method, and the worst and the best of those that were tried; of `searched`."""
    ends = found.groupby("method")["score"].agg(["min", "max"]).reindex(ORDER)
    chosen = [told(PLANS[m].tried[PLANS[m].chosen]) for m in ORDER]
    return pd.DataFrame({"setting": chosen, "worst tried": ends["min"], "best tried": ends["max"]})


def long_runs(rows: Iterable[Row]) -> pd.DataFrame:
    """Return image and pixel AUROC of the long runs beside those of the judged rows of the same class and seed."""
    kept = pd.DataFrame([row for row in rows if row["phase"] in ("long", "score")])
    key, metrics = ["method", "class", "seed"], ["image", "pixel"]
    found = {phase: part.set_index(key)[metrics] for phase, part in kept.groupby("phase")}
    if "long" not in found:
        return pd.DataFrame()
    long = found["long"].sort_index()
    both = {"judged": found["score"].reindex(long.index), "long": long}
    pairs = {f"{metric} AUROC, {name}": table[metric] for metric in metrics for name, table in both.items()}
    return pd.DataFrame(pairs).droplevel("seed").rename_axis([None, None])


def told(settings: Settings | str) -> str:
    """Return settings as a reader wants them: "epochs 12, lr 0.002"."""
    found: dict[str, Any] = json.loads(settings) if isinstance(settings, str) else settings
    return ", ".join(f"{k.replace('_', ' ')} {_word(v)}" for k, v in found.items())


def _word(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "–".join(map(str, value))
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def printed_name(key: str) -> str:
    """Return a method's name by its key in the table of printed numbers."""
    known = {KEYS.get(name, name.lower()): name for name in ORDER}
    return known.get(key, key)
