"""Medians of stacks and of moving windows, and the mean of what is left of an image after clipping."""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from jwnb.kernels import jit, parallel_jit

__all__ = ["clipped_mean", "median_plane", "rolling_median"]

Array = npt.NDArray[Any]

_BINS = 1 << 16
_FEW = 32  # up to as many values are sorted quicker by insertion


@parallel_jit
def median_plane(stack: Array, dq: Array, bad: np.uint32, drop_low: int, drop_high: int) -> tuple[Array, Array]:
    """Return the median of planes, (ny, nx) float32, NaN where no plane has a value, and how many have one, (ny, nx) uint16.

    Parameters
    ----------
    stack : (n, ny, nx) float32
        The planes. NaN is left out. Of an even number of values it is the mean of the middle two, rounded as single precision rounds.
    dq : (n, ny, nx) uint32 or (0, 0, 0)
        Values with a bit of `bad` are left out.
    bad : uint32
        Bits.
    drop_low, drop_high : int
        How many of the lowest and highest values to leave out of the median, where more values than both together are there.
    """
    n, ny, nx = stack.shape
    out, counts = np.empty((ny, nx), np.float32), np.empty((ny, nx), np.uint16)
    for y in numba.prange(ny):
        buffer = np.empty(n, np.float32)
        for x in range(nx):
            count = 0
            for k in range(n):
                value = stack[k, y, x]
                if not (np.isnan(value) or (dq.size and dq[k, y, x] & bad)):
                    buffer[count] = value
                    count += 1
            counts[y, x] = min(count, 65535)
            if count == 0:
                out[y, x] = np.nan
                continue
            _put_in_order(buffer, count)
            first, last = 0, count
            if count > drop_low + drop_high:
                first, last = drop_low, count - drop_high
            middle = (first + last) // 2
            if (last - first) % 2:
                out[y, x] = buffer[middle]
            else:
                out[y, x] = np.float32(buffer[middle - 1] + buffer[middle]) / np.float32(2)
    return out, counts


@jit
def _put_in_order(values: Array, count: int) -> None:
    if count > _FEW:
        values[:count].sort()
        return
    for k in range(1, count):
        value = values[k]
        place = k
        while place > 0 and values[place - 1] > value:
            values[place] = values[place - 1]
            place -= 1
        values[place] = value


@jit
def rolling_median(series: Array, width: int, out: Array) -> None:
    """Write the median of a window about each value to `out`.

    A window of an even width reaches one further back than ahead. Near the ends, where it would reach out of the series, the
    nearest whole window's median stands. A NaN makes every window that it is in NaN.

    Parameters
    ----------
    series : (n,) float32
        Values.
    width : int
        Of the window, 2 to n.
    out : (n,) float64
        Written.
    """
    n, half = series.size, width // 2
    window = np.empty(width, np.float32)
    count = 0  # the values in the window, in order; the rest of it is NaN
    for k in range(n):
        value = series[k]
        hole = count
        if k >= width and not np.isnan(series[k - width]):
            hole = 0
            for j in range(count):
                hole += window[j] < series[k - width]
        if np.isnan(value):
            if hole < count:
                for j in range(hole, count - 1):
                    window[j] = window[j + 1]
                count -= 1
        else:
            if hole == count:
                count += 1
            while hole > 0 and window[hole - 1] > value:
                window[hole] = window[hole - 1]
                hole -= 1
            while hole + 1 < count and window[hole + 1] < value:
                window[hole] = window[hole + 1]
                hole += 1
            window[hole] = value
        if k >= width - 1:
            middle = np.float64(np.nan)
            if count == width and width % 2:
                middle = np.float64(window[half])
            elif count == width:
                middle = (np.float64(window[half - 1]) + np.float64(window[half])) / 2
            out[k - width + 1 + half] = middle
    out[:half] = out[half]
    out[n - width + half + 1 :] = out[n - width + half]


