"""Clipped statistics of an image in boxes, and the smooth surface through a mesh of such values."""

import numba
import numpy as np

from jwnb.kernels import jit, parallel_jit

__all__ = ["clipped_boxes", "surface"]

_SIGN = np.uint32(0x80000000)
_ALL = np.uint32(0xFFFFFFFF)
_DIGIT_BITS = np.uint32(11)
_DIGITS = 2048
_DIGIT = np.uint32(_DIGITS - 1)
_PASSES = 3


@jit
def _sorted(values):
    """Sort finite float32 values by their bits, eleven at a time; several times faster than a comparison sort."""
    n = values.size
    bits = values.view(np.uint32)
    keys, other = np.empty(n, np.uint32), np.empty(n, np.uint32)
    places = np.zeros((_PASSES, _DIGITS), np.int64)
    for i in range(n):
        b = bits[i]
        # Order as unsigned numbers is order as floats: the sign bit is turned, and all bits of negative numbers.
        key = b ^ _ALL if b & _SIGN else b ^ _SIGN
        keys[i] = key
        for p in range(_PASSES):
            places[p, (key >> (np.uint32(p) * _DIGIT_BITS)) & _DIGIT] += 1
    for p in range(_PASSES):
        total = 0
        for d in range(_DIGITS):
            count = places[p, d]
            places[p, d] = total
            total += count
        shift = np.uint32(p) * _DIGIT_BITS
        for i in range(n):
            digit = (keys[i] >> shift) & _DIGIT
            other[places[p, digit]] = keys[i]
            places[p, digit] += 1
        keys, other = other, keys
    for i in range(n):
        key = keys[i]
        keys[i] = key ^ _SIGN if key & _SIGN else key ^ _ALL
    return keys.view(np.float32)


@jit
def _median(values, start, stop):
    """Return the median of sorted values[start:stop]."""
    n = stop - start
    middle = start + n // 2
    if n % 2:
        return np.float64(values[middle])
    return 0.5 * (np.float64(values[middle - 1]) + np.float64(values[middle]))


@jit
def _spread(values, start, stop, centre):
    """Return the standard deviation of values[start:stop], from sums about a value near the mean."""
    first = second = 0.0
    for i in range(start, stop):
        d = np.float64(values[i]) - centre
        first += d
        second += d * d
    n = stop - start
    variance = second / n - (first / n) ** 2
    return np.sqrt(max(variance, 0.0))


@jit
def _clip(values, sigma, rounds):
    """Return the part of sorted values left by clipping about the median as its ends, its median and its spread."""
    start, stop = 0, values.size
    centre = _median(values, start, stop)
    spread = _spread(values, start, stop, centre)
    for _ in range(rounds):
        low, high = centre - sigma * spread, centre + sigma * spread
        before = stop - start
        while start < stop and values[start] < low:
            start += 1
        while stop > start and values[stop - 1] > high:
            stop -= 1
        if stop - start == before or stop == start:
            break
        centre = _median(values, start, stop)
        spread = _spread(values, start, stop, centre)
    return start, stop, centre, spread


@parallel_jit
def clipped_boxes(image, masked, box, least, sigma, rounds):
    """Return median, standard deviation and number of the pixels of each box that survive clipping.

    Parameters
    ----------
    image : float32 (ny, nx)
        Pixels that are not finite are left out.
    masked : bool (ny, nx)
        More pixels to leave out.
    box : (int, int)
        Height and width of a box; those at the upper and right border may be cut off.
    least : float
        A box must keep more pixels than this; else its median and deviation are NaN.
    sigma : float
        Clip what lies further than so many standard deviations from the median.
    rounds : int
        How often at most.

    Returns
    -------
    median, deviation : float32 (boxes in y, boxes in x)
    kept : int64, the same shape
    """
    ny, nx = image.shape
    height, width = box
    rows, columns = -(-ny // height), -(-nx // width)
    median = np.full((rows, columns), np.nan, np.float32)
    deviation = np.full((rows, columns), np.nan, np.float32)
    kept = np.zeros((rows, columns), np.int64)
    for k in numba.prange(rows * columns):
        row, column = k // columns, k % columns
        y0, x0 = row * height, column * width
        y1, x1 = min(ny, y0 + height), min(nx, x0 + width)
        good = np.empty((y1 - y0) * (x1 - x0), np.float32)
        n = 0
        for y in range(y0, y1):
            for x in range(x0, x1):
                value = image[y, x]
                if not masked[y, x] and np.isfinite(value):
                    good[n] = value
                    n += 1
        if n == 0 or n <= least:
            kept[row, column] = n
            continue
        start, stop, centre, spread = _clip(_sorted(good[:n]), sigma, rounds)
        kept[row, column] = stop - start
        if stop - start > least:
            median[row, column] = centre
            deviation[row, column] = spread
    return median, deviation, kept


@parallel_jit
def surface(coefficients, first_row, row_weights, first_column, column_weights, limits, masked):
    """Evaluate a product of cubic splines on every pixel, within limits.

    Parameters
    ----------
    coefficients : float64 (rows + 4, columns + 4)
        Spline coefficients of the mesh with two more on every side.
    first_row, row_weights : int64 (ny,), float64 (ny, 4)
        For each row of the image the first of the four coefficients that it takes, and their weights.
    first_column, column_weights : int64 (nx,), float64 (nx, 4)
        The same for its columns.
    limits : float64 (2,)
        The smallest and the largest value allowed.
    masked : bool (ny, nx)
        Pixels that get zero.

    Returns
    -------
    float32 (ny, nx)
    """
    ny, nx = masked.shape
    out = np.empty((ny, nx), np.float32)
    low, high = limits
    for y in numba.prange(ny):
        line = np.zeros(coefficients.shape[1])
        for j in range(4):
            for m in range(line.size):
                line[m] += row_weights[y, j] * coefficients[first_row[y] + j, m]
        for x in range(nx):
            c = first_column[x]
            value = (
                column_weights[x, 0] * line[c]
                + column_weights[x, 1] * line[c + 1]
                + column_weights[x, 2] * line[c + 2]
                + column_weights[x, 3] * line[c + 3]
            )
            out[y, x] = 0.0 if masked[y, x] else min(max(value, low), high)
    return out
