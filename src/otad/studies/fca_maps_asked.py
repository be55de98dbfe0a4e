"""What page 14 asks of maps: which are shown, why one failed, what another mask or a threshold of other pictures makes of them.

All from what `fca_maps.pooled` returns, texture by texture: a pool. No map is computed here.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import ndimage
from skimage.morphology import convex_hull_image
from torch import Tensor

from otad.metrics import aupro, average_precision, f1_max, pixel_auroc
from otad.studies.fca_maps import N_DRAWS, inner

METHODS = ("FCA", "Aota")
EIGHT = np.ones((3, 3), dtype=int)  # neighbours of a pixel
SCORES: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "PRO": lambda m, y: 100 * aupro(m, y),
    "AUROC": lambda m, y: 100 * pixel_auroc(m, y),
    "F1-max": lambda m, y: 100 * f1_max(m, y)[0],
}
READINGS: dict[str, int | str] = {"tight": -1, "exact": 0, "generous": 3, "hull": "hull"}
Pool = dict[str, dict[str, Any]]
Drawn = dict[tuple[str, int | str], np.ndarray]  # masks of a texture by a hand


def examples(pool: Pool, chosen: Sequence[Any], names: Sequence[str]) -> dict[str, Any]:
    """Return what is drawn of chosen rows: images, masks, maps of the methods `names`, titles, each map's AP, colour scales.

    A scale ends at the largest value in any picture of the texture, after the damage.
    """
    own = [(pool[c.texture], c.i) for c in chosen]
    precise = [m for m in names if not m.endswith("before")]
    return {
        "images": torch.stack([p["images"][i] for p, i in own]),
        "masks": np.stack([p["masks"][i] for p, i in own]),
        "methods": {m: np.stack([p[m][i] for p, i in own]) for m in names},
        "titles": [f"{c.texture}\n{c.kind}" for c in chosen],
        "notes": {
            m: [f"AP {average_precision(p[m][i], p['masks'][i]):.2f}" for p, i in own] for m in precise
        },
        "scales": {m: [(0, p[m.removesuffix(" before")].max()) for p, _ in own] for m in names},
    }


def outlined(pool: Pool, chosen: Sequence[Any]) -> tuple[Tensor, list[str]]:
    """Return the images of chosen rows and their titles."""
    images = torch.stack([pool[c.texture]["images"][c.i] for c in chosen])
    return images, [f"{c.texture}, {c.kind}" for c in chosen]


def contours(
    pool: Pool, chosen: Sequence[Any], limits: Mapping[tuple[str, str], float]
) -> dict[str, np.ndarray]:
    """Return of chosen rows the mask, and what each method's threshold flags; limits: those of a texture and method."""
    found = {"mask": np.stack([pool[c.texture]["masks"][c.i] for c in chosen])}
    for m in METHODS:
        found[m] = np.stack([pool[c.texture][m][c.i] >= limits[c.texture, m] for c in chosen])
    return found


def spot(m: np.ndarray, mask: np.ndarray) -> float:
    """Return the area above half the peak, counted from the map's median, against the area of the mask."""
    return float((m >= (m.max() + np.median(m)) / 2).sum() / mask.sum())


