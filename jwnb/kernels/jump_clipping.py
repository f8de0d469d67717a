"""Jumps found by sigma clipping, for exposures with very many groups or integrations.

Per set of differences: values further than `normal` standard deviations from the median go, five times at most. Most sets lose
none, which is seen without a median: none goes where at most half of the values lie below ``largest - normal * std`` (the
median is then above it), and the same from the other side.
"""

import numba
import numpy as np

from jwnb.kernels import jit, parallel_jit
from jwnb.kernels.jump_pixels import (
    Found,
    JumpRules,
    Ramps,
    copy_flags,
    count_jumps,
    differences,
    flag_difference,
    mark_spread,
    middle_ranks,
    noise_squared,
    select,
)

__all__ = ["clip_bounds", "clip_jumps"]

ROUNDS = 5


def clip_jumps(ramps: Ramps, rules: JumpRules, out: Found, *, across: bool) -> None:
    """Write to `out` what clipping takes away.

    Parameters
    ----------
    ramps, rules : Ramps, JumpRules
        The exposure; ``rules.normal`` is in standard deviations here.
    out : Found
        Its arrays are written.
    across : bool
        Clip each group across the integrations; otherwise all differences of a pixel together.

    Notes
    -----
    What all pixels of a group do at once is no cosmic ray (the telescope has moved): where every pixel is flagged, the
    jumps are taken back.
    """
    _clip_rows(*ramps, rules, across, *out)
    _undo_whole_groups(ramps, rules, out)


def _undo_whole_groups(ramps: Ramps, rules: JumpRules, out: Found) -> None:
    either = rules.jump | rules.do_not_use
    for i, g in np.ndindex(out.groupdq.shape[:2]):
        flags, given = out.groupdq[i, g], ramps.groupdq[i, g]
        if not (flags[0, 0] | given[0, 0]) & either or not ((flags | (given & rules.jump)) & either).all():
            continue
        only_jump = flags == rules.jump
        flags[only_jump] = 0
        bits = np.packbits(only_jump, axis=-1, bitorder="little")
        out.spread[i, g, :, : bits.shape[-1]] &= ~bits
        out.jumps[:] -= np.count_nonzero(only_jump, axis=-1)


@parallel_jit
def _clip_rows(data, groupdq, gain, readnoise, usable, rules, across, flags, spread, jumps):  # type: ignore[no-untyped-def]
    sets = data.shape[1] - 1 if across else 1
    for y in numba.prange(data.shape[2]):  # arrays one by one: see jumps.py
        ramps, out = Ramps(data, groupdq, gain, readnoise, usable), Found(flags, spread, jumps)
        _clip_row(ramps, rules, sets, y, out)


