"""Reverse distillation (RD4AD): a student rebuilds the teacher's maps from a narrow code of them, deepest first.

Deng and Li, Anomaly Detection via Reverse Distillation from One-Class Embedding (CVPR 2022). At each place of each level the score is
1 − cos(t, s), and levels are added up. The paper's loss is the mean of the same; its code takes one cosine of a whole
map, flattened, in the loss, but judges place by place. `Student` is a small one; `GNL` is this and two things more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import log2
from typing import Literal, Self

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
class ReverseDistillation:
    """The method of the paper.

    backbone : the teacher, never changed, of two or more stages. The paper: WideResNet50-2, strides 4, 8, 16, pictures of 256 pixels.
    width    : None = the paper's student, as large as the teacher, for stages that double their strides and end with a ReLU, as it does;
               a number = the small `Student`, with so many channels where its map is finest, for any stages.
    loss     : "places" (the paper) or "flattened" (its code). combine : of the levels' maps; the code offers both, and adds.
    align_corners : of the maps' resizing; True in the code.
    epochs, lr, batch_size : of Adam. sigma : of the map's smoothing, in image pixels; None = none.

    student_ : once fitted; losses_ : the mean of every epoch, the last one counts.
    """

    backbone: Backbone
    width: int | None = None
    loss: Literal["places", "flattened"] = "places"
    combine: Literal["add", "multiply"] = "add"
    align_corners: bool = True
    epochs: int = 200
    lr: float = 0.005
    batch_size: int = 16
    sigma: float | None = 4.0
    seed: int = 0
    student_: nn.Module | None = field(default=None, init=False, repr=False)
    losses_: list[float] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse settings without meaning and stages that no student can be built for."""
        check_numbers(self, "[1,inf)", "epochs", "batch_size", "width")
        check_numbers(self, "(0,inf)", "lr")
        if self.loss not in ("places", "flattened") or self.combine not in ("add", "multiply"):
            raise ValueError(
                f"loss is {self.loss!r}, combine {self.combine!r}: expected 'places' or 'flattened', 'add' or 'multiply'."
            )
        strides = self.backbone.strides
        if len(strides) < 2 or (self.width is None and any(b != 2 * a for a, b in pairwise(strides))):
            raise ValueError(
                f"{self.backbone.name} has strides {strides}: expected two or more, each twice the one before, such as (4, 8, 16); "
                "or give the student a width."
            )

    def fit(self, images: Tensor) -> Self:
        """Learn from normal images (N,3,H,W) in [0,1]; the teacher sees each once, and its maps are kept, 4 N Σ C h w bytes.

        Raises ValueError for bad or no images, sides that the paper's student cannot halve, and a loss that is not finite.
        """
        check_images(images)
        deepest = 2 * self.backbone.strides[-1]
        if self.width is None and any(side % deepest for side in images.shape[-2:]):
            raise ValueError(
                f"images are {tuple(images.shape)}: expected sides that are multiples of {deepest}; resize them."
            )
        taught = teach(self.backbone, images)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            student = self.build_student().to(images).train()
        optimiser = torch.optim.Adam(student.parameters(), self.lr, betas=(0.5, 0.999))
        generator, self.losses_ = torch.Generator().manual_seed(self.seed), []
        for epoch in range(1, self.epochs + 1):
            batches = torch.randperm(len(images), generator=generator).split(self.batch_size)
            losses = (self._loss(student, [m[batch] for m in taught]) for batch in batches)
            self.losses_.append(descend(optimiser, losses, epoch))
        self.student_ = student.eval().requires_grad_(False)
        return self

    def build_student(self) -> nn.Module:
        """Build the student of this backbone, untrained: teacher's maps → the code, and maps of the same shapes."""
        if self.width is None:
            return Mirror(self.backbone.channels)
        return Student(self.backbone.channels, self.backbone.strides, self.width)

    def _loss(self, student: nn.Module, maps: list[Tensor]) -> Tensor:
        _, rebuilt = student(maps)
        return (gap if self.loss == "places" else flattened_gap)(maps, rebuilt)

    def score(self, images: Tensor) -> Scores:
        """Score images (N,3,H,W) in [0,1], each by itself: maps are in [0, 2 · stages] if added. Raises ValueError before `fit`."""
        if self.student_ is None:
            raise ValueError("ReverseDistillation has no student yet: call fit with normal images first.")
        check_images(images)
        return Scores.of_maps(torch.cat([self._one(image) for image in images.split(1)]))

    @torch.no_grad()
    def _one(self, image: Tensor) -> Tensor:
        assert self.student_ is not None
        taught = self.backbone(image)
        size = (image.shape[-2], image.shape[-1])
        large = cosine_map(taught, self.student_(taught)[1], size, self.combine, self.align_corners)
        return large if self.sigma is None else smooth(large, self.sigma)


