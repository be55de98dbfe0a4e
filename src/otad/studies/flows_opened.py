"""What page 22 takes the flows apart with: points on a plane, determinants by brute force, one loop of learning that can be watched.

Nothing here is stored: every number is computed when the page is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from otad.data import Dataset
from otad.methods.flows.couplings import AllInOne, Flow, Glow, Subnet, convolutions, linear
from otad.methods.flows.cross_scale import CrossFlow, CrossGlow
from otad.methods.flows.csflow import energy
from otad.methods.flows.fastflow import improbability, negative_log_likelihood
from otad.methods.training import descend
from otad.metrics import image_auroc, pixel_auroc
from otad.scale import device

Maps = Sequence[Tensor]
Look = Callable[[Tensor], Sequence[Tensor]]
Run = Callable[[Maps], tuple[Maps, Tensor]]
Undo = Callable[[Maps], Maps]
Taken = tuple[Run, Undo, Maps]


def crescents(n: int, seed: int, noise: float = 0.1) -> Tensor:
    """Draw n points on two arcs that lie in each other, three of four on the first: (n,2), about mean 0 and variance 1."""
    rng = np.random.default_rng([seed, 22])
    first = rng.random(n) < 0.75
    angle = np.pi * rng.random(n)
    upper = np.stack([np.cos(angle), np.sin(angle)], 1)
    points = np.where(first[:, None], upper, [1.0, 0.5] - upper) + rng.normal(0, noise, (n, 2))
    return torch.from_numpy((points - [0.25, 0.5]) * [1.2, 2.0]).float()


def smooth_net(hidden: int) -> Subnet:
    """Return a builder of networks with one hidden layer whose last layer starts at 0: a new coupling changes nothing."""

    def build(width: int, out: int) -> nn.Module:
        last = nn.Linear(hidden, out)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        return nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(), last)

    return build


def plane_flow(blocks: int, hidden: int, seed: int, clamp: float = 3.0) -> Flow:
    """Build Glow couplings for points on a plane, drawn from the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Flow(Glow(2, smooth_net(hidden), clamp, seed + k) for k in range(blocks))


def map_flow(channels: int, steps: int, seed: int) -> Flow:
    """Build FastFlow's flow for one map, kernels 3 and 1 by turns, drawn from the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Flow(
            AllInOne(channels, convolutions(1 + 2 * (k % 2 == 0)), seed=seed + k) for k in range(steps)
        )


def cross_flow(channels: int, hidden: int, blocks: int, seed: int) -> CrossFlow:
    """Build CS-Flow's flow for maps of three sizes, drawn from the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return CrossFlow(CrossGlow(channels, hidden, seed=seed + k) for k in range(blocks))


def learn(
    weights: Iterable[nn.Parameter],
    loss: Callable[[Tensor], Tensor],
    n: int,
    epochs: int,
    lr: float,
    batch_size: int,
    seed: int,
    watch: Callable[[], float] | None = None,
) -> list[float]:
    """Step down loss (indices of a batch → 0-d) with Adam; return, an epoch a number, what watch saw after it, or the mean loss.

    Raises ValueError where the loss is not finite.
    """
    optimiser, seen = torch.optim.Adam(list(weights), lr), []
    generator = torch.Generator().manual_seed(seed)
    for epoch in range(1, epochs + 1):
        batches = torch.randperm(n, generator=generator).split(batch_size)
        found = descend(optimiser, map(loss, batches), epoch, clip=10.0)
        seen.append(found if watch is None else watch())
    return seen


def weighed(z: Maps, log_det: Tensor, weight: float) -> Tensor:
    """Return the mean over pictures of ½|z|² − weight · log det, per dimension, 0-d; a weight of 1 is the likelihood's."""
    return (energy(z) - weight * log_det / sum(m[0].numel() for m in z)).mean()


def against_autograd(run: Run, undo: Undo, x: Maps) -> tuple[float, float]:
    """Return by how much a log determinant is off the one of autograd's Jacobian, and x off undo(run(x)).

    x : one picture, a list of tensors (1,…) of 64-bit floats; run : x → z, log det (1,).
    """
    shapes = [m.shape for m in x]

    def packed(vector: Tensor) -> Tensor:
        parts = vector.split([math.prod(s) for s in shapes])
        z, _ = run([p.view(s) for p, s in zip(parts, shapes, strict=True)])
        return torch.cat([m.flatten() for m in z])

    z, log_det = run(x)
    jacobian = torch.autograd.functional.jacobian(packed, torch.cat([m.flatten() for m in x]))
    off = float((log_det[0] - torch.linalg.slogdet(jacobian).logabsdet).detach().abs())
    return off, max(float((a - b).detach().abs().max()) for a, b in zip(undo(z), x, strict=True))


