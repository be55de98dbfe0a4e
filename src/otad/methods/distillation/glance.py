"""Glance: what a place looks like, and what its surroundings say it should look like; where the two differ, something is wrong.

A reconstruction from the paper, which has no public code: Wang et al., Glancing at the Patch: Anomaly Localization with Global and Local Feature
Comparison (CVPR 2021). A local network L imitates a frozen one at a patch p through a decoder D,  λ_k |D(L(p)) − R(p)|² + λ_c · (correlations
between its outputs). Then a global network G learns the same from all around the patch, by partial convolution, without the patch:
(1/n)|z_l − z_g|², and a head C learns to tell distorted patches. The score is  λ_s (1/n)|z_l − z_g|² + (1 − λ_s) C(z_l, z_g).
Ours: patch and surroundings are cut from the maps of the frozen network, not from the picture, so that one pass judges all places (deep maps
have seen a little of each other); the distortions; all weights and rates, but λ_s, which is that of a reader's code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from otad.checks import check_numbers, checked
from otad.features import check_images, feature_maps
from otad.methods import Scores
from otad.methods.maps import smooth
from otad.methods.training import descend


@checked
@dataclass
class Glance:
    """The method, reconstructed.

    backbone    : images (N,3,H,W) → list of feature maps, never changed; all are resized to the largest.
    hole, reach : places on each side of the middle that belong to the patch, and that are seen around it.
    size, hidden : n, numbers of a local feature, and of what is inside the networks.
    lambda_k, lambda_c, lambda_t, lambda_s : weights of imitation, of correlations, of the head's loss, and of |z_l − z_g|² in the score.
    views       : distorted copies of each picture, drawn once. epochs, lr, batch_size : of Adam, for the local network and again for the rest.
    sigma       : of the map's smoothing, in image pixels; None = none.

    mean_, std_ : (C,) what standardises the maps; networks_; local_losses_, losses_ : means of every epoch, the last one counts.
    """

    backbone: Callable[[Tensor], Sequence[Tensor]]
    hole: int = 1
    reach: int = 3
    size: int = 64
    hidden: int = 64
    lambda_k: float = 1.0
    lambda_c: float = 1.0
    lambda_t: float = 1.0
    lambda_s: float = 0.8
    views: int = 1
    epochs: int = 100
    lr: float = 1e-3
    batch_size: int = 16
    sigma: float | None = 4.0
    seed: int = 0
    mean_: Tensor | None = field(default=None, init=False, repr=False)
    std_: Tensor | None = field(default=None, init=False, repr=False)
    networks_: Networks | None = field(default=None, init=False, repr=False)
    local_losses_: list[float] = field(default_factory=list, init=False, repr=False)
    losses_: list[float] = field(default_factory=list, init=False, repr=False)

    def fit(self, images: Tensor) -> Self:
        """Learn from normal images (N,3,H,W) in [0,1]; maps are kept, 4 (1 + views) N C h w bytes.

        Raises ValueError for bad or no images, settings out of range and a loss that is not finite.
        """
        check_numbers(self, "[1,inf)", "size", "hidden", "views", "epochs", "batch_size")
        check_numbers(self, "(0,inf)", "lr")
        check_numbers(self, "[0,1]", "lambda_s")
        if not 0 <= self.hole < self.reach:
            raise ValueError(f"hole is {self.hole}, reach {self.reach}: expected 0 ≤ hole < reach.")
        check_images(images)
        generator = torch.Generator().manual_seed(self.seed)
        maps = torch.cat([self.features(image) for image in images.split(1)])
        self.mean_, self.std_ = maps.mean(dim=(0, 2, 3)), maps.std(dim=(0, 2, 3)).clamp_min(1e-6)
        cell = max(-(-images.shape[2] // maps.shape[2]), -(-images.shape[3] // maps.shape[3]))
        spoilt = [distorted(images, 2 * cell, generator) for _ in range(self.views)]
        views = [
            torch.cat([self._standardised(self.features(x)) for x in both[0].split(1)]) for both in spoilt
        ]
        masks = [
            F.interpolate(m[:, None].to(maps), maps.shape[2:], mode="area")[:, 0] > 0.5 for _, m in spoilt
        ]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.networks_ = self.build_networks().to(images)
        self._train(self._standardised(maps), views, masks, generator)
        self.networks_.requires_grad_(False)
        return self

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """Return all maps at the size of the largest, concatenated: (N,C,h,w)."""
        maps = feature_maps(self.backbone, images)
        size = max((m.shape[-2:] for m in maps), key=lambda hw: hw[0] * hw[1])
        return torch.cat([F.interpolate(m, size, mode="bilinear", align_corners=False) for m in maps], 1)

    def build_networks(self) -> Networks:
        """Build the four networks for as many channels as were seen, untrained."""
        assert self.mean_ is not None
        return Networks(len(self.mean_), self.size, self.hidden, self.hole, self.reach)

    def _standardised(self, maps: Tensor) -> Tensor:
        assert self.mean_ is not None
        assert self.std_ is not None
        return (maps - self.mean_[:, None, None]) / self.std_[:, None, None]

    def _train(
        self, maps: Tensor, views: list[Tensor], masks: list[Tensor], generator: torch.Generator
    ) -> None:
        assert self.networks_ is not None
        net = self.networks_
        first = torch.optim.Adam([*net.local.parameters(), *net.decoder.parameters()], self.lr)
        self.local_losses_ = []
        for epoch in range(1, self.epochs + 1):
            losses = (self._local_loss(maps[b]) for b in self._batches(len(maps), generator))
            self.local_losses_.append(descend(first, losses, epoch))
        second = torch.optim.Adam([*net.around.parameters(), *net.head.parameters()], self.lr)
        self.losses_ = []
        for epoch in range(1, self.epochs + 1):
            k = (epoch - 1) % len(views)
            losses = (
                self._loss(maps[b], views[k][b], masks[k][b]) for b in self._batches(len(maps), generator)
            )
            self.losses_.append(descend(second, losses, epoch))

    def _batches(self, n: int, generator: torch.Generator) -> Iterator[Tensor]:
        yield from torch.randperm(n, generator=generator).split(self.batch_size)

    def _local_loss(self, maps: Tensor) -> Tensor:
        assert self.networks_ is not None
        z = self.networks_.local(maps)
        imitation = (self.networks_.decoder(z) - maps).square().mean()
        return self.lambda_k * imitation + self.lambda_c * correlation(z)

    def _loss(self, maps: Tensor, views: Tensor, masks: Tensor) -> Tensor:
        """Return the loss of the global network and of the head, for which both kinds of patches count the same."""
        assert self.networks_ is not None
        with torch.no_grad():
            z, spoilt = self.networks_.local(maps), self.networks_.local(views)
        around = self.networks_.around(maps)
        good, bad = self.networks_.told(z, around), self.networks_.told(spoilt, around)[masks]
        told = 0.5 * (F.softplus(good).mean() + F.softplus(-bad).mean())
        return inconsistency(z, around).mean() + self.lambda_t * told

    def score(self, images: Tensor) -> Scores:
        """Score images (N,3,H,W) in [0,1], each by itself. Raises ValueError before `fit`."""
        if self.networks_ is None:
            raise ValueError("Glance has learnt no networks yet: call fit with normal images first.")
        check_images(images)
        return Scores.of_maps(torch.cat([self._one(image) for image in images.split(1)]))

    @torch.no_grad()
    def _one(self, image: Tensor) -> Tensor:
        assert self.networks_ is not None
        maps = self._standardised(self.features(image))
        z, around = self.networks_.local(maps), self.networks_.around(maps)
        distortion = self.networks_.told(z, around).sigmoid()
        small = self.lambda_s * inconsistency(z, around) + (1 - self.lambda_s) * distortion
        large = F.interpolate(small[:, None], image.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
        return large if self.sigma is None else smooth(large, self.sigma)


def inconsistency(local: Tensor, around: Tensor) -> Tensor:
    """Return (1/n)|z_l − z_g|² of every place: (N,n,h,w) twice → (N,h,w)."""
    return (local - around).square().mean(dim=1)


def correlation(z: Tensor) -> Tensor:
    """Return the mean square of the correlations between different channels of z (N,n,h,w) over all places, 0-d; 0 for one channel.

    The paper adds them up as they are, which rewards those below 0.
    """
    points = z.movedim(1, -1).flatten(0, 2)
    unit = F.normalize(points - points.mean(0), dim=0)
    square = (unit.T @ unit).square()
    return (square.sum() - square.diagonal().sum()) / max(1, square.numel() - len(square))


def distorted(images: Tensor, smallest: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Spoil a rectangle of each image (N,3,H,W), its pixels in disorder or tinged: images, and masks (N,H,W) of what was touched.

    smallest : of its sides, in pixels; the largest is a third of the image's, or `smallest`.
    """
    found, masks = images.clone(), torch.zeros_like(images[:, 0], dtype=torch.bool)
    for image, mask in zip(found, masks, strict=True):
        shares = torch.rand(4, generator=generator).tolist()
        sides = [
            min(side, max(smallest, round(side * (0.1 + 0.23 * s))))
            for side, s in zip(mask.shape, shares[:2], strict=True)
        ]
        top, left = (
            int(s * (side - own + 1)) for s, side, own in zip(shares[2:], mask.shape, sides, strict=True)
        )
        inside = image[:, top : top + sides[0], left : left + sides[1]]
        if torch.rand(1, generator=generator) < 0.5:
            order = torch.randperm(sides[0] * sides[1], generator=generator).to(image.device)
            inside.copy_(inside.flatten(1)[:, order].view_as(inside))
        else:
            colour = torch.rand(3, 1, 1, generator=generator).to(image)
            inside.lerp_(colour.expand_as(inside), 0.7)
        mask[top : top + sides[0], left : left + sides[1]] = True
    return found, masks


