"""What PRADOT's prototypes are: who visits them, what they look like, who their neighbours are. On scenes that can be had undamaged, too.

A cell is a scene and a seed, which draws everything anew; its rows are of three kinds. *prototypes*: a distance (squared as in the text,
or plain as in the code) and an α. *neighbours*: an α. *restored*: an α and a kind of defect.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from otad.data.drawn import scenes
from otad.features.pretrained import efficientnet_lite0, resnet50
from otad.methods import PRADOT
from otad.methods.prototypes.pradot import FusedCost, embeddings, grid
from otad.scale import device, pick
from otad.studies import Cell, Row, Study
from otad.studies.networks import Remembering, stages_of

FIRST_SEED = 410  # smaller ones chose the protocol, and 400 is drawn on the page
POSITION = {"transistor": ("misplaced", "turned"), "tray": ("swapped",)}
OTHERS = {"transistor": ("cut_lead", "contamination"), "tray": ("missing", "stain")}
PARTNERS = 15  # cheapest ones of a point
BLOCK = 2**26  # numbers of a matrix that is looked at in parts


def setting(scale: str) -> dict[str, Any]:
    """Return the sizes of a scale: of pictures, of the method, of the grid."""
    n, epochs = pick(scale, smoke=(2, 2), laptop=(4, 10), paper=(16, 50))
    eta, max_iter = pick(scale, smoke=(0.5, 10), laptop=(0.8, 30), paper=(0.95, 100))
    n_train, n_test = pick(scale, smoke=(6, 1), laptop=(30, 4), paper=(200, 20))
    return {
        "side": pick(scale, smoke=96, laptop=160, paper=224),
        "n_train": n_train,
        "n_test": n_test,  # of each kind
        "alphas": pick(scale, smoke=(0.0, 0.5), laptop=(0.0, 0.3, 0.5)),
        "method": {
            "n": n,
            "eta": eta,
            "epochs": epochs,
            "batch_size": pick(scale, smoke=6, laptop=15, paper=64),
            "max_iter": max_iter,
        },
    }


def n_seeds(scale: str) -> int:
    """Return how many seeds are judged: what may grow without a cell being computed again."""
    return pick(scale, smoke=2, laptop=20)


def cells(scale: str) -> list[Cell]:
    """Return a cell a seed and scene."""
    seeds = range(FIRST_SEED, FIRST_SEED + n_seeds(scale))
    return [{"class": name, "seed": seed} for seed in seeds for name in POSITION]


@lru_cache(maxsize=1)
def network(scale: str) -> Callable[[Tensor], list[Tensor]]:
    """Return the backbone, one stage: stride 16, or 8 at paper scale."""
    if scale == "paper":
        return resnet50(stages=(8,), device=device())
    return efficientnet_lite0(stages=(16,), device=device())


# Pictures with undamaged twins --------------------------------------------------------------------


@dataclass
class Scene:
    """Training images (N,3,H,W), other normal ones, and for each kind of defect damaged images, their masks and undamaged twins.

    look: images → their feature maps (N,C,h,w); a tensor seen before is not looked at again.
    """

    train: Tensor
    good: Tensor
    damaged: dict[str, tuple[Tensor, Tensor, Tensor]]
    look: Callable[[Tensor], Tensor]


def picture(name: str, side: int, seed: list[int], kind: str = "good") -> tuple[Tensor, Tensor]:
    """Return one image (3,H,W) and the union of its masks (H,W)."""
    image, marks = scenes.render(name, side, seed=seed, kind=kind)
    masks = [torch.as_tensor(mark.mask) for mark in marks]
    return image, torch.stack(masks).any(0) if masks else torch.zeros(side, side, dtype=torch.bool)


def draw(name: str, seed: int, scale: str) -> Scene:
    """Draw a scene; a damaged picture and its twin share light, noise and pose."""
    sizes, net = setting(scale), network(scale)
    side, n_test = sizes["side"], sizes["n_test"]
    train = torch.stack([picture(name, side, [seed, 0, i])[0] for i in range(sizes["n_train"])])
    good = torch.stack([picture(name, side, [seed, 1, i])[0] for i in range(2 * n_test)])
    damaged = {}
    for k, kind in enumerate(POSITION[name] + OTHERS[name]):
        seeds = [[seed, 2, 100 * (k + 1) + i] for i in range(n_test)]
        images, masks = zip(*(picture(name, side, s, kind) for s in seeds), strict=True)
        twins = torch.stack([picture(name, side, s)[0] for s in seeds])
        damaged[kind] = torch.stack(images), torch.stack(masks), twins
    seen = Remembering(lambda images: stages_of(net, images))
    return Scene(train, good, damaged, lambda images: seen(images)[0])


def learner(scale: str, squared: bool = True) -> PRADOT:
    """Return a method of this scale's sizes that has not learnt."""
    return PRADOT(network(scale), squared=squared, **setting(scale)["method"])


