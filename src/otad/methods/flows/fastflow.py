"""FastFlow: a two-dimensional flow on the maps of a frozen network; how unlikely each place is.

Yu et al., FastFlow: Unsupervised Anomaly Detection and Localization via 2D Normalizing Flows (2021), Sec. 3. There is no official
code. The well-known unofficial one puts trainable layer norms before the flow, without which, it says, the printed numbers stay out of
reach; here the features are standardised by the training set, a fixed map.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from otad.checks import check_numbers, checked
from otad.features import check_images, feature_maps
from otad.methods import Scores
from otad.methods.flows.couplings import AllInOne, Flow, convolutions
from otad.methods.training import descend


@checked
@dataclass
class FastFlow:
    """The method of the paper.

    backbone : images (N,3,H,W) → list of feature maps (N,C,h,w). The paper: WideResNet50-2 or ResNet18, strides 4, 8, 16.
    steps    : couplings a map, kernels 3 and 1 by turns (1 alone with kernels="one"). hidden_ratio : width of their networks.
    clamp, epochs, lr, weight_decay, batch_size : of the flow and of Adam.
    output   : "probability" is the paper's −exp(−½ mean z²), which saturates at 0 far from the training set; "energy" is ½ mean z², in
               the same order at a place, and never flat.

    mean_, std_, flows_ : a map each; losses_ : the mean of every epoch; the last epoch counts.
    """

    backbone: Callable[[Tensor], Sequence[Tensor]]
    steps: int = 8
    hidden_ratio: float = 1.0
    kernels: Literal["three and one", "one"] = "three and one"
    clamp: float = 2.0
    epochs: int = 500
    lr: float = 1e-3
    weight_decay: float = 1e-5
    batch_size: int = 32
    output: Literal["probability", "energy"] = "probability"
    seed: int = 0
    mean_: list[Tensor] = field(default_factory=list, init=False, repr=False)
    std_: list[Tensor] = field(default_factory=list, init=False, repr=False)
    flows_: nn.ModuleList | None = field(default=None, init=False, repr=False)
    losses_: list[float] = field(default_factory=list, init=False, repr=False)

    def fit(self, images: Tensor) -> Self:
        """Learn from normal images (N,3,H,W) in [0,1]; features are computed once.

        Raises ValueError for bad or no images, settings out of range and a loss that is not finite.
        """
        check_numbers(self, "[1,inf)", "steps", "epochs", "batch_size")
        check_numbers(self, "(0,inf)", "lr")
        check_images(images)
        with torch.no_grad():
            parts = [feature_maps(self.backbone, part) for part in images.split(16)]
        maps = [torch.cat(scale) for scale in zip(*parts, strict=True)]
        self.mean_ = [m.mean(dim=(0, 2, 3), keepdim=True) for m in maps]
        self.std_ = [m.std(dim=(0, 2, 3), keepdim=True).clamp_min(1e-6) for m in maps]
        self.flows_ = self.build_flows().to(images)
        self._train([(m - mean) / std for m, mean, std in zip(maps, self.mean_, self.std_, strict=True)])
        return self

    def build_flows(self) -> nn.ModuleList:
        """Draw the flows from the seed, one a map of as many channels as were seen."""
        found = nn.ModuleList()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            for k, c in enumerate(mean.shape[1] for mean in self.mean_):
                sizes = [1 if self.kernels == "one" or step % 2 else 3 for step in range(self.steps)]
                blocks = [
                    AllInOne(
                        c, convolutions(size, self.hidden_ratio), self.clamp, seed=self.seed + 1000 * k + step
                    )
                    for step, size in enumerate(sizes)
                ]
                found.append(Flow(blocks))
        return found

    def _train(self, maps: list[Tensor]) -> None:
        assert self.flows_ is not None
        optimiser = torch.optim.Adam(self.flows_.parameters(), lr=self.lr, weight_decay=self.weight_decay)
        generator, self.losses_ = torch.Generator().manual_seed(self.seed), []
        for epoch in range(1, self.epochs + 1):
            batches = torch.randperm(len(maps[0]), generator=generator).split(self.batch_size)
            self.losses_.append(descend(optimiser, (self._loss(maps, batch) for batch in batches), epoch))

    def _loss(self, maps: list[Tensor], batch: Tensor) -> Tensor:
        """Return the sum over scales for some of the pictures."""
        assert self.flows_ is not None
        pairs = zip(self.flows_, maps, strict=True)
        return torch.stack([negative_log_likelihood(*flow(m[batch])) for flow, m in pairs]).sum()

    def score(self, images: Tensor) -> Scores:
        """Score images (N,3,H,W) in [0,1], each by itself. Raises ValueError before `fit`."""
        if self.flows_ is None:
            raise ValueError("FastFlow has learnt no flow yet: call fit with normal images first.")
        check_images(images)
        return Scores.of_maps(torch.cat([self._one(image) for image in images.split(1)]))

    @torch.no_grad()
    def _one(self, image: Tensor) -> Tensor:
        assert self.flows_ is not None
        found = []
        for flow, maps, mean, std in zip(
            self.flows_, feature_maps(self.backbone, image), self.mean_, self.std_, strict=True
        ):
            found.append(improbability(flow((maps - mean) / std)[0], self.output))
        large = [
            F.interpolate(m[:, None], image.shape[-2:], mode="bilinear", align_corners=False) for m in found
        ]
        return torch.stack(large).mean(dim=0)[:, 0]


def negative_log_likelihood(z: Tensor, log_det: Tensor) -> Tensor:
    """Return the mean over images of ½|z|² − log det, 0-d: minus the log likelihood without its constant, not per dimension (Eq. 3)."""
    return (0.5 * z.flatten(1).square().sum(1) - log_det).mean()


def improbability(z: Tensor, output: str = "probability") -> Tensor:
    """Return a map (N,h,w) of z (N,C,h,w): −exp(−½ mean_c z²), or ½ mean_c z² with output="energy"; higher = less likely."""
    energy = 0.5 * z.square().mean(dim=1)
    return energy if output == "energy" else -torch.exp(-energy)


def log_density(z: Tensor, log_det: Tensor) -> Tensor:
    """Return log p (N,) of the points that a flow has sent to z (N,…), with all constants."""
    flat = z.flatten(1)
    return log_det - 0.5 * flat.square().sum(1) - 0.5 * flat.shape[1] * math.log(2 * math.pi)
