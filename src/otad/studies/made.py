"""What page 24 compares: four makers of defects, one network that learns from each, and how far what they make is from what is found."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from otad.data.drawn import textures
from otad.features.pretrained import Backbone
from otad.methods.maps import smooth
from otad.methods.nearest import nearest
from otad.methods.pretext.blending import blend
from otad.methods.pretext.nsa import Painter
from otad.methods.pretext.pieces import cut_paste, cut_paste_scar
from otad.methods.reconstruction.perlin import paint_texture
from otad.methods.training import descend
from otad.studies.networks import stages_of

MAKERS = ("CutPaste, patch", "CutPaste, scar", "NSA", "DRAEM")
TRIES = 20  # a cloud of DRAEM's may be empty: then another is drawn


@dataclass(frozen=True)
class Made:
    """What a maker made of pictures: (n,3,H,W), the pixels that differ (n,H,W) bool, and the label it gives (n,H,W) in [0,1]."""

    images: Tensor
    changed: Tensor
    labels: Tensor


def foreign(side: int, n: int, seed: int) -> Tensor:
    """Draw n pictures of each drawn texture, for DRAEM to paint with: (5n,3,side,side)."""
    names = textures.NAMES
    return torch.stack(
        [textures.render(name, side, [seed, 24, k, i]) for k, name in enumerate(names) for i in range(n)]
    )


def make(maker: str, images: Tensor, others: Tensor, sources: Tensor, seed: int) -> Made:
    """Let a maker damage each of the images (n,3,H,W); NSA takes its pieces from `others`, DRAEM its textures from `sources`.

    ValueError for an unknown maker.
    """
    if maker not in MAKERS:
        raise ValueError(f"maker is {maker!r}: expected one of {', '.join(MAKERS)}.")
    rng = np.random.default_rng([seed, MAKERS.index(maker)])
    pictures, labels = zip(*(_one(maker, image, others, sources, rng) for image in images), strict=True)
    made = torch.stack(pictures)
    return Made(made, (made != images).any(dim=1), torch.stack(labels).float())


def _one(
    maker: str, image: Tensor, others: Tensor, sources: Tensor, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    if maker == "CutPaste, patch":
        return cut_paste(image, rng)
    if maker == "CutPaste, scar":
        return cut_paste_scar(image, rng)
    if maker == "NSA":
        return blend(image, others[int(rng.integers(len(others)))], rng)
    for _ in range(TRIES):
        painted, mask = paint_texture(image, sources[int(rng.integers(len(sources)))], rng)
        if mask.any():
            break
    return painted, mask


# What was made --------------------------------------------------------------------------------------------


def measured(images: Tensor, made: Made) -> dict[str, float]:
    """Return what a maker's defects are like, means over pictures: their share in %, the change in grey levels, the seam.

    The seam is the mean step between a changed pixel and an unchanged neighbour, over what it was before: 1 = no seam at all.
    """
    seams, changes = [], []
    for before, after, where in zip(images, made.images, made.changed, strict=True):
        if where.any():
            changes.append(float(255 * (after - before).abs().mean(dim=0)[where].mean()))
            seams.append(_rim(after, where) / max(_rim(before, where), 1e-6))
    share = 100 * float(made.changed.float().mean())
    return {"share": share, "change": float(np.mean(changes)), "seam": float(np.median(seams))}


def _rim(image: Tensor, where: Tensor) -> float:
    """Return the mean step of a picture (3,H,W) between neighbours of which one is in `where` (H,W)."""
    steps = []
    for axis in (0, 1):
        a, b = (where.narrow(axis, start, where.shape[axis] - 1) for start in (0, 1))
        low, high = (image.narrow(axis + 1, s, where.shape[axis] - 1) for s in (0, 1))
        steps.append((high - low).abs().mean(dim=0)[a != b])
    together = torch.cat(steps)
    return float(together.mean()) if len(together) else 0.0


# What is learnt from it -----------------------------------------------------------------------------------


def looked(net: Backbone, images: Tensor) -> list[Tensor]:
    """Return the maps of a frozen network on the CPU, a stage each."""
    return [maps.cpu() for maps in stages_of(net, images)]


def learn(
    net: Backbone,
    good: list[Tensor],
    bad: list[Tensor],
    labels: Tensor,
    steps: int,
    seed: int,
    width: int = 32,
) -> tuple[Painter, list[float]]:
    """Train NSA's decoder on the maps of a frozen network, of good pictures and of as many that a maker has damaged.

    labels : (n,H,W) of the latter. Half of each batch of 16 is good. Returns the decoder, and the loss of every step.
    """
    painter = Painter(net, width, frozen=True, seed=seed).cpu().train()
    weights = [p for p in painter.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(weights, lr=3e-3)
    plan = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    losses: list[float] = []
    for maps, target in _batches(good, bad, labels, steps, seed):
        loss = F.binary_cross_entropy_with_logits(painter.decode(maps, labels.shape[1:]), target)
        losses.append(descend(optimiser, [loss], len(losses) + 1))
        plan.step()
    return painter.eval(), losses


def _batches(
    good: list[Tensor], bad: list[Tensor], labels: Tensor, steps: int, seed: int
) -> Iterator[tuple[list[Tensor], Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        i, j = (torch.randint(len(maps[0]), (8,), generator=generator) for maps in (good, bad))
        maps = [torch.cat([g[i], b[j]]) for g, b in zip(good, bad, strict=True)]
        yield maps, torch.cat([torch.zeros_like(labels[:1]).expand(8, -1, -1), labels[j]])


@torch.no_grad()
def painted(painter: Painter, maps: list[Tensor], size: tuple[int, int], sigma: float = 4.0) -> Tensor:
    """Return what a decoder paints, smoothed: (n,H,W) in [0,1]; the largest value is a picture's score."""
    return smooth(painter.decode(maps, size).sigmoid(), sigma)


# How like a defect it is ----------------------------------------------------------------------------------


def places(maps: list[Tensor]) -> Tensor:
    """Join maps at the size of the largest: (n,C,h,w)."""
    size = maps[0].shape[-2:]
    return torch.cat([F.interpolate(m, size, mode="bilinear", align_corners=False) for m in maps], dim=1)


def oddest(joined: Tensor, normal: Tensor, masks: Tensor | None = None) -> Tensor:
    """Return of each picture (n,C,h,w) the place farthest from all normal ones (m,C), inside its mask (n,H,W) if there is one: (n,C)."""
    points = joined.flatten(2).mT  # (n, places, C)
    far = nearest(points.flatten(0, 1), normal)[0].view(points.shape[:2])
    if masks is not None:
        inside = F.adaptive_max_pool2d(masks[:, None].float(), joined.shape[-2:])[:, 0].flatten(1) > 0
        far = far.masked_fill(~inside, -torch.inf)
    return points[torch.arange(len(points)), far.argmax(dim=1)]


def likeness(found: Tensor, made: Tensor, normal: Tensor) -> float:
    """Return how far defects (n,C) are from the nearest made one (m,C) over how far from the nearest normal place, the median.

    Below 1 what was made is nearer than anything normal; far above 1 it lies in another direction.
    """
    near, far = nearest(found, made)[0][:, 0], nearest(found, normal)[0][:, 0]
    return float((near / far.clamp_min(1e-6)).median())