def learn(scene: Scene, scale: str, squared: bool = True) -> dict[float, Tensor]:
    """Return prototypes (n,h,w,C) for each α; where nothing is charged for distance, the two distances agree, and one learns."""
    alphas = setting(scale)["alphas"]
    method = learner(scale, squared)
    return {a: method.learn(scene.look(scene.train), a) for a in (alphas if squared else alphas[1:])}


# Who visits you -----------------------------------------------------------------------------------


def visits(scene: Scene, images: Tensor, p: Tensor, alpha: float, method: PRADOT) -> tuple[Tensor, Tensor]:
    """Return costs (N,h,w) and addresses (N,h,w,2), in cells, of the cheapest prototypes: Eq. 6."""
    costs, chosen = method.assign(scene.look(images), p, alpha)
    w = costs.shape[2]
    cell = chosen % costs[0].numel()
    return costs, torch.stack([cell // w, cell % w], dim=-1)


def damaged_cells(masks: Tensor, h: int, w: int) -> Tensor:
    """Return the cells with more than 30 % abnormal pixels, the paper's rule: (N,h,w)."""
    return F.adaptive_avg_pool2d(masks[:, None].float(), (h, w))[:, 0] > 0.3


def reach(scene: Scene, name: str, p: Tensor, alpha: float, method: PRADOT) -> Row:
    """Return "reach", the highest value in the mask of misplaced parts, of that of normal images, and "trip", of normal features, in cells."""
    normal, found = visits(scene, scene.good, p, alpha, method)
    h, w = normal.shape[1:]
    home = torch.cartesian_prod(torch.arange(h), torch.arange(w)).view(h, w, 2)
    trip = (found.cpu() - home).float().norm(dim=-1).mean()
    tops, size = [], scene.good.shape[2:]
    for kind in POSITION[name]:
        images, masks, _ = scene.damaged[kind]
        costs = visits(scene, images, p, alpha, method)[0].cpu()
        big = F.interpolate(costs[:, None], size=size, mode="bilinear")
        tops += [v[m].max() for v, m in zip(big[:, 0], masks, strict=True)]
    top = F.interpolate(normal[:, None], size=size, mode="bilinear")
    return {"reach": float(torch.stack(tops).mean() / top.amax((1, 2, 3)).mean()), "trip": float(trip)}


def likeness(prototypes: Tensor) -> Row:
    """Return the mean cosine of two prototypes of the same cell, and of any two."""
    p = F.normalize(prototypes, dim=-1).flatten(1, 2)
    n, cells, _ = p.shape
    same = (p.sum(0).square().sum(-1).mean() - n) / (n * (n - 1))
    total = n * cells
    any_two = (p.sum((0, 1)).square().sum() - total) / (total * (total - 1))
    return {"same cell": float(same), "any two": float(any_two)}


# What do you look like ----------------------------------------------------------------------------


def patches(images: Tensor, h: int, w: int) -> Tensor:
    """Cut images into non-overlapping patches, one a cell: (N·h·w, 3, s, s)."""
    return rearrange(images, "n c (h s) (w t) -> (n h w) c s t", h=h, w=w)


def glue(parts: Tensor, h: int, w: int) -> Tensor:
    """Put h·w patches an image together again: (N, 3, H, W)."""
    return rearrange(parts, "(n h w) c s t -> n c (h s) (w t)", h=h, w=w)


def nearest(scene: Scene, prototypes: Tensor) -> Tensor:
    """Return for each prototype the number of the training patch whose feature has the highest cosine with it: (n·h·w,)."""
    z = F.normalize(embeddings(scene.look(scene.train)), dim=1)
    some = F.normalize(prototypes.flatten(0, 2), dim=1).split(max(1, BLOCK // len(z)))
    return torch.cat([(p @ z.T).argmax(1) for p in some]).cpu()


def faces(scene: Scene, prototypes: Tensor) -> Tensor:
    """Return the patch of each prototype, in the order of `assign`'s indices: (n·h·w, 3, s, s)."""
    return patches(scene.train, *prototypes.shape[1:3])[nearest(scene, prototypes)]


def rebuild(scene: Scene, images: Tensor, p: Tensor, parts: Tensor, alpha: float, method: PRADOT) -> Tensor:
    """Replace every patch by the face of the prototype that its feature visits: `parts` are the `faces` of p."""
    _, chosen = method.assign(scene.look(images), p, alpha)
    return glue(parts[chosen.flatten().cpu()], *p.shape[1:3])


def restored(scene: Scene, p: Tensor, alpha: float, method: PRADOT) -> Iterator[Row]:
    """Yield a row a kind: mean absolute differences of pixels, in and out of the mask."""
    parts = faces(scene, p)
    for kind, (images, masks, twins) in scene.damaged.items():
        rebuilt, clean = (rebuild(scene, x, p, parts, alpha, method) for x in (images, twins))
        gap, control = (images - rebuilt).abs().mean(1), (twins - clean).abs().mean(1)
        yield {
            "kind": kind,
            "inside": float(gap[masks].mean()),
            "outside": float(gap[~masks].mean()),
            "twin, inside": float(control[masks].mean()),
            "rebuilt to twin": float((rebuilt - twins).abs().mean(1)[masks].mean()),
            "image to twin": float((images - twins).abs().mean(1)[masks].mean()),
        }


# Who are your neighbours --------------------------------------------------------------------------


def gathered(scene: Scene, name: str, prototypes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return embeddings of normal and of damaged images and the prototypes: vectors, places, and 0 normal, 1 abnormal, 2 prototype."""
    images, masks, _ = scene.damaged[POSITION[name][0]]
    f = torch.cat([scene.look(scene.good)[: len(images)], scene.look(images)])
    h, w = f.shape[2:]
    marks = torch.cat([torch.zeros(len(images), h, w).bool(), damaged_cells(masks, h, w)])
    points = torch.cat([embeddings(f), prototypes.flatten(0, 2)])
    places = grid(h, w).to(points).repeat(len(points) // (h * w), 1)
    what = torch.full((len(points),), 2)
    what[: marks.numel()] = marks.flatten().long()
    return points, places, what


def pairwise(points: Tensor, places: Tensor, alpha: float) -> Tensor:
    """Return Equation 1 between all pairs, symmetric with a zero diagonal."""
    cost = FusedCost(points, places, points, places, alpha)[:]
    return ((cost + cost.T) / 2).fill_diagonal_(0)


def neighbours(scene: Scene, name: str, prototypes: Tensor, alpha: float) -> Row:
    """Return statistics of the cheapest partners of every embedding under Eq. 1."""
    points, places, what = gathered(scene, name, prototypes)
    costs, side = FusedCost(points, places, points, places, alpha), prototypes.shape[1]
    found, paid = [], []
    for start in range(0, len(points), step := max(1, BLOCK // len(points))):
        cost = costs[start : start + step]
        paid.append(cost[:, what == 2].amin(1))
        cost.diagonal(start).fill_(torch.inf)  # nobody is a partner of himself
        found.append(cost.topk(PARTNERS, largest=False).indices)
    partners, price = torch.cat(found), torch.cat(paid).cpu()
    away = (side * (places[:, None] - places[partners])).norm(dim=-1).mean(1).cpu()
    mates = (what[partners.cpu()] == 2).float().mean(1)
    return {
        "cells away": float(away[what < 2].mean()),
        "prototypes, normal": float(mates[what == 0].mean()),
        "prototypes, abnormal": float(mates[what == 1].mean()),
        "price ratio": float(price[what == 1].mean() / price[what == 0].mean()),
        "by chance": float((what == 2).float().mean()),
    }


def compute(cell: Cell, scale: str) -> Iterator[Row]:
    """Yield the rows of a scene and seed."""
    name = cell["class"]
    scene = draw(name, cell["seed"], scale)
    for squared in (True, False):
        method = learner(scale, squared)
        for a, p in learn(scene, scale, squared).items():
            row = reach(scene, name, p, a, method) | likeness(p)
            yield {"what": "prototypes", "squared": squared, "α": a} | row
            if squared:
                yield from ({"what": "restored", "α": a} | row for row in restored(scene, p, a, method))
                yield {"what": "neighbours", "α": a} | neighbours(scene, name, p, a)


STUDY = Study("pradot_prototypes", cells, compute, seconds=9.0)