@jit
def _clip_row(ramps, rules, sets, y, out):  # type: ignore[no-untyped-def]
    """Write one row of `out`."""
    ndiffs, nx = ramps.data.shape[0] * (ramps.data.shape[1] - 1), ramps.data.shape[3]
    # The differences of a block of columns are to stay in the second-level cache.
    width = max(16, min(256, 65536 // (ndiffs // sets) // 16 * 16))
    block = np.empty((ndiffs // sets, width), np.float32)
    seen, suspect = np.empty(width, np.uint8), np.empty((sets, width), np.uint8)
    diffs, scratch, values = np.empty(ndiffs, np.float32), np.empty(ndiffs, np.float32), np.empty(ndiffs)
    jumps = 0
    for x0 in range(0, nx, width):
        n = min(width, nx - x0)
        copy_flags(ramps, rules, y, x0, out, seen[:n])
        for s in range(sets):
            live = _load_set(ramps, rules, s, sets, y, x0, block[:, :n])
            _suspect_sets(block[:live, :n], rules.normal, suspect[s, :n])
        for x in range(n):
            if np.uint8(seen[x] & rules.jump) or suspect[:, x].any():
                jumps += _clip_pixel(ramps, rules, suspect[:, x], y, x0 + x, out, diffs, scratch, values)
    out.jumps[y] = jumps


@jit
def _load_set(ramps, rules, s, sets, y, x0, block):  # type: ignore[no-untyped-def]
    """Write the differences of one set for a block of columns, NaN where bad; return how many there are."""
    bad, missing = np.uint8(rules.do_not_use | rules.saturated), np.float32(np.nan)
    columns = slice(x0, x0 + block.shape[1])
    factor = ramps.gain[y, columns]
    live = 0
    for i in range(ramps.data.shape[0]):
        for g in range(1, ramps.data.shape[1]):
            if (sets > 1 and g != s + 1) or not (ramps.usable[i, g] and ramps.usable[i, g - 1]):
                continue
            before, after = ramps.data[i, g - 1, y, columns], ramps.data[i, g, y, columns]
            flags_before, flags_after = ramps.groupdq[i, g - 1, y, columns], ramps.groupdq[i, g, y, columns]
            row = block[live]
            live += 1
            for x in range(row.size):
                d = after[x] * factor[x] - before[x] * factor[x]
                row[x] = missing if np.uint8((flags_before[x] | flags_after[x]) & bad) else d
    return live


@jit
def _suspect_sets(block, threshold, suspect):  # type: ignore[no-untyped-def]
    """Mark the columns of `block` (ndiffs, n) that may lose a value, and those with NaN.

    Single precision, so the bounds are a little too tight.
    """
    count, n = block.shape
    suspect[:] = np.uint8(0)
    if count == 0:
        return
    low_rank, high_rank = middle_ranks(count)
    one, none = np.float32(1.0), np.float32(0.0)
    largest, smallest, mean = block[0].copy(), block[0].copy(), block[0].copy()
    for k in range(1, count):
        row = block[k]
        for x in range(n):
            d = row[x]
            largest[x] = d if d > largest[x] else largest[x]
            smallest[x] = d if d < smallest[x] else smallest[x]
            mean[x] += d
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
    below, above = np.zeros(n, np.float32), np.zeros(n, np.float32)
    for k in range(count):
        row = block[k]
        for x in range(n):
            below[x] += one if row[x] < largest[x] else none
            above[x] += one if row[x] <= smallest[x] else none
    for x in range(n):
        if not (below[x] <= low_rank and above[x] > high_rank and np.isfinite(mean[x])):
            suspect[x] = np.uint8(1)


@jit
def _clip_pixel(ramps, rules, suspect, y, x, out, diffs, scratch, values):  # type: ignore[no-untyped-def]
    """Flag the jumps of one pixel in its suspect sets; return how many of its groups then have the flag."""
    differences(ramps, rules, y, x, diffs)
    sets = suspect.size
    for s in range(sets):
        if not suspect[s]:
            continue
        count = 0
        for k in range(s, diffs.size, sets):
            if np.isfinite(diffs[k]):
                values[count] = diffs[k]
                count += 1
        lower, upper = clip_bounds(values, count, rules.normal)
        for k in range(s, diffs.size, sets):
            if np.isfinite(diffs[k]) and (diffs[k] < lower or diffs[k] > upper):
                flag_difference(out, rules, k, y, x)
    mark_spread(diffs, scratch, noise_squared(ramps, rules, y, x), rules, y, x, out)
    return count_jumps(ramps, rules, y, x, out)


@jit
def clip_bounds(values, count, threshold):  # type: ignore[no-untyped-def]
    """Return the bounds outside which ``values[:count]`` (reordered) are clipped; NaN where there are no values."""
    lower = upper = np.nan
    for _ in range(ROUNDS):
        if count == 0:
            break
        mean = values[:count].sum() / count
        squares = 0.0
        for k in range(count):
            squares += (values[k] - mean) ** 2
        reach = threshold * np.sqrt(squares / count)
        low, high = middle_ranks(count)
        median = (select(values, count, low) + select(values, count, high)) / 2.0
        lower, upper = median - reach, median + reach
        left = 0
        for k in range(count):
            if lower <= values[k] <= upper:
                values[left] = values[k]
                left += 1
        if left == count:
            break
        count = left
    return lower, upper
