"""What a transport plan buys PRADOT: three rules for the plan of the same update, and masses that are not uniform.

A cell is a seed: other pictures, first prototypes and batches. Rows of *rules* have a start, an α and a rule; rows of *masses* those
of the embeddings. The page times solvers on the same problems; times belong to a machine and are not stored.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from otad.data.drawn import scenes
from otad.features.pretrained import efficientnet_lite0, resnet50
from otad.methods import PRADOT
from otad.methods.prototypes.pradot import embeddings, update
from otad.scale import pick
from otad.studies import Cell, Row, Study
from otad.studies.arenas import categories, on_disk
from otad.studies.networks import Look
from otad.transport import sinkhorn

FIRST_SEED = 410  # smaller ones were seen while the tests were made
EPSILON = 0.01  # the paper's
Plan = Callable[[Tensor, Tensor], Tensor]  # cost and the numbers of the batch's pictures → plan


def setting(scale: str) -> dict[str, Any]:
    """Return the sizes of a scale."""
    return {
        "side": pick(scale, smoke=96, laptop=160, paper=224),
        "n_images": pick(scale, smoke=6, laptop=24, paper=64),
        "n": pick(scale, smoke=1, laptop=4, paper=16),
        "steps": pick(scale, smoke=4, laptop=20),
    }


def n_seeds(scale: str) -> int:
    """Return how many seeds are judged: what may grow without a cell being computed again."""
    return pick(scale, smoke=2, laptop=20)


def cells(scale: str) -> list[Cell]:
    """Return a cell a seed."""
    return [{"seed": seed} for seed in range(FIRST_SEED, FIRST_SEED + n_seeds(scale))]


@lru_cache(maxsize=1)
def network(scale: str) -> Look:
    """Return the backbone, strides 8 and 16, on the CPU, where all solvers of this comparison run."""
    return (resnet50 if scale == "paper" else efficientnet_lite0)(stages=(8, 16))


@lru_cache(maxsize=1)
def _normal(side: int) -> Tensor:
    return on_disk("mvtec_loco", categories("mvtec_loco")[0], side).train


def pictures(seed: int, scale: str) -> Tensor:
    """Return normal trays (N,3,H,W), or at paper scale pictures of the first class of MVTec LOCO."""
    side, n = setting(scale)["side"], setting(scale)["n_images"]
    if scale == "paper":
        normal, generator = _normal(side), torch.Generator().manual_seed(seed)
        return normal[torch.randperm(len(normal), generator=generator)[:n]]
    return torch.stack([scenes.render("tray", side, k)[0] for k in range(1000 * seed, 1000 * seed + n)])


def features(seed: int, scale: str) -> list[Tensor]:
    """Return the feature maps of a seed's pictures, of stride 8 and 16."""
    with torch.no_grad():
        return network(scale)(pictures(seed, scale))


