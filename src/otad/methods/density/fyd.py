"""FYD: pictures laid over each other, coarsely by turning and shifting, finely by a network; then a Gaussian a place.

Zheng et al., Focus Your Distribution: Coarse-to-Fine Non-Contrastive Learning for Anomaly Detection and Localization (ICME 2022). There is
no public code: this is a reconstruction. Coarse: a spatial transformer of the picture and one of its features bring both to the mean of
the batch, min ‖T(x) − mean T(x′)‖². Fine: at every place the features of two different normal pictures are pulled together without
negative examples, −cos(p, stop z). Judged is as `PaDiM` does it, in the common position; the map is moved back to where the picture
was. Movements are rigid, as scaling could shrink every difference. Weights of the losses and the settings of training are ours.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from otad.checks import check_numbers, checked
from otad.features import check_images
from otad.features.pretrained import Backbone
from otad.methods import Scores
from otad.methods.density.padim import PaDiM
from otad.methods.density.regad import _block, _inverse, _moved, negative_cosine, pairs
from otad.methods.maps import smooth
from otad.methods.pretext.copied import Copied
from otad.methods.training import descend


@checked
@dataclass
class FYD:
    """The method of the paper, reconstructed.

    backbone : a network of stages, of which a copy is trained with the rest; its maps are concatenated.
    frozen   : the copy stays as it is, and only the two transformers and the head learn.
    coarse   : weight of both coarse losses; the fine one has 1.
    epochs, lr, batch_size : of Adam; epochs = 0 is PaDiM. dimension, epsilon, sigma : of `PaDiM`.

    network_ : what was trained; mean_, factor_, channels_, size_ : PaDiM's, in the common position; losses_ : (coarse + fine) of every
    epoch, the last one counts.
    """

    backbone: Backbone
    frozen: bool = False
    coarse: float = 1.0
    epochs: int = 50
    lr: float = 1e-4
    batch_size: int = 32
    dimension: int | None = 100
    epsilon: float = 0.01
    sigma: float | None = 4.0
    seed: int = 0
    network_: Alignment | None = field(default=None, init=False, repr=False)
    mean_: Tensor | None = field(default=None, init=False, repr=False)
    factor_: Tensor | None = field(default=None, init=False, repr=False)
    channels_: Tensor | None = field(default=None, init=False, repr=False)
    size_: tuple[int, int] | None = field(default=None, init=False, repr=False)
    losses_: list[float] = field(default_factory=list, init=False, repr=False)

    def fit(self, images: Tensor) -> Self:
        """Learn from two or more normal images (N,3,H,W) in [0,1].

        Raises ValueError for bad or too few images, settings out of range and a loss that is not finite.
        """
        check_images(images)
        check_numbers(self, "[0,inf)", "epochs", "coarse")
        check_numbers(self, "[2,inf)", "batch_size")
        check_numbers(self, "(0,inf)", "lr")
        if len(images) < 2:
            raise ValueError(f"{len(images)} images: expected two or more.")
        network = self.build_network().to(images).train()
        weights = [p for p in network.parameters() if p.requires_grad]
        optimiser = torch.optim.Adam(weights, lr=self.lr)
        generator, self.losses_ = torch.Generator().manual_seed(self.seed), []
        for epoch in range(1, self.epochs + 1):
            # The pictures of a category of RegAD, of which there is one: a pair are two different pictures.
            batches = pairs([images], self.batch_size, generator)
            losses = (network.loss(first, second, self.coarse) for first, second in batches)
            self.losses_.append(descend(optimiser, losses, epoch))
        self.network_ = network.eval().requires_grad_(False)
        gaussians = self._gaussians().fit(images)
        self.mean_, self.factor_ = gaussians.mean_, gaussians.factor_
        self.channels_, self.size_ = gaussians.channels_, gaussians.size_
        return self

    def build_network(self) -> Alignment:
        """Build the network, untrained: it moves nothing."""
        return Alignment(self.backbone, self.frozen, self.seed)

    def _gaussians(self) -> PaDiM:
        """Return the Gaussians of the common position, with what they have learnt."""
        assert self.network_ is not None
        found = PaDiM(self.network_.common, self.dimension, self.epsilon, sigma=None, seed=self.seed)
        found.mean_, found.factor_ = self.mean_, self.factor_
        found.channels_, found.size_ = self.channels_, self.size_
        return found

    @torch.no_grad()
    def score(self, images: Tensor) -> Scores:
        """Score images (N,3,H,W) in [0,1] of the size that was fitted: maps are Mahalanobis distances, where the picture has the place."""
        if self.network_ is None or self.mean_ is None:
            raise ValueError("FYD has learnt no position yet: call fit with normal images first.")
        gaussians = self._gaussians()
        found = []
        for image in images.split(1):
            large = F.interpolate(gaussians.distances(image)[:, None], image.shape[-2:], mode="bilinear")
            for move in reversed(self.network_(image)[2]):
                large = _moved(large, _inverse(move))
            found.append(large[:, 0])
        maps = torch.cat(found)
        return Scores.of_maps(maps if self.sigma is None else smooth(maps, self.sigma))


class Alignment(Copied):
    """A copy of a backbone between two transformers, and the head that pulls features of different pictures together."""

    def __init__(self, backbone: Backbone, frozen: bool, seed: int) -> None:
        """Copy the backbone and draw the new weights from `seed`."""
        super().__init__(backbone, frozen)
        c = sum(backbone.channels)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.picture, self.features = Rigid(3), Rigid(c)
            self.encoder = nn.Sequential(*_block(c), nn.Conv2d(c, c, 1, bias=False))
            self.predictor = nn.Sequential(*_block(c), nn.Conv2d(c, c, 1, bias=False))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Return the moved pictures, their moved features (N,ΣC,h,w) and the two transforms (N,2,3)."""
        moved, first = self.picture(images)
        maps = self.backbone(moved.clamp(0, 1))
        size = maps[0].shape[-2:]
        joined = torch.cat([F.interpolate(m, size, mode="bilinear") for m in maps], dim=1)
        features, second = self.features(joined)
        return moved, features, [first, second]

    def common(self, images: Tensor) -> list[Tensor]:
        """Return the features of images in the common position."""
        return [self(images)[1]]

    def loss(self, first: Tensor, second: Tensor, coarse: float) -> Tensor:
        """Return the loss of pairs (n,3,H,W), 0-d."""
        moved, features, _ = self(torch.cat([first, second]))
        codes = self.encoder(features).split(len(first))
        said = [self.predictor(z) for z in codes]
        fine = (negative_cosine(said[0], codes[1]) + negative_cosine(said[1], codes[0])) / 2
        return fine + coarse * (scatter(moved) + scatter(features))


class Rigid(nn.Module):
    """Looks at a map (N,C,h,w), decides how to turn and shift it, and does so; the identity before training."""

    def __init__(self, channels: int, width: int = 16) -> None:
        """Build the small network that decides."""
        super().__init__()
        self.look = nn.Sequential(
            *(nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(8)),
            *(nn.Flatten(), nn.Linear(64 * width, 64), nn.ReLU(), nn.Linear(64, 3)),
        )
        last = self.look[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the moved map and the transform (N,2,3), in coordinates of −1 to 1."""
        angle, down, across = self.look(x).tanh().unbind(1)
        h, w = x.shape[-2:]
        cos, sin = angle.cos(), angle.sin()
        rows = torch.stack([cos, -sin * h / w, across, sin * w / h, cos, down], dim=1)
        move = rows.view(-1, 2, 3)
        return _moved(x, move), move


def scatter(x: Tensor) -> Tensor:
    """Return how far maps (N,C,h,w) are from their mean, mean squared, as a share of what they vary over places: 0-d, 0 if all are alike."""
    mean = x.mean(dim=0, keepdim=True).detach()
    return (x - mean).square().mean() / x.detach().var().clamp_min(1e-8)
