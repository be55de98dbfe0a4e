"""The same features, weights and batches on both sides: what agrees to rounding, and how much each known deviation makes.

A row: what was compared, the largest difference relative to the range of theirs, whether the code means the same (`agrees`), and if not,
why. Drawn numbers for features, all sizes unequal; no score here says anything about a method.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from otad.methods import CFlow, FastFlow, PaDiM, PatchCore
from otad.methods.flows.cflow import densities, whole_batch_map
from otad.methods.maps import smooth
from otad.methods.memory.patchcore import greedy_coreset
from otad.methods.nearest import nearest

from . import theirs

ROUNDING = 1e-4  # of the range: what ten steps in float32 may leave
SIZE = (32, 48)
STEPS = 10
TRAINED = "what ten steps change: not nothing"

Row = dict[str, Any]


def rows() -> list[Row]:
    """Return all rows, method by method."""
    makers: tuple[Callable[[], Iterator[Row]], ...] = (_padim, _patchcore, _cflow, _fastflow)
    with torch.random.fork_rng(devices=[]):
        return [row for maker in makers for row in maker()]


def _row(method: str, what: str, ours: Tensor, other: Tensor, why: str = "") -> Row:
    """Return how far two tensors are apart; `why` they are not meant to agree, or nothing."""
    assert ours.shape == other.shape, (what, ours.shape, other.shape)
    ours, other = ours.detach().double(), other.detach().double()
    largest, span = float((ours - other).abs().max()), float(other.max() - other.min())
    said = {"part": "heads", "method": method, "what": what, "agrees": not why, "why": why}
    return said | {"largest": largest, "range": span, "relative": largest / span, "values": other.numel()}


def drawn(n: int = 20, queries: int = 3) -> tuple[theirs.Looked, Tensor, Tensor]:
    """Return feature maps of 6 and 10 channels, training pictures, and queries of which the last has an odd region."""
    draw = torch.Generator().manual_seed(7)
    images = torch.rand(n + queries, 3, *SIZE, generator=draw)
    mixing = torch.randn(16, 16, generator=draw) / 4
    raw = torch.randn(n + queries, 16, 8, 12, generator=draw)
    mixed = torch.einsum("dc,nchw->ndhw", mixing, raw)
    mixed[-1, :, 2:5, 3:7] += 2.0
    maps = [mixed[:, :6], F.avg_pool2d(mixed[:, 6:], 2)]
    return theirs.Looked(images, maps), images[:n], images[n:]


def _padim() -> Iterator[Row]:
    looked, train, query = drawn()
    ours = PaDiM(looked, None, epsilon=0.01 + 1e-5, upsampling="nearest").fit(train)
    model = theirs.padim(ours, train)

    def distances() -> Tensor:
        found = model.generate_embedding(model.feature_extractor(query))
        stats = [model.gaussian.mean, model.gaussian.inv_covariance]
        return model.anomaly_map_generator.compute_distance(found, stats)[:, 0]

    other = distances()
    yield _row("PaDiM", "distances, the same ε and resizing", ours.distances(query), other)
    shipped = PaDiM(looked, None, upsampling="nearest").fit(train)
    why = "anomalib adds 1e-5 to ε once more"
    yield _row("PaDiM", "distances, ε as shipped", shipped.distances(query), other, why)
    shipped = PaDiM(looked, None).fit(train)
    why = "anomalib repeats the values of coarser maps; ours are interpolated unless upsampling is “nearest”"
    yield _row("PaDiM", "distances, resizing as shipped", shipped.distances(query), other, why)
    large = torch.rand(2, 72, 80, generator=torch.Generator().manual_seed(1))
    ours_s, theirs_s = (
        smooth(large, 4.0),
        model.anomaly_map_generator.smooth_anomaly_map(large[:, None])[:, 0],
    )
    inside = (slice(None), slice(24, -24), slice(24, -24))
    # Their Gaussian ends at 4 σ and has lost 6e-5 of its weight, which is within ROUNDING.
    yield _row("PaDiM", "smoothing, 24 pixels inside", ours_s[inside], theirs_s[inside])
    why = "anomalib reflects the map at the border; ours leaves out what is not there"
    yield _row("PaDiM", "smoothing, with the border", ours_s, theirs_s, why)


def _patchcore() -> Iterator[Row]:
    looked, train, query = drawn()
    ours = PatchCore(looked, sigma=None, projection=None).fit(train)
    model = theirs.patchcore(ours, train, seed=0)
    features, pooled = ours.features(query), _pooled(model, query)
    inside = (slice(None), slice(None), slice(3, -3), slice(3, -3))
    yield _row("PatchCore", "patch features, three places inside", features[inside], pooled[inside])
    why = "anomalib's mean counts zeros beyond the border"
    yield _row("PatchCore", "patch features, with the border", features, pooled, why)
    points = looked.maps[0].movedim(1, -1).flatten(0, 2)
    ours_c, theirs_c = greedy_coreset(points, len(points) // 10, seed=3), theirs.coreset(points, 0.1, seed=3)
    yield _row("PatchCore", "coreset, order of choice, no projection", ours_c, theirs_c)
    model = theirs.patchcore(ours, train, seed=0, zeros=False)
    model.memory_bank = ours.memory_
    queries = features.movedim(1, -1).flatten(0, 2)
    other = model.nearest_neighbors(queries, 1)[0]
    yield _row("PatchCore", "patch scores, the same memory", nearest(queries, ours.memory_)[0][:, 0], other)
    scores, answer = ours.score(query), model(query)
    yield _row(
        "PatchCore",
        "image scores (Eq. 7), the same memory and pooling",
        scores.image_scores,
        answer.pred_score,
    )
    model.anomaly_map_generator.blur = nn.Identity()
    why = "anomalib repeats the values when it resizes the map; ours are interpolated"
    yield _row("PatchCore", "maps before smoothing", scores.maps, model(query).anomaly_map[:, 0], why)


def _pooled(model: nn.Module, images: Tensor) -> Tensor:
    found = {name: model.feature_pooler(m) for name, m in model.feature_extractor(images).items()}
    return model.generate_embedding(found)


def _cflow() -> Iterator[Row]:
    looked, train, query = drawn()
    vectors = sum(m[0, 0].numel() for m in looked.maps) * len(train)
    ours, model = _trained(looked, train, vectors // STEPS)
    first = densities(ours.build_flows()[0], looked(query)[0], 8)
    own = [densities(flow, m, 8) for flow, m in zip(ours.flows_, looked(query), strict=True)]
    answer, said = _answer(model, query)
    for k, (mine, other) in enumerate(zip(own, said, strict=True)):
        yield _row("CFlow", f"log densities of map {k + 1} after training", mine, other.view_as(mine))
    yield _row("CFlow", "log densities of map 1, before training and after", first, own[0], TRAINED)
    whole = whole_batch_map(own, SIZE)
    yield _row("CFlow", "maps by the rule of the public code", whole, answer)
    maps = ours.score(query).maps
    why = "anomalib subtracts the largest log density of the batch, ours that of the training pictures"
    yield _row("CFlow", "maps as shipped", maps, answer, why)
    alone = _answer(model, query[:1])[0]
    why = "anomalib's maps depend on what else is in the batch"
    yield _row("CFlow", "theirs: a picture's map beside two others, and alone", answer[:1], alone, why)
    yield _row(
        "CFlow", "ours: a picture's map beside two others, and alone", maps[:1], ours.score(query[:1]).maps
    )
    ours, model = _trained(looked, train, 7 * len(train))
    mine = densities(ours.flows_[1], looked(query)[1], 8)
    why = "anomalib adds what is left of a map's vectors to the last step, ours makes a step of it"
    other = _answer(model, query)[1][1].view_as(mine)
    yield _row("CFlow", "log densities where steps leave a rest", mine, other, why)


def _trained(looked: theirs.Looked, train: Tensor, fibres: int) -> tuple[CFlow, nn.Module]:
    """Return our CFlow and theirs after one epoch of as many vectors a step."""
    ours = CFlow(looked, blocks=3, positions=8, epochs=1, fibres=fibres, lr=1e-2).fit(train)
    model = theirs.cflow(ours, fibres)
    theirs.train_cflow(model, train, ours.epochs, ours.lr, ours.seed)
    return ours, model


def _answer(model: nn.Module, images: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Return anomalib's maps of these pictures as one batch, and the log densities that it made them of."""
    heard: list[Any] = []
    hook = model.anomaly_map_generator.register_forward_hook(
        lambda module, args, said, out: heard.append(said["distribution"]), with_kwargs=True
    )
    maps = model(images).anomaly_map
    hook.remove()
    return maps, heard[0]


