"""CFLOW: a flow on the feature vector of each place, told where the place is; how unlikely each vector is there.

Gudovskiy et al., CFLOW-AD: Real-Time Unsupervised Anomaly Detection with Localization via Conditional Normalizing Flows (WACV 2022),
Sec. 3 and 4. The public code subtracts the largest log density *of the test set* before its exponential, and anomalib that of the batch:
a picture's map then depends on what else is judged. Here the constant comes from the training pictures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from otad.checks import check_numbers, checked
from otad.features import check_images, feature_maps
from otad.methods import Scores
from otad.methods.flows.couplings import AllInOne, Flow, linear
from otad.methods.flows.fastflow import log_density
from otad.methods.training import descend


@checked
@dataclass
class CFlow:
    """The method of the paper.

    backbone : images (N,3,H,W) → list of feature maps (N,C,h,w). The paper: WideResNet50-2, strides 8, 16, 32.
    blocks   : couplings a scale. positions : size of the encoding of a place, a multiple of 4. clamp : of the couplings.
    epochs, lr, fibres : of Adam, and how many vectors make a step; None of `steps` = all vectors of all pictures once an epoch.

    channels_, flows_ : one a map; top_ : the largest log density a channel that a training vector has, one a map; losses_ : the mean of every epoch.
    """

    backbone: Callable[[Tensor], Sequence[Tensor]]
    blocks: int = 8
    positions: int = 128
    clamp: float = 1.9
    epochs: int = 25
    lr: float = 2e-4
    fibres: int = 256
    steps: int | None = None
    seed: int = 0
    channels_: list[int] = field(default_factory=list, init=False, repr=False)
    flows_: nn.ModuleList | None = field(default=None, init=False, repr=False)
    top_: list[float] = field(default_factory=list, init=False, repr=False)
    losses_: list[float] = field(default_factory=list, init=False, repr=False)

    def fit(self, images: Tensor) -> Self:
        """Learn from normal images (N,3,H,W) in [0,1]; features are computed once.

        Raises ValueError for bad or no images, settings out of range and a loss that is not finite.
        """
        check_numbers(self, "[1,inf)", "blocks", "epochs", "fibres")
        check_numbers(self, "(0,inf)", "lr")
        if self.positions < 4 or self.positions % 4:
            raise ValueError(f"positions is {self.positions}: expected a multiple of 4.")
        check_images(images)
        with torch.no_grad():
            parts = [feature_maps(self.backbone, part) for part in images.split(16)]
        maps = [torch.cat(scale) for scale in zip(*parts, strict=True)]
        self.channels_ = [m.shape[1] for m in maps]
        self.flows_ = self.build_flows().to(images)
        self._train(maps)
        self.top_ = [
            float(max(densities(flow, m[i : i + 1], self.positions).max() for i in range(len(m))))
            for flow, m in zip(self.flows_, maps, strict=True)
        ]
        return self

    def build_flows(self) -> nn.ModuleList:
        """Draw the flows from the seed, one a map of as many channels as were seen."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return nn.ModuleList(
                Flow(
                    AllInOne(c, linear(), self.clamp, self.positions, self.seed + 1000 * k + step)
                    for step in range(self.blocks)
                )
                for k, c in enumerate(self.channels_)
            )

    def _train(self, maps: list[Tensor]) -> None:
        assert self.flows_ is not None
        optimiser = torch.optim.Adam(self.flows_.parameters(), lr=self.lr)
        plan = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, self.epochs)
        generator, self.losses_ = torch.Generator().manual_seed(self.seed), []
        for epoch in range(1, self.epochs + 1):
            steps = self._steps(maps, generator)
            self.losses_.append(descend(optimiser, (self._loss(*step) for step in steps), epoch))
            plan.step()

    def _loss(self, k: int, vectors: Tensor, places: Tensor) -> Tensor:
        """Return the mean of −log σ of the log density a channel of vectors (n,C) of map k (Sec. 4)."""
        assert self.flows_ is not None
        density = log_density(*self.flows_[k](vectors, places)) / vectors.shape[1]
        return -F.logsigmoid(density).mean()

    def _steps(self, maps: list[Tensor], generator: torch.Generator) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Yield an epoch's steps: which map, vectors (n,C), the encodings of their places (n,P)."""
        for k, m in enumerate(maps):
            vectors = m.movedim(1, -1).flatten(0, 2)
            places = positional_encoding(self.positions, *m.shape[2:]).to(m).flatten(1).T.repeat(len(m), 1)
            parts = torch.randperm(len(vectors), generator=generator).split(self.fibres)
            for part in parts[: self.steps]:
                yield k, vectors[part], places[part]

    def score(self, images: Tensor) -> Scores:
        """Score images (N,3,H,W) in [0,1], each by itself: maps are the sum over scales of 1 − p/p_max, in units of a channel's density."""
        if self.flows_ is None:
            raise ValueError("CFlow has learnt no flow yet: call fit with normal images first.")
        check_images(images)
        return Scores.of_maps(torch.cat([self._one(image) for image in images.split(1)]))

    @torch.no_grad()
    def _one(self, image: Tensor) -> Tensor:
        assert self.flows_ is not None
        total = image.new_zeros(1, 1, *image.shape[-2:])
        for flow, m, top in zip(self.flows_, feature_maps(self.backbone, image), self.top_, strict=True):
            odd = 1 - torch.exp(densities(flow, m, self.positions) - top)
            total += F.interpolate(odd[:, None], image.shape[-2:], mode="bilinear", align_corners=True)
        return total[:, 0]


@torch.no_grad()
def densities(flow: nn.Module, maps: Tensor, positions: int) -> Tensor:
    """Return the log density a channel of every place of maps (N,C,h,w): (N,h,w) (Eq. 6)."""
    n, c, h, w = maps.shape
    places = positional_encoding(positions, h, w).to(maps).flatten(1).T.repeat(n, 1)
    z, log_det = flow(maps.movedim(1, -1).flatten(0, 2), places)
    return (log_density(z, log_det) / c).view(n, h, w)


@checked
def positional_encoding(size: int, height: int, width: int) -> Tensor:
    """Return the encoding of each place of a map: (size,h,w), sines and cosines, first half along the width, second along the height.

    Raises ValueError for a size that is no multiple of 4.
    """
    if size < 4 or size % 4:
        raise ValueError(f"size is {size}: expected a multiple of 4.")
    rates = torch.exp(torch.arange(0.0, size // 2, 2) * -(math.log(1e4) / (size // 2)))
    across, down = torch.arange(width) * rates[:, None], torch.arange(height) * rates[:, None]
    found = torch.zeros(size, height, width)
    half = size // 2
    found[0:half:2], found[1:half:2] = across.sin()[:, None], across.cos()[:, None]
    found[half::2], found[half + 1 :: 2] = down.sin()[:, :, None], down.cos()[:, :, None]
    return found


def whole_batch_map(log_densities: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """Return the maps of the public code: exp(l − max over all pictures), resized, summed over scales, subtracted from their maximum.

    log_densities : (N,h,w), one a scale. What else is in the batch changes every picture's map: shown beside ours, used nowhere.
    """
    parts = [torch.exp(l - l.max())[:, None] for l in log_densities]  # noqa: E741
    total = torch.stack(
        [F.interpolate(p, size, mode="bilinear", align_corners=True)[:, 0] for p in parts]
    ).sum(0)
    return total.max() - total
