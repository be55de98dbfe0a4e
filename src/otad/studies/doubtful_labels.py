"""Doubtful labels (the benchmark's Figure 4): the same maps under every label, and what two ways to mend the labels are worth.

Every defective picture has two planted defects, whose exact masks are known. A cell is a map (of a method; or an ideal one, or one that
knows nothing) on one class and seed; its rows judge that map under each label, and under labels that were mended in part.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from otad.data import doubtful
from otad.data.drawn import scenes, textures
from otad.data.drawn.defects import KINDS
from otad.methods.maps import smooth
from otad.metrics import aupro, image_auroc, pixel_auroc
from otad.scale import device, pick
from otad.studies import Cell, Row, Study
from otad.studies.benchmark_arena import sigma
from otad.studies.benchmark_flows import fastflow
from otad.studies.benchmark_memories import padim

FIRST_SEED = 300  # those below were looked at while this was designed
COARSE = (8, 16)
BUILDS = {"PaDiM": padim, "FastFlow": fastflow}
# As the benchmark's arena chose them on held-out classes; at paper scale a method has its paper's settings.
SETTINGS = {
    "PaDiM": {"strides": COARSE, "epsilon": 1.0, "dimension": None},
    "FastFlow": {"strides": COARSE, "lr": 1e-3, "epochs": 60, "batch_size": 16},
}
SMALLEST = {
    "PaDiM": {"strides": COARSE, "dimension": 20},
    "FastFlow": {"strides": COARSE, "epochs": 1, "steps": 2},
}
IDEAL, BLIND = "ideal", "blind"  # the exact mask, smoothed as the others are; noise, smoothed
MAPS = (*BUILDS, IDEAL, BLIND)

EXACT, MISSING, FAINT, MIXED = "exact", "one of two unmarked", "the fainter unmarked", "half fine, half coarse"  # fmt: skip
WIDER = (1, 2, 4, 8)  # pixels
CALLED_GOOD = (0.1, 0.3)  # of the defective pictures
SEEN = 8 / 255  # what a defect changes its pixels by, at the least: nobody would mark what nobody can see
KINDS_SEEN = tuple(
    kind for kind in KINDS if kind != "blur"
)  # where a picture is plain it changes next to nothing
ROUGH = 4  # pixels around the hull: a rough label
POINTED = "where the map points"
ORDERS = ("most pointed at first", "by lot", "least pointed at first")
SHARES = (0.25, 0.5, 0.75)  # of the missing labels, mended


def n_seeds(scale: str) -> int:
    """Return how many seeds are judged: what may grow without a cell being computed again."""
    return pick(scale, smoke=2, laptop=20)


def classes(scale: str) -> tuple[str, ...]:
    """Return the classes: a texture, and a scene in which everything has its place."""
    return pick(scale, smoke=("bottle",), laptop=("grid", "bottle"))


def cells(scale: str) -> list[Cell]:
    """Return a cell a seed, class and map."""
    seeds = range(FIRST_SEED, FIRST_SEED + n_seeds(scale))
    return [{"class": c, "seed": s, "map": m} for s in seeds for c in classes(scale) for m in MAPS]


# Pictures, their exact masks, and who errs where ------------------------------------------------------------


@dataclass(frozen=True)
class Doubted:
    """Pictures with two defects each, good ones first.

    train, test : (N,3,H,W), (M,3,H,W). parts : (M,2,H,W) bool, exact masks. missing, fainter : (M,) the defect that nobody has marked, by
    lot, and the one that changes its pixels less; −1 in a good picture. lot : (M,) the order in which lots fall.
    """

    train: Tensor
    test: Tensor
    parts: Tensor
    missing: Tensor
    fainter: Tensor
    lot: Tensor

    @property
    def bad(self) -> Tensor:
        """The numbers of the defective pictures."""
        return self.parts.flatten(1).any(dim=1).nonzero()[:, 0]


@lru_cache(maxsize=1)  # the maps of a class and seed follow each other
def pictures(name: str, seed: int, scale: str) -> Doubted:
    """Draw a class: good pictures to learn from, good ones to judge, and others with two defects each."""
    side = pick(scale, smoke=64, laptop=96, paper=224)
    n_train, n_good, n_bad = pick(scale, smoke=(4, 3, 6), laptop=(40, 24, 72))
    source = textures if name in textures.NAMES else scenes
    drawn = source.load(name, side, n_train, n_good + n_bad, 0, seed=seed)
    good, fresh = drawn.test[:n_good], drawn.test[n_good:]
    damaged, parts, changes = doubtful.two_defects(
        fresh, [seed, 27, classes(scale).index(name)], side / 16, SEEN, KINDS_SEEN
    )
    rng = np.random.default_rng([seed, 28, classes(scale).index(name)])
    missing, lot = rng.integers(2, size=n_bad), rng.permutation(n_good + n_bad)
    none = torch.full((n_good,), -1)
    return Doubted(
        drawn.train,
        torch.cat([good, damaged]),
        torch.cat([torch.zeros(n_good, *parts.shape[1:], dtype=torch.bool), parts]),
        torch.cat([none, torch.from_numpy(missing)]),
        torch.cat([none, changes.argmin(dim=1)]),
        torch.from_numpy(lot),
    )


def labels(given: Doubted) -> dict[str, Tensor]:
    """Return every label of the same pictures: name to masks (N,H,W) bool."""
    parts, bad = given.parts, given.bad
    fine = doubtful.exact(parts)
    found = {
        EXACT: fine,
        MISSING: doubtful.unmarked(parts, given.missing),
        FAINT: doubtful.unmarked(parts, given.fainter),
        MIXED: doubtful.in_turns(fine, doubtful.hulls(parts, ROUGH)),
        "boxes": doubtful.boxes(parts),
        "hulls": doubtful.hulls(parts),
    }
    found |= {f"wider by {by}": doubtful.dilated(parts, by) for by in WIDER}
    for share in CALLED_GOOD:
        unseen = bad[given.lot[bad].argsort()][: max(1, round(share * len(bad)))]
        found[called_good(share)] = doubtful.called_good(fine, unseen)
    return found


def called_good(share: float) -> str:
    """Return the name of the label that takes a share of the defective pictures for good ones."""
    return f"{share:.0%} called good"


# Maps, and where they point -------------------------------------------------------------------------------


def maps_of(name: str, given: Doubted, scale: str, seed: int) -> Tensor:
    """Return the maps (N,H,W) of a method of `BUILDS` that has learnt from the normal pictures; or of one that knows all, or nothing."""
    if name == IDEAL:
        return smooth(doubtful.exact(given.parts).float(), sigma(scale))
    if name == BLIND:
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(given.parts[:, 0].shape, generator=generator)
        return smooth(noise, 2 * sigma(scale))
    own = {} if scale == "paper" else (SMALLEST if scale == "smoke" else SETTINGS)[name]
    method = BUILDS[name](scale, seed, **own).fit(given.train.to(device()))
    return method.score(given.test.to(device())).maps.cpu()


def height(maps: Tensor, given: Doubted, missing: Tensor) -> Tensor:
    """Return the median of each picture's map over its unmarked defect: (N,), −∞ where none is missing."""
    found = torch.full((len(maps),), -torch.inf)
    for n in (missing >= 0).nonzero()[:, 0].tolist():
        found[n] = maps[n][given.parts[n, missing[n]]].median()
    return found


