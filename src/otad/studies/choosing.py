"""What page 90 makes of rows: who cannot be told apart from the best, what a method finds, and one recommendation a situation.

Pure: nothing is computed anew, drawn or judged, and it is no part of what a cell computes, so that the page may ask anew and no cell be stale.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from otad.methods import METHODS
from otad.studies import Row, Study
from otad.studies.benchmark_results import judged
from otad.studies.shifted import FIRST
from otad.studies.ttad_qualitative import named

ERROR = 0.05  # of an interval; of all comparisons with the best together, too
GUESSING, HALFWAY = 50.0, 75.0  # percent of AUROC
MATTERS = 5.0  # points behind the best: more would decide for a dearer method, even where these pictures cannot prove it
CALLED = {"R-D": "ReverseDistillation", "P-SVDD": "PatchSVDD"}  # names of the benchmark, and the package's
SCHOOLS = {  # folders of the package, joined
    "the picture alone": ("matching", "saliency"),
    "memories and prototypes": ("memory", "prototypes"),
    "densities": ("density",),
    "flows": ("flows",),
    "distillation": ("distillation",),
    "reconstruction and made-up tasks": ("reconstruction", "pretext"),
}


def school(method: str) -> str:
    """Return the school of a method, by the folder that it lies in; ValueError for an unknown one."""
    name = CALLED.get(method, method)
    if name not in METHODS:
        raise ValueError(f"there is no method {method!r}; there are {', '.join(sorted(METHODS))}")
    folder = METHODS[name].split(".")[2]
    return next(told for told, folders in SCHOOLS.items() if folder in folders)


# Intervals ----------------------------------------------------------------------------------------


def over_seeds(values: pd.DataFrame) -> pd.DataFrame:
    """Return of a row a seed and a column a method: score, its interval, and `slack` against the best.

    slack : lower end of the interval of the best one's paired lead; at most 0 where the two cannot be told apart. The intervals of all
    leads hold together (Bonferroni). ValueError below two seeds and for gaps.
    """
    if len(values) < 2 or values.isna().any(axis=None):
        raise ValueError(
            f"values are {values.shape}, some may be missing: expected two seeds or more, all of them whole"
        )
    n, k = values.shape
    score = values.mean()
    spread = lambda x: x.std() / np.sqrt(n)  # noqa: E731
    ends = _ends(score, spread(values), -float(stdtrit(n - 1, ERROR / 2)))
    leads = values[score.idxmax()].to_numpy()[:, None] - values
    wide = -float(stdtrit(n - 1, ERROR / 2 / max(k - 1, 1)))
    return ends.assign(slack=leads.mean() - wide * spread(leads))


def over_pictures(classes: Sequence[tuple[pd.DataFrame, np.ndarray]]) -> pd.DataFrame:
    """Return the same of image AUROC, its mean over classes; each is scores, a row a picture and a column a method, and labels.

    Intervals are DeLong's, over pictures: of these trained detectors, not of others like them. ValueError without both sorts of pictures.
    """
    both = [delong(scores.to_numpy(float), np.asarray(labels, bool)) for scores, labels in classes]
    names = classes[0][0].columns
    score = pd.Series(np.mean([mean for mean, _ in both], axis=0), names)
    covariance = np.sum([c for _, c in both], axis=0) / len(both) ** 2
    own = covariance.diagonal()
    z = NormalDist().inv_cdf
    ends = _ends(score, pd.Series(np.sqrt(own), names), z(1 - ERROR / 2))
    best = int(np.argmax(score.to_numpy()))
    apart = np.sqrt(np.maximum(own + own[best] - 2 * covariance[best], 0))
    wide = z(1 - ERROR / 2 / max(len(names) - 1, 1))
    return ends.assign(slack=score.iloc[best] - score - wide * apart)


def delong(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return AUROC of each column of scores (n,k), in percent, and the covariance (k,k) of these estimates.

    DeLong et al., Comparing the areas under two or more correlated ROC curves (Biometrics 1988). ValueError below two of each sort.
    """
    bad, good = scores[labels], scores[~labels]
    if min(len(bad), len(good)) < 2:
        raise ValueError(
            f"{len(bad)} defective pictures and {len(good)} good ones: expected two or more of each"
        )
    wins = 50 * (np.sign(bad[:, None] - good[None]) + 1)  # (bad, good, k)
    of_bad, of_good = wins.mean(axis=1), wins.mean(axis=0)
    variances = [np.atleast_2d(np.cov(v, rowvar=False)) / len(v) for v in (of_bad, of_good)]
    return of_bad.mean(axis=0), variances[0] + variances[1]


def _ends(score: pd.Series, error: pd.Series, times: float) -> pd.DataFrame:
    low, high = score - times * error, score + times * error
    return pd.DataFrame({"score": score, "low": low.clip(0, 100), "high": high.clip(0, 100)})


# Choices ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Choice:
    """A recommendation: the cheapest of those that are near the best and cannot be told apart from it; none if the best may be guessing.

    alike : all that cannot be told apart from it, near or not.
    """

    name: str
    score: float
    low: float
    high: float
    best: str
    alike: tuple[str, ...]


