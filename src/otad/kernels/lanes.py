"""The compiled loops of `rank_cpu`: the ranks of 256 pixels at once, in all the windows that hold them.

The rank of pixel p in a window is the number of the window's values below v(p). The T² windows that hold p
share (2T−1)² comparisons of p with its neighbours: a summed-area table of these flags gives each rank from
four corners. Counts wrap around, modulo 2¹⁶ or 2³²; differences smaller than that come out right.

Pixels that follow each other in memory sit side by side in every array here, one a lane, and each innermost
loop runs over the lanes, so that the compiler turns it into vector instructions. Two counts share a number:
values below the pixel in its low half, values equal to it in its high half.
"""

from __future__ import annotations

import numpy as np

from otad.kernels.compiling import compiled

LANES = 256  # more would leave the first-level cache, fewer pay more for the start of each loop
GROUP = 16  # lanes that are asked together whether one of them has an equal
CHUNK = 8  # channels that a block of lanes goes through while its sums are in the second-level cache


# Ranks of a block of lanes ---------------------------------------------------------------------------------


@compiled
def _scan_row(values, at, own, n, up_to, total, above, here, half):
    """Add a row of n neighbours to the summed-area table: here[i + 1] = above[i + 1] + flags up to i.

    The first up_to neighbours count where they are ≤ own, the others where they are < own; or, with `half`, all
    where they are < own, and equal ones in the high half.
    """
    total[:] = 0
    for i in range(n):
        other, up, to = values[at + i : at + i + LANES], above[i + 1], here[i + 1]
        if half:
            for lane in range(LANES):
                total[lane] += (other[lane] < own[lane]) + ((other[lane] == own[lane]) << half)
                to[lane] = up[lane] + total[lane]
        elif i < up_to:
            for lane in range(LANES):
                total[lane] += other[lane] <= own[lane]
                to[lane] = up[lane] + total[lane]
        else:
            for lane in range(LANES):
                total[lane] += other[lane] < own[lane]
                to[lane] = up[lane] + total[lane]


@compiled
def _compare_row(values, centre, width, size, step, half, area, total):
    """Compare the pixels with row `step` of their 2T − 1 rows of neighbours; `area` keeps T + 1 rows."""
    reach, long = size - 1, 2 * size - 1
    at = centre + (step - reach) * width - reach
    # Equal values count where they precede p in raster order and not behind it: the ranks of a stable sort.
    up_to = long if step < reach else reach if step == reach else 0
    above, here = area[step % (size + 1)], area[(step + 1) % (size + 1)]
    _scan_row(values, at, values[centre : centre + LANES], long, up_to, total, above, here, half)


@compiled
def _rank(size, step, left, area, ranks):
    """Rank the pixels in the windows that end at row `step` and begin at column `left`; the member they are."""
    here, above = area[(step + 1) % (size + 1)], area[(step + 2) % (size + 1)]
    a, b, c, d = here[left + size], here[left], above[left + size], above[left]
    for lane in range(LANES):
        ranks[lane] = a[lane] - b[lane] - c[lane] + d[lane]
    return (2 * size - 2 - step) * size + size - 1 - left


