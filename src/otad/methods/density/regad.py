"""RegAD: a network that learns, on other categories, to lay pictures of one kind over each other; then a Gaussian a place.

Huang et al., Registration based Few-Shot Anomaly Detection (ECCV 2022), Sec. 3. Nothing is trained on the category that is judged: its
few shots, turned, shifted, mirrored and greyed, only fill the Gaussians of `PaDiM`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from otad.checks import check_numbers, checked
from otad.features import check_images
from otad.features.pretrained import Backbone
from otad.methods import Scores
from otad.methods.density.padim import PaDiM
from otad.methods.training import descend

Mode = Literal["rotation_scale", "affine"]
TURNS = tuple(k * math.pi / 16 for k in (-4, -3, -2, -1, 1, 2, 3, 4))
BAND = 64  # places that are looked at at a time
SHIFTS = tuple((x * s, y * s) for s in (0.2, 0.1) for x, y in ((1, 1), (-1, 1), (-1, -1), (1, -1)))


@checked
@dataclass
class RegAD:
    """The method of the paper.

    backbone   : a network of stages; the paper: ResNet18, strides 4, 8, 16. A copy of it is trained with the rest.
    mode       : what a spatial transformer may do: turn and scale, as for MVTec AD in the paper, or any affine map.
    epochs, lr, momentum, batch_size : of SGD, whose rate falls along a cosine. epsilon, sigma : of `PaDiM`.

    network_ : what `learn` has trained; gaussians_ : what `fit` has filled; losses_ : the mean of every epoch, the last one counts.
    """

    backbone: Backbone
    mode: Mode = "rotation_scale"
    epochs: int = 50
    lr: float = 1e-4
    momentum: float = 0.9
    batch_size: int = 32
    epsilon: float = 0.01
    sigma: float | None = 4.0
    seed: int = 0
    network_: Registration | None = field(default=None, init=False, repr=False)
    gaussians_: Gaussians | None = field(default=None, init=False, repr=False)
    losses_: list[float] = field(default_factory=list, init=False, repr=False)

    def learn(self, categories: Sequence[Tensor]) -> Self:
        """Train on normal images of other categories, a tensor (N,3,H,W) in [0,1] each; pairs are of one category (Sec. 3.2).

        Raises ValueError for no categories, one with a single picture, and a loss that is not finite.
        """
        for images in categories:
            check_images(images)
        check_numbers(self, "[1,inf)", "epochs")
        check_numbers(self, "(0,inf)", "lr", "epsilon")
        if not categories or min(map(len, categories)) < 2:
            raise ValueError(
                f"{len(categories)} categories of {[len(c) for c in categories]} pictures: expected at least one category, and two "
                "pictures or more in each."
            )
        device = categories[0].device
        self.network_ = self.build_network().to(device).train()
        optimiser = torch.optim.SGD(self.network_.parameters(), lr=self.lr, momentum=self.momentum)
        plan = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, self.epochs)
        generator, self.losses_ = torch.Generator().manual_seed(self.seed), []
        for epoch in range(1, self.epochs + 1):
            batches = pairs(categories, self.batch_size, generator)
            losses = (self.network_.loss(first, second) for first, second in batches)
            self.losses_.append(descend(optimiser, losses, epoch))
            plan.step()
        self.network_.eval()
        return self

    def fit(self, images: Tensor) -> Self:
        """Fill the Gaussians from a few normal images (k,3,H,W) in [0,1] of the category to judge, each in 22 versions (Sec. 3.3)."""
        if self.network_ is None:
            raise ValueError(
                "RegAD has learnt no registration yet: call learn with normal images of other categories first."
            )
        check_images(images)
        self.gaussians_ = self.build_gaussians().fit(versions(images))
        return self

    def build_network(self) -> Registration:
        """Return the network before it has learnt anything."""
        return Registration(self.backbone, self.mode, self.seed)

    def build_gaussians(self) -> Gaussians:
        """Return the Gaussians before they have seen a shot, on the features of the network as it is now."""
        assert self.network_ is not None
        return Gaussians(self.network_.features, None, self.epsilon, "nearest", self.sigma, self.seed)

    def score(self, images: Tensor) -> Scores:
        """Score images (N,3,H,W) in [0,1] of the size that was fitted: maps are Mahalanobis distances."""
        if self.gaussians_ is None:
            raise ValueError("RegAD has seen no shot yet: call fit with normal images of the category first.")
        return self.gaussians_.score(images)


@dataclass
class Gaussians(PaDiM):
    """PaDiM's of fewer pictures than channels, all of which are kept: no matrix of channels by channels is made.

    With X the N deviations from the mean at a place, its covariance is XᵀX/(N−1) + εI, and by Woodbury's identity
    z'(XᵀX/(N−1) + εI)⁻¹z = (|z|² − |L⁻¹Xz|²)/ε, where LLᵀ = XXᵀ + (N−1)εI is N × N. Of four shots, 88 versions, at 84 × 84 places and of
    448 channels that keeps 1.5 GB and takes 4 while it is made; Cholesky factors of the covariances would be 5.7, and take 23.

    deviations_ : (h·w,N,d), factor_ : (h·w,N,N) in double precision, for small differences of large numbers are taken.
    """

    deviations_: Tensor | None = field(default=None, init=False, repr=False)

    def fit(self, images: Tensor) -> Self:
        """Learn mean and deviations of every place from normal images (N,3,H,W). Raises ValueError for bad ones and epsilon too near 0."""
        check_numbers(self, "(0,inf)", "epsilon")
        check_images(images)
        with torch.no_grad():
            maps = torch.cat([self._embedded(image) for image in images.split(1)]).flatten(2)
            mean = maps.mean(dim=0, dtype=torch.float64).to(maps.dtype)
            deviations = (maps - mean).permute(2, 0, 1).contiguous()
            factor = torch.cat([self._factors(band) for band in deviations.split(BAND)])
        self.mean_, self.deviations_, self.factor_ = (
            mean.T,
            deviations,
            factor,
        )  # all at once: what raises leaves the old ones
        self.size_ = (images.shape[-2], images.shape[-1])
        return self

    def _factors(self, centred: Tensor) -> Tensor:
        inner = centred.double() @ centred.double().mT
        inner.diagonal(dim1=1, dim2=2).add_(max(1, centred.shape[1] - 1) * self.epsilon)
        factor, failed = torch.linalg.cholesky_ex(inner)
        if bool(failed.any()):
            raise ValueError(
                f"epsilon {self.epsilon} leaves matrices of {len(inner[0])} pictures singular: raise it."
            )
        return factor

    def distances(self, images: Tensor) -> Tensor:
        """Return the Mahalanobis distance of every place: (M,h,w). Raises ValueError before `fit`, for bad images and another size."""
        check_images(images)
        if self.deviations_ is None:
            raise ValueError("the Gaussians know no picture yet: call fit with normal images first.")
        if tuple(images.shape[-2:]) != self.size_:
            raise ValueError(
                f"images are {tuple(images.shape[-2:])}, the shots were {self.size_}: resize them."
            )
        with torch.no_grad():
            return torch.cat([self._distances(some) for some in images.split(16)])

    def _distances(self, images: Tensor) -> Tensor:
        assert self.mean_ is not None
        assert self.deviations_ is not None
        assert self.factor_ is not None
        features = torch.cat([self._embedded(image) for image in images.split(1)])
        points = features.flatten(2).permute(2, 1, 0) - self.mean_[:, :, None]  # (places, d, M)
        found = []
        for x, factor, z in zip(
            *(t.split(BAND) for t in (self.deviations_, self.factor_, points)), strict=True
        ):
            z = z.double()
            seen = torch.linalg.solve_triangular(factor, x.double() @ z, upper=False)
            found.append(((z.square().sum(1) - seen.square().sum(1)).clamp_min(0) / self.epsilon).sqrt())
        return torch.cat(found).T.reshape(len(images), *features.shape[2:]).to(images.dtype)


class Registration(nn.Module):
    """A network with a spatial transformer after each stage, and the siamese head that trains them."""

    def __init__(self, backbone: Backbone, mode: Mode, seed: int) -> None:
        """Copy the backbone and draw the new weights from `seed`."""
        super().__init__()
        self.backbone = copy.deepcopy(backbone).requires_grad_(True)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.transformers = nn.ModuleList(SpatialTransformer(c, mode) for c in backbone.channels)
            c = backbone.channels[-1]
            self.encoder = nn.Sequential(*_block(c), *_block(c), nn.Conv2d(c, c, 1, bias=False))
            self.predictor = nn.Sequential(*_block(c), nn.Conv2d(c, c, 1, bias=False))

    def forward(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return the registered map of every stage, and the transforms (N,2,3) that registered them."""
        x = (images - self.backbone.mean) / self.backbone.std
        maps: list[Tensor] = []
        moves: list[Tensor] = []
        for stride, layers in self.backbone.stages.items():
            x = layers(x)
            if int(stride) in self.backbone.strides:
                x, move = self.transformers[len(maps)](x)
                maps.append(x)
                moves.append(move)
        return maps, moves

    def loss(self, first: Tensor, second: Tensor) -> Tensor:
        """Return how unlike two pictures of a category are after registration, 0-d in [−1,1] (Eq. 2 and 3)."""
        z1, z2 = (self.encoder(self(images)[0][-1]) for images in (first, second))
        return (negative_cosine(self.predictor(z1), z2) + negative_cosine(self.predictor(z2), z1)) / 2

    @torch.no_grad()
    def features(self, images: Tensor) -> list[Tensor]:
        """Return the map of every stage, moved back to where the picture had it: places are those of the image again (Sec. 3.3)."""
        maps, moves = self(images)
        found = []
        for k, features in enumerate(maps):
            for move in reversed(moves[: k + 1]):
                features = _moved(features, _inverse(move))
            found.append(features)
        return found