def lattice(low: float, high: float, lines: int, points: int = 200) -> list[Tensor]:
    """Return the lines of a square grid, upright ones first, each as points (points,2)."""
    along, at = torch.linspace(low, high, points), torch.linspace(low, high, lines)
    upright = [torch.stack([torch.full_like(along, float(a)), along], 1) for a in at]
    return [*upright, *[line.flip(1) for line in upright]]


@torch.no_grad()
def bent(through: Callable[[Tensor], Tensor], reach: float, lines: int = 13) -> dict[str, list[Tensor]]:
    """Return the lines of a square grid from −reach to reach after a map of the plane: direction → lines, each as points (n,2)."""
    paths = [through(line) for line in lattice(-reach, reach, lines)]
    return {"upright before": paths[:lines], "level before": paths[lines:]}


def chi_square_gap(squares: Tensor, dimensions: int) -> float:
    """Return the largest distance between the distribution of squares (n,) and chi square's (Kolmogorov and Smirnov's statistic)."""
    ordered = squares.double().sort().values
    expected = torch.special.gammainc(torch.tensor(dimensions / 2).double(), ordered / 2)
    n = len(ordered)
    steps = torch.arange(n + 1).double() / n
    return float(torch.maximum(steps[1:] - expected, expected - steps[:-1]).max())


def in_batches(judge: Callable[[Tensor], Tensor], n: int, size: int, seed: int | None = None) -> Tensor:
    """Return the maps (n,H,W) of n pictures judged `size` at a time, as they come or, with a seed, in an order drawn from it.

    judge : indices (size,) → maps (size,H,W), which may depend on the company.
    """
    order = (
        torch.arange(n) if seed is None else torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    )
    found = torch.cat([judge(part) for part in order.split(size)])
    return found[order.argsort()]


