"""Sigma-clipped statistics of many overlapping regions of one image.

A region is given by runs along rows: those of row y of region r are ``first[r, y]`` to ``first[r, y + 1]`` of `starts` and `stops` (first
column, and the one after the last). Regions share most of their pixels, so each pixel's part in the sums is taken once for all of them;
clipping then looks only at the few pixels that lie far from the sky.

Single and double precision are used where `stsci.imagestats` uses them, because the peak of a histogram answers to a single pixel.
"""

import math
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from jwnb.kernels import jit, parallel_jit

__all__ = ["clip", "clip_tails", "core_sums", "first_pixels", "gather", "histograms", "tails", "usable"]

Array = npt.NDArray[Any]

# Columns of what clipping returns: how many pixels are left, their mean, standard deviation, lowest and highest value; whether it is right.
COUNT, MEAN, SPREAD, LOW, HIGH, DONE = range(6)


@parallel_jit
def usable(data: Array, dq: Array, bad: np.uint32) -> Array:
    """Return a copy of an image, (ny, nx) float32, in which pixels that are not finite or have a bit of `bad` are NaN.

    Parameters
    ----------
    data : (ny, nx) float32
    dq : (ny, nx) uint32 or (0, 0)
    bad : uint32
    """
    ny, nx = data.shape
    out = np.empty((ny, nx), np.float32)
    for y in numba.prange(ny):
        for x in range(nx):
            value = data[y, x]
            out[y, x] = value if np.isfinite(value) else np.float32(np.nan)
        if dq.size:
            for x in range(nx):
                if dq[y, x] & bad:
                    out[y, x] = np.float32(np.nan)
    return out


@parallel_jit
def core_sums(values: Array, low: np.float32, high: np.float32, first: Array, starts: Array, stops: Array) -> tuple[Array, Array]:
    """Add up, for each region, the pixels from `low` to `high`.

    Parameters
    ----------
    values : (ny, nx) float32
        NaN is left out.
    low, high : float32
        Limits, both included.
    first, starts, stops
        The regions.

    Returns
    -------
    (regions, 3) float64
        Count, sum and sum of squares of the distances from the middle of the limits.
    (ny + 1,) int64
        How many pixels of the rows before each lie outside of the limits, in a region or not.
    """
    ny, nx = values.shape
    regions = first.shape[0]
    middle = 0.5 * (np.float64(low) + np.float64(high))
    by_row = np.zeros((ny, regions, 3))
    outside = np.zeros(ny + 1, np.int64)
    for y in numba.prange(ny):
        row = values[y]
        edges = _edges_of_row(y, first, starts, stops)
        sums = np.zeros((edges.size, 3))  # up to each edge
        n, total, squares = 0.0, 0.0, 0.0
        for e in range(1, edges.size):
            for x in range(edges[e - 1], edges[e]):
                value = row[x]
                if low <= value <= high:
                    distance = np.float64(value) - middle
                    n += 1.0
                    total += distance
                    squares += distance * distance
            sums[e, 0], sums[e, 1], sums[e, 2] = n, total, squares
        for r in range(regions):
            for k in range(first[r, y], first[r, y + 1]):
                a, b = np.searchsorted(edges, starts[k]), np.searchsorted(edges, stops[k])
                for c in range(3):
                    by_row[y, r, c] += sums[b, c] - sums[a, c]
        count = 0
        for x in range(nx):
            count += (row[x] < low) | (row[x] > high)
        outside[y + 1] = count
    sums = np.zeros((regions, 3))
    for y in range(ny):  # in order, whatever the number of threads
        outside[y + 1] += outside[y]
        sums += by_row[y]
    return sums, outside


@jit
def _edges_of_row(y: int, first: Array, starts: Array, stops: Array) -> Array:
    """Return where runs of a row begin or end, in order."""
    count = 0
    for r in range(first.shape[0]):
        count += first[r, y + 1] - first[r, y]
    edges = np.empty(2 * count, np.int32)
    at = 0
    for r in range(first.shape[0]):
        for k in range(first[r, y], first[r, y + 1]):
            edges[at], edges[at + 1] = starts[k], stops[k]
            at += 2
    return np.unique(edges)