def choose(found: pd.DataFrame, cost: pd.Series, floor: float = GUESSING) -> Choice:
    """Choose from what `over_seeds` or `over_pictures` has found; ValueError if the cost of one that may be chosen is not known.

    cost : by method, less is better; of equal ones the first. floor : what guessing scores.
    """
    best = str(found["score"].idxmax())
    alike = found.index[found["slack"] <= 0]
    near = [str(m) for m in alike if found.loc[m, "score"] >= found.loc[best, "score"] - MATTERS]
    if missing := [m for m in near if m not in cost.index or np.isnan(cost[m])]:
        raise ValueError(f"no cost is known of {', '.join(missing)}: give one of each method")
    name = str(cost[near].idxmin())
    own = found.loc[name]
    if found.loc[best, "low"] <= floor:
        name = "none"
    return Choice(
        name, float(own["score"]), float(own["low"]), float(own["high"]), best, tuple(map(str, alike))
    )


def word(low: float, high: float) -> str:
    """Say what an interval of AUROC means: "finds" above half way from guessing to perfect, "fails" below, else "?"."""
    return "finds" if low > HALFWAY else "fails" if high < HALFWAY else "?"


def enough(by_number: pd.DataFrame) -> int:
    """Return the smallest number of normal pictures that cannot be told apart from the best; a row a seed, a column a number."""
    found = over_seeds(by_number)
    return int(min(found.index[found["slack"] <= 0]))


# Rows of the study --------------------------------------------------------------------------------


def board(rows: Iterable[Row]) -> pd.DataFrame:
    """Return what a method needs, a row each, in the order of the schools: means over classes, of those of which no class is missing."""
    frame = pd.DataFrame([row for row in rows if row["what"] == "board"])
    counts = frame["method"].map(frame["method"].value_counts())
    frame = frame[counts == frame["class"].nunique()]
    columns = {"n": "normal pictures", "fit s": "fit s", "picture ms": "ms a picture", "kept": "numbers kept"}
    means = frame.groupby("method", sort=False)[list(columns)].mean().rename(columns=columns)
    order = [m for told in SCHOOLS for m in means.index if school(m) == told]
    return means.loc[order].rename_axis(index=None)


def tops(rows: Iterable[Row], group: str | None = None) -> list[tuple[pd.DataFrame, np.ndarray]]:
    """Return what `over_pictures` asks for: of each class that has the group (None: any defect) the scores of its pictures and all good ones.

    Methods of which a class has no row are left out.
    """
    kept = [row for row in rows if row["what"] in ("board", "pictures")]
    found = []
    classes = dict.fromkeys(row["class"] for row in kept)
    counts = pd.Series([row["method"] for row in kept if row["what"] == "board"]).value_counts(sort=False)
    everywhere = counts.index[counts == len(classes)]
    for name in classes:
        here = [row for row in kept if row["class"] == name]
        own = [row["groups"] for row in here if row["what"] == "pictures"]
        scores = pd.DataFrame({r["method"]: r["tops"] for r in here if r.get("method") in everywhere})
        some = [not g or group is None or group in g for g in own]
        labels = np.array([bool(g) for g in own])[some]
        if labels.sum() > 1:
            found.append((scores[some], labels))
    return found


def by_kind(rows: Sequence[Row], groups: Iterable[str]) -> dict[str, pd.DataFrame]:
    """Return `over_pictures` of each group of defects that there is."""
    found = {group: tops(rows, group) for group in groups}
    return {group: over_pictures(some) for group, some in found.items() if some}


