"""DRAEM: one network takes foreign textures out of a picture, another compares before and after and says where they were.

Zavrtanik, Kristan and Skočaj, DRAEM: A Discriminatively Trained Reconstruction Embedding for Surface Anomaly Detection (ICCV 2021).
Loss: |I − Î|² + (1 − SSIM(I, Î)) + focal loss of the mask. In anomalib's focal loss normal pixels weigh nothing, so that a
picture without defects has none; here, as in the authors' code, all pixels weigh the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from otad.checks import check_numbers, check_room, checked
from otad.features import check_images
from otad.methods import Scores
from otad.methods.reconstruction.perlin import paint_texture
from otad.methods.training import descend

SMALLEST = 64  # pixels: five halvings leave two, and batch norm needs more than one


@checked
@dataclass
class DRAEM:
    """The method of the paper.

    sources : textures (M,3,h,w) in [0,1] that nothing normal looks like; they are resized. The paper: the Describable Textures Dataset.
    width, judge_width : channels of the two networks where they are finest; 128 and 64 make 69.0 and 28.4 million weights.
    beta, cells : of `paint_texture`. share : of the training pictures that are painted on.
    epochs, lr, batch_size : of Adam, whose rate falls to a fifth after 80 and after 90 % of the epochs.
    window  : side of the square whose mean a picture's score is the largest of, in pixels.

    network_ : what was trained; losses_ : the mean of every epoch, the last one counts.
    """

    sources: Tensor
    width: int = 128
    judge_width: int = 64
    beta: float = 0.8
    cells: int = 5
    share: float = 0.5
    epochs: int = 700
    lr: float = 1e-4
    batch_size: int = 8
    window: int = 21
    seed: int = 0
    network_: Restorer | None = field(default=None, init=False, repr=False)
    losses_: list[float] = field(default_factory=list, init=False, repr=False)

    def fit(self, images: Tensor) -> Self:
        """Learn from normal images (N,3,H,W) in [0,1], sides of 64 or more.

        Raises ValueError for bad or no images or sources, settings out of range and a loss that is not finite.
        """
        check_numbers(self, "[1,inf)", "width", "judge_width", "epochs", "batch_size", "window")
        check_numbers(self, "(0,inf)", "lr")
        check_numbers(self, "[0,1)", "beta")
        check_numbers(self, "[0,inf)", "cells")
        check_numbers(self, "(0,1]", "share")
        if not self.window % 2:
            raise ValueError(f"window is {self.window}: expected an odd number.")
        check_images(self.sources, "sources")
        check_images(images, smallest=SMALLEST)
        for name, width in {"width": self.width, "judge_width": self.judge_width}.items():
            check_room(f"{name} = {width}", 9 * 8 * 16, width, width)
        sources = F.interpolate(
            self.sources.to(images), images.shape[-2:], mode="bilinear", antialias=True
        ).clamp(0, 1)
        network = self.build_network().to(images).train()
        optimiser = torch.optim.Adam(network.parameters(), lr=self.lr)
        late = [max(1, int(part * self.epochs)) for part in (0.8, 0.9)]
        plan = torch.optim.lr_scheduler.MultiStepLR(optimiser, late, gamma=0.2)
        rng, self.losses_ = np.random.default_rng(self.seed), []
        for epoch in range(1, self.epochs + 1):
            self.losses_.append(descend(optimiser, self._losses(network, images, sources, rng), epoch))
            plan.step()
        self.network_ = network.eval().requires_grad_(False)
        return self

    def build_network(self) -> Restorer:
        """Build the two networks, untrained."""
        return Restorer(self.width, self.judge_width, self.seed)

    def spoil(self, images: Tensor, sources: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Paint a source of the same size on some of the images (n,3,H,W): pictures (n,3,H,W) and masks (n,H,W)."""
        made = []
        for image in images:
            source = sources[int(rng.integers(len(sources)))]
            painted = paint_texture(image, source, rng, self.beta, self.cells)
            untouched = image, torch.zeros(image.shape[1:], dtype=torch.bool, device=image.device)
            made.append(painted if rng.random() < self.share else untouched)
        pictures, masks = zip(*made, strict=True)
        return torch.stack(pictures), torch.stack(masks)

    def _losses(
        self, network: Restorer, images: Tensor, sources: Tensor, rng: np.random.Generator
    ) -> Iterator[Tensor]:
        for batch in torch.from_numpy(rng.permutation(len(images))).split(self.batch_size):
            pictures, masks = self.spoil(images[batch], sources, rng)
            restored, logits = network(pictures)
            yield restoration_loss(images[batch], restored) + focal_loss(logits, masks)

    @torch.no_grad()
    def score(self, images: Tensor) -> Scores:
        """Score images (N,3,H,W) in [0,1]: maps are probabilities, a picture's score the largest mean over a window (zeros beyond the rim).

        Raises ValueError before `fit` and for bad images.
        """
        if self.network_ is None:
            raise ValueError("DRAEM has trained no network yet: call fit with normal images first.")
        check_images(images, smallest=SMALLEST)
        maps = torch.cat([self.network_(image)[1].softmax(dim=1)[:, 1] for image in images.split(1)])
        means = F.avg_pool2d(maps[:, None], self.window, 1, self.window // 2)
        return Scores(maps, means.amax(dim=(1, 2, 3)))


def restoration_loss(image: Tensor, restored: Tensor) -> Tensor:
    """Return the mean squared error plus 1 − SSIM of images (N,3,H,W), 0-d."""
    return F.mse_loss(restored, image) + 1 - ssim(image, restored).mean()


def ssim(first: Tensor, second: Tensor, side: int = 11, sigma: float = 1.5) -> Tensor:
    """Return the structural similarity of images (N,C,H,W) in [0,1] at each pixel, under a Gaussian window, zeros beyond the rim.

    Wang et al., Image Quality Assessment: From Error Visibility to Structural Similarity (2004): 1 where both agree.
    """
    line = torch.exp(-0.5 * ((torch.arange(side, dtype=torch.float64) - side // 2) / sigma) ** 2)
    line = (line / line.sum()).to(first)
    channels = first.shape[1]
    kernel = torch.outer(line, line).expand(channels, 1, side, side)

    def mean(x: Tensor) -> Tensor:
        return F.conv2d(x, kernel, padding=side // 2, groups=channels)

    a, b = mean(first), mean(second)
    spread = mean(first.square()) + mean(second.square()) - a.square() - b.square()
    together = mean(first * second) - a * b
    light, structure = 0.01**2, 0.03**2
    return ((2 * a * b + light) * (2 * together + structure)) / (
        (a.square() + b.square() + light) * (spread + structure)
    )


def focal_loss(logits: Tensor, masks: Tensor, gamma: float = 2.0, smooth: float = 1e-5) -> Tensor:
    """Return the mean of −(1 − p)^γ log p over pixels, p the probability of the right one of two classes, 0-d; logits (N,2,H,W).

    Lin et al., Focal Loss for Dense Object Detection (2017). smooth : labels are 1 − smooth and smooth, and it is added to p, as in the authors' code.
    """
    right = torch.stack([~masks, masks], dim=1).to(logits).clamp(smooth, 1 - smooth)
    p = (right * logits.softmax(dim=1)).sum(dim=1) + smooth
    return (-((1 - p) ** gamma) * p.log()).mean()


# The two networks -----------------------------------------------------------------------------------------


class Restorer(nn.Module):
    """Images (N,3,H,W) → restored images and logits (N,2,H,W) of what is not normal."""

    def __init__(self, width: int, judge_width: int, seed: int) -> None:
        """Draw all weights from `seed`."""
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.restore = Hourglass(3, 3, width, (1, 2, 4, 8, 8), (4, 2, 1, 1), skip=False)
            self.judge = Hourglass(6, 2, judge_width, (1, 2, 4, 8, 8, 8), (8, 4, 2, 1, 1), skip=True)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Restore, then compare."""
        restored = self.restore(images)
        return restored, self.judge(torch.cat([restored, images], dim=1))


class Hourglass(nn.Module):
    """Halve a picture, level by level, and double it again; with `skip`, each level also sees what it had on the way down (a U-Net)."""

    def __init__(
        self, c_in: int, c_out: int, width: int, down: tuple[int, ...], up: tuple[int, ...], skip: bool
    ) -> None:
        """Take the channels of each level, on the way down and up again, as multiples of the width."""
        super().__init__()
        fine, coarse = [width * level for level in down], [width * level for level in up]
        self.skip = skip
        self.down = nn.ModuleList(
            nn.Sequential(_layer(a, b), _layer(b, b)) for a, b in zip([c_in, *fine[:-1]], fine, strict=True)
        )
        self.up, self.join = nn.ModuleList(), nn.ModuleList()
        for a, b, seen in zip([fine[-1], *coarse[:-1]], coarse, reversed(fine[:-1]), strict=True):
            here = b if skip else a
            self.up.append(_layer(a, here))
            self.join.append(nn.Sequential(_layer(here + seen * skip, here), _layer(here, b)))
        self.last = nn.Conv2d(coarse[-1], c_out, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return a map of the picture's size."""
        seen: list[Tensor] = []
        for k, down in enumerate(self.down):
            x = down(F.max_pool2d(x, 2) if k else x)
            seen.append(x)
        for up, join, level in zip(self.up, self.join, reversed(seen[:-1]), strict=True):
            x = up(F.interpolate(x, level.shape[-2:], mode="bilinear"))
            x = join(torch.cat([x, level], dim=1) if self.skip else x)
        return self.last(x)


def _layer(c_in: int, c_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(c_in, c_out, 3, padding=1), nn.BatchNorm2d(c_out), nn.ReLU())
