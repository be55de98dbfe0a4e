"""FOCT, text against public code (commit c682eb2): each difference alone, in pairs, on the same pictures, features and random numbers.

A cell is a class and a seed. *choices*: what needs no learning, from the prose on: scored against the calibrated memory by d = β ‖M − Q‖²;
and the order of the stream, with the printed bound on the memory and without one. *learnt*: what belongs to the navigator, with a
small learnt one. *path*: the printed navigator itself, on two queries: how far its hundred steps come.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from scipy.stats import spearmanr
from torch import Tensor

from otad.methods import FOCT, Scores
from otad.methods.memory.foct import AUTHORS_CODE
from otad.metrics import image_auroc
from otad.scale import device, pick
from otad.studies import Cell, Row, Study, foct_learnt
from otad.studies import few_shot as shared
from otad.studies import foct_results as results
from otad.studies.few_shot import FIRST_SEED, Task
from otad.studies.foct_knobs import PRINTED, classes
from otad.transport import PairNetwork, chamfer, conditional_transport, learn, pairwise

SHOTS = 2
MEMORY = {"text": "semantic", "prose": "after", "own picks out": "before"}  # what Eq. 8 looks at
SINGLE = {name: AUTHORS_CODE[name] for name in ("measure", "picks", "compression")}
SHARES = {"alpha": 0.15, "beta": 0.75}  # of MPDD in the code; the text has .1 and .075
RUNS: dict[str, dict[str, Any]] = {name: {"memory": m} for name, m in MEMORY.items()}
RUNS |= {name: {name: value} for name, value in SINGLE.items()}
RUNS |= {"shares": SHARES, "numbers": {"k_foreground": 30, "k_background": 10}}
RUNS |= {"everything": SINGLE | SHARES}
UNITS: dict[str, float | None] = {"1": 1.0, "10": 10.0, "100": 100.0, "as they are": None}
LEARNT: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {  # arguments of the network, and of FOCT
    "learnt": ({}, {}),
    "activation": ({"slope": 0.01}, {}),
    "widths": ({"hidden": (64, 32, 16)}, {}),
    "optimiser": ({}, {"lr": 6e-3, "decoupled": True}),
    "begins anew": ({}, {"warm": False}),
    "two networks": ({}, {"relearn": True}),
}
NETWORKS: dict[str, dict[str, Any]] = {
    "text": {"hidden": (512,)},
    "code": {"hidden": (1024, 512, 256), "slope": 0.01},
}
STEPS: dict[str, dict[str, Any]] = {
    "text": {"lr": 1e-4},
    "code": {"lr": 2e-4, "decoupled": True, "measure": "squared"},
}
N_PATHS, PLACES = (
    5,
    64,
)  # seeds of the printed navigator, and places of a query that it learns from: a step of it is dear
WIDER = 368 / 336  # the code enlarges a picture to 368 pixels and cuts 336 out


def n_seeds(scale: str) -> int:
    """Return how many seeds are judged: what may grow without a cell being computed again."""
    return pick(scale, smoke=2, laptop=20, paper=10)


def cells(scale: str) -> list[Cell]:
    """Return, seed by seed, the cells of the choices on all sparse classes, of learnt navigators on two, of the printed one on one."""
    every = classes(scale)
    parts = {"choices": every, "learnt": [c for c in every if c["class"] in results.WATCHED] or every[:2]}
    seeds = range(FIRST_SEED, FIRST_SEED + n_seeds(scale))
    found = [{"what": w} | cell | {"seed": s} for s in seeds for w, some in parts.items() for cell in some]
    return found + [{"what": "path"} | every[-1] | {"seed": s} for s in seeds[:N_PATHS]]


# Choices without learning -------------------------------------------------------------------------


def plain(given: Task, looked: tuple, scale: str, seed: int, name: str = "FOCT", **own: Any) -> FOCT:
    """Return FOCT as judged, or another variant, with some arguments replaced; one sharpness for all."""
    sharpness = {"sharpness": results.CHOSEN["FOCT"]}
    return results.build(name, given, SHOTS, looked, scale, seed, **(sharpness | own))


def cropped(given: Task) -> Task:
    """Return the pictures enlarged as the code does and cut to their size again, with masks."""

    def cut(x: Tensor, mode: str) -> Tensor:
        size = [round(WIDER * side) for side in x.shape[-2:]]
        large = F.interpolate(x.float(), size, mode=mode, antialias=mode == "bilinear")
        top, left = ((a - b) // 2 for a, b in zip(size, x.shape[-2:], strict=True))
        return large[..., top : top + x.shape[-2], left : left + x.shape[-1]].clamp(0, 1)

    inside = None if given.foreground is None else cut(given.foreground[:, None], "nearest")[:, 0] > 0
    return replace(
        given,
        shots=cut(given.shots, "bilinear"),
        foreground=inside,
        queries=cut(given.queries, "bilinear"),
        masks=cut(given.masks[:, None], "nearest")[:, 0] > 0,
    )


def twice(given: Task) -> Task:
    """Return the pictures with the first shot drawn twice, as it may be where shots are drawn with replacement."""
    same = [0, 0]
    inside = None if given.foreground is None else given.foreground[same]
    return replace(given, shots=given.shots[same], foreground=inside)


def choices(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield a row a run, and the stream in several orders."""
    given, looked, seed = results.pictures(cell, scale), results.looks(scale), cell["seed"]
    queries = given.queries.to(device())
    for run, own in RUNS.items():
        said = plain(given, looked, scale, seed, **own).score(queries)
        yield {"run": run} | shared.numbers(given, said)
    yield {"run": "no mask"} | shared.numbers(given, plain(given, looked, scale, seed, "OCT").score(queries))
    for run, other in (("one shot twice", twice(given)), ("input", cropped(given))):
        said = plain(other, looked, scale, seed).score(other.queries.to(device()))
        yield {"run": run} | shared.numbers(other, said)
    yield from stream(given, looked, scale, seed)


