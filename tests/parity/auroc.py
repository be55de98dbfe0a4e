"""Image AUROC of our heads and of anomalib's over seeds, in pairs: the same features, weights and batches, all else as each is shipped.

Drawn classes, EfficientNet-Lite0's maps at strides 8 and 16. Classes, sizes and settings were fixed before any of these seeds was looked at,
and so were the first six seeds; twenty were fixed when the intervals of six had been too wide to tell. Equivalence: the 95 % interval of the mean difference over seeds, classes averaged within a seed, lies inside ± BAND points.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from otad.data import Dataset
from otad.features.pretrained import efficientnet_lite0
from otad.methods import CFlow, FastFlow, PaDiM, PatchCore
from otad.metrics import image_auroc
from otad.studies.arenas import packaged

from . import theirs

BAND = 2.0  # points of image AUROC
CLASSES = ("leather", "bottle")
SEEDS = tuple(range(20))
SIDE, TRAIN, GOOD, EACH = 128, 16, 20, 4
STRIDES = (8, 16)

Row = dict[str, Any]
Pair = tuple[str, Tensor, Tensor]  # what was compared, our image scores, theirs


def rows(methods: Sequence[str], seeds: Sequence[int]) -> Iterator[Row]:
    """Yield a row a class, seed and comparison, in percent."""
    net = efficientnet_lite0(STRIDES)
    for name in CLASSES:
        for seed in seeds:
            data = packaged(name, SIDE, TRAIN, GOOD, EACH, seed)
            images = torch.cat([data.train, data.test])
            looked = theirs.Looked(images, _features(net, images))
            for method in methods:
                for what, ours, other in HEADS[method](looked, data, seed):
                    cell = {"part": "auroc", "method": method, "what": what, "class": name, "seed": seed}
                    found = (100 * image_auroc(s.flatten().detach(), data.labels) for s in (ours, other))
                    yield cell | dict(zip(("ours", "theirs"), found, strict=True))


@torch.no_grad()
def _features(net: Callable[[Tensor], list[Tensor]], images: Tensor) -> list[Tensor]:
    return [torch.cat(scale) for scale in zip(*(net(part) for part in images.split(16)), strict=True)]


def _padim(looked: theirs.Looked, data: Dataset, seed: int) -> Iterator[Pair]:
    ours = PaDiM(looked, seed=seed).fit(data.train)
    other = theirs.padim(ours, data.train)(data.test).pred_score
    yield "as shipped", ours.score(data.test).image_scores, other
    alike = PaDiM(looked, epsilon=0.01 + 1e-5, upsampling="nearest", seed=seed).fit(data.train)
    yield "the same ε and resizing", alike.score(data.test).image_scores, other


def _patchcore(looked: theirs.Looked, data: Dataset, seed: int) -> Iterator[Pair]:
    ours = PatchCore(looked, seed=seed).fit(data.train)
    own = ours.score(data.test).image_scores
    yield "as shipped", own, theirs.patchcore(ours, data.train, seed)(data.test).pred_score
    model = theirs.patchcore(ours, data.train, seed, zeros=False)
    yield "anomalib with our pooling", own, model(data.test).pred_score


def _cflow(looked: theirs.Looked, data: Dataset, seed: int) -> Iterator[Pair]:
    ours = CFlow(looked, positions=32, epochs=3, lr=4e-3, seed=seed).fit(data.train)
    model = theirs.cflow(ours, ours.fibres)
    theirs.train_cflow(model, data.train, ours.epochs, ours.lr, seed)
    own = ours.score(data.test).image_scores
    yield "all test pictures in one batch", own, model(data.test).pred_score
    several = torch.cat([model(part).pred_score for part in data.test.split(8)])
    yield "batches of eight", own, several


def _fastflow(looked: theirs.Looked, data: Dataset, seed: int) -> Iterator[Pair]:
    ours = FastFlow(looked, epochs=10, batch_size=8, seed=seed).fit(data.train)
    own = ours.score(data.test).image_scores
    shapes = [tuple(m.shape[1:]) for m in looked.maps]
    kinds = {"standardised": (), "with anomalib's layer norms": shapes}
    for what, norms in kinds.items():
        model = theirs.fastflow(ours, (SIDE, SIDE), norms)
        theirs.train_fastflow(model, data.train, ours.epochs, ours.batch_size, seed)
        with torch.no_grad():
            other = model(data.test).pred_score
        yield what, own, other
        if not norms:
            energy = replace(ours, output="energy")
            energy.mean_, energy.std_, energy.flows_ = ours.mean_, ours.std_, ours.flows_
            yield "our energy, their probability", energy.score(data.test).image_scores, other


HEADS: dict[str, Callable[[theirs.Looked, Dataset, int], Iterator[Pair]]] = {
    "padim": _padim,
    "patchcore": _patchcore,
    "cflow": _cflow,
    "fastflow": _fastflow,
}
