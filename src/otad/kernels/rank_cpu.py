"""Rank matching of every patch of a feature map, on the CPU, without sorting a patch or storing one.

The same numbers as the plain version in `otad.methods.matching.ranks` (FCA paper, Eq. 1 and 4–7), which says what
they mean and checks the input. A pixel's error is needed in each of the T² windows that hold it, and its rank
in the window decides: `lanes` finds the ranks of 256 pixels at once and adds up the errors over channels, in
T² sums a pixel. What is left, one (T²,T²) matrix on these sums, is linear and costs little.

Threads: as many as torch uses (`torch.get_num_threads()`, set by OMP_NUM_THREADS), or fewer if
NUMBA_NUM_THREADS says so. The result does not depend on their number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from numba import config
from torch import Tensor

from otad.kernels import lanes
from otad.kernels.lanes import LANES
from otad.kernels.windows import share_mirrored, spread

MAX_SUMS = 2**23  # errors summed over channels that are held at a time: 32 MiB of float32
TASK_SUMS = 2**16  # of them that a task works on: 256 KiB, a part of the second-level cache
MAX_SIZE = 255  # T² is counted in 16 bits
MANY = 32  # if more than one in so many pixels has an equal near it, all are asked whether they have
GROUPS = 4  # of channels with sums of their own in `matched_all`: fixed, as the order of adding up is


def matched_map(features: Tensor, references: Tensor, weights: Tensor, ties: str = "mean") -> Tensor:
    """Match each patch with R references: A(p) = Σ_r Σ_P Σ_j weights[i,j] M_r(j; P), p being member i of P.

    features : (C,h,w) float32 or float64. references : (R,C,T²) sorted, of the same dtype.
    weights  : (T²,T²). ties : "mean" or "index". M is the mean over channels.

    Time O(C h w (4T² + R T²)); memory: the padded map, 2 or 4 bytes more a value, and 3 MAX_SUMS numbers. Returns (h,w).
    """
    grid = _Grid(features, weights)
    numbers, tied = grid.numbered(ties)
    known, prefix = _stand_ins(references, grid.channels, tied.lifts)
    result = features.new_zeros(grid.height + grid.size - 1, grid.width)
    for rows in grid.bands():
        sums = grid.sums(rows[1] - rows[0])
        step = max(1, TASK_SUMS // sums[0].size)

        def work(first: int, rows: np.ndarray = rows, sums: np.ndarray = sums, step: int = step) -> None:
            blocks, areas = (
                np.array([first, min(first + step, len(sums))]),
                (grid.area(), grid.area(apart=True)),
            )
            lanes.match(grid.values, numbers, *grid.layout, rows, known, prefix, tied, areas, blocks, sums)

        _run(work, range(0, len(sums), step))
        errors = grid.by_member(sums)
        if ties == "mean":
            share_mirrored(errors, (rows[0], rows[1]), grid.height, grid.width)
        result[rows[0] : rows[1] + grid.size - 1] += spread(errors, weights, rows[1] - rows[0], grid.width)
    return grid.crop(result)


def matched_all(features: Tensor, weights: Tensor, ties: str = "mean") -> Tensor:
    """As `matched_map` with all N = h·w patches for references, in the time of a few.

    Eq. 1. The N reference values of a rank are values of the map. Counted by their place among its sorted
    values they give Σ |v − a|, at every v of the map, in one pass over these places.

    Time O(C N T²); memory 4 N T² bytes for each of GROUPS and 12 N T² for each thread. Returns (h,w).
    """
    grid = _Grid(features, weights)
    sums = np.stack([grid.sums(grid.height) for _ in range(GROUPS)])
    half = 0 if ties == "index" else grid.half

    def work(group: int) -> None:
        area, table = grid.area(apart=half > 0), np.empty((grid.n_windows, grid.members + 1))
        for c in range(group, len(features), GROUPS):
            values, numbers, counts = grid.count(c)
            lanes.tabulate_all(values, counts, grid.n_windows, table)
            lanes.match_all(numbers, *grid.layout, grid.height, table, half, area, sums[group])

    _run(work, range(GROUPS))
    return grid.crop(spread(grid.by_member(sums.sum(axis=0)), weights, grid.height, grid.width))


def median_reference(features: Tensor, patch_size: int, every: bool = False) -> Tensor:
    """Return the lower median of the values of each rank, (C,T²), over tiles of stride T or over every patch.

    Eq. 7 as the authors compute it, and as it is written.
    """
    channels = features.detach().contiguous().numpy()
    medians = np.empty((len(channels), patch_size**2), channels.dtype)
    grid = _Grid(features, torch.empty(patch_size**2, 0)) if every else None

    def work(c: int) -> None:
        if grid is None:
            medians[c] = _median_tiles(channels[c], patch_size)
        else:
            values, _, counts = grid.count(c)
            lanes.median_all(values, counts, grid.n_windows, medians[c])

    _run(work, range(len(channels)))
    return torch.from_numpy(medians)


def _median_tiles(channel: np.ndarray, size: int) -> np.ndarray:
    """Return the lower median over the tiles of stride T of their value of each rank; (h,w) → (T²)."""
    rows, columns = channel.shape[0] // size, channel.shape[1] // size
    tiles = channel[: rows * size, : columns * size].reshape(rows, size, columns, size).swapaxes(1, 2)
    ranked = np.sort(tiles.reshape(rows * columns, size**2), axis=-1).T.copy()
    middle = (rows * columns - 1) // 2
    return np.partition(ranked, middle, axis=-1)[:, middle]


class _Tied(NamedTuple):
    """What equal values of each channel ask of `lanes.match`, which says what these are."""

    lifts: np.ndarray
    halves: np.ndarray
    starts: np.ndarray
    places: np.ndarray


def _order(channel: np.ndarray) -> np.ndarray:
    """Return what sorts a channel's values. In 32 bits they are sorted together with their places: twice as fast."""
    if channel.itemsize > 4:
        return channel.argsort(axis=None)
    bits = channel.ravel().view(np.int32)
    keys = bits ^ (bits >> 31 & 0x7FFFFFFF)  # integers in the order of the numbers that have these bits
    both = keys.astype(np.int64) << 32 | np.arange(bits.size)
    both.sort()
    return both & 0xFFFFFFFF


