"""Rank matching of every patch of a feature map, on a GPU: the twin of `rank_cpu`, in Triton.

The rank of a pixel in each of the T² windows that hold it is a matrix product: (2T−1)² flags, which neighbour
is smaller, times a fixed 0/1 matrix, which neighbour is in which window. Halves hold the flags and
floats their sums, both exactly, so tensor cores do it. A program keeps the T² sums of its pixels in registers while it goes through its
channels: a map is read once from memory, its neighbours come from the first-level cache, and so do the
reference values, one look-up a rank.

Runs without a GPU under TRITON_INTERPRET=1, set before Triton is imported.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from otad.kernels.windows import spread

PIXELS, MEMBERS, NEIGHBOURS = 64, 64, 32  # tile of a program; neighbours that are compared at a time
PROGRAMS = 2**11  # wanted at least, to fill a large card: channels are split among them
MAX_SUMS = 2**28  # errors summed over channels that are held at a time: 1 GiB of float32


@triton.jit
def _match(
    values, references, prefix, offsets, windows, sums,
    n_values, n_pixels, n_channels, guard, per_program,
    size: tl.constexpr, share: tl.constexpr, members: tl.constexpr, all_ranks: tl.constexpr,
    PIXELS: tl.constexpr, MEMBERS: tl.constexpr, NEIGHBOURS: tl.constexpr,
):  # fmt: skip
    """Add up over channels how far each pixel is from the reference value of its rank, window by window.

    values  : (C, n_values) padded maps in raster order, with guards; references : (C,T²) sorted.
    prefix  : (C, T² + 1) sums of the reference values below each rank, taken from the one in the middle.
    offsets : (⩾ (2T−1)²) from a pixel to its neighbours, in pixels.
    windows : (⩾ (2T−1)², members) of 0 and 1: is the neighbour in the window that the pixel is this member of?
    sums    : (splits, members, n_pixels); one split for each `per_program` channels.
    """
    long: tl.constexpr = 2 * size - 1
    n: tl.constexpr = size * size
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    member = tl.program_id(1) * MEMBERS + tl.arange(0, MEMBERS)
    split = tl.program_id(2)
    # Rows of neighbours that a window of these members reaches: all others have a matrix of zeros.
    last_member = tl.minimum(tl.program_id(1) * MEMBERS + MEMBERS - 1, n - 1)
    start = (size - 1 - last_member // size) * long
    stop = (2 * size - 1 - tl.program_id(1) * MEMBERS // size) * long
    total = tl.zeros((PIXELS, MEMBERS), values.dtype.element_ty)
    at = values + split.to(tl.int64) * per_program * n_values + guard + pixel
    references += split * per_program * n
    prefix += split * per_program * (n + 1)
    for _ in range(tl.minimum(per_program, n_channels - split * per_program)):
        own = tl.load(at)
        n_below = tl.zeros((PIXELS, MEMBERS), tl.float32)
        n_equal = tl.zeros((PIXELS, MEMBERS), tl.float32)
        for first in range(start, stop, NEIGHBOURS):
            k = first + tl.arange(0, NEIGHBOURS)
            other = tl.load(at[:, None] + tl.load(offsets + k)[None, :])
            inside = tl.load(windows + k[:, None] * members + member[None, :])
            less, same = other < own[:, None], other == own[:, None]
            if share:
                n_equal = tl.dot(same.to(tl.float16), inside, n_equal)
            else:  # equal neighbours count where they come first in raster order
                less = less | (same & (k < long * long // 2)[None, :])
            n_below = tl.dot(less.to(tl.float16), inside, n_below)
        a = n_below.to(tl.int32)
        error = tl.abs(own[:, None] - tl.load(references + a))
        # Σ |v − r| over tied ranks a ≤ k < b, where m of all references are ≤ v. All are taken from the
        # middle reference, as sums of small numbers lose less. Most tiles have no ties; still, to count equal ones in a second
        # loop and only there takes 1.5 to 1.6 times as long on an H200 (T = 9 and 25): it costs all tiles their registers.
        if share:  # noqa: SIM102, the outer one is decided when the kernel is compiled
            if tl.max(n_equal) > 1:
                rank = tl.arange(0, all_ranks)
                reference = tl.load(references + rank, mask=rank < n, other=float("inf"))
                m = tl.sum((reference[None, :] <= own[:, None]).to(tl.int32), axis=1)[:, None]
                b = a + n_equal.to(tl.int32)
                m = tl.minimum(tl.maximum(m, a), b)
                v = (own - tl.load(references + n // 2))[:, None]
                tied = v * (2 * m - a - b).to(v.dtype) - 2 * tl.load(prefix + m)
                tied += tl.load(prefix + a) + tl.load(prefix + b)
                error = tl.where(n_equal > 1, tied / tl.maximum(n_equal, 1).to(v.dtype), error)
        total += error
        at += n_values
        references += n
        prefix += n + 1
    to = (split.to(tl.int64) * members + member[None, :]) * n_pixels + pixel[:, None]
    tl.store(sums + to, total)


def matched_map(features: Tensor, references: Tensor, weights: Tensor, ties: str = "mean") -> Tensor:
    """As `otad.kernels.rank_cpu.matched_map`, for tensors on a GPU; references one after the other."""
    n_channels, height, w = features.shape
    size = round(len(weights) ** 0.5)
    width, reach = w + size - 1, size // 2
    padded = F.pad(features[None], (reach,) * 4, mode="reflect")[0]
    result = features.new_zeros(height + size - 1, width)
    rows = max(1, min(height, MAX_SUMS // (len(weights) * width) - size))
    for y in range(0, height, rows):
        band = padded[:, y : y + rows + size - 1]
        n_rows = band.shape[1] - size + 1
        errors = _errors(band, references[0], size, ties == "mean")
        for reference in references[1:]:
            errors += _errors(band, reference, size, ties == "mean")
        result[y : y + band.shape[1]] += spread(errors / n_channels, weights, n_rows, width)
    return result[reach : reach + height, reach : reach + w].clone()


def _errors(padded: Tensor, reference: Tensor, size: int, share: bool) -> Tensor:
    """Sum the errors over channels, (T², pixels and more), of a padded map (C, rows, width)."""
    n, (n_channels, _, width) = size**2, padded.shape
    constants = _constants(size, share)
    members, block = constants["members"], constants["MEMBERS"]
    guard, n_pixels = (size - 1) * (width + 1), triton.cdiv(padded[0].numel(), PIXELS) * PIXELS
    values = F.pad(padded.flatten(1), (guard, guard + n_pixels - padded[0].numel()))
    tiles = n_pixels // PIXELS * (members // block)
    per_program = triton.cdiv(n_channels, max(1, min(n_channels, PROGRAMS // tiles)))
    splits = triton.cdiv(n_channels, per_program)
    sums = values.new_empty(splits, members, n_pixels)
    middle = reference[:, n // 2, None].double()
    prefix = F.pad((reference.double() - middle).cumsum(dim=1), (1, 0)).to(values)
    reach = torch.arange(1 - size, size)
    offsets = F.pad((reach[:, None] * width + reach).flatten(), (0, NEIGHBOURS)).to(
        values.device, torch.int32
    )
    windows = _windows(reach, size, members).to(values.device, torch.float16)
    _match[(n_pixels // PIXELS, members // block, splits)](
        values, reference.contiguous(), prefix, offsets, windows, sums,
        values.shape[1], n_pixels, n_channels, guard, per_program,
        **constants, num_warps=8, num_stages=1,
    )  # fmt: skip
    return sums.sum(dim=0)[:n]


def _constants(size: int, share: bool) -> dict[str, int]:
    """Say what the kernel is compiled for."""
    block = min(MEMBERS, triton.next_power_of_2(max(size**2, 16)))  # tensor cores take 16 columns or more
    return {
        "size": size,
        "share": share,
        "members": triton.cdiv(size**2, block) * block,
        "all_ranks": triton.next_power_of_2(size**2),
        "PIXELS": PIXELS,
        "MEMBERS": block,
        "NEIGHBOURS": NEIGHBOURS,
    }


def _windows(reach: Tensor, size: int, members: int) -> Tensor:
    """Tell which neighbour, (dy,dx) from −(T−1) to T−1, is in the window that has the pixel for member j."""
    line = reach[:, None] + torch.arange(size)
    inside = (line >= 0) & (line < size)
    both = torch.einsum("ai,bj->abij", inside.float(), inside.float())
    table = both.reshape((2 * size - 1) ** 2, size**2)
    return F.pad(table, (0, members - size**2, 0, NEIGHBOURS))
