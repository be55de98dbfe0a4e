"""What page 13 asks of the results: means of groups, seven claims as inequalities, and what a larger patch is worth."""

from collections.abc import Mapping, Sequence

import pandas as pd

from otad.data import resize
from otad.metrics import aupro
from otad.studies import fca_results as study

METRICS = ["PRO", "AUROC", "image AUROC", "F1", "PRO whole"]
BOTH = ("PRO", "AUROC")
PLAIN, KNN = "FCA low", "FCA low + KNN"
FOUR = ["Aota", PLAIN, KNN, "FCA"]
Gaps = dict[str, dict[str, float]]


def by_group(scores: pd.DataFrame, panel: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Return the mean over classes of each group, and of the groups of the panel together: group → a row a seed and method.

    scores: the rows of the run.
    """
    key = ["seed", "method"]
    groups = {str(group): part for group, part in scores.groupby("group", sort=False)}
    groups["panel"] = scores[scores["group"].isin(panel)]
    return {group: part.groupby(key, sort=False)[METRICS].mean() for group, part in groups.items()}


def gaps(
    tables: Mapping[str, pd.DataFrame],
    sets: Sequence[str],
    long: str,
    best: Mapping[str, str],
    delta: float,
    ours: str = "FCA",
    objects: str = "",
    wide: float = 0.0,
) -> Gaps:
    """Return claim → inequality → gap in points, positive as claimed: of printed tables, or of one seed.

    tables: data set, "panel" among them → a row a method, a column a metric, in percent. sets: those with a low resolution; long: the
    one with long periods; best: data set → the variant that is best in print. delta: the loss that is none. ours: the FCA that meets
    PatchCore. objects: the group that is no texture, by `wide` points; without it fca-20 is not asked.
    """

    def v(data: str, method: str, metric: str) -> float:
        return float(tables[data].loc[method, metric])

    gain = {d: v(d, KNN, "PRO") - v(d, PLAIN, "PRO") for d in sets}
    error = {m: [100 - v("panel", name, m) for name in ("FCA", "Aota")] for m in BOTH}
    apart = v("panel", "FCA", "image AUROC") - v("panel", "Aota", "image AUROC")
    lead = v("panel", "FCA", "PRO") - v("panel", "Aota", "PRO")
    further = {d: best[d] for d in sets if d in best}
    found = {
        "fca-09": {f"{m}: 0.6 of Aota's error": 0.6 * b - a for m, (a, b) in error.items()},
        "fca-10": {
            f"{m}: over PatchCore": v("panel", ours, m) - v("panel", "PatchCore all", m) for m in BOTH
        },
        "fca-11": {
            "image AUROC: at most 0.5 below": apart + 0.5,
            "image AUROC: at most 0.5 above": 0.5 - apart,
            "PRO: gain over 2": lead - 2,
        },
        "fca-12": {f"no loss over {delta:g} on {d}": g + delta for d, g in gain.items()}
        | {f"more on {long} than on {d}": gain[long] - g for d, g in gain.items() if d != long},
        "fca-13": {f"{m} on {d}": v(d, "FCA", m) - v(d, KNN, m) for d in ("panel", long) for m in BOTH},
        "fca-14": {
            f"{m} on {d}, {b}": v(d, b, m) - v(d, "Aota", m) for d, b in further.items() for m in BOTH
        },
    }
    if objects:
        behind = v("panel", "FCA", "PRO") - v(objects, "FCA", "PRO")
        found["fca-20"] = {"PRO: textures over objects": behind - wide}
    return found


def patch_sizes(contest: study.Contest, n: int, scale: str) -> dict[str, float]:
    """Return the PRO (%) of FCA at low resolution with each patch size, and with KNN: on a good picture and n defective ones."""
    bad = contest.masks.flatten(1).any(1)
    some = [*(~bad).nonzero()[:1, 0].tolist(), *bad.nonzero()[:n, 0].tolist()]
    images, masks = contest.images[some], study.crop(contest.masks[some])
    coarse = study.look(study.base(scale), resize(images, (study.setting(scale)["low"],) * 2))
    maps = {f"median, T = {T}": study.fca(coarse, T) for T in (3, 5, 7)}
    maps["KNN, T = 3"] = study.fca(coarse, 3, "knn")
    large = {name: study.enlarge(m, images).cpu() for name, m in maps.items()}
    return {name: 100 * aupro(study.crop(m), masks) for name, m in large.items()}
