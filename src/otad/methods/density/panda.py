"""PANDA: pretrained features drawn together, not too far; how far a picture's are from its neighbours'.

Reiss et al., PANDA: Adapting Pretrained Features for Anomaly Detection and Segmentation (CVPR 2021). The last stages of a network
are tuned until normal pictures lie close to a centre c that is fixed beforehand: min mean ‖f(x) − c‖²/d. The best of all such networks
maps every picture to c and tells nothing any more: it has collapsed. So tuning stops early, or the weights are held where they were,
as strongly as the Fisher information of what they had learnt before says (elastic weight consolidation). The paper's third
way, to stop for each picture by itself, is not here. The public code looks at the test set after each epoch; here the last one counts.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from otad.checks import check_numbers, checked
from otad.features import check_images
from otad.features.pretrained import Backbone
from otad.methods import Scores
from otad.methods.density.spade import correspondence
from otad.methods.maps import smooth
from otad.methods.nearest import nearest
from otad.methods.training import descend


@checked
@dataclass
class PANDA:
    """The method of the paper.

    backbone   : a network of stages, of which a copy is tuned; its last map, pooled, is a picture's feature. The paper: ResNet152, stride 32.
    trained    : so many of its last stages are tuned; batch norm keeps its statistics. k : neighbours of a picture.
    epochs, lr, momentum, weight_decay, batch_size : of SGD; few epochs are the early stopping. clip : largest norm of a gradient, None = any.
    fisher     : of the tuned weights by name (`fisher_information`), for elastic weight consolidation of strength `lam`; None = none.
    neighbours : pictures in whose places a query's are looked up for the map, as SPADE does it. sigma : of the map's smoothing, in pixels.

    network_ : tuned; centre_ : c (C,); features_ : (N,C), maps_ : of the training pictures; losses_ : the mean of every epoch, the last counts.
    """

    backbone: Backbone
    trained: int = 2
    k: int = 2
    epochs: int = 15
    lr: float = 1e-2
    momentum: float = 0.9
    weight_decay: float = 5e-5
    batch_size: int = 32
    clip: float | None = 1e-3
    fisher: dict[str, Tensor] | None = None
    lam: float = 1e4
    neighbours: int = 50
    sigma: float | None = 4.0
    seed: int = 0
    network_: Backbone | None = field(default=None, init=False, repr=False)
    centre_: Tensor | None = field(default=None, init=False, repr=False)
    features_: Tensor | None = field(default=None, init=False, repr=False)
    maps_: list[Tensor] = field(default_factory=list, init=False, repr=False)
    losses_: list[float] = field(default_factory=list, init=False, repr=False)

    def fit(self, images: Tensor) -> Self:
        """Tune on normal images (N,3,H,W) in [0,1] and keep their features; epochs = 0 keeps the network as it came.

        Raises ValueError for bad or no images, settings out of range and a loss that is not finite.
        """
        check_numbers(self, "[1,inf)", "trained", "k", "batch_size", "neighbours")
        check_numbers(self, "(0,inf)", "lr", "clip")
        check_numbers(self, "[0,inf)", "epochs", "momentum", "weight_decay")
        check_images(images)
        network = self.build_network()
        self.centre_ = pooled(network, images).mean(dim=0)
        self._tune(network, images)
        self.network_ = network.requires_grad_(False)
        with torch.no_grad():
            parts = [network(image) for image in images.split(1)]
        self.maps_ = [torch.cat(scale) for scale in zip(*parts, strict=True)]
        self.features_ = self.maps_[-1].mean(dim=(2, 3))
        return self

    def build_network(self) -> Backbone:
        """Copy the backbone."""
        return copy.deepcopy(self.backbone)

    def tuned(self, network: Backbone) -> dict[str, nn.Parameter]:
        """Return the weights of a copy that are tuned, by name: those of the last stages."""
        last = list(network.stages)[-self.trained :]
        return {
            f"stages.{stage}.{name}": weight
            for stage in last
            for name, weight in network.stages[stage].named_parameters()
        }

    def _tune(self, network: Backbone, images: Tensor) -> None:
        weights, clip = self.tuned(network), self.clip
        start = {name: weight.detach().clone() for name, weight in weights.items()}
        values = list(weights.values())
        for weight in values:
            weight.requires_grad_()
        optimiser = torch.optim.SGD(values, self.lr, self.momentum, weight_decay=self.weight_decay)
        if clip is not None:
            optimiser.register_step_pre_hook(lambda *_: _clip(values, clip))  # `descend` steps by itself
        generator, self.losses_ = torch.Generator().manual_seed(self.seed), []
        for epoch in range(1, self.epochs + 1):
            batches = torch.randperm(len(images), generator=generator).split(self.batch_size)
            losses = (self._loss(network, images[batch], weights, start) for batch in batches)
            self.losses_.append(descend(optimiser, losses, epoch))

    def _loss(
        self, network: Backbone, images: Tensor, weights: Mapping[str, Tensor], start: Mapping[str, Tensor]
    ) -> Tensor:
        assert self.centre_ is not None
        loss = compactness(network(images)[-1].mean(dim=(2, 3)), self.centre_)
        if self.fisher is None:
            return loss
        return loss + self.lam / 2 * elasticity(weights, start, self.fisher)

    def score(self, images: Tensor) -> Scores:
        """Score images (N,3,H,W) in [0,1]: the sum of squared distances to the k nearest; maps are distances of places.

        Raises ValueError before `fit` and for bad images.
        """
        if self.network_ is None:
            raise ValueError("PANDA has tuned no network yet: call fit with normal images first.")
        check_images(images)
        maps, tops = zip(*(self._one(image) for image in images.split(1)), strict=True)
        return Scores(torch.cat(maps), torch.cat(tops))

    @torch.no_grad()
    def _one(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Score one image (1,3,H,W): its map (1,H,W) and its score (1,)."""
        assert self.network_ is not None
        assert self.features_ is not None
        maps, known = self.network_(image), len(self.features_)
        far, which = nearest(
            maps[-1].mean(dim=(2, 3)), self.features_, min(max(self.k, self.neighbours), known)
        )
        near = which[0, : self.neighbours]
        found = [
            F.interpolate(
                correspondence(query[0], gallery[near])[None, None], image.shape[-2:], mode="bilinear"
            )
            for query, gallery in zip(maps, self.maps_, strict=True)
        ]
        large = torch.stack(found).mean(dim=0)[0]
        return large if self.sigma is None else smooth(large, self.sigma), far[:, : self.k].square().sum(
            dim=1
        )


