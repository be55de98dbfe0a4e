"""Rank matching as the paper defines it, with nothing of `otad.methods` or `otad.kernels` in it."""

import torch
import torch.nn.functional as F

from otad.transport import matching_errors


def rand(*shape, seed=0, steps=None, dtype=torch.float64):
    """Values in [0,1); of `steps` levels, so with many ties."""
    x = torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return x if steps is None else (x * steps).floor() / steps


def some_references(features, size, n, seed=1):
    """Sorted values that are not the map's own, some of them equal; (n,C,T²)."""
    return rand(n, len(features), size**2, seed=seed, steps=50).to(features).sort(dim=-1).values


def patches(features, size):
    """The values of the patch around each pixel, (C,N,T²)."""
    padded = F.pad(features[None], (size // 2,) * 4, mode="reflect")[0]
    return padded.unfold(1, size, 1).unfold(2, size, 1).flatten(3).flatten(1, 2)


def definition(features, references, weights, ties):
    """Sort each patch, compare by rank, and give to its members what the weights say of its errors."""
    size, (_, h, w) = round(len(weights) ** 0.5), features.shape
    own = patches(features, size)
    errors = sum(matching_errors(own, one[:, None], ties).mean(dim=0) for one in references)
    folded = F.fold((weights.to(features) @ errors.T)[None], (h + size - 1, w + size - 1), kernel_size=size)
    return folded[0, 0, size // 2 :, size // 2 :][:h, :w]


def assert_close(found, expected):
    """Equal but for rounding, next to the largest value: sums over channels, prefix sums over ranks."""
    assert found.dtype == expected.dtype
    tolerance = {torch.float32: 1e-5, torch.float64: 1e-12}[found.dtype] * float(expected.abs().max())
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)
