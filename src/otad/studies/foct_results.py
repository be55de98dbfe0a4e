"""FOCT against PaDiM, PatchCore and FastRecon at one, two and four shots, and its own parts, on the same pictures and features.

A cell is an arena, a class and a seed. *score*: rows are methods and shots. On held-out seeds, *search*: at two shots, each method with a
few values of one argument; *arena*: how hard the pictures are, and which kinds of defects of the aligned scenes can be found at all.
`KEPT` and `CHOSEN` are what came out of these.
"""

import time
from collections.abc import Iterator
from typing import Any

import torch

from otad.methods import FOCT, PatchCore, Scores
from otad.metrics import image_auroc
from otad.scale import device, pick
from otad.studies import Cell, Row, Study
from otad.studies import few_shot as shared
from otad.studies.few_shot import FIRST_SEED, HELD_OUT, SHOTS, VARIANTS, Task
from otad.studies.networks import Look, Remembering

RIVALS = ("PaDiM", "PatchCore", "FastRecon")
ALWAYS = (
    "FOCT",
    "FOCT, own picks out",
    "FOCT, Eq. 8 as printed",
)  # at every number of shots; the other variants at two
# Each method's argument and the values that were tried; `CHOSEN` has the largest mean of image and pixel AUROC over the `WATCHED`
# scenes, aligned and turned. FOCT is tuned for each reading of what a query is scored against, which is its argument `memory`.
TRIED: dict[str, tuple[str, tuple[float, ...]]] = {
    "PaDiM": ("epsilon", (0.001, 0.01, 0.1, 1.0, 10.0)),
    "PatchCore": ("coreset_ratio", (0.1, 0.2, 0.3, 0.5, 1.0)),
    "FastRecon": ("coreset_ratio", (0.01, 0.02, 0.03, 0.05, 0.1)),  # with more it spans all channels
    **dict.fromkeys(ALWAYS, ("sharpness", (1.0, 2.0, 3.0, 5.0, 10.0))),
}
CHOSEN = {
    "PaDiM": 0.01,
    "PatchCore": 0.3,
    "FastRecon": 0.1,
    "FOCT": 2.0,
    "FOCT, own picks out": 3.0,
    "FOCT, Eq. 8 as printed": 3.0,
}
LEARNT = "FOCT, learnt as printed"  # at paper scale alone
READING = {"after": ALWAYS[0], "before": ALWAYS[1], "semantic": ALWAYS[2]}
WATCHED = ("transistor", "bottle")
SHARPNESS = (0.0, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)  # from uniform plans towards the nearest entry
BOUNDS = (
    60.0,
    90.0,
)  # image AUROC of PatchCore at two shots, mean of an arena's classes: neither at chance nor saturated
VISIBLE, MANY, EACH = (
    60.0,
    16,
    3,
)  # the same with many normal pictures, from which on a kind of defect is kept
KEPT = {  # kinds of defects of the aligned scenes
    "transistor": ("misplaced", "turned", "bent_lead", "scratch"),
    "tray": ("swapped", "foreign", "missing", "extra", "crack", "dent", "stain"),
    "bottle": shared.scenes.KINDS["bottle"],
    "dish": ("extra", "long_screw", "scratch", "contamination"),
}


def n_seeds(scale: str) -> int:
    """Return how many seeds are judged: what may grow without a cell being computed again."""
    return pick(scale, smoke=2, laptop=20, paper=10)


def cells(scale: str) -> list[Cell]:
    """Return a cell an arena, class and seed: those of the held-out seeds first, then split by split."""
    kept = [{"arena": a, "class": c} for a, names in shared.arenas(scale).items() for c in names]
    searched = [c for c in kept if c["arena"] in ("aligned", "turned") and c["class"] in WATCHED]
    held_out = pick(scale, smoke=HELD_OUT[:1], laptop=HELD_OUT, paper=())
    parts = {"search": searched, "arena": kept}
    found = [{"what": w} | cell | {"seed": s} for w, some in parts.items() for cell in some for s in held_out]
    seeds = range(FIRST_SEED, FIRST_SEED + n_seeds(scale))
    return found + [{"what": "score"} | cell | {"seed": seed} for seed in seeds for cell in kept]


def pictures(cell: Cell, scale: str) -> Task:
    """Return the pictures of a cell, scenes with the kinds of defects that were kept."""
    return shared.task(cell, scale, KEPT.get(cell["class"]) if scale == "laptop" else None)


def looks(scale: str) -> tuple[Look, Look]:
    """Return the features of memories, and of PaDiM; both remember what they saw."""
    net = Remembering(shared.network(scale))
    return shared.patches(net), net