def level(maps: Tensor, given: Doubted, missing: Tensor) -> float:
    """Return how high a map must be to point at a missing defect: as high as over the marked ones, the median of their medians."""
    marked = torch.where(missing >= 0, 1 - missing, -1)
    return float(height(maps, given, marked)[given.bad].median())


def mended(given: Doubted, missing: Tensor, pictures: Tensor) -> Tensor:
    """Return masks in which the unmarked defects of some pictures (by their numbers) have been marked."""
    left = missing.clone()
    left[pictures] = -1
    return doubtful.unmarked(given.parts, left)


def orders(maps: Tensor, given: Doubted) -> dict[str, Tensor]:
    """Return the defective pictures, by their numbers, in each order of mending."""
    heights, bad = height(maps, given, given.missing)[given.bad], given.bad
    first, last = ORDERS[0], ORDERS[-1]
    lot = bad[given.lot[bad].argsort()]
    return {first: bad[heights.argsort(descending=True)], ORDERS[1]: lot, last: bad[heights.argsort()]}


# What a cell computes -------------------------------------------------------------------------------------


def numbers(maps: Tensor, masks: Tensor) -> Row:
    """Return image AUROC, pixel AUROC and PRO in percent; an image's score is its map's maximum, a picture without a mask is called good."""
    image = image_auroc(maps.amax(dim=(1, 2)), masks.flatten(1).any(dim=1))
    found = {"image": image, "pixel": pixel_auroc(maps, masks), "PRO": aupro(maps, masks)}
    return {key: 100 * value for key, value in found.items()}


