"""Couplings on maps of several sizes at once: what `couplings.Glow` does to one map, with networks that see all of them.

Rudolph et al., Fully Convolutional Cross-Scale-Flows for Image-based Defect Detection (WACV 2022). The inverse of the public code is
wrong (it takes the shift of one half from the other half's network); nothing there calls it. Here it inverts.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from otad.checks import checked
from otad.methods.flows.couplings import Flow, scale_and_shift


class CrossConvolutions(nn.Module):
    """Maps of all scales → maps of all scales: each hidden map also goes, resized, to the next finer and the next coarser scale.

    γ, a factor a scale, starts at 0: a new coupling changes nothing.
    """

    def __init__(self, channels: int, out: int, hidden: int, kernel: int, scales: int = 3) -> None:
        """Take the channels in and out of every scale, and the side of all kernels."""
        super().__init__()

        def convolution(a: int, b: int, stride: int = 1) -> nn.Conv2d:
            return nn.Conv2d(a, b, kernel, stride, kernel // 2)

        self.first = nn.ModuleList(convolution(channels, hidden) for _ in range(scales))
        self.second = nn.ModuleList(convolution(hidden, out) for _ in range(scales))
        self.up = nn.ModuleList(convolution(hidden, out) for _ in range(scales - 1))  # from k + 1 to k
        self.down = nn.ModuleList(convolution(hidden, out, 2) for _ in range(scales - 1))  # from k to k + 1
        self.gamma = nn.Parameter(torch.zeros(scales))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return one map (N,out,h,w) a scale."""
        inner = [F.leaky_relu(layer(m), 0.1) for layer, m in zip(self.first, maps, strict=True)]
        outer = [layer(m) for layer, m in zip(self.second, inner, strict=True)]
        for k, (up, down) in enumerate(zip(self.up, self.down, strict=True)):
            larger = F.interpolate(inner[k + 1], scale_factor=2.0, mode="bilinear", align_corners=False)
            outer[k], outer[k + 1] = outer[k] + up(larger), outer[k + 1] + down(inner[k])
        return [g * m for g, m in zip(self.gamma, outer, strict=True)]


class CrossGlow(nn.Module):
    """`couplings.Glow` on maps of several scales at once, whose networks see all of them."""

    permutation: Tensor

    @checked
    def __init__(
        self, channels: int, hidden: int, kernel: int = 3, scales: int = 3, clamp: float = 3.0, seed: int = 0
    ) -> None:
        """Raises ValueError for fewer than two channels, an even kernel and a clamp that is not above 0."""
        super().__init__()
        if channels < 2 or kernel % 2 == 0 or not clamp > 0:
            raise ValueError(
                f"channels is {channels}, kernel {kernel}, clamp {clamp}: expected two channels or more, odd, and above 0."
            )
        self.sizes, self.clamp = (channels // 2, channels - channels // 2), clamp
        self.of_first = CrossConvolutions(self.sizes[0], 2 * self.sizes[1], hidden, kernel, scales)
        self.of_second = CrossConvolutions(self.sizes[1], 2 * self.sizes[0], hidden, kernel, scales)
        generator = torch.Generator().manual_seed(seed)
        orders = [torch.randperm(channels, generator=generator) for _ in range(scales)]
        self.register_buffer("permutation", torch.stack(orders))

    def forward(self, maps: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Return z, a map a scale, and the log determinant (N,) of all scales together."""
        mixed = [m[:, order] for m, order in zip(maps, self.permutation, strict=True)]
        first, second = self._halves(mixed)
        first, of_second = self._moved(first, self.of_second(second))
        second, of_first = self._moved(second, self.of_first(first))
        z = [torch.cat(both, dim=1) for both in zip(first, second, strict=True)]
        return z, of_first + of_second

    def inverse(self, z: Sequence[Tensor]) -> list[Tensor]:
        """Return the maps that `forward` makes z of."""
        first, second = self._halves(z)
        second = self._moved_back(second, self.of_first(first))
        first = self._moved_back(first, self.of_second(second))
        mixed = [torch.cat(both, dim=1) for both in zip(first, second, strict=True)]
        return [m[:, order.argsort()] for m, order in zip(mixed, self.permutation, strict=True)]

    def _halves(self, maps: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        return [m[:, : self.sizes[0]] for m in maps], [m[:, self.sizes[0] :] for m in maps]

    def _moved(self, half: Sequence[Tensor], said: list[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Scale and shift, and add up the logarithms of the scales."""
        pairs = [scale_and_shift(m, self.clamp) for m in said]
        logs = torch.stack([s.flatten(1).sum(1) for s, _ in pairs]).sum(0)
        return [h * s.exp() + t for h, (s, t) in zip(half, pairs, strict=True)], logs

    def _moved_back(self, half: Sequence[Tensor], said: list[Tensor]) -> list[Tensor]:
        pairs = [scale_and_shift(m, self.clamp) for m in said]
        return [(h - t) * (-s).exp() for h, (s, t) in zip(half, pairs, strict=True)]


class CrossFlow(Flow):
    """Couplings one after the other, on maps of several scales."""

    def forward(self, maps: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:  # type: ignore[override]
        """Return z, a map a scale, and the log determinant (N,) of all couplings and scales together."""
        z, total = list(maps), maps[0].new_zeros(len(maps[0]))
        for coupling in self.couplings:
            z, log_det = coupling(z)
            total = total + log_det
        return z, total