def _stand_ins(references: Tensor, channels: np.ndarray, lifts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (C,R,2T²) references and what `lanes.stand_in` adds, and their prefix sums, (C,R,T² + 1)."""
    given = references.detach().transpose(0, 1).numpy()
    known = np.concatenate([given, np.zeros_like(given)], axis=-1)
    prefix = np.pad(given.cumsum(axis=-1, dtype=np.float64), ((0, 0), (0, 0), (1, 0)))
    for c in lifts.nonzero()[0]:
        lanes.stand_in(channels[c].min(), prefix[c], known[c])
    return known, prefix


class _Grid:
    """A map padded by reflection, its pixels in a row, and the windows that are centred in the map."""

    def __init__(self, features: Tensor, weights: Tensor) -> None:
        channels = features.detach().contiguous().numpy()
        self.members = len(weights)
        self.size = round(self.members**0.5)
        if self.size > MAX_SIZE:
            raise ValueError(
                f"patch_size is {self.size}: expected at most {MAX_SIZE}, so that 32 bits hold two counts of "
                "T² pixels; use the plain version."
            )
        self.height, self.width = channels.shape[1], channels.shape[2] + self.size - 1
        self.n_windows = channels[0].size
        # Neighbours are read before it is clear that no window wants them, up to this far beside the map.
        self.guard = (self.size - 1) * (self.width + 1)
        self.layout = (self.width, self.size, self.guard)
        self.channels = channels
        # A band of rows begins where it likes, so its last block of lanes may reach one beyond that of all rows.
        n_values = 2 * self.guard + (self.n_blocks(self.height) + 1) * LANES
        self.values = np.zeros((len(channels), n_values), channels.dtype)
        _run(lambda c: self.pad(channels[c], self.values[c, self.guard :]), range(len(channels)))

    def n_blocks(self, n_rows: int) -> int:
        """Blocks of LANES pixels that are members of windows on n_rows rows."""
        return -(-(n_rows + self.size - 1) * self.width // LANES)

    def pad(self, channel: np.ndarray, target: np.ndarray) -> None:
        """Write a channel to the target, with T // 2 pixels more on all sides: the edge is a mirror."""
        reach, (h, w) = self.size // 2, channel.shape
        padded = target[: (h + 2 * reach) * self.width].reshape(-1, self.width)
        padded[reach : reach + h, reach : reach + w] = channel
        for lines, n in ((padded[reach : reach + h].T, w), (padded, h)):
            lines[:reach] = lines[reach + 1 : 2 * reach + 1][::-1]
            lines[reach + n :] = lines[n - 1 : reach + n - 1][::-1]

    @property
    def half(self) -> int:
        """Bits of the low half of a number that holds two counts apart."""
        return 8 if self.members < 2**8 else 16

    def area(self, apart: bool = False) -> np.ndarray:
        """Room to count in: 8 bits hold the members of a window twice up to T = 11; with `apart`, two counts in a number."""
        least = np.uint16 if apart or 2 * self.members >= 2**8 else np.uint8
        counts = np.uint32 if self.members >= 2**8 else least
        return np.zeros((self.size + 1, 2 * self.size, LANES), counts)

    def number(self, c: int, second: int, padded: np.ndarray) -> tuple[np.ndarray, int]:
        """Number the values of a channel by `lanes.number`, also padded; return (h,w) numbers and the last one."""
        channel = self.channels[c]
        numbers = np.empty(channel.shape, padded.dtype)
        last = lanes.number(channel.ravel(), _order(channel), second, numbers.ravel())
        self.pad(numbers, padded[self.guard :])
        return numbers, last

    def no_numbers(self, n_channels: int, second: int) -> np.ndarray:
        """Room for the numbers of padded channels, of which the largest is at most N + second − 2."""
        kind = np.uint16 if self.n_windows + second - 2 < 2**16 else np.int32
        return np.zeros((n_channels, self.values.shape[1]), kind)

    def numbered(self, ties: str) -> tuple[np.ndarray, _Tied]:
        """Number the values of all channels, and find what equal ones ask of `lanes.match`."""
        n = len(self.channels)
        padded, lifts, halves = self.no_numbers(n, 2), np.zeros(n, np.bool_), np.zeros(n, np.int64)
        places = [np.empty(0, np.int64)] * n

        def work(c: int) -> None:
            numbers, last = self.number(c, 2, padded[c])
            if ties == "index":
                return
            marks, most = np.zeros(numbers.shape, np.bool_), numbers.size // MANY
            tied = lanes.find_tied(numbers.ravel(), last, numbers.shape[1], self.size, most, marks.ravel())
            if tied > most:
                halves[c] = self.half
                return
            lifts[c] = True
            if tied:
                spots = np.zeros(self.n_blocks(self.height) * LANES, np.bool_)
                self.pad(marks, spots)
                places[c] = spots.nonzero()[0]

        _run(work, range(n))
        starts = np.cumsum([0, *map(len, places)])
        return padded, _Tied(lifts, halves, starts, np.concatenate(places))

    def bands(self) -> Iterator[np.ndarray]:
        """Split the rows of windows so that sums stay small."""
        step = max(1, MAX_SUMS // (self.members * self.width))
        for first in range(0, self.height, step):
            yield np.array([first, min(first + step, self.height)])

    def sums(self, n_rows: int) -> np.ndarray:
        """Sums of errors: (block, member, lane)."""
        return np.zeros((self.n_blocks(n_rows), self.members, LANES), self.values.dtype)

    def count(self, c: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Count a channel's values by rank: distinct values, padded numbers of the pixels among them, counts."""
        if self.n_windows * (self.members + 1) >= 2**31:
            raise ValueError(
                f"{self.n_windows} patches of {self.members} pixels: counting all ranks would take more than 8 GiB a "
                "channel; resize the images or take features of a larger stride."
            )
        padded = self.no_numbers(1, 1)[0]
        numbers, last = self.number(c, 1, padded)
        values = np.empty(last + 1, self.values.dtype)
        values[numbers] = self.channels[c]
        counts = np.zeros((len(values), self.members), np.int32)
        lanes.count(padded, *self.layout, self.height, self.area(), counts)
        return values, padded, counts

    def by_member(self, sums: np.ndarray) -> Tensor:
        """Return the mean over channels, (T², pixels)."""
        return torch.from_numpy(sums).transpose(0, 1).reshape(self.members, -1).div_(len(self.channels))

    def crop(self, padded: Tensor) -> Tensor:
        """Return the map without what was padded."""
        edge = self.size // 2
        return padded[edge : edge + self.height, edge : padded.shape[1] - edge].clone()


def _run(work: Callable[[int], None], items: Iterable[int]) -> None:
    """Do the work on torch's number of threads; the compiled loops and NumPy's copies release the GIL."""
    n_threads = min(torch.get_num_threads(), config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
    if n_threads == 1:
        for item in items:
            work(item)
        return
    with ThreadPoolExecutor(n_threads) as pool:
        for _ in pool.map(work, items):
            pass  # an error in a thread is raised here