def learner(scale: str) -> PRADOT:
    """Return a method of this scale's sizes that has not learnt; a batch has four embeddings a prototype."""
    n, steps = setting(scale)["n"], setting(scale)["steps"]
    return PRADOT(network(scale), n=n, eta=0.8, epochs=steps // 2, batch_size=4 * n, max_iter=30)


# First prototypes, and rules ----------------------------------------------------------------------


def gaussian(maps: Tensor, n: int, seed: int) -> Tensor:
    """Draw first prototypes (n,h,w,C) as the paper does."""
    _, c, h, w = maps.shape
    return torch.randn(n, h, w, c, generator=torch.Generator().manual_seed(seed))


def sampled(maps: Tensor, n: int, seed: int) -> Tensor:
    """Draw first prototypes (n,h,w,C) from the embeddings."""
    _, _, h, w = maps.shape
    z = embeddings(maps)
    order = torch.randperm(len(z), generator=torch.Generator().manual_seed(seed))[: n * h * w]
    return z[order].view(n, h, w, -1)


def one_hot(cost: Tensor) -> Tensor:
    """Return the plan that sends each embedding whole to its cheapest prototype."""
    return torch.zeros_like(cost).scatter_(1, cost.argmin(1, keepdim=True), 1 / len(cost))


RULES: dict[str, Plan] = {
    "transport": lambda cost, _: sinkhorn(cost, EPSILON, max_iter=30, tol=1e-3).plan,
    "softmax": lambda cost, _: (-cost / EPSILON).softmax(1) / len(cost),
    "nearest": lambda cost, _: one_hot(cost),
}


def weighted(weights: Tensor) -> Plan:
    """Return the rule of transport for embeddings of unequal masses (N, h·w)."""

    def plan(cost: Tensor, chosen: Tensor) -> Tensor:
        mass = weights[chosen].flatten()
        return sinkhorn(cost, EPSILON, a=mass / mass.sum(), max_iter=30, tol=1e-3).plan

    return plan


def learn(maps: Tensor, rule: Plan, alpha: float, p: Tensor, seed: int, scale: str) -> Tensor:
    """Learn prototypes from their start p: Algorithm 1 with any rule for the plan."""
    method, generator = learner(scale), torch.Generator().manual_seed(seed)
    for _ in range(setting(scale)["steps"]):
        chosen = torch.randperm(len(maps), generator=generator)[: method.batch_size]
        cost = method.cost(maps[chosen], p, alpha, normalise=True)[:]
        p = update(p, rule(cost, chosen), maps[chosen], method.eta)
    return p


# What is counted ----------------------------------------------------------------------------------


def uses(maps: Tensor, prototypes: Tensor, alpha: float, scale: str) -> Tensor:
    """Count the embeddings that choose each prototype by Eq. 6: (n,h,w)."""
    index = learner(scale).assign(maps, prototypes, alpha)[1]
    return index.flatten().bincount(minlength=prototypes[..., 0].numel()).view(prototypes.shape[:3])


def spread(prototypes: Tensor) -> float:
    """Return the mean cosine distance from a prototype to the closest other one."""
    p = F.normalize(prototypes.flatten(0, 2), dim=1)
    return float(1 - (p @ p.T).fill_diagonal_(-1).amax(1).mean())


def rarity(maps: Tensor, train: Tensor) -> Tensor:
    """Return the mean cosine distance of embeddings to the ten nearest of the others, above 0 even among copies: (N·h·w,)."""
    x, y = (F.normalize(embeddings(f), dim=1) for f in (maps, train))
    nearest = (1 - x @ y.T).topk(11, largest=False).values
    own = 1 if maps is train else 0  # the nearest of all is itself
    return nearest[:, own : own + 10].mean(1).clamp(min=torch.finfo(x.dtype).eps)


def compute(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield a row a start, α and rule, then a row a mass of the embeddings."""
    seed, n, cut = cell["seed"], setting(scale)["n"], 3 * setting(scale)["n_images"] // 4
    normal, method = features(seed, scale)[1], learner(scale)
    train, held = normal[:cut], normal[cut:]
    for start, draw, alphas in (("Gaussian", gaussian, (0.0, 0.3)), ("drawn", sampled, (0.0,))):
        for alpha in alphas:
            for name, rule in RULES.items():
                p = learn(train, rule, alpha, draw(train, n, seed), seed, scale)
                unused = 100 * float((uses(train, p, alpha, scale) == 0).double().mean())
                cost = float(method.assign(held, p, alpha)[0].mean())
                row = {"unused, %": unused, "spread": spread(p), "held-out cost": cost}
                yield {"what": "rules", "start": start, "α": alpha, "rule": name} | row
    rare = rarity(train, train).view(len(train), -1)
    odd = rarity(held, train)
    top = odd >= odd.quantile(0.9)
    for name, weights in (("uniform", torch.ones_like(rare)), ("rarity", rare)):
        p = learn(train, weighted(weights), 0.0, gaussian(train, n, seed), seed, scale)
        found = method.assign(held, p, 0.0)[0].flatten()
        row = {"rarest tenth": float(found[top].mean()), "the others": float(found[~top].mean())}
        yield {"what": "masses", "μ": name} | row


STUDY = Study("pradot_transport", cells, compute, seconds=4.0)