@compiled
def _steps(size, width, first, last, pixel, area):
    """Rows of neighbours that the windows wanted need, with a row of zeros above them in `area`."""
    low = max(0, pixel // width - last + 1)
    high = min(size - 1, (pixel + LANES - 1) // width - first)
    start = size - 1 - high
    area[start % (size + 1)] = 0
    return start, 2 * size - 1 - low


# Errors against given references ---------------------------------------------------------------------------


@compiled
def match(values, width, size, guard, rows, references, prefix, half, area, blocks, sums):
    """Add up over channels how far each pixel is from the reference value of its rank, window by window.

    values     : (C, …) padded maps in raster order, `guard` values of no matter before and behind.
    rows       : (2,) the windows wanted have their first row in rows[0] ≤ y < rows[1].
    references : (C,R,T²) sorted; the errors against all R are added up.
    prefix     : (C,R,T² + 1) sums of the reference values below each rank, float64.
    half       : bits of the low half of a count, if tied values share the mean error of their ranks; 0 if they
                 are ranked in raster order.
    area       : (T + 1, 2T, LANES) zeros, of the type to count in.
    blocks     : (2,) which blocks of LANES pixels to work on, counted from row rows[0].
    sums       : (blocks, T², LANES); [·, j, ·] are for the windows that the pixels are member j of.
    """
    total, ranks = np.empty(LANES, area.dtype), np.empty(LANES, area.dtype)
    below = np.empty((LANES // GROUP, references.shape[1], GROUP), np.int32)
    known = np.empty(len(below), np.bool_)
    for chunk in range(0, len(values), CHUNK):
        for block in range(blocks[0], blocks[1]):
            pixel = rows[0] * width + block * LANES
            centre = guard + pixel
            for c in range(chunk, min(chunk + CHUNK, len(values))):
                own = values[c, centre : centre + LANES]
                known[:] = False
                start, stop = _steps(size, width, rows[0], rows[1], pixel, area)
                for step in range(start, stop):
                    _compare_row(values[c], centre, width, size, step, half, area, total)
                    for left in range(size if step >= start + size - 1 else 0):
                        j = _rank(size, step, left, area, ranks)
                        _look(ranks, half, own, references[c], sums[block, j])
                        if half:
                            _share(ranks, half, own, references[c], prefix[c], below, known, sums[block, j])


@compiled
def _look(ranks, half, own, references, sums):
    """Add |own − the reference value of its rank|, as if no value were tied."""
    low = (1 << half) - 1 if half else -1
    for r in range(len(references)):
        for lane in range(LANES):
            sums[lane] += abs(own[lane] - references[r, ranks[lane] & low])


@compiled
def _share(ranks, half, own, references, prefix, below, known, sums):
    """Where a pixel has equals, replace what `_look` added by the mean error over the ranks they share.

    Over ranks k ≤ i < s it is Σ |v − r_i| = v (2m − k − s) + P_k + P_s − 2 P_m, where the r_i with i < m are
    below v and P are the prefix sums. below[g, r] has the number of all r_i below v, counted when needed.
    """
    for group in range(LANES // GROUP):
        start, tied = group * GROUP, False
        for lane in range(start, start + GROUP):
            tied |= ranks[lane] >= 2 << half
        if tied:
            if not known[group]:
                known[group] = True
                _count_below(own[start : start + GROUP], references, below[group])
            for lane in range(GROUP):
                if ranks[start + lane] >= 2 << half:
                    n, k = ranks[start + lane] >> half, ranks[start + lane] & (1 << half) - 1
                    v, stop = np.float64(own[start + lane]), k + n
                    for r in range(len(references)):
                        m, p = min(max(below[group, r, lane], k), stop), prefix[r]
                        mean = (v * (2 * m - k - stop) + p[k] + p[stop] - 2 * p[m]) / n
                        sums[start + lane] += mean - abs(v - references[r, k])


@compiled
def _count_below(own, references, below):
    """below[r, lane] = the number of references[r] < own[lane]."""
    below[:] = 0
    for r in range(len(references)):
        for k in range(references.shape[1]):
            for lane in range(GROUP):
                below[r, lane] += references[r, k] < own[lane]


# All patches as references ---------------------------------------------------------------------------------


@compiled
def count(values, places, width, size, guard, height, area, counts):
    """Count how often each value of a channel is the one of rank k, over all windows.

    values : (…) as in `match`; places : the number of each pixel's value among the sorted distinct values.
    counts : (distinct, T²) zeros, to add to; the ranks of tied values follow raster order.
    """
    total, ranks = np.empty(LANES, area.dtype), np.empty(LANES, area.dtype)
    ys, xs = np.empty(LANES, np.int64), np.empty(LANES, np.int64)
    for pixel in range(0, (height + size - 1) * width, LANES):
        for lane in range(LANES):
            ys[lane], xs[lane] = divmod(pixel + lane, width)
        start, stop = _steps(size, width, 0, height, pixel, area)
        for step in range(start, stop):
            _compare_row(values, guard + pixel, width, size, step, 0, area, total)
            for left in range(size if step >= start + size - 1 else 0):
                y, x = divmod(_rank(size, step, left, area, ranks), size)
                for lane in range(LANES):
                    # Pixels of the next row, or beside the map, are not in a window of this row.
                    if 0 <= ys[lane] - y < height and 0 <= xs[lane] - x <= width - size:
                        counts[places[pixel + lane], ranks[lane]] += 1


@compiled
def tabulate_all(values, counts, n_windows, table):
    """table[g, k] = Σ Σ |v_g − a| over k' < k and all windows, a their value of rank k'.

    values : (G) sorted, distinct; counts : (G, T²) of `count`; table : (G, T² + 1), float64.
    Of n values a ≤ v with the sum s, out of N with the sum S, it is v (2n − N) + S − 2s.
    """
    n = counts.shape[1]
    n_below, below, total = np.zeros(n), np.zeros(n), np.zeros(n)
    for g in range(len(values)):
        for k in range(n):
            total[k] += counts[g, k] * np.float64(values[g])
    for g in range(len(values)):
        v, so_far = np.float64(values[g]), 0.0
        for k in range(n):
            n_below[k] += counts[g, k]
            below[k] += counts[g, k] * v
            table[g, k] = so_far
            so_far += v * (2 * n_below[k] - n_windows) + total[k] - 2 * below[k]
        table[g, n] = so_far


@compiled
def median_all(values, counts, n_windows, medians):
    """medians[k] = the lower median over all windows of the value of rank k; arguments as above."""
    below = np.zeros(len(medians), np.int64)
    for g in range(len(values)):
        for k in range(len(medians)):
            if 2 * below[k] < n_windows:  # the last time is the one that reaches the middle
                medians[k] = values[g]
            below[k] += counts[g, k]


@compiled
def match_all(values, places, width, size, guard, height, table, half, area, sums):
    """Add to sums what `tabulate_all` says of each pixel's value at its rank, window by window."""
    total, ranks = np.empty(LANES, area.dtype), np.empty(LANES, area.dtype)
    for block in range(len(sums)):
        pixel = block * LANES
        start, stop = _steps(size, width, 0, height, pixel, area)
        for step in range(start, stop):
            _compare_row(values, guard + pixel, width, size, step, half, area, total)
            for left in range(size if step >= start + size - 1 else 0):
                into = sums[block, _rank(size, step, left, area, ranks)]
                for lane in range(LANES):
                    row = table[places[pixel + lane]]
                    n, k = 1, np.int64(ranks[lane])
                    if half:
                        n, k = k >> half, k & (1 << half) - 1
                    into[lane] += (row[k + n] - row[k]) / n