def rows(given: Doubted, maps: Tensor) -> Iterator[Row]:
    """Yield a row a label as it is, then those of labels that are mended: only where the map points, and in part, in each order.

    share : of the missing labels, how many were to be mended, where that was fixed beforehand; else 0. found : where the map points.
    """
    drawn = labels(given)
    for name, masks in drawn.items():
        yield {"label": name, "mended": "nothing", "share": 0.0} | numbers(maps, masks)
    for name, missing in ((MISSING, given.missing), (FAINT, given.fainter)):
        found = (height(maps, given, missing) >= level(maps, given, missing)).nonzero()[:, 0]
        row = {"label": name, "mended": POINTED, "share": 0.0, "found": len(found) / len(given.bad)}
        yield row | numbers(maps, mended(given, missing, found))
    for share in CALLED_GOOD:
        masks = drawn[called_good(share)].clone()
        unseen = given.bad[~masks[given.bad].flatten(1).any(dim=1)]
        found = unseen[maps[unseen].amax(dim=(1, 2)) > limit(maps, given)]
        masks[found] = drawn[EXACT][found]
        row = {
            "label": called_good(share),
            "mended": POINTED,
            "share": 0.0,
            "found": len(found) / len(unseen),
        }
        yield row | numbers(maps, masks)
    for order, turn in orders(maps, given).items():
        for share in SHARES:
            some = turn[: round(share * len(turn))]
            yield {"label": MISSING, "mended": order, "share": share} | numbers(maps, mended(given, given.missing, some))  # fmt: skip


def limit(maps: Tensor, given: Doubted) -> float:
    """Return the score above which a map calls a picture defective: the largest of the good pictures."""
    good = ~given.parts.flatten(1).any(dim=1)
    return float(maps[good].amax())


def compute(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield the rows of a cell, in percent."""
    given = pictures(cell["class"], cell["seed"], scale)
    yield from rows(given, maps_of(cell["map"], given, scale, cell["seed"]))


# One label alone ------------------------------------------------------------------------------------------


def apart(scores: Tensor, others: Tensor) -> float:
    """Return the chance that a random one of the scores lies above a random one of the others; a tie counts one half."""
    both = torch.cat([scores, others])
    return pixel_auroc(both[None, None], (torch.arange(len(both)) < len(scores))[None, None])


def alone(maps: Tensor, given: Doubted) -> list[Row]:
    """Return for each missing label what it is worth to mend it alone, in points of pixel AUROC, and why.

    before : A, of the map under the doubtful label. found : A_D, the chance that a pixel of the unmarked defect D lies above one that is
    not marked, itself among them. gain : measured. foretold : by the identity
    [n (A_D − A) + p (A − A_PD) + d (A − ½)] d / ((p + d)(n − d)), with p marked and n other pixels, d of them in D, and A_PD the chance that a marked one lies above one in D.
    """
    masks = doubtful.unmarked(given.parts, given.missing)
    marked, rest = maps[masks], maps[~masks]
    p, n, before = len(marked), len(rest), apart(marked, rest)
    found = []
    for picture in given.bad.tolist():
        inside = maps[picture][given.parts[picture, given.missing[picture]]]
        d, a_d, a_pd = len(inside), apart(inside, rest), apart(marked, inside)
        told = (n * (a_d - before) + p * (before - a_pd) + d * (before - 0.5)) * d / ((p + d) * (n - d))
        gain = pixel_auroc(maps, mended(given, given.missing, torch.tensor([picture]))) - before
        row = {"picture": picture, "area": d, "before": before, "found": a_d, "gain": gain, "foretold": told}
        found.append({k: 100 * v if k not in ("picture", "area") else v for k, v in row.items()})
    return found


STUDY = Study("doubtful_labels", cells, compute, seconds=4.0)
