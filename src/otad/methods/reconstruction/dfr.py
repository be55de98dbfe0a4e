"""DFR: an autoencoder of the feature vector of each place; what it cannot give back is anomalous.

Yang, Shi and Qi, DFR: Deep Feature Reconstruction for Unsupervised Anomaly Segmentation (2020). Maps of many layers are resized to one size, averaged
over small patches and concatenated; the score of a place is the mean over channels of (x − x̂)². How narrow the autoencoder is, a principal
component analysis says: as many numbers as hold 90 % of the variance. The public code asks one batch of ten pictures for them; here all are asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
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
class DFR:
    """The method of the paper.

    backbone    : images (N,3,H,W) → list of feature maps. The paper: VGG19 after its first twelve convolutions, pictures of 256 pixels.
    patch_size  : side of the patches, in image pixels, over which the resized maps are averaged; they do not overlap.
    latent      : numbers in the middle of the autoencoder; None = as many as hold `share` of the variance.
    standardise : bring each channel to mean 0 and variance 1 first; the paper does not. Needed where channels differ much in size.
    epochs, lr, batch_size : of Adam, pictures a step. sigma : of the map's smoothing, in image pixels; None = none, as in the paper.

    mean_, std_ : (C,) what standardises, 0 and 1 if nothing does; latent_ : of the autoencoder; autoencoder_; losses_ : the mean of
    every epoch, the last one counts.
    """

    backbone: Callable[[Tensor], Sequence[Tensor]]
    patch_size: int = 4
    latent: int | None = None
    share: float = 0.9
    standardise: bool = False
    epochs: int = 700
    lr: float = 1e-4
    batch_size: int = 4
    sigma: float | None = None
    seed: int = 0
    mean_: Tensor | None = field(default=None, init=False, repr=False)
    std_: Tensor | None = field(default=None, init=False, repr=False)
    latent_: int = field(default=0, init=False, repr=False)
    autoencoder_: nn.Module | None = field(default=None, init=False, repr=False)
    losses_: list[float] = field(default_factory=list, init=False, repr=False)

    def fit(self, images: Tensor) -> Self:
        """Learn from normal images (N,3,H,W) in [0,1]; features are computed once and kept, 4 N C H W / patch_size² bytes.

        Raises ValueError for bad or no images, settings out of range and a loss that is not finite.
        """
        check_numbers(self, "[1,inf)", "patch_size", "epochs", "batch_size", "latent")
        check_numbers(self, "(0,inf)", "lr")
        check_numbers(self, "(0,1]", "share")
        check_images(images, smallest=self.patch_size)
        maps = torch.cat([self.features(image) for image in images.split(1)])
        points = maps.movedim(1, -1).flatten(0, 2)
        one = torch.ones_like(points[0])
        self.mean_ = points.mean(0) if self.standardise else 0 * one
        self.std_ = points.std(0).clamp_min(1e-6) if self.standardise else one
        maps = self._standardised(maps)
        self.latent_ = self.latent or components(maps.movedim(1, -1).flatten(0, 2), self.share)
        self._train(maps)
        return self

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """Return the averaged, concatenated maps of images (N,3,H,W): (N,C,⌊H/patch_size⌋,⌊W/patch_size⌋)."""
        maps = feature_maps(self.backbone, images)
        size = (images.shape[-2], images.shape[-1])
        return torch.cat([aggregated(m, size, self.patch_size) for m in maps], dim=1)

    def build_autoencoder(self) -> nn.Module:
        """Build the autoencoder for as many channels as were seen, untrained: widths C, (C + 2d)/2, 2d, d and back, with batch norm."""
        assert self.mean_ is not None
        return autoencoder(len(self.mean_), self.latent_)

    def _standardised(self, maps: Tensor) -> Tensor:
        assert self.mean_ is not None
        assert self.std_ is not None
        return (maps - self.mean_[:, None, None]) / self.std_[:, None, None]

    def _train(self, maps: Tensor) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            net = self.build_autoencoder().to(maps).train()
        optimiser = torch.optim.Adam(net.parameters(), self.lr)
        generator, self.losses_ = torch.Generator().manual_seed(self.seed), []
        for epoch in range(1, self.epochs + 1):
            batches = torch.randperm(len(maps), generator=generator).split(self.batch_size)
            losses = (energy(maps[batch], net(maps[batch])).mean() for batch in batches)
            self.losses_.append(descend(optimiser, losses, epoch))
        self.autoencoder_ = net.eval().requires_grad_(False)

    def score(self, images: Tensor) -> Scores:
        """Score images (N,3,H,W) in [0,1], each by itself: squared errors in units of the features, a channel.

        The paper gives no image score; the maximum is ours. Raises ValueError before `fit`.
        """
        if self.autoencoder_ is None:
            raise ValueError("DFR has learnt no autoencoder yet: call fit with normal images first.")
        check_images(images, smallest=self.patch_size)
        return Scores.of_maps(torch.cat([self._one(image) for image in images.split(1)]))

    @torch.no_grad()
    def _one(self, image: Tensor) -> Tensor:
        assert self.autoencoder_ is not None
        x = self._standardised(self.features(image))
        small = energy(x, self.autoencoder_(x))
        large = F.interpolate(small[:, None], image.shape[-2:], mode="bilinear", align_corners=True)[:, 0]
        return large if self.sigma is None else smooth(large, self.sigma)


def aggregated(maps: Tensor, size: tuple[int, int], patch_size: int) -> Tensor:
    """Resize maps (N,C,h,w) to a size and return the means of its patches: (N,C,⌊H/patch_size⌋,⌊W/patch_size⌋)."""
    large = F.interpolate(maps, size, mode="bilinear", align_corners=True)
    return F.avg_pool2d(large, patch_size)


def energy(maps: Tensor, rebuilt: Tensor) -> Tensor:
    """Return the mean over channels of the squared error, place by place: (N,C,h,w) twice → (N,h,w)."""
    return (maps - rebuilt).square().mean(dim=1)


def components(points: Tensor, share: float) -> int:
    """Return how many principal components hold more than this share of the variance of points (n,C), as scikit-learn counts them."""
    mean, total = points.mean(0), torch.zeros_like(points[:1].T @ points[:1], dtype=torch.float64)
    for part in points.split(2**16):  # doubles of all of them would be twice the memory
        total += (part - mean).double().T @ (part - mean).double()
    variances = torch.linalg.eigvalsh(total).flip(0).clamp_min(0)
    held = variances.cumsum(0) / variances.sum()
    return min(int((held <= share).sum()) + 1, len(variances))


def autoencoder(channels: int, latent: int) -> nn.Sequential:
    """Return the autoencoder of 1×1 convolutions, encoder and decoder, with batch norm and ReLU between its layers."""
    widths = [channels, (channels + 2 * latent) // 2, 2 * latent, latent]
    return nn.Sequential(_stack(widths), _stack(widths[::-1]))


def _stack(widths: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [nn.Conv2d(a, b, 1), nn.BatchNorm2d(b), nn.ReLU()]
    return nn.Sequential(*layers[:-2])  # the last layer is linear
