"""CS-Flow: one flow on maps of three sizes, whose couplings let the sizes see each other; how unlikely the picture is.

Rudolph et al., Fully Convolutional Cross-Scale-Flows for Image-based Defect Detection (WACV 2022). anomalib adds up the log
determinants of a whole batch, so that its loss weighs the volume by the batch's size; here every picture has its own. Features are
standardised by the training set, a fixed map.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from otad.checks import check_numbers, checked
from otad.features import check_images, feature_maps
from otad.methods import Scores
from otad.methods.flows.cross_scale import CrossFlow, CrossGlow
from otad.methods.training import descend


@checked
@dataclass
class CSFlow:
    """The method of the paper.

    backbone : images (N,3,H,W) → list of feature maps, the last of which counts. The paper: EfficientNet-B5, 304 channels, 768 pixels.
    scales   : how often the picture is seen, each time at half the size. hidden : channels inside the couplings' networks.
    blocks, last_kernel, clamp : couplings, all of kernel 3 but the last (5; 1 in the code's first release, whose number of
               parameters the benchmark prints), and the largest log scale.
    epochs, lr, batch_size, clip : of Adam, and the largest norm of a gradient.

    mean_, std_ : of each channel and scale, (scales,C); flow_ : the flow; losses_ : the mean of every epoch, the last one counts.
    """

    backbone: Callable[[Tensor], Sequence[Tensor]]
    scales: int = 3
    hidden: int = 1024
    blocks: int = 4
    last_kernel: int = 5
    clamp: float = 3.0
    epochs: int = 240
    lr: float = 2e-4
    batch_size: int = 16
    clip: float | None = 1.0
    seed: int = 0
    mean_: Tensor | None = field(default=None, init=False, repr=False)
    std_: Tensor | None = field(default=None, init=False, repr=False)
    flow_: CrossFlow | None = field(default=None, init=False, repr=False)
    losses_: list[float] = field(default_factory=list, init=False, repr=False)

    def fit(self, images: Tensor) -> Self:
        """Learn from normal images (N,3,H,W) in [0,1]; features are computed once.

        Raises ValueError for bad or no images, settings out of range, maps that do not halve and a loss that is not finite.
        """
        check_numbers(self, "[1,inf)", "scales", "hidden", "blocks", "epochs", "batch_size")
        check_numbers(self, "(0,inf)", "lr")
        check_images(images)
        with torch.no_grad():
            parts = [self.features(part) for part in images.split(16)]
        maps = [torch.cat(scale) for scale in zip(*parts, strict=True)]
        self.mean_ = torch.stack([m.mean(dim=(0, 2, 3)) for m in maps])
        self.std_ = torch.stack([m.std(dim=(0, 2, 3)).clamp_min(1e-6) for m in maps])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.flow_ = self.build_flow().to(images)
        self._train(self._standardised(maps))
        return self

    def features(self, images: Tensor) -> list[Tensor]:
        """Return one map (N,C,h,w) a scale, the finest first. Raises ValueError unless each has half the sides of the one before."""
        maps = []
        for k in range(self.scales):
            size = [max(1, side // 2**k) for side in images.shape[-2:]]
            small = images if k == 0 else F.interpolate(images, size, mode="bilinear", antialias=True)
            maps.append(feature_maps(self.backbone, small.clamp(0, 1))[-1])
        sides = [tuple(m.shape[-2:]) for m in maps]
        if any((h, w) != (2 * a, 2 * b) for (h, w), (a, b) in pairwise(sides)):
            raise ValueError(
                f"the maps are {sides}: expected each to have half the sides of the one before; resize the pictures to "
                f"multiples of {2 ** (self.scales - 1)} times the backbone's stride."
            )
        return maps

    def build_flow(self) -> CrossFlow:
        """Build the flow for as many channels as were seen, untrained."""
        assert self.mean_ is not None
        kernels = [3] * (self.blocks - 1) + [self.last_kernel]
        return CrossFlow(
            CrossGlow(self.mean_.shape[1], self.hidden, kernel, self.scales, self.clamp, self.seed + k)
            for k, kernel in enumerate(kernels)
        )

    def _standardised(self, maps: Sequence[Tensor]) -> list[Tensor]:
        assert self.mean_ is not None
        assert self.std_ is not None
        shifts = zip(maps, self.mean_, self.std_, strict=True)
        return [(m - mean[:, None, None]) / std[:, None, None] for m, mean, std in shifts]

    def _train(self, maps: list[Tensor]) -> None:
        assert self.flow_ is not None
        optimiser = torch.optim.Adam(self.flow_.parameters(), lr=self.lr, eps=1e-4, weight_decay=1e-5)
        generator, self.losses_ = torch.Generator().manual_seed(self.seed), []
        for epoch in range(1, self.epochs + 1):
            batches = torch.randperm(len(maps[0]), generator=generator).split(self.batch_size)
            losses = (loss_a_dimension(*self.flow_([m[batch] for m in maps])) for batch in batches)
            self.losses_.append(descend(optimiser, losses, epoch, self.clip))
        self.flow_.requires_grad_(False)

    def score(self, images: Tensor) -> Scores:
        """Score images (N,3,H,W) in [0,1], each by itself: the mean of ½z² over all scales; maps are its mean over channels of the finest.

        Raises ValueError before `fit`.
        """
        if self.flow_ is None:
            raise ValueError("CSFlow has learnt no flow yet: call fit with normal images first.")
        check_images(images)
        maps, scores = zip(*(self._one(image) for image in images.split(1)), strict=True)
        return Scores(torch.cat(maps), torch.cat(scores))

    @torch.no_grad()
    def _one(self, image: Tensor) -> tuple[Tensor, Tensor]:
        assert self.flow_ is not None
        z, _ = self.flow_(self._standardised(self.features(image)))
        fine = 0.5 * z[0].square().mean(dim=1, keepdim=True)
        large = F.interpolate(fine, image.shape[-2:], mode="bilinear", align_corners=False)
        return large[:, 0], energy(z)


def energy(z: Sequence[Tensor]) -> Tensor:
    """Return the mean of ½z² over all channels, places and scales of z, (N,C,h,w) each: (N,)."""
    return 0.5 * torch.cat([m.flatten(1) for m in z], dim=1).square().mean(dim=1)


def loss_a_dimension(z: Sequence[Tensor], log_det: Tensor) -> Tensor:
    """Return the mean over pictures of ½|z|² − log det, per dimension, 0-d: minus the log likelihood without its constant."""
    return (energy(z) - log_det / sum(m[0].numel() for m in z)).mean()
