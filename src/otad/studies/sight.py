"""What features see of a planted defect, how far a vector looks, and the memory of normal vectors: the measurements of page 03."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from otad.data.drawn import textures
from otad.data.drawn.defects import KINDS, damage
from otad.features import handcrafted
from otad.features.pretrained import Backbone
from otad.methods.nearest import nearest
from otad.scale import device
from otad.studies import Row

STRIDES = (4, 8, 16)
Look = Callable[[Tensor], dict[str, Tensor]]


@torch.no_grad()
def views(net: Backbone, images: Tensor, seed: int) -> dict[str, Tensor]:
    """Return every kind of feature of images (N,3,H,W): name → maps (N,C,h,w). net has STRIDES; seed: of the random kernels."""
    images = images.to(device())
    deep = zip(STRIDES, net(images), strict=True)
    return {
        "colours": handcrafted.colours(images),
        "random kernels": handcrafted.random_kernels(images, n=32, seed=seed),
        "steerable filters": handcrafted.steerable_pyramid(images),
    } | {f"network, stride {stride}": maps for stride, maps in deep}


@torch.no_grad()
def stages(net: Backbone, images: Tensor) -> list[Tensor]:
    """Return the maps (N,C,h,w) of each stage for many images, sixteen at a time."""
    parts = [net(few.to(device())) for few in images.split(16)]
    return [torch.cat(stage) for stage in zip(*parts, strict=True)]


def pca_rgb(maps: Tensor) -> Tensor:
    """Return the three main directions of one map (C,h,w) as colours (h,w,3), each between its 2nd and 98th percentile."""
    vectors = maps.flatten(1).T.double().cpu()
    vectors = vectors - vectors.mean(0)
    _, directions = torch.linalg.eigh(vectors.T @ vectors)
    top = directions[:, -3:].flip(1)
    top = top * top.gather(0, top.abs().argmax(0, keepdim=True)).sign()  # eigenvectors have no sign: fix one
    seen = vectors @ top
    low, high = (torch.quantile(seen, q, dim=0) for q in (0.02, 0.98))
    return ((seen - low) / (high - low + 1e-12)).clamp(0, 1).unflatten(0, maps.shape[1:])


def square_with(influence: Tensor, share: float) -> int:
    """Return the side of the smallest square around the centre of gravity that holds a share of an influence (H,W), which sums to 1."""
    grid = torch.arange(len(influence)).float()
    y, x = (int((influence.sum(axis) * grid).sum().round()) for axis in (1, 0))
    for half in range(len(influence)):
        if influence[max(y - half, 0) : y + half + 1, max(x - half, 0) : x + half + 1].sum() >= share:
            return 2 * half + 1
    raise ValueError(f"no square holds {share} of an influence that sums to {float(influence.sum()):g}")


def remember(maps: Tensor, n: int, seed: int) -> Tensor:
    """Draw n of all vectors of maps (N,C,h,w): (n,C)."""
    vectors = maps.movedim(1, -1).flatten(0, 2)
    drawn = torch.randperm(len(vectors), generator=torch.Generator().manual_seed(seed))[:n]
    return vectors[drawn.to(vectors.device)]


def reactions(look: Look, name: str, size: int, repeats: int, seed: int) -> Iterator[Row]:
    """Yield what each kind of defect on a drawn texture does to each kind of feature: a row a defect and feature.

    look: images → name → maps. novelty: mean distance from the defect's vectors to their nearest of 3000 normal ones, over that of the
    same places without the defect. spill: share of the squared change that falls into cells without a defective pixel.
    """
    kinds = [kind for kind in KINDS for _ in range(repeats)]
    clean, fresh = (
        torch.stack([textures.render(name, size, [seed, first + i]) for i in range(n)])
        for first, n in ((60, 5), (80, len(kinds)))
    )
    broken, masks = damage(fresh, kinds, [seed, 5])
    normal, without = look(clean), look(fresh)
    for feature, maps in look(broken).items():
        memory = remember(normal[feature], 3000, seed)
        hit = F.adaptive_max_pool2d(masks[:, None].float(), maps.shape[2:])[:, 0] > 0
        change = (maps - without[feature]).square().sum(1).cpu()
        for i, kind in enumerate(kinds):
            strange, usual = (_apart(m[i], hit[i], memory) for m in (maps, without[feature]))
            spill = float(change[i][~hit[i]].sum() / change[i].sum())
            yield {"defect": kind, "feature": feature, "novelty": strange / usual, "spill": spill}


def _apart(maps: Tensor, places: Tensor, memory: Tensor) -> float:
    """Return the mean distance from the vectors at places (h,w) of one map (C,h,w) to their nearest in memory (n,C)."""
    return float(nearest(maps[:, places.to(maps.device)].T, memory)[0].mean())
