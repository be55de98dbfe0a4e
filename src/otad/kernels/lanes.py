"""The compiled loops of `rank_cpu`: the ranks of 256 pixels at once, in all the windows that hold them.

The rank of pixel p in a window is the number of the window's values below v(p). The T² windows that hold p
share (2T−1)² comparisons of p with its neighbours: a summed-area table of these flags gives each rank from
four corners. Counts wrap around, modulo 2⁸, 2¹⁶ or 2³²; differences smaller than that come out right.

What is compared is not a value but its number among the channel's sorted distinct values, which sixteen bits
hold on maps up to 256 × 255: more of them fit into a vector.

Pixels that follow each other in memory sit side by side in every array here, one a lane, and each innermost
loop runs over the lanes, so that the compiler turns it into vector instructions.

Tied values share the mean error of their ranks, and which are tied decides how that is computed:
- Copies of a pixel in the mirror along the edge take their ranks in raster order here. The order is the same
  in all channels, so `rank_cpu` shares their errors once, in the sums.
- The smallest value of a channel, where it is tied n times in a window, has the ranks 0 to n − 1: its error
  depends on n alone, and is looked up at n as others are at their rank. Zeros after a ReLU are of this kind.
- Some other pixels have an equal near them: what was added is corrected, pixel by pixel.
- In a channel with many of them, two counts share a number: values below the pixel in its low half, values
  equal to it in its high half.
"""

from __future__ import annotations

import numpy as np

from otad.kernels.compiling import compiled

LANES = 256  # more would leave the first-level cache, fewer pay more for the start of each loop
GROUP = 16  # lanes that are asked together whether one of them has an equal
FIELD = 20  # bits of each of three counts in 64, T ≤ 255
CHUNK = 8  # channels that a block of lanes goes through while its sums are in the second-level cache


# Numbers of the values -------------------------------------------------------------------------------------


@compiled
def number(values, order, second, numbers):
    """numbers[p] = 0 for the smallest value, `second` for the next distinct one, second + 1 … ; return the last.

    values : (n,). order : (n,) what sorts them. numbers : (n,) integers, to fill.
    """
    last, step = 0, second
    for i in range(len(order)):
        if i and values[order[i]] != values[order[i - 1]]:
            last, step = last + step, 1
        numbers[order[i]] = last
    return last


# Ranks of a block of lanes ---------------------------------------------------------------------------------


