"""How fast: ours and anomalib's turn by turn in one process, one thread, the same inputs, processor seconds of this process alone.

A row: the medians of both, the median of the ratios theirs / ours with the lowest and highest, and the target if one was set before.
`floor`, where it is there, is the time of what cannot be spared, said in `limit`: no more than theirs / floor can be won.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from anomalib.models.components import KCenterGreedy
from anomalib.models.image.cflow.lightning_model import Cflow
from anomalib.models.image.fastflow.lightning_model import Fastflow
from anomalib.models.image.fastflow.loss import FastflowLoss
from anomalib.models.image.patchcore.torch_model import PatchcoreModel
from torch import Tensor

from otad.methods import CFlow, FastFlow, PaDiM, PatchCore
from otad.methods.density.padim import Banded
from otad.methods.memory.patchcore import greedy_coreset
from otad.methods.nearest import nearest
from otad.methods.training import descend

from . import theirs

Row = dict[str, Any]
Work = Callable[[], object]


@dataclass(frozen=True)
class Race:
    """Two ways to compute one thing.

    target: the least ratio theirs / ours that was asked for. floor: what cannot be spared, alone; limit: what that is.
    """

    method: str
    what: str
    size: str
    ours: Work
    other: Work
    target: float | None = None
    repeats: int = 5
    floor: Work | None = None
    limit: str = ""


def rows(tasks: Sequence[str]) -> Iterator[Row]:
    """Yield a row a race; ValueError unless torch has one thread."""
    if torch.get_num_threads() != 1:
        raise ValueError(f"torch has {torch.get_num_threads()} threads: expected 1; set OMP_NUM_THREADS=1.")
    for task in tasks:
        for race in TASKS[task]():
            yield _run(race)


def _run(race: Race) -> Row:
    works = {"ours": race.ours, "theirs": race.other} | ({"floor": race.floor} if race.floor else {})
    spent: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(race.repeats + (race.repeats > 1)):
        for name, work in works.items():
            start = time.process_time()
            work()
            if turn or race.repeats == 1:  # the first turn warms up
                spent[name].append(time.process_time() - start)
    ratios = [b / a for a, b in zip(spent["ours"], spent["theirs"], strict=True)]
    said = {
        "part": "speed",
        "method": race.method,
        "what": race.what,
        "size": race.size,
        "target": race.target,
    }
    said |= {"limit": race.limit} if race.floor else {}
    medians = {f"{name} seconds": statistics.median(times) for name, times in spent.items()}
    found = {"ratio": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios)}
    return said | medians | found | {"repeats": race.repeats}


def _drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)))


def _looked(n: int, side: int, *shapes: tuple[int, int]) -> tuple[theirs.Looked, Tensor]:
    """Return drawn maps (channels, side) of n drawn pictures."""
    images = torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(0))
    return theirs.Looked(images, [_drawn(n, c, s, s) for c, s in shapes]), images


def _coreset() -> Iterator[Race]:
    """A quarter of two thousand choices: each costs the same, after what is done once."""
    points, size = _drawn(20_000, 128), "20,000 × 128, the first 500 of 2,000 choices"
    bare = partial(KCenterGreedy, points[:, :, None], 0.025)
    shipped = partial(KCenterGreedy, points, 0.025)
    for what, ours, other in (
        ("coreset, neither projects", None, bare),
        ("coreset, as shipped (anomalib projects to 244 dimensions, ours would to 128)", 128, shipped),
    ):
        yield Race(
            "PatchCore",
            what,
            size,
            partial(greedy_coreset, points, 500, projection=ours),
            lambda other=other: other().select_coreset_idxs(),
            target=5.0,
            repeats=2,
            floor=lambda: [points @ points[k] for k in range(500)],
            limit="the products of all points with each chosen one",
        )


def _neighbours() -> Iterator[Race]:
    for n, entries, channels in ((784, 2000, 128), (784, 1638, 1536)):
        queries, memory = _drawn(n, channels), _drawn(entries, channels)
        bank = SimpleNamespace(memory_bank=memory, euclidean_dist=PatchcoreModel.euclidean_dist)
        yield Race(
            "PatchCore",
            "nearest entry of a memory",
            f"{n} queries, {entries:,} entries, {channels:,} channels",
            lambda q=queries, m=memory: nearest(q, m),
            lambda q=queries, b=bank: PatchcoreModel.nearest_neighbors(b, q, 1),
            target=2.0,
            floor=lambda q=queries, m=memory: q @ m.T,
            limit="the product of queries and memory",
        )
    looked, images = _looked(1, 224, (64, 28), (64, 14))
    ours = PatchCore(looked, coreset_ratio=1.0).fit(images)
    model = theirs.patchcore(ours, images, seed=0)
    ours.memory_ = model.memory_bank = _drawn(2000, 128)
    places = _drawn(784, 128)
    yield Race(
        "PatchCore",
        "a picture's map and score, without the backbone",
        "224 pixels, 28 × 28 places, 2,000 entries, 128 channels",
        lambda: ours.score(images),
        lambda: model(images),
        target=2.0,
        floor=lambda: places @ ours.memory_.T,
        limit="the product of queries and memory",
    )


def _padim() -> Iterator[Race]:
    looked, images = _looked(60, 112, (40, 28), (112, 14))
    ours = PaDiM(looked, 100)
    ours.fit(images)
    size = "60 pictures, 28 × 28 places, 100 of 152 channels"
    model = theirs.padim(ours, images)
    refit = partial(theirs.fit_padim, model, images)
    points = _drawn(784, 60, 100)

    def covariances() -> Tensor:
        found = points.mT @ points / 59
        found.diagonal(dim1=1, dim2=2).add_(0.01)
        return torch.linalg.cholesky_ex(found)[0]

    limit = "covariances and Cholesky factors in single precision (ours are in double)"
    bands = partial(Banded(looked, 100).fit, images)
    yield Race(
        "PaDiM",
        "fit, a band of places at a time",
        size,
        bands,
        refit,
        target=3.0,
        floor=covariances,
        limit=limit,
    )
    yield Race("PaDiM", "fit", size, partial(ours.fit, images), refit)
    yield Race(
        "PaDiM",
        "maps, without the backbone",
        size,
        lambda: ours.score(images),
        lambda: model(images),
        repeats=3,
    )


def _fastflow() -> Iterator[Race]:
    looked, images = _looked(4, 128, (64, 32), (128, 16), (256, 8))
    ours = FastFlow(looked, epochs=1, batch_size=4).fit(images)
    model = theirs.fastflow(ours, (128, 128))
    chosen, step = torch.arange(4), SimpleNamespace(model=model, loss=FastflowLoss(), log=theirs.nothing)
    standard = [(m - a) / s for m, a, s in zip(looked.maps, ours.mean_, ours.std_, strict=True)]
    mine = torch.optim.Adam(ours.flows_.parameters(), lr=1e-5, weight_decay=1e-5)
    other = torch.optim.Adam(model.parameters(), lr=1e-5, weight_decay=1e-5)

    def their_step() -> None:
        loss = Fastflow.training_step(step, SimpleNamespace(image=images))["loss"]
        other.zero_grad()
        loss.backward()
        other.step()

    model.train()
    size = "128 pixels, maps of 64, 128, 256 channels at strides 4, 8, 16, eight steps"
    yield Race(
        "FastFlow",
        "training step",
        f"4 pictures of {size}",
        lambda: descend(mine, [ours._loss(standard, chosen)], 1),
        their_step,
        target=1.0,
    )
    model.eval()
    yield Race(
        "FastFlow",
        "a picture's map, without the backbone",
        size,
        lambda: ours.score(images[:1]),
        torch.no_grad()(lambda: model(images[:1])),
        target=1.0,
    )


def _cflow() -> Iterator[Race]:
    looked, images = _looked(4, 128, (64, 32), (128, 16), (256, 8))
    ours = CFlow(looked, epochs=1, fibres=256).fit(images)
    mine = torch.optim.Adam(ours.flows_.parameters(), lr=1e-5)
    model = theirs.cflow(ours, fibres=256)
    draw = torch.Generator().manual_seed(0)
    other = Cflow.configure_optimizers(SimpleNamespace(model=model, learning_rate=1e-5))
    step = SimpleNamespace(
        model=model,
        optimizers=lambda: other,
        manual_backward=lambda loss: loss.backward(),
        log=theirs.nothing,
    )
    size = "maps of 64, 128, 256 channels at strides 4, 8, 16, eight blocks"
    yield Race(
        "CFlow",
        "training, an epoch of 21 steps",
        f"4 pictures of 128 pixels, 256 vectors a step, {size}",
        lambda: descend(mine, (ours._loss(*s) for s in ours._steps(looked.maps, draw)), 1),
        lambda: Cflow.training_step(step, SimpleNamespace(image=images)),
        target=1.0,
    )
    for fibres, said in ((256, "all places at once"), (64, "theirs 64 places at a time, as shipped")):
        rival = theirs.cflow(ours, fibres)
        yield Race(
            "CFlow",
            f"a picture's map, without the backbone; {said}",
            f"128 pixels, {size}",
            lambda: ours.score(images[:1]),
            lambda rival=rival: rival(images[:1]),
            target=1.0,
        )


TASKS: dict[str, Callable[[], Iterator[Race]]] = {
    "coreset": _coreset,
    "neighbours": _neighbours,
    "padim": _padim,
    "fastflow": _fastflow,
    "cflow": _cflow,
}