@torch.no_grad()
def pooled(network: Backbone, images: Tensor) -> Tensor:
    """Return the last map of a network, averaged over its places, for images (N,3,H,W): (N,C)."""
    return torch.cat([network(image)[-1].mean(dim=(2, 3)) for image in images.split(1)])


def compactness(features: Tensor, centre: Tensor) -> Tensor:
    """Return the mean over pictures of ‖f − c‖²/d for features (N,d) and a centre (d,): 0-d, 0 only if all of them are c."""
    return (features - centre).square().mean()


def elasticity(
    weights: Mapping[str, Tensor], start: Mapping[str, Tensor], fisher: Mapping[str, Tensor]
) -> Tensor:
    """Return Σ F (θ − θ₀)² over weights by name, 0-d. Raises ValueError where F lacks a weight or has another shape."""
    for name, weight in weights.items():
        if name not in fisher or fisher[name].shape != weight.shape:
            found = tuple(fisher[name].shape) if name in fisher else "missing"
            raise ValueError(
                f"the Fisher information of {name} is {found}: expected {tuple(weight.shape)}; see fisher_information."
            )
    return torch.stack([(fisher[n].to(w) * (w - start[n]).square()).sum() for n, w in weights.items()]).sum()


def fisher_information(weights: Mapping[str, Tensor], losses: Iterable[Tensor]) -> dict[str, Tensor]:
    """Return the mean squared gradient of losses in weights by name: the diagonal of Fisher's matrix if a loss is one picture's −log p.

    The paper takes the network's own classifier on ImageNet. Raises ValueError for no losses.
    """
    found, count = {name: torch.zeros_like(weight) for name, weight in weights.items()}, 0
    for loss in losses:
        gradients = torch.autograd.grad(loss, list(weights.values()))
        for name, gradient in zip(found, gradients, strict=True):
            found[name] += gradient.square()
        count += 1
    if not count:
        raise ValueError("there are no losses: expected one a picture or more.")
    return {name: total.detach() / count for name, total in found.items()}


def _clip(weights: list[nn.Parameter], clip: float) -> None:
    nn.utils.clip_grad_norm_(weights, clip)