@jit
def clipped_mean(values: Array, sigma: float, rounds: int) -> float:
    """Return the mean of finite values other than 0 within `sigma` standard deviations of their median; NaN where there are none.

    As of `astropy.stats.sigma_clip`, clipping is repeated on what is left until nothing more goes. The medians come from counting values by
    their bits, so that nothing is sorted or copied.

    Parameters
    ----------
    values : (n,) float32
        An image.
    sigma : float
        Standard deviations.
    rounds : int
        How often to clip at most.
    """
    counts = np.zeros(_BINS, np.int64)
    bits = values.view(np.uint32)
    for k in range(values.size):
        if values[k] != 0 and np.isfinite(values[k]):
            counts[_ordered(bits[k]) >> np.uint32(16)] += 1
    left = counts.sum()
    if left == 0:
        return np.nan
    low, high, done = -np.inf, np.inf, 0
    origin = _middle(values, counts, 0, left)
    below, now, mean, spread = _moments(values, low, high, origin)
    while True:
        centre = _middle(values, counts, below, left)
        low, high = max(low, centre - sigma * spread), min(high, centre + sigma * spread)
        below, now, mean, spread = _moments(values, low, high, origin)
        done += 1
        if now in (left, 0) or done == rounds:
            return mean
        left = now


@jit
def _ordered(bits: np.uint32) -> np.uint32:
    """Return the bits of a float32 turned so that they are in the order of the numbers."""
    return ~bits if bits >> np.uint32(31) else bits | np.uint32(0x80000000)


@jit
def _middle(values: Array, counts: Array, below: int, count: int) -> float:
    """Return the median of `count` values that come after `below` others; `counts` are those of all values by their upper bits."""
    value, before = _of_rank(values, counts, below + count // 2)
    if count % 2:
        return value
    if np.isnan(before):
        before, _ = _of_rank(values, counts, below + count // 2 - 1)
    return 0.5 * (before + value)


@jit
def _of_rank(values: Array, counts: Array, rank: int) -> tuple[float, float]:
    """Return the value with `rank` others before it, and the one before it; NaN for the latter where its upper bits are others."""
    upper = 0
    while rank >= counts[upper]:
        rank -= counts[upper]
        upper += 1
    fine = np.zeros(_BINS, np.int64)
    bits, wanted = values.view(np.uint32), np.uint32(upper)
    for k in range(values.size):
        turned = _ordered(bits[k])
        if turned >> np.uint32(16) == wanted and values[k] != 0:
            fine[turned & np.uint32(0xFFFF)] += 1
    lower, before = 0, -1
    while rank >= fine[lower]:
        rank -= fine[lower]
        before = lower if fine[lower] else before
        lower += 1
    value = _from_ordered(upper, lower)
    if rank > 0:
        return value, value
    return value, _from_ordered(upper, before) if before >= 0 else np.nan


@jit
def _from_ordered(upper: int, lower: int) -> float:
    turned = (np.uint32(upper) << np.uint32(16)) | np.uint32(lower)
    found = np.empty(1, np.uint32)
    found[0] = turned & np.uint32(0x7FFFFFFF) if turned >> np.uint32(31) else ~turned
    return float(found.view(np.float32)[0])


@jit
def _moments(values: Array, low: float, high: float, origin: float) -> tuple[int, int, float, float]:
    """Return how many values are below the limits and within, and mean and standard deviation of these, which are near `origin`."""
    first, second, below, count = 0.0, 0.0, 0, 0
    for k in range(values.size):
        value = np.float64(values[k])
        if value != 0 and np.isfinite(value):
            if value < low:
                below += 1
            elif value <= high:
                off = value - origin
                first += off
                second += off * off
                count += 1
    if count == 0:
        return below, 0, np.nan, np.nan
    mean = first / count
    return below, count, origin + mean, np.sqrt(max(0.0, second / count - mean * mean))
