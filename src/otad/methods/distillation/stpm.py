"""STPM: an untrained copy of a network imitates the trained one on normal pictures, level by level; where it fails, something is new.

Wang et al., Student-Teacher Feature Pyramid Matching for Anomaly Detection (BMVC 2021). Vectors t of the teacher and s of the student are
brought to length 1, and at each place of each level  ½|t/|t| − s/|s||² = 1 − cos(t, s). The public code keeps the epoch with the least
loss on a fifth of the training pictures; here all of them are learnt from, and the last epoch counts. anomalib's loss is a sum over
the batch where the code's is a mean: its steps grow with the batch.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
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


@checked
@dataclass
class STPM:
    """The method of the paper.

    backbone : the teacher, never changed; the student is built as it is. The paper: ResNet18, strides 4, 8, 16, pictures of 256 pixels.
    epochs, lr, momentum, weight_decay, batch_size : of stochastic gradient descent.
    sigma    : of the map's smoothing, in image pixels; None = none, as in the paper.
    seed     : of the student's first weights and the batches.

    student_ : once fitted; losses_ : the mean of every epoch, the last one counts.
    """

    backbone: Backbone
    epochs: int = 100
    lr: float = 0.4
    momentum: float = 0.9
    weight_decay: float = 1e-4
    batch_size: int = 32
    sigma: float | None = None
    seed: int = 0
    student_: Backbone | None = field(default=None, init=False, repr=False)
    losses_: list[float] = field(default_factory=list, init=False, repr=False)

    def fit(self, images: Tensor) -> Self:
        """Learn from normal images (N,3,H,W) in [0,1]; the teacher sees each once, and its maps are kept, 4 N Σ C h w bytes.

        Raises ValueError for bad or no images, settings out of range and a loss that is not finite.
        """
        check_numbers(self, "[1,inf)", "epochs", "batch_size")
        check_numbers(self, "(0,inf)", "lr")
        check_numbers(self, "[0,1)", "momentum")
        check_numbers(self, "[0,inf)", "weight_decay")
        check_images(images)
        taught, student = teach(self.backbone, images), self.build_student()
        student.requires_grad_(True).train()
        optimiser = torch.optim.SGD(
            student.parameters(), self.lr, self.momentum, weight_decay=self.weight_decay
        )
        generator, self.losses_ = torch.Generator().manual_seed(self.seed), []
        for epoch in range(1, self.epochs + 1):
            batches = torch.randperm(len(images), generator=generator).split(self.batch_size)
            losses = (pyramid_loss([m[b] for m in taught], student(images[b])) for b in batches)
            self.losses_.append(descend(optimiser, losses, epoch))
        self.student_ = student.eval().requires_grad_(False)
        return self

    def build_student(self) -> Backbone:
        """Build the teacher's twin, its weights drawn from the seed."""
        return untrained(self.backbone, self.seed)

    def score(self, images: Tensor) -> Scores:
        """Score images (N,3,H,W) in [0,1], each by itself: maps are products over levels, in [0, 2^levels]. Raises ValueError before `fit`."""
        if self.student_ is None:
            raise ValueError("STPM has no student yet: call fit with normal images first.")
        check_images(images)
        return Scores.of_maps(torch.cat([self._one(image) for image in images.split(1)]))

    @torch.no_grad()
    def _one(self, image: Tensor) -> Tensor:
        assert self.student_ is not None
        size = (image.shape[-2], image.shape[-1])
        large = pyramid_map(self.backbone(image), self.student_(image), size)
        return large if self.sigma is None else smooth(large, self.sigma)


def distances(taught: Tensor, learnt: Tensor) -> Tensor:
    """Return ½|t/|t| − s/|s||² of maps (N,C,h,w), place by place: (N,h,w), in [0,2]."""
    return 0.5 * (F.normalize(taught, dim=1) - F.normalize(learnt, dim=1)).square().sum(dim=1)


def pyramid_loss(taught: Sequence[Tensor], learnt: Sequence[Tensor]) -> Tensor:
    """Return the sum over levels of the mean of |t/|t| − s/|s||², 0-d: twice the distance, as in the code that the rate of 0.4 belongs to."""
    return 2 * torch.stack([distances(t, s).mean() for t, s in zip(taught, learnt, strict=True)]).sum()


def pyramid_map(taught: Sequence[Tensor], learnt: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """Return the product over levels of the distances, each resized first: (N,H,W)."""
    levels = [
        F.interpolate(distances(t, s)[:, None], size, mode="bilinear", align_corners=False)
        for t, s in zip(taught, learnt, strict=True)
    ]
    return torch.stack(levels).prod(dim=0)[:, 0]


def untrained(backbone: Backbone, seed: int) -> Backbone:
    """Return a copy of a network with weights drawn anew, as torchvision draws a ResNet's: He's normal ones, by what goes out."""
    found = copy.deepcopy(backbone)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for module in found.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
                module.momentum = (
                    0.1  # some networks have 0.01, too slow for a student of a few hundred steps
                )
            elif isinstance(module, nn.Conv2d):
                like = module.weight
                drawn = nn.init.kaiming_normal_(torch.empty(like.shape), mode="fan_out", nonlinearity="relu")
                like.copy_(drawn)  # drawn on the CPU, so that a seed is the same everywhere
                if module.bias is not None:
                    module.bias.zero_()
    return found