class Networks(nn.Module):
    """The local network and its decoder, the global one, and the head; all keep the map's size."""

    def __init__(self, channels: int, size: int, hidden: int, hole: int, reach: int) -> None:
        """Take the map's channels and what `Glance` says."""
        super().__init__()
        patch = nn.Conv2d(channels, hidden, 2 * hole + 1, padding=hole)
        self.local = nn.Sequential(patch, nn.ReLU(), nn.Conv2d(hidden, size, 1))
        self.decoder = nn.Conv2d(size, channels, 1)
        ring = Surroundings(channels, hidden, hole, reach)
        self.around = nn.Sequential(
            ring, nn.ReLU(), nn.Conv2d(hidden, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, size, 1)
        )
        self.head = nn.Sequential(nn.Conv2d(2 * size, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, 1, 1))

    def told(self, local: Tensor, around: Tensor) -> Tensor:
        """Return how the head judges every place, (N,h,w): above 0 = rather distorted."""
        return self.head(torch.cat([local, around], dim=1))[:, 0]


class Surroundings(nn.Module):
    """A partial convolution: the middle of its window is cut out, nothing is beyond the border, and what is seen is scaled up for what is not."""

    mask: Tensor

    def __init__(self, channels: int, out: int, hole: int, reach: int) -> None:
        """Take channels in and out, and the places on each side that are cut out and that are seen."""
        super().__init__()
        self.convolution = nn.Conv2d(channels, out, 2 * reach + 1, padding=reach)
        mask = torch.ones(1, 1, 2 * reach + 1, 2 * reach + 1)
        mask[:, :, reach - hole : reach + hole + 1, reach - hole : reach + hole + 1] = 0
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        """Return a map of the same size; 0 + bias where nothing at all is seen."""
        padding = self.convolution.padding
        seen = F.conv2d(torch.ones_like(x[:1, :1]), self.mask, padding=padding)
        found = F.conv2d(x, self.convolution.weight * self.mask, padding=padding)
        assert self.convolution.bias is not None
        return found * (self.mask.sum() / seen.clamp_min(1)) + self.convolution.bias[:, None, None]
