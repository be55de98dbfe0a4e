"""Patch SVDD: an encoder of patches that tells where a neighbour lay; how far each patch is from all patches known.

Yi and Yoon, Patch SVDD: Patch-level SVDD for Anomaly Detection and Segmentation (ACCV 2020). Two tasks: name on which of eight sides
a second patch lay, and give patches next to each other the same code, ‖h(p) − h(p′)‖². Patches of two sizes, of which the larger is
encoded through its quarters; a picture's map is the product of both. Two things differ from the public code. It has the norm where the
paper has its square. And it pushes a second patch that would lie outside back into the picture, so that near the border a label may
name a side on which the patch does not lie; here both patches are drawn so that they fit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import ceil
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from otad.checks import check_numbers, check_room, checked
from otad.features import check_images
from otad.methods import Scores
from otad.methods.nearest import nearest
from otad.methods.pretext.encoders import Encoders
from otad.methods.pretext.patches import distribute, sliding
from otad.methods.training import descend

# Up and left of the first patch, up, up and right, left, right, …: (rows, columns).
DIRECTIONS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
Corner = tuple[int, int]


@checked
@dataclass
class PatchSVDD:
    """The method of the paper.

    patch_size : side of the larger patches, a multiple of 16; the smaller are half of it. strides : between patches of both when scored.
    dimension  : of a code. width : channels of the encoder's first layer. lam : weight of the second task. squared : its distance, as printed.
    noise      : of colours and pixels of the first task's patches.
    epochs, crops, lr, batch_size : of Adam; an epoch sees `crops` patches of each picture in each task.

    network_ : encoders and classifiers; mean_, std_ : of the colours; memory_ : the codes of all training patches, large and small;
    losses_ : the mean of every epoch, the last one counts.
    """

    patch_size: int = 64
    strides: tuple[int, int] = (16, 4)
    dimension: int = 64
    width: int = 32
    lam: float = 1.0
    squared: bool = True
    noise: float = 0.02
    epochs: int = 300
    crops: int = 100
    lr: float = 1e-4
    batch_size: int = 64
    seed: int = 0
    network_: Encoders | None = field(default=None, init=False, repr=False)
    mean_: Tensor | None = field(default=None, init=False, repr=False)
    std_: Tensor | None = field(default=None, init=False, repr=False)
    memory_: list[Tensor] = field(default_factory=list, init=False, repr=False)
    losses_: list[float] = field(default_factory=list, init=False, repr=False)

    @property
    def sides(self) -> tuple[int, int]:
        """Sides of large and small patches."""
        return self.patch_size, self.patch_size // 2

    def fit(self, images: Tensor) -> Self:
        """Learn from normal images (N,3,H,W) in [0,1], sides of twice the patch or more.

        Raises ValueError for bad or no images, settings out of range and a loss that is not finite.
        """
        check_numbers(self, "[1,inf)", "dimension", "width", "epochs", "crops", "batch_size")
        check_numbers(self, "(0,inf)", "lr")
        if min(self.strides) < 1 or self.patch_size % 16 or self.patch_size < 16:
            raise ValueError(
                f"patch_size is {self.patch_size}, strides {self.strides}: expected a multiple of 16, and 1 or more."
            )
        check_images(images, smallest=2 * self.patch_size)
        check_room(f"width = {self.width}", 144, self.width, self.width)
        check_room(f"batch_size = {self.batch_size}", 6 * self.batch_size, self.patch_size, self.patch_size)
        self.mean_ = images.mean(dim=(0, 2, 3), keepdim=True)
        self.std_ = images.std(dim=(0, 2, 3), keepdim=True).clamp_min(1e-6)
        network, pictures = self.build_network().to(images), (images - self.mean_) / self.std_
        optimiser = torch.optim.Adam(network.parameters(), lr=self.lr)
        rng, self.losses_ = np.random.default_rng(self.seed), []
        for epoch in range(1, self.epochs + 1):
            self.losses_.append(descend(optimiser, self._losses(network, pictures, rng), epoch))
        self.network_ = network.eval().requires_grad_(False)
        codes = zip(*(self._codes(picture) for picture in pictures.split(1)), strict=True)
        self.memory_ = [torch.cat([c.flatten(0, 1) for c in size]) for size in codes]
        return self

    def build_network(self) -> Encoders:
        """Build encoders and classifiers, untrained."""
        return Encoders(self.patch_size, self.dimension, self.width, self.seed)

    def _losses(self, network: Encoders, pictures: Tensor, rng: np.random.Generator) -> Iterator[Tensor]:
        """Yield the losses of an epoch: both tasks in both sizes."""
        encoders, classifiers = (network.large, network.small), (network.large_side, network.small_side)
        for _ in range(ceil(len(pictures) * self.crops / self.batch_size)):
            total = pictures.new_zeros(())
            for side, encode, classify in zip(self.sides, encoders, classifiers, strict=True):
                first, second, labels = self._pairs(pictures, side, rng)
                total = total + F.cross_entropy(classify(encode(first) - encode(second)), labels)
                first, second = self._close(pictures, side, rng)
                total = total + self.lam * closeness(encode(first), encode(second), self.squared)
            yield total

    def _pairs(self, pictures: Tensor, side: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Return a batch of the first task: patches, their neighbours, and which of DIRECTIONS these lie in."""
        size = (pictures.shape[2], pictures.shape[3])
        drawn = [neighbours(size, side, rng) for _ in range(self.batch_size)]
        patches = _cut(pictures, [corners for corners, _ in drawn], side, rng)
        for shape in ((2, self.batch_size, 3, 1, 1), patches.shape):
            patches = patches + self.noise * torch.from_numpy(rng.standard_normal(shape)).to(patches)
        return patches[0], patches[1], torch.tensor([label for _, label in drawn], device=pictures.device)

    def _close(self, pictures: Tensor, side: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return a batch of the second task: patches and others a pixel or two beside them."""
        size = (pictures.shape[2], pictures.shape[3])
        first, second = _cut(pictures, [beside(size, side, rng) for _ in range(self.batch_size)], side, rng)
        return first, second

    @torch.no_grad()
    def _codes(self, picture: Tensor) -> list[Tensor]:
        """Return the codes of all patches of one standardised picture (1,3,H,W): (rows,columns,D), large and small."""
        assert self.network_ is not None
        found = []
        for side, stride, encode in zip(
            self.sides, self.strides, (self.network_.large, self.network_.small), strict=True
        ):
            rows = sliding(picture, side, stride)[0]
            found.append(torch.stack([encode(row) for row in rows]))
        return found

    def score(self, images: Tensor) -> Scores:
        """Score images (N,3,H,W) in [0,1]: distances of patches to the nearest known, spread over their pixels, multiplied over the two sizes.

        Raises ValueError before `fit` and for bad images.
        """
        if self.network_ is None or self.mean_ is None or self.std_ is None:
            raise ValueError("PatchSVDD has trained no encoder yet: call fit with normal images first.")
        check_images(images, smallest=self.patch_size)
        pictures = (images - self.mean_) / self.std_
        return Scores.of_maps(torch.cat([self._one(picture) for picture in pictures.split(1)]))

    def _one(self, picture: Tensor) -> Tensor:
        total, size = torch.ones_like(picture[:, 0]), (picture.shape[2], picture.shape[3])
        for codes, memory, side, stride in zip(
            self._codes(picture), self.memory_, self.sides, self.strides, strict=True
        ):
            far, _ = nearest(codes.flatten(0, 1), memory)
            total = total * distribute(far.view(1, *codes.shape[:2]), size, side, stride)
        return total


def closeness(first: Tensor, second: Tensor, squared: bool = True) -> Tensor:
    """Return the mean squared distance of codes (n,D) in pairs, 0-d; squared=False: the mean distance, as in the public code."""
    away = (first - second).square().sum(dim=1)
    return away.mean() if squared else torch.linalg.vector_norm(first - second, dim=1).mean()


def neighbours(
    size: tuple[int, int], side: int, rng: np.random.Generator
) -> tuple[tuple[Corner, Corner], int]:
    """Draw two patches of a picture of this size, the second ¾ to 1 side away in one of DIRECTIONS: their corners, and which it is."""
    label = int(rng.integers(8))
    steps = [d * (3 * side // 4 + int(rng.integers(max(1, side // 4)))) for d in DIRECTIONS[label]]
    first = [
        int(rng.integers(max(0, -s), n - side - max(0, s) + 1)) for s, n in zip(steps, size, strict=True)
    ]
    return ((first[0], first[1]), (first[0] + steps[0], first[1] + steps[1])), label


def beside(size: tuple[int, int], side: int, rng: np.random.Generator) -> tuple[Corner, Corner]:
    """Draw two patches of a picture of this size, up to 1/32 of a side and at least a pixel apart: their corners."""
    y, x = (int(rng.integers(n - side + 1)) for n in size)
    while True:
        v, u = (int(rng.integers(-max(1, side // 32), max(1, side // 32) + 1)) for _ in size)
        if (v or u) and 0 <= y + v <= size[0] - side and 0 <= x + u <= size[1] - side:
            return (y, x), (y + v, x + u)


def _cut(
    pictures: Tensor, corners: list[tuple[Corner, Corner]], side: int, rng: np.random.Generator
) -> Tensor:
    """Cut both patches of each pair out of a picture drawn for it: (2,n,3,side,side)."""
    which = rng.integers(len(pictures), size=len(corners))
    return torch.stack(
        [
            torch.stack(
                [
                    pictures[int(n), :, y : y + side, x : x + side]
                    for n, (y, x) in zip(which, place, strict=True)
                ]
            )
            for place in zip(*corners, strict=True)
        ]
    )