def build(
    name: str, given: Task, k: int, looked: tuple[Look, Look], scale: str, seed: int, **own: Any
) -> Any:
    """Return a method fitted to the first k shots; `own` replaces what was chosen."""
    shots = given.shots[:k].to(device())
    if name in RIVALS:
        argument = {TRIED[name][0]: CHOSEN[name]} | own
        if scale == "paper":  # what its paper has
            argument = own
        return shared.rival(name, *looked, scale, seed, **argument).fit(shots)
    switches, mask = VARIANTS[name]
    sharpness = own.pop("sharpness", CHOSEN[READING[switches["memory"]]])
    method: FOCT = shared.foct(looked[0], shots, scale, seed, sharpness, **(switches | own))
    inside = None if given.foreground is None else given.foreground[:k].to(device())
    return method.fit(shots, shared.foreground_of(mask, inside, seed))


def names(k: int) -> tuple[str, ...]:
    """Return the methods that are compared at k shots."""
    return (*RIVALS, *(VARIANTS if k == 2 else ALWAYS))


def scored(cell: Cell, scale: str) -> Iterator[tuple[int, str, Task, Scores, float]]:
    """Yield shots, method, pictures, what it says, and seconds a query, features not counted."""
    given, looked = pictures(cell, scale), looks(scale)
    queries = given.queries.to(device())
    for query in queries.split(1):
        looked[0](query)
    for k in SHOTS:
        for name in names(k):
            method = build(name, given, k, looked, scale, cell["seed"])
            start = time.perf_counter()
            said = method.score(queries)
            yield k, name, given, said, (time.perf_counter() - start) / len(queries)


def score(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield a row a method and number of shots."""
    for k, name, given, said, seconds in scored(cell, scale):
        yield {"shots": k, "method": name} | shared.numbers(given, said) | {"seconds": round(seconds, 5)}


def as_printed(cell: Cell, scale: str, **own: Any) -> Iterator[Row]:
    """Yield a row of FOCT with the pair network of its text, learnt anew for each query; own: arguments of FOCT.

    A query takes a second or more on a card and minutes without one: two shots alone, and on the paper's data alone.
    """
    given, looked = pictures(cell, scale), looks(scale)
    shots = given.shots[:2].to(device())
    method = FOCT(
        looked[0],
        **({"patch_size": 1, "memory": "after", "sigma": shared.sigma(scale), "seed": cell["seed"]} | own),
    )
    method.fit(shots, None if given.foreground is None else given.foreground[:2].to(device()))
    yield {"shots": 2, "method": LEARNT} | shared.numbers(given, method.score(given.queries.to(device())))


def printed_too(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield the rows of `score` and that of `as_printed`."""
    yield from score(cell, scale)
    yield from as_printed(cell, scale)


def search(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield a row a method and value that was tried, at two shots, and one a kind of defect of a scene."""
    given, looked, seed = pictures(cell, scale), looks(scale), cell["seed"]
    queries = given.queries.to(device())
    tried = [(name, argument, v) for name, (argument, values) in TRIED.items() for v in values]
    tried += [(name, "sharpness", v) for name in ALWAYS for v in SHARPNESS if v not in TRIED[name][1]]
    for name, argument, value in tried:
        said = build(name, given, 2, looked, scale, seed, **{argument: value}).score(queries)
        yield {"method": name, "value": value} | shared.numbers(given, said)


def arena(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield how well PatchCore does at two shots, as it is printed, and what is visible of aligned scenes."""
    given, looked = pictures(cell, scale), looks(scale)
    method = build("PatchCore", given, 2, looked, scale, cell["seed"], coreset_ratio=0.1)
    yield {"method": "PatchCore"} | shared.numbers(given, method.score(given.queries.to(device())))
    if cell["arena"] == "aligned":
        yield from visible(cell, scale)


def visible(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield image AUROC of PatchCore with many normal pictures for each kind of defect beside the good ones."""
    grid = shared.setting(scale)
    data = shared.scenes.load(cell["class"], grid["side"], MANY, grid["n_good"], EACH, seed=cell["seed"])
    method = PatchCore(shared.network(scale), sigma=shared.sigma(scale)).fit(data.train.to(device()))
    tops = method.score(data.test.to(device())).image_scores.cpu()
    for kind in shared.scenes.KINDS[cell["class"]]:
        which = torch.tensor([found in ("good", kind) for found in data.kinds])
        yield {"kind": kind, "visible": 100 * float(image_auroc(tops[which], data.labels[which]))}


def compute(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield a row a method and shots, or one a value that was tried, in percent."""
    yield from {"score": printed_too if scale == "paper" else score, "search": search, "arena": arena}[
        cell["what"]
    ](cell, scale)


STUDY = Study("foct_results", cells, compute, seconds=4.0)