def _fastflow() -> Iterator[Row]:
    looked, train, query = drawn()
    ours = FastFlow(looked, steps=4, epochs=STEPS // 2, batch_size=10, lr=1e-3).fit(train)
    model = theirs.fastflow(ours, SIZE)
    theirs.train_fastflow(model, train, ours.epochs, ours.batch_size, ours.seed)
    standard = [(m - a) / s for m, a, s in zip(looked(query), ours.mean_, ours.std_, strict=True)]
    for k, (flow, block, m) in enumerate(zip(ours.flows_, model.fast_flow_blocks, standard, strict=True)):
        (z, log_det), (other, other_det) = flow(m), block(m)
        yield _row("FastFlow", f"z of map {k + 1} after training", z, other)
        yield _row("FastFlow", f"log determinants of map {k + 1}", log_det, other_det)
    flow, m = ours.flows_[0], standard[0]
    first = ours.build_flows()[0](m)[0]
    yield _row("FastFlow", "z of map 1, before training and after", first, flow(m)[0], TRAINED)
    scores, answer = ours.score(query), model(query)
    yield _row("FastFlow", "maps", scores.maps, answer.anomaly_map[:, 0])
    yield _row("FastFlow", "image scores", scores.image_scores, answer.pred_score.flatten())
    shipped = theirs.fastflow(ours, SIZE, [tuple(m.shape[1:]) for m in looked.maps])
    theirs.train_fastflow(shipped, train, ours.epochs, ours.batch_size, ours.seed)
    why = "anomalib puts a trainable layer norm before the flow, ours standardises by the training pictures"
    yield _row("FastFlow", "maps as shipped", scores.maps, shipped(query).anomaly_map[:, 0], why)
