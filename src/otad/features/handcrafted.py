"""Features that need no training: colours, random kernels, steerable filters (FCA, Sec. 3.1)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from otad.checks import check_room, checked
from otad.features import check_images

MOST_BANDS = 64  # orientations: far beyond any use


@checked
def colours(images: Tensor) -> Tensor:
    """Return the RGB values themselves: the features with a receptive field of one pixel.

    FCA, Sec. 3.1. images : (N,3,H,W) in [0,1]. Returns the same tensor. Raises ValueError for bad images.
    """
    check_images(images)
    return images


@checked
def random_kernels(images: Tensor, n: int = 128, size: int = 5, seed: int = 0) -> Tensor:
    """Convolve with random directions in the space of patches: Gaussian kernels of unit L2 norm.

    FCA, Sec. 3.1: "normalized random 5×5 kernels", each over all three colours, as the projections of the
    sliced Wasserstein distance. They are not made zero-mean, so flat colour stays visible. Borders are
    reflected.

    images : (N,3,H,W) in [0,1]. size : odd. The same seed draws the same kernels on every device.

    Returns (N,n,H,W). Raises ValueError for bad images, an even or too large size, and n < 1.
    """
    if size < 1 or size % 2 == 0 or n < 1:
        raise ValueError(
            f"n is {n} and size is {size}: expected n ≥ 1 kernels of odd size, such as 128 of 5."
        )
    check_images(images, smallest=size // 2 + 1)
    check_room("the maps", len(images), n, *images.shape[-2:])
    kernels = torch.randn((n, 3, size, size), generator=torch.Generator().manual_seed(seed))
    kernels = kernels / kernels.flatten(1).norm(dim=1)[:, None, None, None]
    padded = F.pad(images, (size // 2,) * 4, mode="reflect")
    return F.conv2d(padded, kernels.to(images))


@checked
def steerable_pyramid(
    images: Tensor, orientations: int = 4, first_angle: float = 0.0, residuals: bool = True, margin: int = 16
) -> Tensor:
    """Split each colour into oriented bands at full resolution: one level of a steerable pyramid.

    FCA, Sec. 3.1, "only one level of steerable filters (full spatial resolution)". In the Fourier domain, at
    frequency (r, θ), band k is c_K · B(r) · cos(θ − θ_k)^(K−1) with θ_k = first_angle + kπ/K. B passes π/4 to
    π, most at π/2; a high-pass and a low-pass residual hold the rest. The squares of all K + 2 filters sum to
    1, so energy is kept. The response at any other angle is a linear combination of the K, with the
    weights that `steering_weights` returns.

    images      : (N,3,H,W) in [0,1].
    first_angle : radians, from the x axis (along W) towards the y axis (down); the direction of change.
    residuals   : also return high-pass and low-pass.
    margin      : pixels of reflected border, cut to the side − 1; 0 makes the image periodic.

    Returns (N, 3·(K+2), H, W), or (N, 3·K, H, W) without residuals; for each colour the high-pass,
    the K bands, the low-pass. Raises ValueError for bad images, orientations < 1 and margin < 0.
    Source: Simoncelli and Freeman, The Steerable Pyramid (ICIP 1995).
    """
    if not 1 <= orientations <= MOST_BANDS or margin < 0 or not math.isfinite(first_angle):
        raise ValueError(
            f"orientations is {orientations}, margin {margin}, first_angle {first_angle}: expected 1 to {MOST_BANDS}, at "
            "least 0, and radians."
        )
    check_images(images)
    height, width = images.shape[-2:]
    y, x = min(margin, height - 1), min(margin, width - 1)
    real = torch.promote_types(images.dtype, torch.float32)  # no Fourier transform has half precision
    padded = F.pad(images.to(real), (x, x, y, y), mode="reflect")
    filters = _filters(padded.shape[-2], padded.shape[-1], orientations, first_angle, residuals)
    precision = torch.promote_types(real, torch.complex64)
    spectrum = torch.fft.fft2(padded)[:, :, None] * filters.to(images.device, precision)
    bands = torch.fft.ifft2(spectrum).real.flatten(1, 2)
    return bands[..., y : y + height, x : x + width].to(images.dtype)


@checked
def steering_weights(angle: float, orientations: int, first_angle: float = 0.0) -> Tensor:
    """Return the K weights that turn the K bands into the band at another angle.

    cos(θ)^(K−1) has K harmonics (±(K−1), ±(K−3), …), and K equally spaced copies interpolate them exactly:
    weight_k = (1/K) Σ_m cos(m (angle − θ_k)) over these harmonics m.

    angle : radians. Returns (K,) float64. Source: Freeman and Adelson, Steerable Filters (PAMI 1991), Eq. 12.
    """
    if not 1 <= orientations <= MOST_BANDS or not math.isfinite(angle + first_angle):
        raise ValueError(
            f"orientations is {orientations}, angle {angle}, first_angle {first_angle}: expected 1 to {MOST_BANDS}, and "
            "radians."
        )
    spacing = torch.arange(orientations, dtype=torch.float64) * (math.pi / orientations)
    harmonics = torch.arange(1 - orientations, orientations, 2, dtype=torch.float64)
    return torch.cos(harmonics[:, None] * (angle - first_angle - spacing)).mean(dim=0)


@checked
def minmax(features: Tensor, eps: float = 1e-8) -> Tensor:
    """Scale each channel of each image to [0,1] by its own minimum and maximum; a constant channel becomes 0.

    The scaling that FCA's public code applies before every comparison. eps : added to the range.

    features : (..., C, h, w). Returns the same shape.
    Raises ValueError for NaN, infinity and fewer than three axes.
    """
    if not features.is_floating_point() or not eps >= 0:
        raise ValueError(f"features are {features.dtype}, eps is {eps}: expected floats and eps ≥ 0.")
    if features.ndim < 3 or not features.numel() or not bool(features.isfinite().all()):
        raise ValueError(
            f"features of shape {tuple(features.shape)} hold {int((~features.isfinite()).sum())} values that "
            "are not finite: expected (N,C,h,w) or (C,h,w), not empty, without NaN or infinity."
        )
    low = features.amin(dim=(-2, -1), keepdim=True)
    high = features.amax(dim=(-2, -1), keepdim=True)
    return (features - low) / (high - low + eps)


def _filters(height: int, width: int, orientations: int, first_angle: float, residuals: bool) -> Tensor:
    """Transfer functions of high-pass, K bands, low-pass on an FFT grid; (K+2, height, width) complex."""
    fy = torch.fft.fftfreq(height, dtype=torch.float64)[:, None] * (2 * math.pi)
    fx = torch.fft.fftfreq(width, dtype=torch.float64)[None] * (2 * math.pi)
    radius, theta = torch.hypot(fx, fy), torch.atan2(fy, fx)
    below_pi, below_half = _low_pass(radius, math.pi), _low_pass(radius, math.pi / 2)
    ring = below_pi * (1 - below_half**2).sqrt()
    order = orientations - 1
    angles = first_angle + torch.arange(orientations, dtype=torch.float64) * (math.pi / orientations)
    # Σ_k cos(θ − θ_k)^2n = K · binom(2n, n) / 4^n; i^n makes the response to a real image real.
    gain = math.sqrt(4**order / (orientations * math.comb(2 * order, order)))
    bands = 1j**order * gain * ring * torch.cos(theta - angles[:, None, None]) ** order
    if not residuals:
        return bands
    return torch.cat([(1 - below_pi**2).sqrt()[None], bands, (below_pi * below_half)[None]])


def _low_pass(radius: Tensor, cutoff: float) -> Tensor:
    """One below cutoff / 2, zero above cutoff, a cosine in log frequency between."""
    octave = torch.log2((2 * radius / cutoff).clamp(min=1, max=2))
    return torch.cos(octave * (math.pi / 2))
