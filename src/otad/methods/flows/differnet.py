"""DifferNet: a flow on one vector a picture, features of three sizes pooled; how unlikely the picture is, whichever way it is turned.

Rudolph, Wandt and Rosenhahn, Same Same But DifferNet (WACV 2021), Sec. 3. A picture is looked at from many angles, in training and when
it is judged; where the defect is, the gradient of the score in the picture tells, roughly. The public code turns at random when it
judges and prints its best epoch; here the angles of judging are fixed and evenly spread, and the last epoch counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from otad.checks import check_numbers, checked
from otad.features import check_images, feature_maps
from otad.methods import Scores
from otad.methods.flows.couplings import Flow, Glow, Subnet
from otad.methods.maps import smooth
from otad.methods.training import descend


@checked
@dataclass
class DifferNet:
    """The method of the paper.

    backbone : images (N,3,H,W) → list of feature maps, gradients allowed; the last is pooled. The paper: AlexNet's 256 channels.
    sizes    : the picture's sides as shares of its own, whose pooled features are concatenated. The paper: 448, 224 and 112 pixels.
    blocks, hidden, clamp : couplings, width of their networks of three hidden layers, largest log scale.
    views    : angles a picture in training (drawn) and when it is judged (evenly spread, `test_views`).
    epochs, lr, batch_size : of Adam. sigma : of the gradient map's smoothing, in image pixels; None = none.

    mean_, std_, flow_ : what standardises the flow's input, and the flow; losses_ : the mean of every epoch, the last one counts.
    """

    backbone: Callable[[Tensor], Sequence[Tensor]]
    sizes: Sequence[float] = (1.0, 0.5, 0.25)
    blocks: int = 8
    hidden: int = 2048
    clamp: float = 3.0
    views: int = 4
    test_views: int = 64
    epochs: int = 192
    lr: float = 2e-4
    batch_size: int = 96
    sigma: float | None = 3.0
    seed: int = 0
    mean_: Tensor | None = field(default=None, init=False, repr=False)
    std_: Tensor | None = field(default=None, init=False, repr=False)
    flow_: Flow | None = field(default=None, init=False, repr=False)
    losses_: list[float] = field(default_factory=list, init=False, repr=False)

    def fit(self, images: Tensor) -> Self:
        """Learn from normal images (N,3,H,W) in [0,1]: features of `views` turned copies of each are computed once.

        Raises ValueError for bad or no images, settings out of range and a loss that is not finite.
        """
        check_numbers(self, "[1,inf)", "blocks", "hidden", "views", "test_views", "epochs", "batch_size")
        check_numbers(self, "(0,inf)", "lr")
        check_images(images)
        generator = torch.Generator().manual_seed(self.seed)
        angles = 2 * torch.pi * torch.rand(self.views, len(images), generator=generator)
        with torch.no_grad():
            seen = torch.cat([
                self.features(turned(image, a)) for row in angles for image, a in zip(images.split(1), row.split(1), strict=True)
            ])  # fmt: skip
        self.mean_, self.std_ = seen.mean(0), seen.std(0).clamp_min(1e-6)
        self._train((seen - self.mean_) / self.std_, generator)
        return self

    def features(self, images: Tensor) -> Tensor:
        """Return the pooled features of images (N,3,H,W) in all sizes: (N, sizes · C)."""
        found = []
        for share in self.sizes:
            size = [max(16, round(share * side)) for side in images.shape[-2:]]
            small = (
                images
                if share == 1
                else F.interpolate(images, size, mode="bilinear", antialias=True).clamp(0, 1)
            )
            found.append(feature_maps(self.backbone, small)[-1].mean(dim=(2, 3)))
        return torch.cat(found, dim=1)

    def build_flow(self) -> Flow:
        """Draw the flow from the seed, for as many channels as were seen."""
        assert self.mean_ is not None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            subnet = deep(self.hidden)
            return Flow(Glow(len(self.mean_), subnet, self.clamp, self.seed + k) for k in range(self.blocks))

    def _train(self, points: Tensor, generator: torch.Generator) -> None:
        self.flow_ = self.build_flow().to(points)
        optimiser = torch.optim.Adam(
            self.flow_.parameters(), lr=self.lr, betas=(0.8, 0.8), eps=1e-4, weight_decay=1e-5
        )
        self.losses_ = []
        for epoch in range(1, self.epochs + 1):
            batches = torch.randperm(len(points), generator=generator).split(self.batch_size)
            losses = (loss_a_dimension(*self.flow_(points[batch])) for batch in batches)
            self.losses_.append(descend(optimiser, losses, epoch))

    def score(self, images: Tensor) -> Scores:
        """Score images (N,3,H,W) in [0,1]: the mean z² over views; maps are the size of its gradient in the pixels, smoothed.

        Raises ValueError before `fit` and for bad images.
        """
        if self.flow_ is None:
            raise ValueError("DifferNet has learnt no flow yet: call fit with normal images first.")
        check_images(images)
        maps, scores = zip(*(self._one(image) for image in images.split(1)), strict=True)
        return Scores(torch.cat(maps), torch.stack(scores))

    def _one(self, image: Tensor) -> tuple[Tensor, Tensor]:
        assert self.flow_ is not None
        assert self.mean_ is not None
        assert self.std_ is not None
        total, pixels = image.new_zeros(()), torch.zeros_like(image)
        for k in range(self.test_views):
            asked = image.detach().clone().requires_grad_()
            angle = image.new_tensor([2 * torch.pi * k / self.test_views])
            z = self.flow_((self.features(turned(asked, angle)) - self.mean_) / self.std_)[0]
            value = z.square().mean()
            (gradient,) = torch.autograd.grad(value, asked)
            total, pixels = total + value.detach(), pixels + gradient.abs()
        large = (pixels / self.test_views).mean(dim=1)
        return large if self.sigma is None else smooth(large, self.sigma), total / self.test_views


def loss_a_dimension(z: Tensor, log_det: Tensor) -> Tensor:
    """Return the mean over pictures of (½|z|² − log det) / D, 0-d (Eq. 4)."""
    return (0.5 * z.square().sum(1) - log_det).mean() / z.shape[1]


def deep(hidden: int) -> Subnet:
    """Return a builder of networks with three hidden layers of this width."""
    return lambda width, out: nn.Sequential(
        *(
            nn.Linear(width, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
        ),
        nn.Linear(hidden, out),
    )


def turned(images: Tensor, angles: Tensor) -> Tensor:
    """Turn images (N,3,H,W) by angles (N,) in radians, about their centres; corners that were not seen repeat the border."""
    cos, sin, none = angles.cos(), angles.sin(), torch.zeros_like(angles)
    h, w = images.shape[-2:]
    rows = torch.stack([cos, -sin * h / w, none, sin * w / h, cos, none], dim=1).view(-1, 2, 3).to(images)
    grid = F.affine_grid(rows, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False).clamp(0, 1)
