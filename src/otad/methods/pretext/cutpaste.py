"""CutPaste: a network that tells pictures from those with a piece moved; how unusual its features are.

Li et al., CutPaste: Self-Supervised Learning for Anomaly Detection and Localization (CVPR 2021). A rectangle is cut out of a normal
picture, its colours shaken a little, and pasted elsewhere; or a thin strip of it, turned: a scar. A network learns to name what was done.
Then that task is over: a Gaussian describes the features of normal pictures, −log N(f(x); μ, Σ) is a picture's score. For maps a second
network does the same on small crops, at every place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from otad.checks import check_numbers, check_room, checked
from otad.features import check_images
from otad.features.pretrained import Backbone
from otad.methods import Scores
from otad.methods.density.gaussian import gaussian, improbability
from otad.methods.pretext.copied import Copied
from otad.methods.pretext.patches import distribute, random_crop, sliding
from otad.methods.pretext.pieces import check_pieces, cut_paste, cut_paste_scar
from otad.methods.training import descend

Draw = Callable[[np.random.Generator], Tensor]


@checked
@dataclass
class CutPaste:
    """The method of the paper.

    backbone   : a network of stages, of which copies are trained; maps are pooled. The paper: ResNet18 without weights, stride 32.
    variant    : "3-way" tells normal pictures, patches and scars apart; "patch" and "scar" two of them.
    frozen     : only the head learns, and its last hidden layer is what the Gaussian describes: another method, cheap, to be named as such.
    hidden     : width of the head's two layers. area, aspect : of a patch, shares of the picture and sides' ratio; jitter : of its colours.
    patch_size, stride : of the crops of the second network, in pixels; None of `patch_size` = no second network, every pixel has the image's score.
    epochs, steps, lr, momentum, weight_decay, batch_size : of SGD, whose rate falls along a cosine; a batch has all versions of its pictures.
    views      : with `frozen`, so many batches are drawn once, as features are what takes long.

    network_, patch_network_ : what was trained; mean_, precision_, and patch_… : the Gaussians; losses_ : the mean of every epoch, the last counts.
    """

    backbone: Backbone
    variant: Literal["3-way", "patch", "scar"] = "3-way"
    frozen: bool = False
    hidden: int = 512
    area: tuple[float, float] = (0.02, 0.15)
    aspect: float = 3.3
    jitter: float = 0.1
    patch_size: int | None = 64
    stride: int = 4
    epochs: int = 256
    steps: int = 256
    lr: float = 0.03
    momentum: float = 0.9
    weight_decay: float = 3e-5
    batch_size: int = 32
    views: int = 16
    seed: int = 0
    network_: Judge | None = field(default=None, init=False, repr=False)
    patch_network_: Judge | None = field(default=None, init=False, repr=False)
    mean_: Tensor | None = field(default=None, init=False, repr=False)
    precision_: Tensor | None = field(default=None, init=False, repr=False)
    patch_mean_: Tensor | None = field(default=None, init=False, repr=False)
    patch_precision_: Tensor | None = field(default=None, init=False, repr=False)
    losses_: list[float] = field(default_factory=list, init=False, repr=False)
    patch_losses_: list[float] = field(default_factory=list, init=False, repr=False)

    def fit(self, images: Tensor) -> Self:
        """Learn from normal images (N,3,H,W) in [0,1].

        Raises ValueError for bad or no images, settings out of range and a loss that is not finite.
        """
        check_numbers(self, "[1,inf)", "hidden", "epochs", "steps", "batch_size", "views", "stride")
        check_numbers(self, "(0,inf)", "lr")
        check_numbers(self, "[0,inf)", "momentum", "weight_decay")
        check_pieces(self.area, self.aspect, self.jitter)
        check_images(images, smallest=8)
        check_room(f"hidden = {self.hidden}", self.hidden, self.hidden)
        check_room(f"batch_size = {self.batch_size}", 3 * self.batch_size, *images.shape[1:])
        self.network_, self.losses_ = self._learn(images, None)
        self.mean_, self.precision_ = gaussian(self._embedded(self.network_, images))
        if self.patch_size is not None:
            sliding(images[:1], self.patch_size, self.stride)  # says what is wrong before anything is trained
            self.patch_network_, self.patch_losses_ = self._learn(images, self.patch_size)
            points = torch.cat([self._crops(self.patch_network_, image)[0] for image in images.split(1)])
            self.patch_mean_, self.patch_precision_ = gaussian(points)
        return self

    def build_network(self) -> Judge:
        """Build a network, untrained."""
        return Judge(self.backbone, self.hidden, 3 if self.variant == "3-way" else 2, self.frozen, self.seed)

    build_patch_network = build_network

    def versions(self, images: Tensor, scale: float, rng: np.random.Generator) -> Tensor:
        """Return images (n,3,h,w) and what was made of them, one kind after the other: (kinds · n,3,h,w)."""
        kinds: list[Callable[[Tensor], tuple[Tensor, Tensor]]] = []
        if self.variant != "scar":
            kinds.append(lambda image: cut_paste(image, rng, self.area, self.aspect, self.jitter))
        if self.variant != "patch":
            kinds.append(lambda image: cut_paste_scar(image, rng, jitter=self.jitter, scale=scale))
        return torch.cat([images, *(torch.stack([make(image)[0] for image in images]) for make in kinds)])

    def _learn(self, images: Tensor, side: int | None) -> tuple[Judge, list[float]]:
        """Train a network on whole images, or on crops of a side."""
        rng, scale = np.random.default_rng(self.seed), max(images.shape[-2:]) / 256

        def draw(rng: np.random.Generator) -> Tensor:
            few = images[torch.from_numpy(rng.integers(len(images), size=self.batch_size))]
            if side is not None:
                few = torch.stack([random_crop(image, side, rng) for image in few])
            return self.versions(few, scale, rng)

        network = self.build_network().to(images).train()
        optimiser = torch.optim.SGD(
            [p for p in network.parameters() if p.requires_grad],
            self.lr,
            self.momentum,
            weight_decay=self.weight_decay,
        )
        plan = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, self.epochs)
        bank, losses = self._bank(network, draw, rng), []
        for epoch in range(1, self.epochs + 1):
            losses.append(descend(optimiser, self._losses(network, draw, bank, rng), epoch))
            plan.step()
        return network.eval().requires_grad_(False), losses

    @torch.no_grad()
    def _bank(self, network: Judge, draw: Draw, rng: np.random.Generator) -> list[Tensor]:
        """Return the pooled features of batches drawn once; none where the whole network learns."""
        return [network.pooled(draw(rng)) for _ in range(self.views)] if self.frozen else []

    def _losses(
        self, network: Judge, draw: Draw, bank: list[Tensor], rng: np.random.Generator
    ) -> Iterator[Tensor]:
        for _ in range(self.steps):
            pooled = bank[rng.integers(len(bank))] if bank else network.pooled(draw(rng))
            kinds = torch.arange(network.kinds, device=pooled.device).repeat_interleave(self.batch_size)
            yield F.cross_entropy(network.classify(network.head(pooled)), kinds)

    @torch.no_grad()
    def _embedded(self, network: Judge, images: Tensor) -> Tensor:
        return torch.cat([network.embed(few) for few in images.split(1)])

    @torch.no_grad()
    def _crops(self, network: Judge, image: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Return the features of all crops of one image (1,3,H,W), and how many rows and columns of them there are."""
        assert self.patch_size is not None
        cut = sliding(image, self.patch_size, self.stride)[0]
        found = [network.embed(row) for row in cut]
        return torch.cat(found), (cut.shape[0], cut.shape[1])

    def score(self, images: Tensor) -> Scores:
        """Score images (N,3,H,W) in [0,1]: ½ (f − μ)ᵀ Σ⁻¹ (f − μ), the −log density without its constant; maps are those of crops, spread.

        Raises ValueError before `fit` and for bad images.
        """
        if self.network_ is None:
            raise ValueError("CutPaste has trained no network yet: call fit with normal images first.")
        check_images(images, smallest=self.patch_size or 1)
        maps, tops = zip(*(self._one(image) for image in images.split(1)), strict=True)
        return Scores(torch.cat(maps), torch.cat(tops))

    def _one(self, image: Tensor) -> tuple[Tensor, Tensor]:
        assert self.network_ is not None
        assert self.mean_ is not None
        assert self.precision_ is not None
        top, (h, w) = (
            improbability(self._embedded(self.network_, image), self.mean_, self.precision_),
            image.shape[-2:],
        )
        if self.patch_network_ is None or self.patch_size is None:
            return top[:, None, None].expand(1, h, w).clone(), top
        assert self.patch_mean_ is not None
        assert self.patch_precision_ is not None
        points, grid = self._crops(self.patch_network_, image)
        small = improbability(points, self.patch_mean_, self.patch_precision_).view(1, *grid)
        return distribute(small, (h, w), self.patch_size, self.stride, self.patch_size / 6), top


class Judge(Copied):
    """A copy of a backbone, pooled, with a head of two layers and a classifier of what was done to a picture."""

    def __init__(self, backbone: Backbone, hidden: int, kinds: int, frozen: bool, seed: int) -> None:
        """Copy the backbone and draw the new weights from `seed`."""
        super().__init__(backbone, frozen)
        self.kinds = kinds
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            width = sum(backbone.channels) * (2 if frozen else 1)
            self.head = nn.Sequential(
                nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()
            )
            self.classify = nn.Linear(hidden, kinds)

    def pooled(self, images: Tensor) -> Tensor:
        """Return the mean of every map over its places, of a frozen backbone also the largest value: (N,C)."""
        maps = self.backbone(images)
        means = [m.mean(dim=(2, 3)) for m in maps]
        return torch.cat([*means, *(m.amax(dim=(2, 3)) for m in maps if self.frozen)], dim=1)

    def embed(self, images: Tensor) -> Tensor:
        """Return what the Gaussian describes."""
        return self.head(self.pooled(images)) if self.frozen else self.pooled(images)
