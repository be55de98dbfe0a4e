"""PRADOT: prototypes on a grid, learnt by optimal transport, and the distance to the closest of them.

Trombetta and Lartizien, Learning Local and Global Prototypes with Optimal Transport for Unsupervised Anomaly
Detection and Localization (2025), Sec. 3. An embedding is a feature vector z and its place c on the grid of
its map; so is a prototype, (p, ρ), of which n sit in every cell. Where the text leaves a choice, or the public
code (commit c4b6aa9) made another one, there is one argument: its default is the text, AUTHORS_CODE the code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Self

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from otad.checks import check_room, checked
from otad.features import check_images, feature_maps
from otad.methods import Scores
from otad.transport import Coupling, sinkhorn

LARGE = 2**28  # entries of a cost matrix beyond which its rows are computed when asked: 1 GiB in float32

AUTHORS_CODE = {
    "squared": False,
    "coordinates": "span",
    "normalise_scores": True,
    "initial": "uniform",
    "combine": "n_prototypes",
    "align_corners": True,
    "drop_last": True,
    "val_ratio": 0.2,
}


@checked
@dataclass
class PRADOT:
    """The method of the paper, Sec. 3 and 4.1; `PRADOT(backbone, **AUTHORS_CODE)` is that of its code.

    backbone   : images (N,3,H,W) → list of feature maps (N,C,h,w), the stages. The paper: ResNet50, l = 2, 3.
    n          : prototypes per cell of the grid.
    alphas     : weights of the position; one set of prototypes each. 0 makes them global, more makes them local.
    eta        : share of a prototype that an update keeps (Eq. 5).
    epsilon    : weight of the entropy (Eq. 4); Eq. 3 brings costs to [0,1].
    max_iter, tol : of Sinkhorn's iterations.
    epochs, batch_size : passes over the normal images, images a batch.

    squared    : ‖c − ρ‖² as in Eq. 1 and 3, or (code) ‖c − ρ‖.
    coordinates : "cells", (i/H, j/W), or (code) "span", from 0 to 1; a single prototype per cell then sits at
                 the cell's centre, (i − ½)/H, a little beside the embeddings.
    normalise_scores : False scores by Eq. 1 as Eq. 6 says, True (code) by Eq. 3, with the maxima of each image.
    initial    : "gaussian", N(0,1), or (code) "uniform" on [0,1].
    combine    : of stages: the text says "averaging" (mean) and prints a sum; in the code, stages are averaged
                 with the weights "n_prototypes" = n h w. The mean and the sum rank alike.
    align_corners : of the bilinear upsampling, which the text does not name.
    drop_last  : leave out a last batch that is not full.
    val_ratio  : share of normal images held out to choose the epoch of least transport cost; 0 takes the last.
    seed       : of the first prototypes, batches and held-out images, the same for every stage and alpha.

    prototypes_ : once fitted, a list over stages of {alpha: (n,h,w,C) tensor}.
    """

    backbone: Callable[[Tensor], Sequence[Tensor]]
    n: int = 16
    alphas: Sequence[float] = (0.0, 0.3)
    eta: float = 0.95
    epsilon: float = 0.01
    max_iter: int = 100
    tol: float = 1e-6
    epochs: int = 50
    batch_size: int = 64
    squared: bool = True
    coordinates: Literal["cells", "span"] = "cells"
    normalise_scores: bool = False
    initial: Literal["gaussian", "uniform"] = "gaussian"
    combine: Literal["mean", "sum", "n_prototypes"] = "mean"
    align_corners: bool = False
    drop_last: bool = False
    val_ratio: float = 0.0
    seed: int = 0
    prototypes_: list[dict[float, Tensor]] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse settings outside their range."""
        known = {
            "coordinates": ("cells", "span"),
            "initial": ("gaussian", "uniform"),
            "combine": ("mean", "sum", "n_prototypes"),
        }
        for name, values in known.items():
            if getattr(self, name) not in values:
                raise ValueError(f"{name} is {getattr(self, name)!r}: expected one of {values}.")
        if not self.alphas or not all(0 <= alpha <= 1 for alpha in self.alphas):
            raise ValueError(f"alphas are {self.alphas}: expected at least one weight in [0,1], as (0, 0.3).")
        if not (0 <= self.eta <= 1 and 0 <= self.val_ratio < 1):
            raise ValueError(f"eta is {self.eta}, val_ratio {self.val_ratio}: expected [0,1] and [0,1).")
        if self.n < 1 or self.batch_size < 1 or self.epochs < 0:
            raise ValueError(
                f"n is {self.n}, batch_size {self.batch_size}, epochs {self.epochs}: expected 1, 1, 0 or more."
            )

    # Learning, Sec. 3.1 and Algorithm 1 -----------------------------------------------------------------

    def fit(self, images: Tensor) -> Self:
        """Learn prototypes from normal images (N,3,H,W) in [0,1], for every stage and alpha.

        Keeps the features of all images, 4 N C h w bytes a stage. A batch holds a transport plan of
        4 B h w · n h w bytes and, up to LARGE entries, its cost. Raises ValueError for bad or no images.
        """
        check_images(images)
        with torch.no_grad():
            stages = [
                torch.cat(maps)
                for maps in zip(
                    *(feature_maps(self.backbone, part) for part in images.split(16)), strict=True
                )
            ]
            self.prototypes_ = [{a: self.learn(features, a) for a in self.alphas} for features in stages]
        return self

    def learn(self, features: Tensor, alpha: float) -> Tensor:
        """Learn the prototypes of one stage: features (N,C,h,w) → (n,h,w,C). Algorithm 1.

        Raises ValueError where drop_last leaves no batch.
        """
        generator = torch.Generator().manual_seed(self.seed)
        prototypes = best = self._initial(features, generator)
        order = torch.randperm(len(features), generator=generator)
        n_held = int(self.val_ratio * len(order))
        held, train, least = features[order[:n_held]], order[n_held:], torch.inf
        for _ in range(self.epochs):
            for batch in self._batches(train[torch.randperm(len(train), generator=generator)]):
                plan = self.transport(features[batch], prototypes, alpha).plan
                prototypes = update(prototypes, plan, features[batch], self.eta)
            loss = self._loss(held, prototypes, alpha) if n_held else -torch.inf
            if loss <= least:
                best, least = prototypes, loss
        return best

    def transport(self, features: Tensor, prototypes: Tensor, alpha: float) -> Coupling:
        """Solve Eq. 4 between the embeddings of features (B,C,h,w) and prototypes (n,h,w,C).

        Both masses are uniform. Eq. 4 subtracts ε H(T) with H(T) = Σ T (log T − 1), which would make the
        problem concave; meant, and solved here, is + ε Σ T (log T − 1). Rows are image by image, each map
        row by row; columns are in the order of `prototypes.flatten(0, 2)`.
        """
        cost = self.cost(features, prototypes, alpha, normalise=True)
        small = cost.shape[0] * cost.shape[1] <= LARGE
        return sinkhorn(cost[:] if small else cost, self.epsilon, max_iter=self.max_iter, tol=self.tol)

    def cost(self, features: Tensor, prototypes: Tensor, alpha: float, normalise: bool = False) -> FusedCost:
        """Set features (B,C,h,w) against prototypes (n,h,w,C): Eq. 1, or Eq. 3 if normalised."""
        n, h, w, _ = prototypes.shape
        if features.ndim != 4 or features.shape[1:] != (prototypes.shape[3], h, w):
            raise ValueError(
                f"features have shape {tuple(features.shape)}, prototypes {tuple(prototypes.shape)}: expected "
                "(B,C,h,w) and (n,h,w,C); score images of the size that fit saw."
            )
        c = grid(h, w, self.coordinates).to(features)
        centres = self.coordinates == "span" and n == 1
        rho = grid(h, w, "centres").to(features) if centres else c
        pairs = embeddings(features), c.repeat(len(features), 1), prototypes.flatten(0, 2), rho.repeat(n, 1)
        return FusedCost(*pairs, alpha, self.squared, normalise)

    def _initial(self, features: Tensor, generator: torch.Generator) -> Tensor:
        """Draw prototypes (n,h,w,C)."""
        _, c, h, w = features.shape
        check_room(f"n = {self.n} prototypes a cell", self.n, h, w, c)
        draw = torch.randn if self.initial == "gaussian" else torch.rand
        return draw(self.n, h, w, c, generator=generator).to(features)

    def _loss(self, features: Tensor, prototypes: Tensor, alpha: float) -> float:
        """Return the mean over batches of the transport cost."""
        costs = [self.transport(f, prototypes, alpha).value for f in features.split(self.batch_size)]
        return float(torch.stack(costs).mean())

    def _batches(self, order: Tensor) -> list[Tensor]:
        batches = [b for b in order.split(self.batch_size) if len(b) == self.batch_size or not self.drop_last]
        if not batches:
            raise ValueError(
                f"drop_last leaves no batch of {self.batch_size} from {len(order)} images: lower batch_size, or "
                "keep the last batch."
            )
        return batches

    # Scoring, Sec. 3.2 ----------------------------------------------------------------------------------

    def score(self, images: Tensor) -> Scores:
        """Score images (N,3,H,W) in [0,1]: maps are costs of Eq. 1, in [0,2].

        The mean over alphas, upsampled, combined over stages; the image score is the map's maximum. Raises
        ValueError before `fit`, for bad images and for images of another size than fitted.
        """
        check_images(images)
        with torch.no_grad():
            maps = [self._combined(self.parts(image)) for image in images.split(1)]
        return Scores.of_maps(torch.cat(maps))

    def parts(self, images: Tensor) -> Tensor:
        """Return the maps that `score` combines, upsampled: (stages, alphas, N, H, W)."""
        if self.prototypes_ is None:
            raise ValueError("PRADOT has no prototypes yet: call fit with normal images first.")
        size, parts = images.shape[-2:], []
        for features, learnt in zip(feature_maps(self.backbone, images), self.prototypes_, strict=True):
            maps = torch.stack([self.assign(features, learnt[a], a)[0] for a in self.alphas])
            parts.append(F.interpolate(maps, size=size, mode="bilinear", align_corners=self.align_corners))
        return torch.stack(parts)

    def assign(self, features: Tensor, prototypes: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
        """Find the closest prototype (n,h,w,C) of each embedding of features (N,C,h,w). Eq. 6.

        Returns scores and indices into `prototypes.flatten(0, 2)`, both (N,h,w); index % (h w) is the cell.
        """
        costs = [self.cost(f, prototypes, alpha, self.normalise_scores)[:] for f in features.split(1)]
        found = [cost.min(dim=1) for cost in costs]
        shape = len(features), *features.shape[2:]
        scores, indices = (torch.cat([f[k] for f in found]).view(shape) for k in (0, 1))
        return scores, indices

    def _combined(self, parts: Tensor) -> Tensor:
        """Combine (stages, alphas, N, H, W) to (N,H,W)."""
        assert self.prototypes_ is not None
        stages = parts.mean(dim=1)
        if self.combine == "n_prototypes":
            sizes = [next(iter(learnt.values())).shape[:3].numel() for learnt in self.prototypes_]
            stages = stages * stages.new_tensor(sizes).view(-1, 1, 1, 1)
        return stages.sum(dim=0) if self.combine == "sum" else stages.mean(dim=0)


# The equations ------------------------------------------------------------------------------------------


class FusedCost:
    """The cost of Eq. 1 between N embeddings (z, c) and M prototypes (p, ρ), by rows: `cost[i:j]`, `cost[:]`.

    (1 − α) (1 − ⟨z,p⟩ / ‖z‖‖p‖) + α ‖c − ρ‖², in [0,2] for coordinates in [0,1]; `normalise` divides each of
    the two by its largest value over all pairs (Eq. 3). A zero vector is orthogonal to all.

    z : (N,C) tensor; c : (N,2); p : (M,C); rho : (M,2). Memory: a block of rows, so M N never has to fit.
    """

    def __init__(
        self,
        z: Tensor,
        c: Tensor,
        p: Tensor,
        rho: Tensor,
        alpha: float,
        squared: bool = True,
        normalise: bool = False,
    ) -> None:
        """Keep unit vectors and, for Eq. 3, find the largest values."""
        self.z, self.p, self.c, self.rho = F.normalize(z, dim=1), F.normalize(p, dim=1), c, rho
        self.squared = squared
        self.shape, self.dtype, self.device = (len(z), len(p)), z.dtype, z.device
        self.feature_weight, self.position_weight = 1 - alpha, alpha
        if normalise:
            tiny = torch.finfo(z.dtype).tiny
            rows = max(1, 2**24 // len(p))
            top = max(float(self.feature_part(slice(i, i + rows)).max()) for i in range(0, len(z), rows))
            self.feature_weight /= max(top, tiny)
            places = self._distances(c.unique(dim=0), rho.unique(dim=0))
            self.position_weight /= max(float(places.max()), tiny)

    def __getitem__(self, rows: slice) -> Tensor:
        """Return the costs of some embeddings, (rows, M)."""
        cost = self.feature_part(rows).mul_(self.feature_weight)
        return (
            cost.add_(self.position_part(rows), alpha=self.position_weight) if self.position_weight else cost
        )

    def feature_part(self, rows: slice) -> Tensor:
        """Return 1 − cosine, in [0,2]: (rows, M)."""
        return (self.z[rows] @ self.p.T).neg_().add_(1).clamp_(min=0)

    def position_part(self, rows: slice) -> Tensor:
        """Return ‖c − ρ‖², or ‖c − ρ‖ if not squared: (rows, M)."""
        return self._distances(self.c[rows], self.rho)

    def _distances(self, c: Tensor, rho: Tensor) -> Tensor:
        squares = (c[:, :1] - rho[:, 0]).square_().add_((c[:, 1:] - rho[:, 1]).square_())
        return squares if self.squared else squares.sqrt_()


def update(prototypes: Tensor, plan: Tensor, features: Tensor, eta: float) -> Tensor:
    """Move prototypes (n,h,w,C) towards the features (B,C,h,w) that the plan (B h w, n h w) sends them. Eq. 5.

    p_i ← η p_i + (1 − η) N_p Σ_k T(k,i) z_k. With the column marginal met, N_p T(·,i) sums to one.
    """
    received = prototypes[..., 0].numel() * (plan.T @ embeddings(features))
    return eta * prototypes + (1 - eta) * received.view_as(prototypes)


def embeddings(features: Tensor) -> Tensor:
    """List the feature vectors of maps (N,C,h,w), image by image and row by row: (N h w, C)."""
    return rearrange(features, "n c h w -> (n h w) c")


@checked
def grid(h: int, w: int, kind: Literal["cells", "span", "centres"] = "cells") -> Tensor:
    """List the coordinates (row, column) of a grid's cells row by row: (h w, 2), float64.

    "cells": (i/h, j/w) with i = 1 … h, as the paper; "span": from 0 to 1; "centres": (i − ½)/h.
    """
    if min(h, w) < 1 or kind not in ("cells", "span", "centres"):
        raise ValueError(
            f"h is {h}, w is {w}, kind {kind!r}: expected at least 1 and cells, span or centres."
        )
    check_room("the grid", h, w, 2)
    if kind == "span":
        axes = [torch.linspace(0, 1, side, dtype=torch.float64) for side in (h, w)]
    else:
        half = 0.5 if kind == "centres" else 0.0
        axes = [(torch.arange(1, side + 1, dtype=torch.float64) - half) / side for side in (h, w)]
    return torch.cartesian_prod(*axes)