@parallel_jit
def tails(values: Array, low: np.float32, high: np.float32, offsets: Array) -> tuple[Array, Array]:
    """Return value and column of each pixel outside of the limits, row after row.

    Parameters
    ----------
    values : (ny, nx) float32
    low, high : float32
    offsets : (ny + 1,) int64
        Where the pixels of each row go, from `core_sums`.
    """
    ny, nx = values.shape
    found = np.empty(offsets[ny], np.float32)
    columns = np.empty(offsets[ny], np.int32)
    for y in numba.prange(ny):
        at = offsets[y]
        for x in range(nx):
            value = values[y, x]
            if value < low or value > high:
                found[at], columns[at] = value, x
                at += 1
    return found, columns


@parallel_jit
def first_pixels(values: Array, first: Array, starts: Array, stops: Array) -> Array:
    """Return the first value of each region that is not NaN, NaN where there is none: (regions,) float32."""
    out = np.full(first.shape[0], np.nan, np.float32)
    for r in numba.prange(first.shape[0]):
        out[r] = _first_pixel(values, first[r], starts, stops)
    return out


@jit
def _first_pixel(values: Array, first: Array, starts: Array, stops: Array) -> np.float32:
    for y in range(values.shape[0]):
        for k in range(first[y], first[y + 1]):
            for x in range(starts[k], stops[k]):
                if not np.isnan(values[y, x]):
                    return values[y, x]
    return np.float32(np.nan)


@parallel_jit
def clip_tails(
    found: Array, columns: Array, offsets: Array, first: Array, starts: Array, stops: Array,
    sums: Array, core: tuple[np.float32, np.float32], leading: Array,
    lower: float, upper: float, nclip: int, lsigma: float, usigma: float,
) -> Array:  # fmt: skip
    """Clip regions of which all pixels from ``core[0]`` to ``core[1]`` stay, and only the others are looked at.

    Parameters
    ----------
    found, columns, offsets
        The pixels outside of the core, from `tails`.
    first, starts, stops
        The regions.
    sums : (regions, 3) float64
        Of the core, from `core_sums`.
    core : (float32, float32)
        Its limits.
    leading : (regions,) float32
        From `first_pixels`.
    lower, upper : float
        Pixels outside never count; infinite for no limit.
    nclip : int
        How often to clip.
    lsigma, usigma : float
        Where, in standard deviations from the mean.

    Returns
    -------
    (regions, 6) float64
        COUNT, MEAN, SPREAD, LOW, HIGH, DONE. DONE is 0 where the limits came into the core, or no pixel beyond it stayed on one side,
        so that the region has to go through `clip`.
    """
    regions = first.shape[0]
    out = np.zeros((regions, 6))
    middle = 0.5 * (np.float64(core[0]) + np.float64(core[1]))
    for r in numba.prange(regions):
        mine = _gathered_tails(found, columns, offsets, first[r], starts, stops)
        low, high = lower, upper
        for iteration in range(nclip + 1):
            below, above = np.float32(low), np.float32(high)
            if below > core[0] or above < core[1]:
                break
            n, total, squares = sums[r, 0], sums[r, 1], sums[r, 2]
            lowest, highest = np.float32(np.inf), np.float32(-np.inf)
            for value in mine:
                if below <= value <= above:
                    distance = np.float64(value) - middle
                    n += 1.0
                    total += distance
                    squares += distance * distance
                    lowest, highest = min(lowest, value), max(highest, value)
            if n == 0:
                break
            mean = np.float64(np.float32(middle + total / n))
            shift = mean - middle
            spread = np.float64(np.float32(math.sqrt(max(0.0, squares - 2 * shift * total + n * shift * shift) / (n - 1.0))))
            if iteration == nclip:
                _write(out[r], n, mean, spread, below, above, lowest, highest, leading[r])
                out[r, DONE] = 1.0 if lowest < core[0] and highest > core[1] else 0.0
            else:
                low, high = _limits(mean, spread, lower, upper, lsigma, usigma)
    return out