def words(kinds: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return what each method finds and fails at, by `word`: a row a method, the names of groups in two columns."""
    said = {g: [word(lo, hi) for lo, hi in zip(t["low"], t["high"], strict=True)] for g, t in kinds.items()}
    table = pd.DataFrame(said, index=next(iter(kinds.values())).index)
    of = lambda told: [", ".join(g for g in table if row[g] == told) or "–" for _, row in table.iterrows()]  # noqa: E731
    return pd.DataFrame({"finds": of("finds"), "fails at": of("fails")}, index=table.index)


def whole(rows: Iterable[Row]) -> list[Row]:
    """Return the rows with few pictures of the seeds in which no row of a class and method is missing; none if that is a single seed."""
    few = [row for row in rows if row["what"] == "few"]
    counts = pd.Series([row["seed"] for row in few], dtype=int).value_counts()
    seeds = counts.index[counts == counts.max()]
    return [row for row in few if row["seed"] in seeds] if len(seeds) > 1 else []


def fewer(rows: Iterable[Row], method: str) -> pd.DataFrame:
    """Return image AUROC of a method by number of normal pictures: a row a seed, mean of the classes over all groups that are no sizes."""
    own = pd.DataFrame([row for row in rows if row["what"] == "few" and row["method"] == method])
    kinds = [f"image {g}" for g in ("texture", "structural", "logical") if f"image {g}" in own]
    own["image"] = own[kinds].mean(axis=1)
    return own.pivot_table(index="seed", columns="n", values="image")


def hits(small: np.ndarray, mask: np.ndarray) -> bool:
    """Tell whether a small map (h,w) of `which_method.unpacked` has, somewhere on the defect (H,W), more than any good picture has anywhere."""
    tall, wide = (big // little for big, little in zip(mask.shape, small.shape, strict=True))
    large = small.repeat(tall, axis=0).repeat(wide, axis=1)
    return bool((large[mask[: len(large), : large.shape[1]]] > 0.5).any())


def told_hits(shown: Mapping[str, tuple[Any, Any, Any]], maps: Mapping[str, Mapping[str, np.ndarray]]) -> str:
    """Return how many of the defects shown each method hits, in words. shown: class → pictures, masks (n,H,W), titles; maps: method → class."""
    bad = sum(bool(mask.any()) for _, masks, _ in shown.values() for mask in masks)
    found = {
        name: sum(
            hits(small, mask.numpy())
            for c, (_, masks, _) in shown.items()
            for small, mask in zip(of[c], masks, strict=True)
        )
        for name, of in maps.items()
    }
    told = ", ".join(f"{name} {n}" for name, n in found.items())
    return f"Of {bad} defects so many are somewhere brighter than anything in a good picture: {told}."


def recommended(
    choices: Mapping[str, Choice], found: Mapping[str, pd.DataFrame], seeds: Mapping[str, Any]
) -> pd.DataFrame:
    """Return a row a situation: whom the rule recommends, with score and interval, the best, how many are alike, and over what."""
    table = {}
    for situation, choice in choices.items():
        scores = found[situation]
        known = choice.name in scores.index
        table[situation] = {
            "recommended": choice.name,
            "its score": f"{choice.score:.0f} [{choice.low:.0f}, {choice.high:.0f}]" if known else "–",
            "best": f"{choice.best} {scores.loc[choice.best, 'score']:.0f}",
            "not told apart from it": f"{len(choice.alike) - 1} of {len(scores) - 1}",
            "over": f"{len(seeds[situation])} seeds" if situation in seeds else "pictures",
        }
    return pd.DataFrame(table).T


def contest(studies: Sequence[Study], stored: Callable[[str], Any], least: int) -> tuple[pd.DataFrame, str]:
    """Return the benchmark's judged rows, and what is lacking, in words, or "".

    stored : raises ValueError where there are no rows of a name. least : seeds that must be whole.
    """
    rows: list[Row] = []
    lacking = []
    for study in studies:
        try:
            rows += stored(study.name).value
        except ValueError:
            lacking.append(study.name)
    if lacking:
        return pd.DataFrame(), f"there are no rows of {', '.join(lacking)}"
    try:
        found = judged(rows)
    except ValueError as error:
        return pd.DataFrame(), str(error)
    whole = found["seed"].nunique()
    few = f"{whole} of its seeds {'is' if whole == 1 else 'are'} whole, and below {least} nothing is judged"
    return found, few if whole < least else ""


# Rows of other pages, a row a seed and a column a method ------------------------------------------

ALONE = {"FCA": "FCA", "Aota": "Aota", "weathering": "Weathering"}  # names of page 13
ALONE |= {"saliency HC": "HistogramContrast", "saliency RC": "RegionContrast"}


def alone(rows: Iterable[Row]) -> pd.DataFrame:
    """Return PRO on textures, drawn and photographed, of those who see no normal picture; rows of page 13."""
    frame = pd.DataFrame([row for row in rows if row["part"] == "run" and row["method"] in ALONE])
    frame = frame[frame["group"].isin(("procedural", "photographs"))].replace({"method": ALONE})
    return frame.pivot_table(index="seed", columns="method", values="PRO")


def few_shots(rows: Iterable[Row], shots: int) -> pd.DataFrame:
    """Return image AUROC with so many normal pictures, mean of all classes; rows of page 42."""
    names = ("FOCT", "PaDiM", "PatchCore", "FastRecon")
    own = [r for r in rows if r["what"] == "score" and r["shots"] == shots and r["method"] in names]
    return pd.DataFrame(own).pivot_table(index="seed", columns="method", values="image")


def out_of_place(rows: Iterable[Row]) -> pd.DataFrame:
    """Return image AUROC of logical defects, mean of four scenes; rows of page 51."""
    names = ("PRADOT", "PatchCore")
    own = [r for r in rows if r["what"] == "score" and r["group"] == "scenes" and r["method"] in names]
    return pd.DataFrame(own).pivot_table(index="seed", columns="method", values="image logical")


def other_light(rows: Iterable[Row]) -> pd.DataFrame:
    """Return image AUROC where light or contrast have shifted, mean of both; rows of page 35."""
    own = named(pd.DataFrame(list(rows)))
    own = own[(own["class"] == FIRST) & own["condition"].isin(("brightness", "contrast"))]
    own = own.replace({"method": {"unadapted": "PatchCore", "RD": "R-D"}})
    return own.pivot_table(index="seed", columns="method", values="image")