@compiled
def _scan_row(numbers, at, own, n, up_to, total, above, here, half):
    """Add a row of n neighbours to the summed-area table: here[i + 1] = above[i + 1] + flags up to i.

    The first up_to neighbours count where they are ≤ own, the others where they are < own; or, with `half`, all
    where they are < own, and equal ones in the high half.
    """
    total[:] = 0
    for i in range(n):
        other, up, to = numbers[at + i : at + i + LANES], above[i + 1], here[i + 1]
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
def _compare_row(numbers, own, centre, width, size, step, half, area, total):
    """Compare own, the pixels' numbers, with row `step` of their 2T − 1 rows of neighbours; `area` keeps T + 1 rows."""
    reach, long = size - 1, 2 * size - 1
    at = centre + (step - reach) * width - reach
    # Equal values count where they precede p in raster order and not behind it: the ranks of a stable sort.
    up_to = long if step < reach else reach if step == reach else 0
    above, here = area[step % (size + 1)], area[(step + 1) % (size + 1)]
    _scan_row(numbers, at, own, long, up_to, total, above, here, half)


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
def match(values, numbers, width, size, guard, rows, references, prefix, ties, areas, blocks, sums):
    """Add up over channels how far each pixel is from the reference value of its rank, window by window.

    values     : (C, …) padded maps in raster order, `guard` values of no matter before and behind.
    numbers    : (C, …) of these values, from `number`, with second = 2.
    rows       : (2,) the windows wanted have their first row in rows[0] ≤ y < rows[1].
    references : (C,R,2T²) sorted, then what `stand_in` adds; the errors against all R are added up.
    prefix     : (C,R,T² + 1) sums of the reference values below each rank, float64.
    ties       : (lifts, halves, starts, places), channel by channel: whether the smallest value is looked up by
                 how often it is there; bits of the low half of a count, 0 if equal values are not counted apart;
                 and which of `places` are the pixels to correct, starts[c] ≤ i < starts[c + 1].
    areas      : two of (T + 1, 2T, LANES) zeros, of the types to count in: one count, or two of them apart.
    blocks     : (2,) which blocks of LANES pixels to work on, counted from row rows[0].
    sums       : (blocks, T², LANES); [·, j, ·] are for the windows that the pixels are member j of.
    """
    lifts, halves, starts, places = ties
    once, twice = areas
    own, shift = np.empty(LANES, numbers.dtype), np.empty(LANES, once.dtype)
    total, ranks = np.empty(LANES, once.dtype), np.empty(LANES, once.dtype)
    totals, pairs, index = (
        np.empty(LANES, twice.dtype),
        np.empty(LANES, twice.dtype),
        np.empty(LANES, twice.dtype),
    )
    below = np.empty((LANES // GROUP, references.shape[1], GROUP), np.int32)
    known = np.empty(len(below), np.bool_)
    for chunk in range(0, len(values), CHUNK):
        for block in range(blocks[0], blocks[1]):
            pixel = rows[0] * width + block * LANES
            centre = guard + pixel
            for c in range(chunk, min(chunk + CHUNK, len(values))):
                mine, given, into = values[c, centre : centre + LANES], references[c], sums[block]
                lifted = _lift(numbers[c, centre : centre + LANES], lifts[c], size**2 - 1, own, shift)
                if halves[c]:
                    known[:] = False
                    shares = (halves[c], prefix[c], below, known)
                    start, stop = _steps(size, width, rows[0], rows[1], pixel, twice)
                    for step in range(start, stop):
                        _compare_row(numbers[c], own, centre, width, size, step, halves[c], twice, totals)
                        for left in range(size if step >= start + size - 1 else 0):
                            j = _rank(size, step, left, twice, pairs)
                            _low_half(pairs, halves[c], index)
                            _look(index, mine, given, into[j])
                            _share(pairs, mine, given, shares, into[j])
                else:
                    start, stop = _steps(size, width, rows[0], rows[1], pixel, once)
                    for step in range(start, stop):
                        _compare_row(numbers[c], own, centre, width, size, step, 0, once, total)
                        for left in range(size if step >= start + size - 1 else 0):
                            j = _rank(size, step, left, once, ranks)
                            if lifted:
                                _add(shift, ranks)
                            _look(ranks, mine, given, into[j])
                wrong = places[starts[c] : starts[c + 1]]
                for i in range(np.searchsorted(wrong, pixel), np.searchsorted(wrong, pixel + LANES)):
                    lane = wrong[i] - pixel
                    _correct(
                        numbers[c], centre + lane, width, size, mine[lane], given, prefix[c], into[:, lane]
                    )


@compiled
def _lift(numbers, lift, n, own, shift):
    """own = the pixels' numbers, shift = 0; if lift, those with the number 0 get 1 and a shift of n.

    Returns whether there are any.
    """
    some = False
    for lane in range(LANES):
        low = lift and numbers[lane] == 0
        own[lane], shift[lane] = 1 if low else numbers[lane], n if low else 0
        some |= low
    return some


@compiled
def _add(shift, ranks):
    """Add to the ranks, in place, what leads those of the smallest value to what stands in."""
    for lane in range(LANES):
        ranks[lane] += shift[lane]


@compiled
def _low_half(pairs, half, index):
    """index = the low halves of two counts in one number."""
    for lane in range(LANES):
        index[lane] = pairs[lane] & (1 << half) - 1


@compiled
def _look(index, own, references, sums):
    """Add |own − the reference value there|."""
    for r in range(len(references)):
        for lane in range(LANES):
            sums[lane] += abs(own[lane] - references[r, index[lane]])


@compiled
def _mean_error(v, k, stop, n_below, prefix):
    """Mean of |v − r_i| over the ranks k ≤ i < stop, of which the references i < n_below are below v.

    Σ |v − r_i| = v (2m − k − s) + P_k + P_s − 2 P_m, where m is n_below, kept within k and s, and P are the
    prefix sums.
    """
    m = min(max(n_below, k), stop)
    return (np.float64(v) * (2 * m - k - stop) + prefix[k] + prefix[stop] - 2 * prefix[m]) / (stop - k)


@compiled
def stand_in(floor, prefix, references):
    """Fill references[:, T² − 1 + n] with what is as far from the floor as n pixels of it are on average off.

    It lies on the side of zero, where nothing overflows. prefix : (R,T² + 1); references : (R,2T²), of which the first half is sorted.
    """
    members = references.shape[1] // 2
    for r in range(len(references)):
        n_below = np.searchsorted(references[r, :members], floor)
        for n in range(1, members + 1):
            off = _mean_error(floor, 0, n, n_below, prefix[r])
            references[r, members - 1 + n] = floor + off if floor < 0 else floor - off


@compiled
def _share(ranks, own, references, shares, sums):
    """Where a pixel has equals, replace what `_look` added by the mean error over the ranks they share.

    shares : (half, prefix, below, known); below[g, r] has the number of all references below own, counted when
    needed, known[g] whether that was done.
    """
    half, prefix, below, known = shares
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
                    v = own[start + lane]
                    for r in range(len(references)):
                        mean = _mean_error(v, k, k + n, below[group, r, lane], prefix[r])
                        sums[start + lane] += mean - abs(v - references[r, k])


@compiled
def _count_below(own, references, below):
    """below[r, lane] = the number of references[r] < own[lane], among the first half of them."""
    below[:] = 0
    for r in range(len(references)):
        for k in range(references.shape[1] // 2):
            for lane in range(GROUP):
                below[r, lane] += references[r, k] < own[lane]


@compiled
def _correct(numbers, at, width, size, value, references, prefix, sums):
    """As `_share`, for one pixel, at `at` in numbers, that `_look` ranked in raster order; sums : (T²)."""
    reach, own, mask = size - 1, numbers[at], (1 << FIELD) - 1
    corner = at - reach * (width + 1)
    counts = np.zeros((2 * size, 2 * size), np.int64)  # summed areas of three flags in one number
    for y in range(2 * size - 1):
        total = 0
        for x in range(2 * size - 1):
            other = numbers[corner + y * width + x]
            before = y < reach or (y == reach and x < reach)
            total += (other < own) + ((other == own) * (1 + (before << FIELD)) << FIELD)
            counts[y + 1, x + 1] = counts[y, x + 1] + total
    for r in range(len(references)):
        n_below = np.searchsorted(references[r, : size**2], value)
        for j in range(size**2):
            top, left = size - 1 - j // size, size - 1 - j % size
            both = counts[top + size] - counts[top]
            count = both[left + size] - both[left]
            k, n, before = count & mask, count >> FIELD & mask, count >> 2 * FIELD
            if n > 1:
                mean = _mean_error(value, k, k + n, n_below, prefix[r])
                sums[j] += mean - abs(value - references[r, k + before])


@compiled
def find_tied(numbers, last, width, size, most, tied):
    """Mark the pixels that have an equal fewer than T rows and T columns away, unless it is the smallest value.

    numbers : (h·w) at most `last`. tied : (h·w) False. Gives up after `most` pixels. Returns how many are marked.
    Of the pixels of each number the latest is remembered: those with none near before them, nearly all, are not
    compared with their neighbours.
    """
    latest = np.full(last + 1, -size * width, np.int32)
    n = 0
    for p in range(len(numbers)):
        own = numbers[p]
        near = p - latest[own] < size * width
        latest[own] = p if own else -size * width
        if near:
            n += _mark(numbers, p, width, size, tied)
            if n > most:
                break
    return n


@compiled
def _mark(numbers, p, width, size, tied):
    """Mark pixel p and its equals among the neighbours before it; return how many are marked that were not."""
    y, x = divmod(p, width)
    n = 0
    for row in range(max(0, y - size + 1), y + 1):
        for q in range(row * width + max(0, x - size + 1), min(row * width + min(width, x + size), p)):
            if numbers[q] == numbers[p]:
                n += 2 - tied[q] - tied[p]
                tied[q] = tied[p] = True
    return n


# All patches as references ---------------------------------------------------------------------------------


@compiled
def count(numbers, width, size, guard, height, area, counts):
    """Count how often each value of a channel is the one of rank k, over all windows.

    numbers : (…) of its padded map, from `number`, with second = 1. counts : (distinct, T²) zeros, to add to; the
    ranks of tied values follow raster order.
    """
    total, ranks = np.empty(LANES, area.dtype), np.empty(LANES, area.dtype)
    ys, xs = np.empty(LANES, np.int64), np.empty(LANES, np.int64)
    for pixel in range(0, (height + size - 1) * width, LANES):
        own = numbers[guard + pixel : guard + pixel + LANES]
        for lane in range(LANES):
            ys[lane], xs[lane] = divmod(pixel + lane, width)
        start, stop = _steps(size, width, 0, height, pixel, area)
        for step in range(start, stop):
            _compare_row(numbers, own, guard + pixel, width, size, step, 0, area, total)
            for left in range(size if step >= start + size - 1 else 0):
                y, x = divmod(_rank(size, step, left, area, ranks), size)
                for lane in range(LANES):
                    # Pixels of the next row, or beside the map, are not in a window of this row.
                    if 0 <= ys[lane] - y < height and 0 <= xs[lane] - x <= width - size:
                        counts[own[lane], ranks[lane]] += 1


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
def match_all(numbers, width, size, guard, height, table, half, area, sums):
    """Add to sums what `tabulate_all` says of each pixel's value at its rank, window by window."""
    total, ranks = np.empty(LANES, area.dtype), np.empty(LANES, area.dtype)
    for block in range(len(sums)):
        centre = guard + block * LANES
        own = numbers[centre : centre + LANES]
        start, stop = _steps(size, width, 0, height, block * LANES, area)
        for step in range(start, stop):
            _compare_row(numbers, own, centre, width, size, step, half, area, total)
            for left in range(size if step >= start + size - 1 else 0):
                into = sums[block, _rank(size, step, left, area, ranks)]
                for lane in range(LANES):
                    row = table[own[lane]]
                    n, k = 1, np.int64(ranks[lane])
                    if half:
                        n, k = k >> half, k & (1 << half) - 1
                    into[lane] += (row[k + n] - row[k]) / n