@jit
def _gathered_tails(found: Array, columns: Array, offsets: Array, first: Array, starts: Array, stops: Array) -> Array:
    mine = np.empty(found.size, np.float32)
    n = 0
    for y in range(offsets.size - 1):
        for k in range(first[y], first[y + 1]):
            for i in range(offsets[y], offsets[y + 1]):
                if starts[k] <= columns[i] < stops[k]:
                    mine[n] = found[i]
                    n += 1
    return mine[:n]


@jit
def _limits(mean: float, spread: float, lower: float, upper: float, lsigma: float, usigma: float) -> tuple[float, float]:
    """Return where to clip next; of a single pixel, which has no spread, the outer limits."""
    low, high = mean - lsigma * spread, mean + usigma * spread
    return (low if low > lower else lower), (high if high < upper else upper)


@jit
def _write(
    out: Array, n: float, mean: float, spread: float, below: np.float32, above: np.float32,
    lowest: np.float32, highest: np.float32, leading: np.float32,
) -> None:  # fmt: skip
    """Fill a row of results. The lowest value is the limit itself where the region's first pixel lies below it, as in imagestats."""
    out[COUNT], out[MEAN], out[SPREAD] = n, mean, spread
    out[LOW] = below if leading < below else lowest
    out[HIGH] = above if leading > above else highest


@parallel_jit
def clip(
    values: Array, which: Array, first: Array, starts: Array, stops: Array,
    lower: float, upper: float, nclip: int, lsigma: float, usigma: float,
) -> Array:  # fmt: skip
    """Clip regions, going through all of their pixels each time.

    Parameters
    ----------
    values : (ny, nx) float32
        NaN is left out.
    which : (n,) int64
        The regions to clip.
    first, starts, stops
        All regions.
    lower, upper, nclip, lsigma, usigma
        As in `clip_tails`.

    Returns
    -------
    (n, 6) float64
        As `clip_tails`; COUNT is 0 where no pixel is left. DONE is 1.
    """
    out = np.zeros((which.size, 6))
    for i in numba.prange(which.size):
        r = which[i]
        leading = _first_pixel(values, first[r], starts, stops)
        low, high = lower, upper
        out[i, DONE] = 1.0
        for iteration in range(nclip + 1):
            below, above = np.float32(low), np.float32(high)
            n, mean, spread, lowest, highest = _moments(values, first[r], starts, stops, below, above)
            if n == 0:
                break
            if iteration == nclip:
                _write(out[i], n, mean, spread, below, above, lowest, highest, leading)
            else:
                low, high = _limits(mean, spread, lower, upper, lsigma, usigma)
    return out


@jit
def _moments(
    values: Array, first: Array, starts: Array, stops: Array, below: np.float32, above: np.float32
) -> tuple[float, float, float, np.float32, np.float32]:
    """Return count, mean, standard deviation, lowest and highest of the pixels within limits."""
    n, total = 0.0, 0.0
    lowest, highest = np.float32(np.inf), np.float32(-np.inf)
    for y in range(values.shape[0]):
        for k in range(first[y], first[y + 1]):
            for x in range(starts[k], stops[k]):
                value = values[y, x]
                if below <= value <= above:
                    n += 1.0
                    total += np.float64(value)
                    lowest, highest = min(lowest, value), max(highest, value)
    if n == 0:
        return 0.0, 0.0, 0.0, lowest, highest
    mean = np.float32(total / n)
    squares = 0.0
    for y in range(values.shape[0]):
        for k in range(first[y], first[y + 1]):
            for x in range(starts[k], stops[k]):
                value = values[y, x]
                if below <= value <= above:
                    distance = value - mean
                    squares += np.float64(distance * distance)
    return n, np.float64(mean), np.float64(np.float32(math.sqrt(squares / (n - 1.0)))), lowest, highest


