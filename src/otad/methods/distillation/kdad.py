"""KDAD: a small network clones what a large one says at the ends of its blocks; the gradient of their disagreement points at the defect.

Salehi et al., Multiresolution Knowledge Distillation for Anomaly Detection (CVPR 2021). With whole maps t and s of a level, flattened, the
disagreement is  Σ (1 − cos(t, s)) + λ Σ mean (t − s)²: one part for directions, one for values. The cloner learns on all levels and is
judged on the last three. The public code stretches each picture's map to [0,1] and leaves the good pictures out where it localises; here
maps of different pictures can be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from otad.checks import check_numbers, checked
from otad.features import check_images
from otad.features.pretrained import Backbone
from otad.methods import Scores
from otad.methods.distillation.teacher import teach
from otad.methods.maps import smooth
from otad.methods.training import descend

DEPTHS = (2, 2, 3, 3, 3)  # convolutions in each of VGG16's blocks


@checked
@dataclass
class KDAD:
    """The method of the paper.

    backbone : the source, never changed. The paper: VGG16, its pools at strides 4, 8, 16, 32, pictures of 128 pixels.
    lam      : λ, of the values; the public code has 0.5 for MVTec AD and 0.01 for all else.
    judged   : levels that score, the deepest ones. hidden : channels of the cloner wherever it is not compared.
    epochs, lr, batch_size : of Adam.
    sigma    : of the gradient map's smoothing, in image pixels; None = none. opening : remove bright specks narrower than 3 pixels, as the
               code does after every threshold.

    signed_ : whether the source's maps hold negative values, so that the cloner's do; cloner_ : once fitted; losses_ : the mean of
    every epoch, the last one counts.
    """

    backbone: Backbone
    lam: float = 0.5
    judged: int = 3
    hidden: int = 16
    epochs: int = 601
    lr: float = 1e-3
    batch_size: int = 64
    sigma: float | None = 4.0
    opening: bool = True
    seed: int = 0
    signed_: bool = field(default=False, init=False, repr=False)
    cloner_: Cloner | None = field(default=None, init=False, repr=False)
    losses_: list[float] = field(default_factory=list, init=False, repr=False)

    def fit(self, images: Tensor) -> Self:
        """Learn from normal images (N,3,H,W) in [0,1]; the source sees each once, and its maps are kept, 4 N Σ C h w bytes.

        Raises ValueError for bad or no images, settings out of range, sides that cannot be halved and a loss that is not finite.
        """
        check_numbers(self, "[1,inf)", "judged", "hidden", "epochs", "batch_size")
        check_numbers(self, "[0,inf)", "lam")
        check_numbers(self, "(0,inf)", "lr")
        self._check(images)
        taught = teach(self.backbone, images)
        self.signed_ = any(bool(m.min() < 0) for m in taught)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            cloner = self.build_cloner().to(images).train()
        optimiser = torch.optim.Adam(cloner.parameters(), self.lr)
        generator, self.losses_ = torch.Generator().manual_seed(self.seed), []
        inputs = self._normalised(images)
        for epoch in range(1, self.epochs + 1):
            batches = torch.randperm(len(images), generator=generator).split(self.batch_size)
            losses = (
                disagreement([m[b] for m in taught], cloner(inputs[b]), self.lam).mean() for b in batches
            )
            self.losses_.append(descend(optimiser, losses, epoch))
        self.cloner_ = cloner.eval().requires_grad_(False)
        return self

    def build_cloner(self) -> Cloner:
        """Build the cloner of this source, untrained."""
        return Cloner(self.backbone.channels, self.backbone.strides, self.hidden, self.signed_)

    def _check(self, images: Tensor) -> None:
        deepest = self.backbone.strides[-1]
        check_images(images, smallest=deepest)
        if any(side % deepest for side in images.shape[-2:]):
            raise ValueError(
                f"images are {tuple(images.shape)}: expected sides that are multiples of {deepest}; resize them."
            )

    def _normalised(self, images: Tensor) -> Tensor:
        return (images - self.backbone.mean) / self.backbone.std

    def score(self, images: Tensor) -> Scores:
        """Score images (N,3,H,W) in [0,1], each by itself, by the disagreement; maps are the size of its gradient in the pixels.

        Raises ValueError before `fit`, for bad images and for sides that cannot be halved.
        """
        if self.cloner_ is None:
            raise ValueError("KDAD has no cloner yet: call fit with normal images first.")
        self._check(images)
        maps, scores = zip(*(self._one(image) for image in images.split(1)), strict=True)
        return Scores(torch.cat(maps), torch.cat(scores))

    @torch.enable_grad()
    def _one(self, image: Tensor) -> tuple[Tensor, Tensor]:
        assert self.cloner_ is not None
        asked = image.detach().clone().requires_grad_()
        taught, learnt = self.backbone(asked), self.cloner_(self._normalised(asked))
        far = disagreement(taught[-self.judged :], learnt[-self.judged :], self.lam)
        (gradient,) = torch.autograd.grad(far.sum(), asked)
        large = gradient.abs().sum(dim=1)
        large = large if self.sigma is None else smooth(large, self.sigma)
        return opened(large) if self.opening else large, far.detach()


def disagreement(taught: Sequence[Tensor], learnt: Sequence[Tensor], lam: float) -> Tensor:
    """Return the sum over levels of 1 − cosine of whole maps and λ times their mean squared error: (N,)."""
    levels = []
    for t, s in zip(taught, learnt, strict=True):
        t, s = t.flatten(1), s.flatten(1)
        levels.append(1 - F.cosine_similarity(t, s) + lam * (t - s).square().mean(dim=1))
    return torch.stack(levels).sum(dim=0)


def opened(maps: Tensor) -> Tensor:
    """Return the opening of maps (N,H,W) by a cross of 3 × 3: whatever is above a threshold afterwards is what opening leaves of it."""
    return _widened(-_widened(-maps))


def _widened(maps: Tensor) -> Tensor:
    """Return the largest value of each pixel and its four neighbours; nothing comes from beyond the border."""
    x = maps[:, None]
    return torch.maximum(F.max_pool2d(x, (3, 1), 1, (1, 0)), F.max_pool2d(x, (1, 3), 1, (0, 1)))[:, 0]


class Cloner(nn.Module):
    """A thin VGG: as many channels as the source has where the two are compared, few elsewhere; no biases.

    signed : leave out the ReLU in front of what is compared.
    """

    def __init__(
        self, channels: Sequence[int], strides: Sequence[int], hidden: int = 16, signed: bool = False
    ) -> None:
        """Take the source's channels and strides, powers of 2 from 2 on, ascending."""
        super().__init__()
        outs, self.strides = dict(zip(strides, channels, strict=True)), tuple(strides)
        self.stages = nn.ModuleDict()
        width, stride = 3, 2
        while stride <= strides[-1]:
            depth = DEPTHS[min(len(self.stages), len(DEPTHS) - 1)]
            out = outs.get(stride, hidden)
            self.stages[str(stride)] = _stage(
                [width, *[hidden] * (depth - 1), out], signed and stride in outs
            )
            width, stride = out, 2 * stride

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return one map a stride of the source, of normalised images (N,3,H,W)."""
        maps = []
        for stride, layers in self.stages.items():
            x = layers(x)
            if int(stride) in self.strides:
                maps.append(x)
        return maps


def _stage(widths: Sequence[int], signed: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for k, (a, b) in enumerate(pairwise(widths)):
        convolution = nn.Conv2d(a, b, 3, padding=1, bias=False)
        nn.init.xavier_uniform_(convolution.weight)
        last = k == len(widths) - 2  # no batch norm in front of a pool, or its scale would be lost
        layers += [
            convolution,
            *([] if last else [nn.BatchNorm2d(b)]),
            *([] if last and signed else [nn.ReLU()]),
        ]
    return nn.Sequential(*layers, nn.MaxPool2d(2))
