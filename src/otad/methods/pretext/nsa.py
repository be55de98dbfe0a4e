"""NSA: a network that paints where a piece of another picture was blended in, and how much it changed.

Schlüter et al., Natural Synthetic Anomalies for Self-Supervised Anomaly Detection and Localization (ECCV 2022). Each normal picture
gets pieces of another one, without a seam (`blending`); the network learns the label by its binary cross entropy. What it paints on a new
picture is the map. Sizes and number of pieces, the background's grey level and the label's k and x₀ are set for each class in the
public code: a choice by hand that other methods do without.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from otad.checks import check_numbers, check_room, checked
from otad.features import check_images
from otad.features.pretrained import Backbone
from otad.methods import Scores
from otad.methods.pretext.blending import SMALLEST, Bounds, blend, check_blend
from otad.methods.pretext.copied import Copied
from otad.methods.training import descend


@checked
@dataclass
class NSA:
    """The method of the paper.

    backbone : a network of stages, of which a copy is trained with a decoder on its maps. The paper: ResNet18 without weights; the decoder here is ours.
    frozen   : only the decoder learns: another method, cheap, to be named as such. `views` blends of each picture are then drawn once.
    width    : channels of the decoder.
    bounds, patches, resize, mixed, k, x0, background : of `blend`.
    epochs, lr, batch_size : of Adam, whose rate falls to 1e-6 along a cosine; every epoch blends anew.

    network_ : what was trained; losses_ : the mean of every epoch, the last one counts.
    """

    backbone: Backbone
    frozen: bool = False
    width: int = 64
    bounds: Bounds = ((0.03, 0.4), (0.03, 0.4))
    patches: int = 3
    resize: tuple[float, float] = (0.7, 1.3)
    mixed: bool = False
    k: float = 1 / 3
    x0: float = 7.0
    background: tuple[float, float] | None = None
    epochs: int = 320
    lr: float = 1e-3
    batch_size: int = 64
    views: int = 2
    seed: int = 0
    network_: Painter | None = field(default=None, init=False, repr=False)
    losses_: list[float] = field(default_factory=list, init=False, repr=False)

    def fit(self, images: Tensor) -> Self:
        """Learn from normal images (N,3,H,W) in [0,1].

        Raises ValueError for bad or no images, settings out of range and a loss that is not finite.
        """
        check_numbers(self, "[1,inf)", "width", "epochs", "batch_size", "views")
        check_numbers(self, "(0,inf)", "lr")
        check_blend(self.bounds, self.patches, self.resize, self.k, self.x0, self.background)
        check_images(images, smallest=2 * SMALLEST)
        check_room(f"width = {self.width}", 9, self.width, self.width)
        rng = np.random.default_rng(self.seed)
        network = self.build_network().to(images).train()
        weights = [p for p in network.parameters() if p.requires_grad]
        optimiser = torch.optim.Adam(weights, lr=self.lr)
        plan = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, self.epochs, eta_min=1e-6)
        bank, self.losses_ = self._bank(network, images, rng), []
        for epoch in range(1, self.epochs + 1):
            losses = self._kept(network, bank, rng) if bank else self._fresh(network, images, rng)
            self.losses_.append(descend(optimiser, losses, epoch))
            plan.step()
        self.network_ = network.eval().requires_grad_(False)
        return self

    def build_network(self) -> Painter:
        """Build the network, untrained."""
        return Painter(self.backbone, self.width, self.frozen, self.seed)

    def spoil(self, images: Tensor, others: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Blend into each image (n,3,H,W) pieces of one of the others: pictures (n,3,H,W) and labels (n,H,W)."""
        settings = (self.bounds, self.patches, self.resize, self.mixed, self.k, self.x0, self.background)
        made = [blend(image, others[int(rng.integers(len(others)))], rng, *settings) for image in images]
        pictures, labels = zip(*made, strict=True)
        return torch.stack(pictures), torch.stack(labels)

    def _fresh(self, network: Painter, images: Tensor, rng: np.random.Generator) -> Iterator[Tensor]:
        """Yield the losses of an epoch that blends anew."""
        for batch in torch.from_numpy(rng.permutation(len(images))).split(self.batch_size):
            pictures, labels = self.spoil(images[batch], images, rng)
            yield F.binary_cross_entropy_with_logits(network(pictures), labels)

    @torch.no_grad()
    def _bank(
        self, network: Painter, images: Tensor, rng: np.random.Generator
    ) -> list[tuple[list[Tensor], Tensor]]:
        """Return maps and labels of batches drawn once; none where the whole network learns."""
        found = []
        for _ in range(self.views if self.frozen else 0):
            for batch in torch.from_numpy(rng.permutation(len(images))).split(self.batch_size):
                pictures, labels = self.spoil(images[batch], images, rng)
                found.append((network.backbone(pictures), labels))
        return found

    def _kept(
        self, network: Painter, bank: list[tuple[list[Tensor], Tensor]], rng: np.random.Generator
    ) -> Iterator[Tensor]:
        for i in rng.permutation(len(bank)):
            maps, labels = bank[i]
            yield F.binary_cross_entropy_with_logits(network.decode(maps, labels.shape[1:]), labels)

    @torch.no_grad()
    def score(self, images: Tensor) -> Scores:
        """Score images (N,3,H,W) in [0,1]: maps in [0,1] as the network paints them, a picture's score is their mean.

        Raises ValueError before `fit` and for bad images.
        """
        if self.network_ is None:
            raise ValueError("NSA has trained no network yet: call fit with normal images first.")
        check_images(images)
        maps = torch.cat([self.network_(image) for image in images.split(1)]).sigmoid()
        return Scores(maps, maps.mean(dim=(1, 2)))


class Painter(Copied):
    """A copy of a backbone and a decoder: images (N,3,H,W) → logits (N,H,W)."""

    def __init__(self, backbone: Backbone, width: int, frozen: bool, seed: int) -> None:
        """Copy the backbone and draw the decoder from `seed`: each map to one width, the deepest first, each added to the next."""
        super().__init__(backbone, frozen)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.thin = nn.ModuleList(nn.Conv2d(c, width, 1) for c in backbone.channels)
            self.join = nn.ModuleList(
                nn.Sequential(
                    nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
                )
                for _ in backbone.channels
            )
            self.paint = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """Return what was painted, before the sigmoid."""
        return self.decode(self.backbone(images), images.shape[-2:])

    def decode(self, maps: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """Return logits (N,H,W) of a size from the backbone's maps."""
        x: Tensor | None = None
        for features, thin, join in reversed(list(zip(maps, self.thin, self.join, strict=True))):
            y = thin(features)
            x = join(y if x is None else y + F.interpolate(x, y.shape[-2:], mode="bilinear"))
        assert x is not None
        return F.interpolate(self.paint(x), tuple(size), mode="bilinear")[:, 0]