def gap(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    """Σ over maps of the mean of 1 − cosine, place by place; maps (N,C,h,w) in pairs."""
    return torch.stack(
        [(1 - F.cosine_similarity(a, b)).mean() for a, b in zip(first, second, strict=True)]
    ).sum()


def flattened_gap(taught: Sequence[Tensor], learnt: Sequence[Tensor]) -> Tensor:
    """Return the sum over levels of the mean over pictures of 1 − cosine of whole maps, 0-d: the public code's loss."""
    pairs = [(t.flatten(1), s.flatten(1)) for t, s in zip(taught, learnt, strict=True)]
    return torch.stack([(1 - F.cosine_similarity(t, s)).mean() for t, s in pairs]).sum()


def cosine_map(
    taught: Sequence[Tensor],
    learnt: Sequence[Tensor],
    size: tuple[int, int],
    combine: str = "add",
    align_corners: bool = True,
) -> Tensor:
    """Return 1 − cosine of maps (N,C,h,w) place by place, resized, summed or multiplied over levels: (N,H,W)."""
    levels = [
        F.interpolate(
            (1 - F.cosine_similarity(t, s))[:, None], size, mode="bilinear", align_corners=align_corners
        )
        for t, s in zip(taught, learnt, strict=True)
    ]
    stacked = torch.stack(levels)[:, :, 0]
    return stacked.sum(dim=0) if combine == "add" else stacked.prod(dim=0)


class Mirror(nn.Module):
    """The paper's student: all maps are brought to the deepest one's size, squeezed into a code, and a ResNet turned round rebuilds them.

    channels : of the teacher's maps, ascending. Levels of the decoder have 3, 4 and 6 blocks, as WideResNet50-2 has, deepest first, and the
    squeeze has 3; share : of a block's channels that are inside it: 1/2 as in that network (1/4 in ResNet50, and in anomalib's squeeze).
    """

    def __init__(
        self, channels: Sequence[int], blocks: Sequence[int] = (3, 4, 6), share: float = 0.5
    ) -> None:
        """Draw the weights, He's normal ones, by what goes out."""
        super().__init__()
        levels, last = len(channels), channels[-1]
        self.down = nn.ModuleList(
            nn.Sequential(*[_halved(a, b) for a, b in pairwise(channels[k:])]) for k in range(levels)
        )
        squeeze = [Block(levels * last, 2 * last, share, "down")]
        self.squeeze = nn.Sequential(*squeeze, *[Block(2 * last, 2 * last, share) for _ in range(2)])
        self.rise = nn.ModuleList()
        depth = [*blocks, *[blocks[-1]] * levels]
        for k, (a, b) in enumerate(pairwise([2 * last, *reversed(channels)])):
            rest = [Block(b, b, share) for _ in range(depth[k] - 1)]
            self.rise.append(nn.Sequential(Block(a, b, share, "up"), *rest))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return the code (N,2C,h/2,w/2 of the deepest map) and one map for each that came."""
        code = x = self.squeeze(torch.cat([layers(m) for layers, m in zip(self.down, maps, strict=True)], 1))
        rebuilt: list[Tensor] = []
        for level in self.rise:
            x = level(x)
            rebuilt.insert(0, x)
        return code, rebuilt


class Block(nn.Module):
    """ResNet's bottleneck block; its middle convolution keeps the size, halves it, or, transposed, doubles it."""

    def __init__(
        self, c_in: int, c_out: int, share: float, size: Literal["same", "down", "up"] = "same"
    ) -> None:
        """Take channels in and out, and the share of those out that are inside."""
        super().__init__()
        inside = max(1, round(share * c_out))

        def resized(a: int, b: int, kernel: int) -> nn.Module:
            if size == "up":
                return nn.ConvTranspose2d(a, b, 2, 2, bias=False)
            return nn.Conv2d(a, b, kernel, 2 if size == "down" else 1, kernel // 2, bias=False)

        self.body = nn.Sequential(
            *(nn.Conv2d(c_in, inside, 1, bias=False), nn.BatchNorm2d(inside), nn.ReLU()),
            *(resized(inside, inside, 3), nn.BatchNorm2d(inside), nn.ReLU()),
            *(nn.Conv2d(inside, c_out, 1, bias=False), nn.BatchNorm2d(c_out)),
        )
        same = size == "same" and c_in == c_out
        self.beside = nn.Identity() if same else nn.Sequential(resized(c_in, c_out, 1), nn.BatchNorm2d(c_out))

    def forward(self, x: Tensor) -> Tensor:
        """Return a map of c_out channels."""
        return torch.relu(self.body(x) + self.beside(x))


def _halved(a: int, b: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(a, b, 3, 2, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU())


class Student(nn.Module):
    """Bottleneck and decoder: maps of the teacher → a code at half the deepest map's size → the maps again."""

    def __init__(self, channels: Sequence[int], strides: Sequence[int], width: int) -> None:
        """Take channels and strides of the teacher's maps, ascending, and the channels of the finest decoded map."""
        super().__init__()
        wide = [width * 2**k for k in range(len(channels))]
        halvings = [round(log2(strides[-1] / s)) for s in strides]
        self.squeeze = nn.ModuleList(
            nn.Sequential(*[_layer(c if i == 0 else w, w, 2) for i in range(n)] or [_layer(c, w, 1)])
            for c, w, n in zip(channels, wide, halvings, strict=True)
        )
        self.join = _layer(sum(wide), wide[-1], 2)
        inputs = [*wide[1:], wide[-1]]
        self.decode = nn.ModuleList(_layer(a, b, 1) for a, b in zip(inputs, wide, strict=True))
        self.give = nn.ModuleList(nn.Conv2d(w, c, 1) for w, c in zip(wide, channels, strict=True))

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return the code (N,2^(stages−1)·width,h/2,w/2 of the deepest map) and one map for each that came."""
        small = [layers(m) for layers, m in zip(self.squeeze, maps, strict=True)]
        code = x = self.join(torch.cat(small, 1))
        decoded: list[Tensor] = []
        for k in reversed(range(len(maps))):  # deepest first: hence "reverse"
            x = self.decode[k](F.interpolate(x, maps[k].shape[-2:], mode="bilinear"))
            decoded.insert(0, self.give[k](x))
        return code, decoded


def _layer(c_in: int, c_out: int, stride: int) -> nn.Sequential:
    conv = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(c_out), nn.ReLU())