def last_and_best(curves: Tensor, labels: Tensor, seed: int) -> dict[str, float]:
    """Return three image AUROCs in percent from the scores of every epoch, curves (epochs,n), and labels (n,).

    last : of the last epoch; best : the largest of all epochs, chosen and judged on the same pictures; honest : the epoch is chosen on one
    half of the pictures and judged on the other, both ways, averaged. Halves hold as many of either label, drawn from the seed.
    """
    generator = torch.Generator().manual_seed(seed)
    first = torch.zeros_like(labels)
    for kind in (True, False):
        where = (labels == kind).nonzero().flatten()
        first[where[torch.randperm(len(where), generator=generator)[: len(where) // 2]]] = True
    whole = auroc_of_epochs(curves, labels)
    one, other = (auroc_of_epochs(curves[:, half], labels[half]) for half in (first, ~first))
    honest = (other[one.argmax()] + one[other.argmax()]) / 2
    return {"last": float(whole[-1]), "best": float(whole.max()), "honest": float(honest)}


def auroc_of_epochs(curves: Tensor, labels: Tensor) -> Tensor:
    """Return the image AUROC in percent of every epoch: scores (epochs,n), labels (n,) → (epochs,)."""
    return torch.tensor([100 * float(image_auroc(scores, labels)) for scores in curves])


def three_flows(seed: int) -> dict[str, Taken]:
    """Draw a flow for vectors (CFlow's), for maps (FastFlow's) and for maps of three sizes (CS-Flow's): name → run, undo and a small x.

    All are 64-bit floats with random weights; what is what, `against_autograd` says.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(1, *shape, generator=generator, dtype=torch.float64)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vectors = Flow(AllInOne(7, linear(), 1.9, 4, seed + k) for k in range(4)).double()
    maps, sizes = map_flow(5, 4, seed).double(), cross_flow(3, 6, 2, seed).double()
    for coupling in sizes.couplings:
        for net in (cast(CrossGlow, coupling).of_first, cast(CrossGlow, coupling).of_second):
            nn.init.constant_(net.gamma, 0.3)  # it starts at 0, where a coupling does nothing
    return {
        "vectors": _single(vectors, [draw(7)], draw(4)),
        "maps": _single(maps, [draw(5, 4, 3)]),
        "maps of three sizes": (
            sizes,
            cast(Undo, sizes.inverse),
            [draw(3, 4, 8), draw(3, 2, 4), draw(3, 1, 2)],
        ),
    }


def _single(flow: Flow, x: Maps, *condition: Tensor) -> Taken:
    """Return a flow of one map as if it were one of several."""

    def run(x: Maps) -> tuple[Maps, Tensor]:
        z, log_det = flow(x[0], *condition)
        return [z], log_det

    return run, lambda z: [flow.inverse(z[0], *condition)], x


def pyramids(net: Look, data: Dataset, scales: int) -> tuple[list[Tensor], list[Tensor]]:
    """Return what CS-Flow is shown of training and of test pictures: a map (N,C,h,w) a size, halved each time, standardised by training."""
    learnt, asked = (_pyramid(net, images.to(device()), scales) for images in (data.train, data.test))
    moments = [
        (m.mean((0, 2, 3), keepdim=True), m.std((0, 2, 3), keepdim=True).clamp_min(1e-6)) for m in learnt
    ]
    learnt, asked = (
        [(m - a) / b for m, (a, b) in zip(maps, moments, strict=True)] for maps in (learnt, asked)
    )
    return learnt, asked


@torch.no_grad()
def _pyramid(net: Look, images: Tensor, scales: int) -> list[Tensor]:
    sizes = [images] + [
        F.interpolate(images, scale_factor=0.5**k, mode="bilinear", antialias=True).clamp(0, 1)
        for k in range(1, scales)
    ]
    return [torch.cat([net(few)[0] for few in size.split(16)]) for size in sizes]


def volume_weighed(
    learnt: Maps, asked: Maps, labels: Tensor, weight: float, epochs: int, seed: int
) -> dict[str, float]:
    """Train CS-Flow's flow with a log determinant that weighs so much; return mean z² and the image AUROC in percent.

    learnt, asked : maps of `pyramids`; labels : of the pictures asked. Batches, first weights and steps do not depend on the weight.
    """
    flow = cross_flow(learnt[0].shape[1], 16, 2, seed).to(learnt[0])

    def loss(batch: Tensor) -> Tensor:
        z, log_det = flow([m[batch] for m in learnt])
        return weighed(z, log_det, weight)

    learn(flow.parameters(), loss, len(learnt[0]), epochs, 4e-3, 16, seed)
    with torch.no_grad():
        seen, unseen = (2 * energy(flow(maps)[0]).cpu() for maps in (learnt, asked))
    return {
        "mean z², training": float(seen.mean()),
        "mean z², fresh good": float(unseen[~labels].mean()),
        "image AUROC": 100 * float(image_auroc(unseen, labels)),
    }


def watched(learnt: Tensor, asked: Tensor, epochs: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Train FastFlow's flow of one map; return the largest energy of each picture asked, (epochs,n), and the mean z² at the end.

    learnt, asked : standardised maps (N,C,h,w). Mean z² : of each picture learnt and of each asked.
    """
    flow, scores = map_flow(learnt.shape[1], 8, seed).to(learnt), []

    @torch.no_grad()
    def watch() -> float:
        found = improbability(flow(asked)[0], "energy")
        scores.append(found.amax((1, 2)).cpu())
        return float(found.mean())

    def loss(batch: Tensor) -> Tensor:
        return negative_log_likelihood(*flow(learnt[batch]))

    learn(flow.parameters(), loss, len(learnt), epochs, 2e-3, 16, seed, watch)
    with torch.no_grad():
        ends = [flow(m)[0].square().flatten(1).mean(1).cpu() for m in (learnt, asked)]
    return torch.stack(scores), ends[0], ends[1]


def spread(readings: Iterable[Tensor], data: Dataset) -> dict[str, float]:
    """Return the least and the largest image and pixel AUROC, in percent, of several readings of the same pictures' maps (n,H,W)."""
    kept = [m.cpu() for m in readings]
    image = [100 * float(image_auroc(m.amax((1, 2)), data.labels)) for m in kept]
    pixel = [100 * float(pixel_auroc(m, cast(Tensor, data.masks))) for m in kept]
    return {
        "image AUROC, least": min(image),
        "image, most": max(image),
        "pixel AUROC, least": min(pixel),
        "pixel, most": max(pixel),
    }


def sorts(data: Dataset, own: Tensor, foreign: Tensor) -> dict[str, Tensor]:
    """Return the pixels of four sorts of things, from maps of a data set's test pictures and of foreign ones, wood first, then as much noise."""
    own, half = own.cpu(), len(foreign) // 2
    return {
        "good": own[~data.labels],
        "defect": own[cast(Tensor, data.masks)],
        "wood": foreign[:half].cpu(),
        "noise": foreign[half:].cpu(),
    }