# The stream ---------------------------------------------------------------------------------------


def orders(given: Task) -> dict[str, list[int]]:
    """Return the queries' indices in several orders; the sort is stable, so that equal ones stay shuffled."""
    every = range(len(given.kinds))
    ranks: dict[str, Callable[[int], Any]] = {
        "shuffled": lambda i: 0,
        "good first": lambda i: bool(given.labels[i]),
        "defects first": lambda i: not given.labels[i],
        "by kind": lambda i: given.kinds[i],  # as folders are read: "good" among the kinds
    }
    return {name: sorted(every, key=rank) for name, rank in ranks.items()}


def walked(method: FOCT, queries: Tensor, order: Sequence[int]) -> dict[int, Scores]:
    """Return what a method says of these queries when they come in this order, by their index; its stream begins anew."""
    method.episode_ = method.start_
    return {i: method.stream(queries[i : i + 1]) for i in order}


def joined(said: dict[int, Scores]) -> Scores:
    """Return the scores in the order of the pictures."""
    found = [said[i] for i in sorted(said)]
    return Scores(torch.cat([s.maps for s in found]), torch.cat([s.image_scores for s in found]))


def drift(given: Task, tops: Tensor) -> float:
    """Return how much higher good pictures of the last third of the stream score than those of the first, in percent."""
    good = tops.cpu()[~given.labels]
    third = max(1, len(good) // 3)
    return 100 * float(good[-third:].mean() / good[:third].mean() - 1)


def rare(method: FOCT, given: Task, queries: Tensor, often: Scores) -> Row:
    """Return image AUROC where a defective picture comes alone among all good ones, mean over every second one, in percent.

    often: what is said of the whole stream; `often` of the row is the same mean there.
    """
    good = (~given.labels).nonzero()[:, 0].tolist()
    found: dict[str, list[float]] = {"image": [], "often": []}
    for i in given.labels.nonzero()[::2, 0].tolist():
        said = walked(method, queries, sorted([*good, i]))
        alone = torch.stack([said[j].image_scores[0] for j in (*good, i)])
        for name, tops in (("image", alone), ("often", often.image_scores[[*good, i]])):
            found[name].append(float(image_auroc(tops.cpu(), torch.arange(len(tops)) == len(good))))
    return {name: 100 * sum(values) / len(values) for name, values in found.items()}


def stream(given: Task, looked: tuple, scale: str, seed: int) -> Iterator[Row]:
    """Yield a row an order and a memory, bounded or not, and one for a stream in which defects are rare."""
    queries = given.queries.to(device())
    for memory, capacity in (("bounded", PRINTED["capacity"]), ("unbounded", None)):
        method = plain(given, looked, scale, seed, capacity=capacity)
        said = {run: joined(walked(method, queries, order)) for run, order in orders(given).items()}
        for run, scores in said.items():
            yield {"run": run, "memory": memory} | shared.numbers(given, scores)
        usual = said["shuffled"]
        yield {"run": "drift", "memory": memory, "percent": drift(given, usual.image_scores)}
        yield {"run": "rare", "memory": memory} | rare(method, given, queries, usual)


def drifting(scale: str) -> range:
    """Return the seeds of `nearest_drift`, which is computed where a page is."""
    return range(FIRST_SEED, FIRST_SEED + pick(scale, smoke=2, laptop=8))


def nearest_drift(seed: int, scale: str) -> float:
    """Return the mean over classes of `drift` of a shuffled stream that nothing bounds, scored by the nearest entry, own picks out."""
    found = []
    for kept in classes(scale):
        given, looked = results.pictures(kept | {"seed": seed}, scale), results.looks(scale)
        method = plain(given, looked, scale, seed, "FOCT out, nearest", capacity=None)
        said = walked(method, given.queries.to(device()), range(len(given.queries)))
        found.append(drift(given, joined(said).image_scores))
    return sum(found) / len(found)


# Navigators that learn ----------------------------------------------------------------------------


def learnt(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield a row a unit of the features, and one for each difference of the navigator."""
    given, (look, net), seed = results.pictures(cell, scale), results.looks(scale), cell["seed"]
    shots, queries = given.shots[:SHOTS].to(device()), given.queries.to(device())
    units = {f"unit {name}": unit for name, unit in UNITS.items() if unit != foct_learnt.TYPICAL}
    for run in (*units, *LEARNT):
        unit, (network, own) = units.get(run, foct_learnt.TYPICAL), LEARNT.get(run, ({}, {}))
        looked = foct_learnt.rescaled(look, shots, unit), net
        method = plain(given, looked, scale, seed, **(foct_learnt.cheap(**network) | own))
        yield {"run": run} | shared.numbers(given, method.score(queries))


def path(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield, for a good and a defective query, how far the printed navigator comes in a hundred steps, and whom its scores resemble."""
    given, (look, _), seed = results.pictures(cell, scale), results.looks(scale), cell["seed"]
    shots = given.shots[:SHOTS].to(device())
    inside = None if given.foreground is None else given.foreground[:SHOTS].to(device())
    for unit, typical in UNITS.items():
        seen = foct_learnt.rescaled(look, shots, typical)
        memory = FOCT(seen, patch_size=1, navigator=None, seed=seed).fit(shots, inside).semantic_
        steer = shared.sharpened(seen, shots, results.CHOSEN["FOCT"])(0)
        small = FOCT(seen, patch_size=1, seed=seed, **foct_learnt.cheap()).fit(shots, inside).start_.navigator
        for label, kind in ((0, "good"), (1, "defective")):
            which = given.labels.int().tolist().index(label)
            query = sampled(seen(given.queries[which : which + 1].to(device()))[0])
            for network in NETWORKS if typical == foct_learnt.TYPICAL and not label else ("text",):
                row = {"network": network, "unit": unit, "query": kind}
                yield row | walk(network, memory, query, (steer, small), scale, seed)


def sampled(features: Tensor) -> Tensor:
    """Return at most PLACES places of a map (1,C,h,w), evenly spaced, as rows (m,C)."""
    h, w = features.shape[-2:]
    step = max(1, round((h * w / PLACES) ** 0.5))
    return features[0, :, step // 2 :: step, step // 2 :: step].flatten(1).T


def walk(network: str, memory: Tensor, query: Tensor, beside: tuple[Any, Any], scale: str, seed: int) -> Row:
    """Learn one navigator; return its share of the way from uniform plans to the nearest entry, and rank correlations of its scores.

    beside: d = β ‖M − Q‖², and the small navigator as the shots have taught it.
    way: of Eq. 4, in percent. nearest, steered, sampled: with the distance to the nearest entry, and with the scores of these two, after
    the second's few steps on the query.
    """
    settings = STEPS[network]
    navigator = PairNetwork(query.shape[1], **NETWORKS[network], seed=seed).to(query)
    learn(navigator, memory, query, steps=pick(scale, smoke=3, laptop=100), **settings)
    (steer, small), cheap = beside, foct_learnt.cheap()
    quick = copy.deepcopy(small).to(query)
    learn(quick, memory, query, steps=cheap["steps"], lr=cheap["lr"], pairs=cheap["pairs"], seed=seed)
    cost = pairwise(memory, query, settings.get("measure", "euclidean"))
    with torch.no_grad():
        found, *others = (
            conditional_transport(cost, distance(memory, query)) for distance in (navigator, steer, quick)
        )
    scores = {"nearest": cost.amin(0)} | dict(
        zip(("steered", "sampled"), (o.queries for o in others), strict=True)
    )
    start, end = conditional_transport(cost, 0 * cost).value, chamfer(cost)
    ranks = {name: float(spearmanr(found.queries.cpu(), x.cpu())[0]) for name, x in scores.items()}
    return {"way": 100 * float((start - found.value) / (start - end))} | ranks


def compute(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield a row a run, in percent, or one a query that the printed navigator has learnt from."""
    yield from {"choices": choices, "learnt": learnt, "path": path}[cell["what"]](cell, scale)


STUDY = Study("foct_code", cells, compute, seconds=10.0)