def spots(pool: Pool, single: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """Return the spot of each method, a row a picture in which the brightest pixel of all maps lies on the defect."""
    found = []
    for row in single.itertuples():
        of, mask = pool[row.texture], pool[row.texture]["masks"][row.i]
        if all(mask.flat[of[m][row.i].argmax()] for m in methods):
            found.append({m: spot(of[m][row.i], mask) for m in methods})
    return pd.DataFrame(found, columns=list(methods))


def at_threshold(maps: np.ndarray, masks: np.ndarray, threshold: float) -> dict[str, float]:
    """Return precision, false-positive rate and mean coverage of regions, in percent."""
    found = maps >= threshold
    regions, n = ndimage.label(masks, np.stack([0 * EIGHT, EIGHT, 0 * EIGHT]))
    covered = ndimage.mean(found, regions, range(1, n + 1))
    return {
        "precision": float(100 * (found & masks).sum() / found.sum()),
        "false positives": float(100 * found[~masks].mean()),
        "coverage": 100 * float(np.mean(covered)),
    }


def best_limits(pool: Pool) -> dict[tuple[str, str], float]:
    """Return the threshold of the best F1 over all pictures, by texture and method."""
    return {(name, m): f1_max(of[m], of["masks"])[1] for name, of in pool.items() for m in METHODS}


def in_words(pool: Pool, limits: Mapping[tuple[str, str], float]) -> pd.DataFrame:
    """Return all scores in percent, and what the thresholds flag; a row a texture and method."""
    found = {}
    for (name, m), limit in limits.items():
        maps, masks = pool[name][m], pool[name]["masks"]
        own = {label: score(maps, masks) for label, score in SCORES.items()}
        found[name, m] = own | at_threshold(maps, masks, limit)
    return pd.DataFrame(found).T.rename(columns={"F1-max": "F1"})


def alarms(pool: Pool, limits: Mapping[tuple[str, str], float]) -> pd.DataFrame:
    """Return of each texture the good picture with FCA's highest score: that against the threshold, and what is flagged (%); worst first."""
    found = []
    for name, of in pool.items():
        good, m, limit = ~of["masks"].any(axis=(1, 2)), of["FCA"], limits[name, "FCA"]
        if good.any():
            i = int(max(good.nonzero()[0], key=m.max(axis=(1, 2)).__getitem__))
            own = {"ratio": float(m[i].max() / limit), "flagged": 100 * float((m[i] >= limit).mean())}
            found.append({"texture": name, "kind": "good", "i": i} | own)
    return pd.DataFrame(found).sort_values("ratio", ascending=False)


def f1_at(maps: np.ndarray, masks: np.ndarray, threshold: float) -> float:
    """Return F1 of one threshold, in percent."""
    found = maps >= threshold
    return 100 * float(2 * (found & masks).sum() / (found.sum() + masks.sum()))


def diagnosis(of: dict[str, Any], i: int) -> dict[str, float]:
    """Return what the damage added inside the mask, how loud the picture was before, and the visible contrast of the damage."""
    was, now, mask = of["FCA before"][i], of["FCA"][i], of["masks"][i]
    change = (of["images"][i] - of["before"][i]).abs().mean(0).numpy()
    return {
        "added": float((now - was)[mask].mean()),
        "loud": float(np.quantile(was, 0.99) - np.median(was)),
        "contrast": float(change[mask].mean()),
    }


def reasons(pool: Pool, single: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with their diagnosis: `ratio` of added to loud, `cause` the one that is further from the median of all."""
    why = pd.DataFrame([diagnosis(pool[row.texture], row.i) for row in single.itertuples()])
    why["ratio"] = why["added"] / why["loud"]
    odds = why / why.median()
    faint = odds["added"].clip(lower=1e-6) * odds["loud"] < 1
    return single.join(why.assign(cause=np.where(faint, "faint", "loud")))


def redrawn(mask: np.ndarray, d: int | str) -> np.ndarray:
    """Return a mask drawn d pixels outside its true edge (inside, if d < 0), or one convex hull around all of it."""
    if not mask.any():
        return mask
    if d == "hull":
        return convex_hull_image(mask)
    if int(d) > 0:
        return ndimage.distance_transform_edt(~mask) <= d
    return ndimage.distance_transform_edt(mask) > -int(d)


def n_regions(masks: np.ndarray) -> int:
    """Return how many regions there are in all masks (N,H,W)."""
    return sum(ndimage.label(mask, EIGHT)[1] for mask in masks)


def redrawings(pool: Pool, hands: Sequence[int | str], scale: str) -> tuple[Drawn, dict[int | str, int]]:
    """Return all masks drawn by each hand, cropped, and the number of regions by hand."""
    drawn, regions = {}, dict.fromkeys(hands, 0)
    for name, of in pool.items():
        for d in hands:
            masks = np.stack([redrawn(mask.numpy(), d) for mask in of["full"]])[inner(scale)]
            drawn[name, d] = masks
            regions[d] += n_regions(masks)
    return drawn, regions


def rescored(pool: Pool, drawn: Drawn) -> pd.DataFrame:
    """Return scores of the same maps against other masks: a row a hand and texture, a column a score and method."""
    both = [(s, m) for s in SCORES for m in METHODS]
    found = {
        (d, name): {(s, m): SCORES[s](pool[name][m], masks) for s, m in both}
        for (name, d), masks in drawn.items()
        if masks.any()
    }
    return pd.DataFrame(found).T.rename_axis(["d", "texture"])


def reread(pool: Pool, drawn: Drawn, single: pd.DataFrame) -> pd.DataFrame:
    """Return F1-max of single pictures by each of the READINGS of their mask, and the mean of both methods."""
    found = []
    for row in single.itertuples():
        of, key = pool[row.texture], {"texture": row.texture, "kind": row.kind, "i": row.i}
        for label, d in READINGS.items():
            mask = drawn[row.texture, d][row.i]
            if mask.any():
                f1 = {m: f1_max(of[m][row.i], mask)[0] for m in METHODS}
                found.append(key | {"reading": label} | f1)
    readings = pd.DataFrame(found)
    return readings.assign(both=readings[list(METHODS)].mean(axis=1))


def as_read(drawn: Drawn, chosen: Sequence[Any]) -> dict[str, np.ndarray]:
    """Return the masks of chosen rows by each of the READINGS."""
    return {label: np.stack([drawn[c.texture, d][c.i] for c in chosen]) for label, d in READINGS.items()}


def by_hand(own: pd.Series) -> dict[str, Any]:
    """Return of one score, by hand: the hand that it likes best, its value at the true edge, and its range."""
    ends = {"peak": own.max(), "worst": own.min(), "span": float(own.max() - own.min())}
    return {"best": hand(int(own.idxmax())), "truth": own[0]} | ends


def hand(d: int | str) -> str:
    """Return the hand that draws a mask d pixels outside, in words."""
    if d in (0, "hull"):
        return "exact" if d == 0 else "hull"
    return f"{abs(int(d))} px {'outside' if int(d) > 0 else 'inside'}"


def borrowed(of: dict[str, Any], method: str) -> Iterator[dict[str, float]]:
    """Yield for each draw F1 with its own best threshold, and with that of the other draw."""
    for d in range(N_DRAWS):
        here, there = of["draw"] == d, of["draw"] != d
        maps, masks, others = of[method][here], of["masks"][here], of["masks"][there]
        if masks.any() and others.any():
            own, other = f1_max(maps, masks)[1], f1_max(of[method][there], others)[1]
            yield {"own": f1_at(maps, masks, own), "borrowed": f1_at(maps, masks, other)}


def lent(pool: Pool) -> pd.DataFrame:
    """Return mean F1 with the draws' own and with borrowed thresholds: a row a texture, a pair of columns a method."""
    found: dict[str, dict[str, float]] = {name: {} for name in pool}
    for name, of in pool.items():
        for m in METHODS:
            means = pd.DataFrame(list(borrowed(of, m))).mean()
            found[name] |= {f"{m}, {label}": value for label, value in means.items()}
    return pd.DataFrame(found).T


def from_good(pool: Pool, method: str, q: float) -> float:
    """Return the mean F1 with a quantile of the good pictures' pixels of the other draw as the threshold."""
    found = []
    for of in pool.values():
        good = ~of["masks"].any(axis=(1, 2))
        for d in range(N_DRAWS):
            here, calm = of["draw"] == d, of[method][good & (of["draw"] != d)]
            if len(calm) and of["masks"][here].any():
                found.append(f1_at(of[method][here], of["masks"][here], np.quantile(calm, q)))
    return float(np.mean(found))
