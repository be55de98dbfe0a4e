"""The networks of Patch SVDD: encoders of patches, the large through its quarters, and classifiers of sides.

Yi and Yoon, Patch SVDD: Patch-level SVDD for Anomaly Detection and Segmentation (ACCV 2020); widths are those of the public
code, whose classifier has a last layer of unit weights without a gradient. Here it is an ordinary one.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn


class Encoders(nn.Module):
    """Encoders of large and small patches, and for each a classifier of sides."""

    def __init__(self, side: int, dimension: int, width: int, seed: int) -> None:
        """Draw all weights from `seed`; the large encoder looks through the small one."""
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.small = Small(side // 2, dimension, width)
            self.large = Large(self.small, dimension, 4 * width)
            self.large_side, self.small_side = (
                nn.Sequential(
                    *(nn.Linear(dimension, 4 * width), nn.LeakyReLU(0.1)),
                    *(nn.Linear(4 * width, 4 * width), nn.LeakyReLU(0.1)),
                    nn.Linear(4 * width, 8),
                )
                for _ in range(2)
            )


class Small(nn.Module):
    """Patches (n,3,K,K) → codes (n,D) in (−1,1): 3×3 convolutions without a border, the first with stride 2, until one place is left."""

    def __init__(self, side: int, dimension: int, width: int) -> None:
        """Build eight layers for patches of 32 pixels, fewer for smaller ones."""
        super().__init__()
        more = ((side - 1) // 2 - 1) // 2  # layers of stride 1, each of which takes two pixels
        middle = [width * m for m in (1, 2, 4, 4, 2, 1, 1)]
        wide = [3, *(middle[min(i, 6)] for i in range(more)), dimension]
        layers: list[nn.Module] = []
        for i, (a, b) in enumerate(pairwise(wide)):
            layers += [nn.Conv2d(a, b, 3, 1 if i else 2), nn.LeakyReLU(0.1)]
        self.layers = nn.Sequential(*layers[:-1], nn.Tanh())

    def forward(self, patches: Tensor) -> Tensor:
        """Return the codes."""
        return self.layers(patches).flatten(1)


class Large(nn.Module):
    """Patches (n,3,2K,2K) → codes (n,D): those of the four quarters, joined."""

    def __init__(self, small: Small, dimension: int, hidden: int) -> None:
        """Take the encoder of the quarters, which is shared."""
        super().__init__()
        self.small = small
        layers = (
            nn.Conv2d(dimension, hidden, 2),
            nn.LeakyReLU(0.1),
            nn.Conv2d(hidden, dimension, 1),
            nn.Tanh(),
        )
        self.join = nn.Sequential(*layers)

    def forward(self, patches: Tensor) -> Tensor:
        """Return the codes."""
        n, half = len(patches), patches.shape[-1] // 2
        quarters = [patches[..., y : y + half, x : x + half] for y in (0, half) for x in (0, half)]
        codes = self.small(torch.cat(quarters)).view(2, 2, n, -1)
        return self.join(codes.permute(2, 3, 0, 1)).flatten(1)
