"""What page 41 watches in FOCT's episodic memory while a stream of normal pictures passes.

Nothing here is stored: every number is computed when the page is.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from otad.methods import FOCT
from otad.methods.memory.episodic import compressed
from otad.methods.memory.foct import small_masks
from otad.studies import Row
from otad.studies.networks import Look

SHOTS = 2
KINDS = {"OCT": "none", "FOCT": "exact", "inverted": "inverted"}  # method to the mask that it is given
Build = Callable[..., FOCT]  # kind of mask, shots and their masks, settings → FOCT, fitted


def radius(points: Tensor, chosen: Tensor) -> float:
    """Return the largest distance from a point (n,C) to the nearest of those that were chosen (m,C)."""
    return float(torch.cdist(points, chosen).min(1).values.max())


def stream(look: Look, build: Build, images: Tensor, inside: Tensor, seed: int, keep: int = 25) -> Row:
    """Let a stream pass: the first SHOTS of images (n,3,H,W), with the object at inside (n,H,W), are learnt from; return a row.

    all: share of background among the stream's patches; a method: the same in its episodic memory at the end; pairs: entries of its
    semantic memory, each of which meets each patch of a query. coreset, random: how well `keep` vectors cover all that was picked.
    """
    (shots, later), (masks, there) = ((x[:SHOTS], x[SHOTS:]) for x in (images, inside))
    maps = [look(query)[0] for query in later.split(1)]
    seen = torch.cat([m[0].flatten(1).T for m in maps])
    outside = ~small_masks(there, later, (maps[0].shape[2], maps[0].shape[3])).flatten()
    row: Row = {"all": float(outside.float().mean())}
    for label, kind in KINDS.items():
        one = build(kind, shots, masks)
        one.stream(later)
        which = torch.cdist(one.episode_.recent, seen).argmin(1)
        row |= {label: float(outside[which].float().mean()), f"pairs {label}": len(one.semantic_)}
    everything = build("none", shots, None, capacity=None)
    everything.stream(later)
    grown = everything.episode_.recent
    order = torch.randperm(len(grown), generator=torch.Generator().manual_seed(seed))[:keep]
    chosen = {"coreset": compressed(grown, keep, seed), "random": grown[order.to(grown.device)]}
    return row | {name: radius(grown, points) for name, points in chosen.items()}
