"""Showing quickly, for a block of columns at once, that pixels have no jump.

The ratio of the largest difference M of a pixel to its noise, ``(M - m) / sqrt(|m| + r)``, falls as the median m rises: there is no
upward jump where m is at least the m at which the ratio is the threshold, and that is seen by counting the differences below
it, without a median. The same goes for the smallest difference, and for a threshold in standard deviations.

Blocks are (ndiffs, n) in single precision, so the bounds are made a little too tight: what is marked may have a jump, what is not has none.
"""

import numpy as np

from jwnb.kernels import jit
from jwnb.kernels.jump_pixels import middle_ranks

__all__ = ["mark_suspects", "mark_wide"]


@jit
def mark_suspects(block, noise2, threshold, clips, flag, seen):
    """Set `flag` in `seen` (n,) where a difference may be more than `threshold` times its noise from the median, or is NaN.

    `noise2` (n,) is the variance from read noise. With `clips` the median is that of sizes when jumps are looked for one by one: of
    four and more without the largest, of two the smaller.
    """
    count, n = block.shape
    if count < 2:
        return
    without = clips and count >= 4
    low_rank, high_rank = middle_ranks(count - 1 if without else count)
    if clips and count == 2:
        low_rank, high_rank = 0, 0
    largest, smallest, total = _extremes(block)
    upper, lower = np.empty(n, np.float32), np.empty(n, np.float32)
    _clear_medians(largest, smallest, noise2, np.float32(threshold), upper, lower)
    below, above = _count_outside(block, upper, lower)
    ties = np.zeros(n, np.float32)
    if without:
        one, none = np.float32(1.0), np.float32(0.0)
        for k in range(count):
            row = block[k]
            for x in range(n):
                ties[x] += one if row[x] == largest[x] else none
    for x in range(n):
        if not (below[x] <= low_rank and above[x] > high_rank and ties[x] <= 1 and np.isfinite(total[x])):
            seen[x] |= flag


@jit
def mark_wide(block, threshold, suspect):
    """Set `suspect` (n,) to 1 where a difference may be more than `threshold` standard deviations from the median, or is NaN."""
    count, n = block.shape
    suspect[:] = np.uint8(0)
    if count == 0:
        return
    low_rank, high_rank = middle_ranks(count)
    largest, smallest, mean = _extremes(block)
    squares, share = np.zeros(n, np.float32), np.float32(1.0 / count)
    for x in range(n):
        mean[x] *= share
    for k in range(count):
        row = block[k]
        for x in range(n):
            squares[x] += (row[x] - mean[x]) * (row[x] - mean[x])
    for x in range(n):
        reach = np.float32(threshold * 0.999) * np.sqrt(squares[x] * share)
        slack = np.float32(1e-5) * (abs(largest[x]) + abs(smallest[x]))
        largest[x] += slack - reach
        smallest[x] += reach - slack
    below, above = _count_outside(block, largest, smallest)
    for x in range(n):
        if not (below[x] <= low_rank and above[x] > high_rank and np.isfinite(mean[x])):
            suspect[x] = np.uint8(1)


@jit
def _extremes(block):
    """Return the largest and the smallest difference of each column, and the sum (NaN or infinite where one is)."""
    largest, smallest, total = block[0].copy(), block[0].copy(), block[0].copy()
    for k in range(1, block.shape[0]):
        row = block[k]
        for x in range(row.size):
            d = row[x]
            largest[x] = d if d > largest[x] else largest[x]
            smallest[x] = d if d < smallest[x] else smallest[x]
            total[x] += d
    return largest, smallest, total


@jit
def _count_outside(block, upper, lower):
    """Return how many differences of each column are less than `upper`, and how many are not more than `lower`."""
    one, none = np.float32(1.0), np.float32(0.0)
    below, above = np.zeros(upper.size, np.float32), np.zeros(upper.size, np.float32)
    for k in range(block.shape[0]):
        row = block[k]
        for x in range(row.size):
            below[x] += one if row[x] < upper[x] else none
            above[x] += one if row[x] <= lower[x] else none
    return below, above


@jit
def _clear_medians(largest, smallest, noise2, threshold, upper, lower):
    """Solve for the medians between which neither the largest nor the smallest difference is a jump.

    ``largest - m = t sqrt(max(m, 0) + r)`` is linear for negative m, else a quadratic in m; likewise below.
    """
    half, four, zero = np.float32(0.5), np.float32(4.0), np.float32(0.0)
    rounding, slack = np.float32(2e-6), np.float32(1e-4)
    k = threshold * threshold
    for x in range(largest.size):
        top, bottom, noise = largest[x], smallest[x], threshold * np.sqrt(noise2[x])
        top_square = k * k + four * k * (top + noise2[x])
        bottom_square = k * k + four * k * (bottom + noise2[x])
        top_root = np.sqrt(top_square if top_square > zero else zero)
        bottom_root = np.sqrt(bottom_square if bottom_square > zero else zero)
        at = half * (top + top + k - top_root) if top > noise else top - noise
        upper[x] = at + rounding * abs(top) + slack * top_root
        at = half * (bottom + bottom + k + bottom_root) if bottom > -noise else bottom + noise
        lower[x] = at - rounding * abs(at) - slack * bottom_root