class SpatialTransformer(nn.Module):
    """Looks at a map (N,C,h,w), decides how to turn, scale or shear it, and does so; the identity before training."""

    def __init__(self, channels: int, mode: Mode) -> None:
        """Build the small network that decides."""
        super().__init__()
        self.mode = mode
        wide, thin = (nn.Conv2d(a, b, 3, padding=1, bias=False) for a, b in ((channels, 64), (64, 16)))
        pool = nn.MaxPool2d(3, 2, 1)
        self.look = nn.Sequential(
            wide,
            nn.BatchNorm2d(64),
            nn.ReLU(),
            pool,
            thin,
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(4),
        )
        start = {"rotation_scale": [0.0, 1.0, 1.0], "affine": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]}[mode]
        last = nn.Linear(1024, len(start))
        nn.init.zeros_(last.weight)
        last.bias = nn.Parameter(torch.tensor(start))
        self.decide = nn.Sequential(nn.Flatten(), nn.Linear(256, 1024), nn.ReLU(), last)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the moved map and the transform (N,2,3)."""
        said = self.decide(self.look(x))
        if self.mode == "affine":
            move = said.view(-1, 2, 3)
        else:
            angle, wide, high = said.unbind(1)
            none = torch.zeros_like(angle)
            rows = [angle.cos() * wide, -angle.sin(), none, angle.sin(), angle.cos() * high, none]
            move = torch.stack(rows, 1).view(-1, 2, 3)
        return _moved(x, move), move


def negative_cosine(p: Tensor, z: Tensor) -> Tensor:
    """Return minus the mean cosine of p and z (N,C,h,w) at all places; z is a constant to the gradient (Eq. 2)."""
    return -F.cosine_similarity(p, z.detach(), dim=1).mean()


@checked
def versions(images: Tensor) -> Tensor:
    """Return images (k,3,H,W) in 22 versions: as they are, turned 8 times by up to 45°, shifted 8 times, mirrored, grey, and by quarter turns.

    Quarter turns keep the size: what a turned picture lacks is reflected.
    """
    check_images(images)
    made = [images]
    made += [_moved(images, _turn(angle).to(images).expand(len(images), 2, 3)) for angle in TURNS]
    made += [
        _moved(images, images.new_tensor([[1, 0, a], [0, 1, b]]).expand(len(images), 2, 3)) for a, b in SHIFTS
    ]
    made += [images.flip(-1), images.mean(dim=1, keepdim=True).expand_as(images)]
    made += [_moved(images, _turn(k * math.pi / 2).to(images).expand(len(images), 2, 3)) for k in (1, 2, 3)]
    return torch.cat(made).clamp(0, 1)


def pairs(
    categories: Sequence[Tensor], batch_size: int, generator: torch.Generator
) -> list[tuple[Tensor, Tensor]]:
    """Return an epoch's batches, in random order: every picture once, beside another of its category."""
    found = []
    for images in categories:
        order = torch.randperm(len(images), generator=generator)
        partner = order.roll(1)
        found += [
            (images[a], images[b])
            for a, b in zip(order.split(batch_size), partner.split(batch_size), strict=True)
        ]
    return [found[i] for i in torch.randperm(len(found), generator=generator).tolist()]


def _block(channels: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()


def _turn(angle: float) -> Tensor:
    cos, sin = math.cos(angle), math.sin(angle)
    return torch.tensor([[cos, -sin, 0.0], [sin, cos, 0.0]])


def _moved(x: Tensor, move: Tensor) -> Tensor:
    """Resample maps (N,C,h,w) by transforms (N,2,3) in coordinates of −1 to 1; what comes from outside is reflected."""
    grid = F.affine_grid(move, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)


def _inverse(move: Tensor) -> Tensor:
    """Invert transforms (N,2,3)."""
    turn = torch.linalg.inv(move[:, :, :2])
    return torch.cat([turn, -turn @ move[:, :, 2:]], dim=2)