@parallel_jit
def histograms(
    values: Array, first: Array, starts: Array, stops: Array,
    zero: Array, scale: Array, edge: Array, open_end: Array, offsets: Array, blocks: int,
) -> Array:  # fmt: skip
    """Count the pixels of regions in bins.

    Parameters
    ----------
    values : (ny, nx) float32
        NaN is left out.
    first, starts, stops
        The regions.
    zero, scale, edge : (regions,) float32
        The bin of a value v from `zero` to `edge` is the whole part of ``scale * (v - zero)``.
    open_end : (regions,) bool
        Whether `edge` itself is left out.
    offsets : (regions + 1,) int64
        Where the bins of each region begin in the result; what would lie beyond them is left out.
    blocks : int
        How many blocks of rows to count by themselves.

    Returns
    -------
    (bins,) int64
    """
    ny, nx = values.shape
    # Each block counts four pixels at a time in tables of their own, so that no addition waits for the last; one more bin takes the rest.
    tables = np.zeros((blocks, 4, offsets[-1] + first.shape[0]), np.uint32)
    for block in numba.prange(blocks):
        bins = np.empty(nx, np.uint32)
        for y in range(ny * block // blocks, ny * (block + 1) // blocks):
            for r in range(first.shape[0]):
                mine = tables[block, :, offsets[r] + r : offsets[r + 1] + r + 1]
                top = np.nextafter(edge[r], np.float32(-np.inf)) if open_end[r] else edge[r]
                for k in range(first[r, y], first[r, y + 1]):
                    run = values[y, starts[k] : stops[k]]
                    _bins_of_run(run, zero[r], scale[r], top, np.int32(mine.shape[1] - 1), bins)
                    _count(bins, run.size, mine[0], mine[1], mine[2], mine[3])
    counts = np.zeros(offsets[-1], np.int64)
    for r in range(first.shape[0]):
        for block in range(blocks):
            for table in tables[block]:
                counts[offsets[r] : offsets[r + 1]] += table[offsets[r] + r : offsets[r + 1] + r]
    return counts


@jit
def _bins_of_run(run: Array, zero: np.float32, scale: np.float32, top: np.float32, rest: np.int32, bins: Array) -> None:
    for x in range(run.size):
        value = run[x]
        index = np.int32(scale * (value - zero))
        bins[x] = np.uint32(index if (value >= zero) & (value <= top) & (index < rest) else rest)


@jit
def _count(bins: Array, size: int, a: Array, b: Array, c: Array, d: Array) -> None:
    for x in range(0, size - 3, 4):
        a[bins[x]] += 1
        b[bins[x + 1]] += 1
        c[bins[x + 2]] += 1
        d[bins[x + 3]] += 1
    for x in range(size - size % 4, size):
        a[bins[x]] += 1


@parallel_jit
def gather(
    values: Array, first: Array, starts: Array, stops: Array,
    low: Array, high: Array, zero: Array, scale: Array, ends: Array, offsets: Array,
) -> Array:  # fmt: skip
    """Collect the pixels of regions that fall into some of their bins.

    Parameters
    ----------
    values, first, starts, stops
        Image and regions.
    low, high : (regions,) float32
        Limits of what is looked at, both included.
    zero, scale : (regions,) float32
        The bins, as for `histograms`.
    ends : (regions, 2) int64
        First and last bin.
    offsets : (regions + 1,) int64
        Where each region's pixels go.

    Returns
    -------
    (pixels,) float32
    """
    out = np.empty(offsets[-1], np.float32)
    for r in numba.prange(first.shape[0]):
        at, middle = offsets[r], np.float32(0.5) * (low[r] + high[r])
        # One comparison, which nearly always fails, costs far less than two of which one fails half of the time.
        within = np.float32(1.001) * (high[r] - middle) + np.float32(1e-6) * abs(middle)
        for y in range(values.shape[0]):
            for k in range(first[r, y], first[r, y + 1]):
                for x in range(starts[k], stops[k]):
                    value = values[y, x]
                    if abs(value - middle) <= within and low[r] <= value <= high[r]:
                        index = np.int64(scale[r] * (value - zero[r]))
                        if ends[r, 0] <= index <= ends[r, 1]:
                            out[at] = value
                            at += 1
    return out
