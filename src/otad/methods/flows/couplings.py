"""What the flows share: couplings that change one half of the channels by a function of the other, so that both ways are cheap.

A coupling maps x (N,C) or (N,C,h,w) to z of the same shape and the logarithm of the determinant of its Jacobian, (N,). By the change of
variables, log p(x) = log N(z; 0, 1) + log det. Sources: Dinh et al., Density estimation using Real NVP (ICLR 2017); Kingma and Dhariwal,
Glow (NeurIPS 2018); Ardizzone et al., Guided Image Generation with Conditional INNs (2019) for the all-in-one block.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from otad.checks import checked

Subnet = Callable[[int, int], nn.Module]  # channels in, channels out → a network that keeps the other axes


class AllInOne(nn.Module):
    """The second part is scaled and shifted, everything is scaled and shifted once more, then the channels change places.

    channels  : C. subnet : builds the network (its last layer is scaled by 0.1 here). condition : channels that are shown to it as well.
    clamp     : the largest logarithm of a scale. seed : of the permutation; the weights are the subnet's own affair.
    """

    permutation: Tensor

    @checked
    def __init__(
        self, channels: int, subnet: Callable, clamp: float = 2.0, condition: int = 0, seed: int = 0
    ) -> None:
        """Raises ValueError for fewer than two channels and a clamp that is not above 0."""
        super().__init__()
        if channels < 2 or not clamp > 0:
            raise ValueError(
                f"channels is {channels}, clamp {clamp}: expected two channels or more, and a clamp above 0."
            )
        self.sizes, self.clamp = (channels - channels // 2, channels // 2), clamp
        self.subnet = subnet(self.sizes[0] + condition, 2 * self.sizes[1])
        self.global_scale = nn.Parameter(
            torch.full((channels,), 2 * math.log(math.expm1(5.0)))
        )  # a scale of 1
        self.global_offset = nn.Parameter(torch.zeros(channels))
        order = torch.randperm(channels, generator=torch.Generator().manual_seed(seed))
        self.register_buffer("permutation", order)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return z and the log determinant (N,)."""
        first, second = x.split(self.sizes, dim=1)
        s, t = self._coupling(first, condition)
        scale, offset = self._affine(x)
        z = torch.cat([first, second * s.exp() + t], dim=1) * scale + offset
        places = x[0, 0].numel()
        return z[:, self.permutation], s.flatten(1).sum(1) + places * scale.log().sum()

    def inverse(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the x that `forward` makes z of."""
        scale, offset = self._affine(z)
        x = (z[:, self.permutation.argsort()] - offset) / scale
        first, second = x.split(self.sizes, dim=1)
        s, t = self._coupling(first, condition)
        return torch.cat([first, (second - t) * (-s).exp()], dim=1)

    def _coupling(self, first: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        seen = first if condition is None else torch.cat([first, condition], dim=1)
        s, t = (0.1 * self.subnet(seen)).chunk(2, dim=1)
        return self.clamp * torch.tanh(s), t

    def _affine(self, x: Tensor) -> tuple[Tensor, Tensor]:
        shape = (1, -1, *[1] * (x.ndim - 2))
        scale = 0.1 * F.softplus(self.global_scale, beta=0.5)
        return scale.view(shape), self.global_offset.view(shape)


class Glow(nn.Module):
    """The channels change places; then the first part is changed by a function of the second, and the second by one of the new first.

    Arguments as in `AllInOne`; the scale's logarithm is clamp · 0.636 · atan(· / clamp), below the clamp by construction.
    """

    permutation: Tensor

    @checked
    def __init__(self, channels: int, subnet: Callable, clamp: float = 3.0, seed: int = 0) -> None:
        """Raises ValueError for fewer than two channels and a clamp that is not above 0."""
        super().__init__()
        if channels < 2 or not clamp > 0:
            raise ValueError(
                f"channels is {channels}, clamp {clamp}: expected two channels or more, and a clamp above 0."
            )
        self.sizes, self.clamp = (channels // 2, channels - channels // 2), clamp
        self.of_first = subnet(self.sizes[0], 2 * self.sizes[1])
        self.of_second = subnet(self.sizes[1], 2 * self.sizes[0])
        self.register_buffer(
            "permutation", torch.randperm(channels, generator=torch.Generator().manual_seed(seed))
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and the log determinant (N,)."""
        first, second = x[:, self.permutation].split(self.sizes, dim=1)
        s2, t2 = scale_and_shift(self.of_second(second), self.clamp)
        first = first * s2.exp() + t2
        s1, t1 = scale_and_shift(self.of_first(first), self.clamp)
        z = torch.cat([first, second * s1.exp() + t1], dim=1)
        return z, s1.flatten(1).sum(1) + s2.flatten(1).sum(1)

    def inverse(self, z: Tensor) -> Tensor:
        """Return the x that `forward` makes z of."""
        first, second = z.split(self.sizes, dim=1)
        s1, t1 = scale_and_shift(self.of_first(first), self.clamp)
        second = (second - t1) * (-s1).exp()
        s2, t2 = scale_and_shift(self.of_second(second), self.clamp)
        first = (first - t2) * (-s2).exp()
        return torch.cat([first, second], dim=1)[:, self.permutation.argsort()]


def scale_and_shift(said: Tensor, clamp: float) -> tuple[Tensor, Tensor]:
    """Return the logarithm of a scale, below the clamp, and a shift, each half of the channels that a network said."""
    s, t = said.chunk(2, dim=1)
    return clamp * 0.636 * torch.atan(s / clamp), t


class Flow(nn.Module):
    """Couplings one after the other."""

    def __init__(self, couplings: Iterable[nn.Module]) -> None:
        """Keep them in order."""
        super().__init__()
        self.couplings = nn.ModuleList(couplings)

    def forward(self, x: Tensor, *condition: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and the log determinant (N,) of all couplings together."""
        total = x.new_zeros(len(x))
        for coupling in self.couplings:
            x, log_det = coupling(x, *condition)
            total = total + log_det
        return x, total

    def inverse(self, z: Tensor, *condition: Tensor) -> Tensor:
        """Return the x that `forward` makes z of."""
        for coupling in reversed(list(self.couplings)):
            z = cast(AllInOne, coupling).inverse(z, *condition)
        return z


def convolutions(kernel: int, ratio: float = 1.0) -> Subnet:
    """Return a builder of two convolutions, same size, hidden channels = ratio · channels in (FastFlow, Sec. 3.2)."""

    def build(channels: int, out: int) -> nn.Module:
        hidden = max(1, int(channels * ratio))
        pad = kernel // 2
        return nn.Sequential(
            nn.Conv2d(channels, hidden, kernel, padding=pad),
            nn.ReLU(),
            nn.Conv2d(hidden, out, kernel, padding=pad),
        )

    return build


def linear(factor: int = 2) -> Subnet:
    """Return a builder of two linear layers, hidden width = factor · width in (CFLOW, Sec. 3.2)."""
    return lambda width, out: nn.Sequential(
        nn.Linear(width, factor * width), nn.ReLU(), nn.Linear(factor * width, out)
    )
