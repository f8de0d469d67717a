"""Drizzling with the square kernel, several planes at once (Fruchter & Hook 2002, PASP 114, 144).

The overlap of an input pixel with the output pixels is worked out once and serves the science image and every variance.
The arithmetic, float32 running means included, is that of the `drizzle` library, and so is the choice of the input pixels
that take part.
"""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from jwnb.kernels import jit, parallel_jit

__all__ = ["add_variances", "combine_variances", "extent", "spans", "spread_square", "weights"]

Array = npt.NDArray[Any]
Section = tuple[int, int, int, int]

# The library inverts the map to within this many pixels and allows for it at the edges.
_SLACK = 0.03
_GOLDEN = 0.6180339887498948482
_MOST_CUTS = 50


@parallel_jit
def weights(
    data: Array, dq: Array, others: tuple[Array, ...], variance: Array, bad: np.uint32, constant: np.float32
) -> Array:
    """Return the weight of each pixel, (ny, nx) float32: 0 where it must not be used.

    Parameters
    ----------
    data : (ny, nx) float32
        NaN is not used.
    dq : (ny, nx) uint32 or (0, 0)
        Pixels with a bit of `bad` are not used.
    others : tuple of (ny, nx) float32 or (0, 0)
        A pixel that is NaN in one of these is not used either.
    variance : (ny, nx) float32 or (0, 0)
        The weight is its inverse, 0 where that is not finite; where the array is empty it is `constant`.
    bad : uint32
        Bits.
    constant : float32
        The weight without variance.
    """
    ny, nx = data.shape
    out = np.empty((ny, nx), np.float32)
    for y in numba.prange(ny):
        for x in range(nx):
            value = constant
            if variance.size:
                value = np.float32(1.0) / variance[y, x]
                if not np.isfinite(value):
                    value = np.float32(0)
            if np.isnan(data[y, x]) or (dq.size and dq[y, x] & bad):
                value = np.float32(0)
            out[y, x] = value
        for other in others:
            if other.size:
                for x in range(nx):
                    if np.isnan(other[y, x]):
                        out[y, x] = np.float32(0)
    return out


@jit
def _mapped(pixmap: Array, x: float, y: float) -> tuple[float, float]:
    """Map a point by the four pixels round it, extrapolating at the borders of the image."""
    i = min(max(int(x), 0), pixmap.shape[1] - 2)
    j = min(max(int(y), 0), pixmap.shape[0] - 2)
    u, v = x - i, y - j
    a, b, c, d = (1 - u) * (1 - v), u * (1 - v), (1 - u) * v, u * v
    return (
        pixmap[j, i, 0] * a + pixmap[j, i + 1, 0] * b + pixmap[j + 1, i, 0] * c + pixmap[j + 1, i + 1, 0] * d,
        pixmap[j, i, 1] * a + pixmap[j, i + 1, 1] * b + pixmap[j + 1, i, 1] * c + pixmap[j + 1, i + 1, 1] * d,
    )


@jit
def _with_map(pixmap: Array, x0: int, x1: int, y0: int, y1: int) -> tuple[int, int, int, int]:
    """Shrink a section (bounds inclusive) to the rows and columns that have a mapped pixel."""
    left, right, low, high = x1, x0, y1, y0
    for y in range(y0, y1 + 1):
        for x in range(x0, x1 + 1):
            if not (np.isnan(pixmap[y, x, 0]) or np.isnan(pixmap[y, x, 1])):
                left, low, high = min(left, x), min(low, y), max(high, y)
                break
        for x in range(x1, x0 - 1, -1):
            if not (np.isnan(pixmap[y, x, 0]) or np.isnan(pixmap[y, x, 1])):
                right = max(right, x)
                break
    return left, right, low, high


@jit
def _inverted(pixmap: Array, section: Section, x: float, y: float) -> tuple[float, float]:
    """Find the input position that maps nearest to (x, y) by golden sections in both axes; NaN where the map has holes."""
    left, right, low, high = section[0] - 0.5, section[1] + 0.5, section[2] - 0.5, section[3] + 0.5
    width, height = right - left, high - low
    away = np.empty(4)
    for _ in range(_MOST_CUTS):
        if width <= _SLACK and height <= _SLACK:
            break
        inner_x = (right - _GOLDEN * width, left + _GOLDEN * width)
        inner_y = (high - _GOLDEN * height, low + _GOLDEN * height)
        for k in range(4):
            px, py = _mapped(pixmap, inner_x[k // 2], inner_y[k % 2])
            away[k] = (px - x) ** 2 + (py - y) ** 2
        if np.isnan(away.sum()):
            return np.nan, np.nan
        where = np.argmin(away)
        if (away == away[where]).sum() > 1:
            where = 3
        if where // 2 == 0:
            right = inner_x[1]
        else:
            left = inner_x[0]
        if where % 2 == 0:
            high = inner_y[1]
        else:
            low = inner_y[0]
        width, height = right - left, high - low
    return 0.5 * (left + right), 0.5 * (low + high)


def _clipped(corners: list[tuple[float, float]], shape: tuple[int, int]) -> list[tuple[float, float]]:
    """Cut a polygon to the frame of an image of `shape`, side by side (Sutherland & Hodgman 1974)."""
    sides = ((0, -0.5, 1), (0, shape[1] - 0.5, -1), (1, -0.5, 1), (1, shape[0] - 0.5, -1))
    for axis, bound, sign in sides:
        kept: list[tuple[float, float]] = []
        for a, b in zip([corners[-1], *corners[:-1]], corners, strict=True) if corners else ():
            a_in, b_in = sign * (a[axis] - bound) > 0, sign * (b[axis] - bound) > 0
            if a_in != b_in:
                t = (bound - a[axis]) / (b[axis] - a[axis])
                other = a[1 - axis] + t * (b[1 - axis] - a[1 - axis])
                kept.append((bound, other) if axis == 0 else (other, bound))
            if b_in:
                kept.append(b)
        corners = kept
    return corners


def _chain(corners: Array, side: int) -> tuple[Array, Array, Array]:
    """Return top, slope and offset of the edges from the lowest to the highest vertex along one side (-1 left, +1 right).

    The offset is moved inwards, so that ``slope · y + offset`` bounds the centres of pixels that lie inside as a whole.
    """
    n = len(corners)
    turn = side  # counter-clockwise vertices: the right side goes up with increasing index
    x, y = corners[:, 0], corners[:, 1]
    start, stop = int(np.argmin(y)), int(np.argmax(y))
    for end in (start, stop):
        step = turn if end == start else -turn
        level = (end + step) % n
        if abs(y[level] - y[end]) <= 1e-12 * abs(y[end]):
            start, stop = (level, stop) if end == start else (start, level)
    edges = []
    at = start
    while at != stop:
        to = (at + turn) % n
        slope = (x[to] - x[at]) / (y[to] - y[at])
        crossing = (x[at] * y[to] - y[at] * x[to]) / (y[to] - y[at])
        edges.append((y[to], slope, crossing - side * (0.5 + 0.5 * abs(slope))))
        at = to
    top, slope, offset = np.array(edges).reshape(-1, 3).T
    return top, slope, offset


def spans(pixmap: Array, section: Section, shape: tuple[int, int]) -> npt.NDArray[np.int64]:
    """Return which input pixels take part: those that lie in the output image as a whole, give or take half a pixel.

    The library bounds them by the polygon in which the outlines of input and output overlap, taken to have straight sides in
    the input frame.

    Parameters
    ----------
    pixmap : (ny, nx, 2) float64
        Output position of each input pixel.
    section : (x0, x1, y0, y1)
        First and last column and row to use, inclusive.
    shape : (int, int)
        Rows and columns of the output.

    Returns
    -------
    (ny, 2) int64
        First column and one past the last, equal where no pixel of the row takes part.
    """
    out = np.zeros((pixmap.shape[0], 2), np.int64)
    x0, x1, y0, y1 = section = _with_map(pixmap, *section)
    if x0 >= x1 or y0 >= y1:
        return out
    outline = [(x0 - 0.5, y0 - 0.5), (x1 + 0.5, y0 - 0.5), (x1 + 0.5, y1 + 0.5), (x0 - 0.5, y1 + 0.5)]
    corners = [_mapped(pixmap, *corner) for corner in outline]
    if np.isfinite(corners).all():
        inner = [_inverted(pixmap, section, *corner) for corner in _clipped(corners, shape)]
        if len(inner) < 3:
            return out
        if np.isfinite(inner).all():
            outline = inner
    polygon = np.array(outline)
    dx, dy = (polygon - polygon.mean(axis=0))[:2].T
    if dx[0] * dy[1] - dy[0] * dx[1] < 0:
        polygon = polygon[::-1]
    low, high = polygon[:, 1].min(), polygon[:, 1].max()
    rows = np.arange(max(0, int(low + 0.5 + 2 * _SLACK)), min(y1, int(high + 2 * _SLACK)) + 1)
    rows = rows[(rows + 0.5 > low) & (rows - 0.5 < high + 1)]
    limits, done = [], np.zeros(rows.size, bool)
    for side in (-1, 1):
        top, slope, offset = _chain(polygon, side)
        for found in (np.searchsorted(top, rows - 0.5), np.searchsorted(top, rows - _SLACK)):
            done |= found >= top.size
            edge = np.minimum(found, top.size - 1)
            bound = slope[edge] * rows + offset[edge] + side * _SLACK
            limits.append(np.maximum(bound, x0) if side < 0 else np.minimum(bound, x1))
    left_low, left_high, right_low, right_high = limits
    use_low, use_high = left_low < right_low, left_high < right_high
    left = np.where(use_low & use_high, np.maximum(left_low, left_high), np.where(use_high, left_high, left_low))
    right = np.where(use_low & use_high, np.minimum(right_low, right_high), np.where(use_high, right_high, right_low))
    used = (use_low | use_high) & ~done
    out[rows[used], 0] = np.trunc(left + np.copysign(0.5, left))[used]
    out[rows[used], 1] = np.trunc(right + np.copysign(0.5, right))[used] + 1
    return out


@parallel_jit
def _row_extents(pixmap: Array, columns: npt.NDArray[np.int64], out: Array) -> None:
    ny, nx, _ = pixmap.shape
    for y in numba.prange(ny):
        low_x, high_x, low_y, high_y, reach_x, reach_y = np.inf, -np.inf, np.inf, -np.inf, 0.0, 0.0
        up = min(y + 1, ny - 1)
        for x in range(columns[y, 0], columns[y, 1]):
            px, py = pixmap[y, x, 0], pixmap[y, x, 1]
            if np.isnan(px) or np.isnan(py):
                continue
            low_x, high_x = min(low_x, px), max(high_x, px)
            low_y, high_y = min(low_y, py), max(high_y, py)
            right = min(x + 1, nx - 1)
            step_x = abs(pixmap[y, right, 0] - px) + abs(pixmap[up, x, 0] - px)
            step_y = abs(pixmap[y, right, 1] - py) + abs(pixmap[up, x, 1] - py)
            if np.isnan(step_x) or np.isnan(step_y):
                continue
            reach_x, reach_y = max(reach_x, step_x), max(reach_y, step_y)
        out[y, 0], out[y, 1], out[y, 2], out[y, 3] = low_x, high_x, low_y, high_y
        out[y, 4], out[y, 5] = reach_x, reach_y


def extent(
    pixmap: Array, columns: npt.NDArray[np.int64], shape: tuple[int, int]
) -> tuple[tuple[int, int, int, int], npt.NDArray[np.float64], tuple[float, float]]:
    """Return the part of the output that an input reaches and, for each input row, the output rows that it reaches.

    Parameters
    ----------
    pixmap : (ny, nx, 2) float64
        Output position of each input pixel; NaN is passed over.
    columns : (ny, 2) int64
        From `spans`.
    shape : (int, int)
        Rows and columns of the output.

    Returns
    -------
    box : (x0, x1, y0, y1)
        Columns and rows of the output, the upper bounds exclusive; empty where nothing is reached.
    reached : (ny, 2) float64
        Lowest and highest y of each input row, corners of its pixels included.
    reach : (float, float)
        How far a corner may be from its pixel's centre along x and y.
    """
    rows = np.empty((pixmap.shape[0], 6))
    _row_extents(pixmap, columns, rows)
    used = columns[:, 1] > columns[:, 0]
    if not used.any():
        return (0, 0, 0, 0), np.zeros((pixmap.shape[0], 2)), (1.0, 1.0)
    # A corner is less than one pixel step off in each axis; the steps of neighbouring rows and columns hardly differ.
    reach_x, reach_y = 1.0 + rows[used, 4].max(), 1.0 + rows[used, 5].max()
    low_x, high_x = rows[used, 0].min() - reach_x, rows[used, 1].max() + reach_x
    low_y, high_y = rows[used, 2].min() - reach_y, rows[used, 3].max() + reach_y
    if not np.isfinite([low_x, high_x, low_y, high_y]).all():
        return (0, 0, 0, 0), np.zeros((pixmap.shape[0], 2)), (1.0, 1.0)
    box = (
        int(np.clip(np.floor(low_x), 0, shape[1])),
        int(np.clip(np.ceil(high_x) + 1, 0, shape[1])),
        int(np.clip(np.floor(low_y), 0, shape[0])),
        int(np.clip(np.ceil(high_y) + 1, 0, shape[0])),
    )
    return box, np.column_stack([rows[:, 2] - reach_y, rows[:, 3] + reach_y]), (reach_x, reach_y)


@jit
def _add_under(
    x0: float, y0: float, x1: float, y1: float, left: int, low: int, columns: int, rows: int, areas: Array
) -> None:
    """Add to each pixel of a window the area between a directed segment and the pixel's lower side, negative where it runs to the left.

    Summed over the sides of a polygon this is what the polygon covers of each pixel. The window begins at row `low` and column `left`.
    """
    run, rise = x1 - x0, y1 - y0
    if run == 0:
        return
    sign = 1.0 if run > 0 else -1.0
    slope = rise / run
    for c in range(columns):
        a = x0 - (left + c - 0.5)
        b = x1 - (left + c - 0.5)
        start, stop = max(min(a, b), 0.0), min(max(a, b), 1.0)
        if start >= 1 or stop <= 0:
            continue
        for r in range(rows):
            foot = y0 - (low + r - 0.5)
            first, last = foot + slope * (start - a), foot + slope * (stop - a)
            if first <= 0 and last <= 0:
                break
            if first >= 1 and last >= 1:
                areas[r, c] += sign * (stop - start)
                continue
            here, there = start, stop
            if first < 0:
                here, first = a - foot / slope, 0.0
            elif last < 0:
                there, last = a - foot / slope, 0.0
            if first > 1:
                top = a + (1 - foot) / slope
                areas[r, c] += sign * (top - here + 0.5 * (there - top) * (1 + last))
            elif last > 1:
                top = a + (1 - foot) / slope
                areas[r, c] += sign * (0.5 * (top - here) * (first + 1) + there - top)
            else:
                areas[r, c] += sign * 0.5 * (there - here) * (first + last)


@jit
def _corners(pixmap: Array, i: int, j: int, half: float, cx: Array, cy: Array) -> float:
    """Map the corners of a shrunken pixel, clockwise from the upper left; return its area (NaN where the map has a hole)."""
    ny, nx, _ = pixmap.shape
    if 0 < i < nx - 1 and 0 < j < ny - 1:
        own, edge, far = (1 - half) * (1 - half), half * (1 - half), half * half
        for k in range(4):
            m = i + 1 if k in (1, 2) else i - 1
            n = j + 1 if k < 2 else j - 1
            cx[k] = pixmap[j, i, 0] * own + (pixmap[j, m, 0] + pixmap[n, i, 0]) * edge + pixmap[n, m, 0] * far
            cy[k] = pixmap[j, i, 1] * own + (pixmap[j, m, 1] + pixmap[n, i, 1]) * edge + pixmap[n, m, 1] * far
    else:
        cx[0], cy[0] = _mapped(pixmap, i - half, j + half)
        cx[1], cy[1] = _mapped(pixmap, i + half, j + half)
        cx[2], cy[2] = _mapped(pixmap, i + half, j - half)
        cx[3], cy[3] = _mapped(pixmap, i - half, j - half)
    return 0.5 * ((cx[1] - cx[3]) * (cy[0] - cy[2]) - (cx[0] - cx[2]) * (cy[1] - cy[3]))


@jit
def _into_mean(mean: np.float32, total: np.float32, value: np.float32, weight: np.float32) -> np.float32:
    """Add a value to a weighted mean as the library does: float32 products and sum, divided in float64."""
    if total == np.float32(0):
        return value
    return np.float32(np.float64(mean * total + weight * value) / np.float64(np.float32(total + weight)))


@jit
def _into_means(plane: Array, spread: Array, count: int, weight: np.float32) -> None:
    """Add to several means that have their sum of weights in common, ``plane[0]``."""
    own = plane[0]
    plane[0] = np.float32(own + weight)
    if own == np.float32(0):
        for k in range(count):
            plane[k + 1] = spread[k]
    else:
        inverse = 1.0 / np.float64(plane[0])
        for k in range(count):
            plane[k + 1] = np.float32(np.float64(plane[k + 1] * own + weight * spread[k]) * inverse)


@parallel_jit
def spread_square(
    pixmap: Array,
    columns: Array,
    reached: Array,
    box: tuple[int, int, int, int],
    reach_x: float,
    reach_y: float,
    half: float,
    weight: Array,
    data: Array,
    level: np.float32,
    variances: tuple[Array, Array, Array],
    count: int,
    dq: Array,
    bit: np.uint32,
    image: Array,
    total: Array,
    context: Array,
    flags: Array,
    planes: Array,
    bands: int,
) -> None:
    """Spread the pixels of one input over the output.

    Each band of output rows is one thread's, which takes the input pixels in their order: the result does not depend on `bands`.

    Parameters
    ----------
    pixmap, columns, reached, box, reach_x, reach_y
        As for `extent`, and what it gave.
    half : float
        Half of the pixel fraction.
    weight, data : (ny, nx) float32
        Pixels of weight 0 are passed over.
    level : float32
        Subtracted from the data.
    variances : tuple of (ny, nx) float32
        The first `count` are used.
    count : int
        Number of variances.
    dq : (ny, nx) uint32 or (0, 0)
        Or-ed into `flags`, unless empty.
    bit : uint32
        Or-ed into `context`, unless that is empty.
    image, total : (NY, NX) float32
        Weighted mean and sum of weights, updated.
    context : (NY, NX) uint32 or (0, 0)
        Updated.
    flags : (NY, NX) uint32 or (0, 0)
        Updated.
    planes : (box rows, box columns, 4) float32
        Written where `count` is not 0: this input's sum of weights and its weighted mean standard deviations.
    bands : int
        Into how many bands of rows the work is cut.
    """
    ny = pixmap.shape[0]
    x0, x1, y0, y1 = box
    for band in numba.prange(bands):
        first = y0 + (y1 - y0) * band // bands
        last = y0 + (y1 - y0) * (band + 1) // bands - 1
        if count:
            planes[first - y0 : last + 1 - y0] = 0
        cx, cy = np.empty(4), np.empty(4)
        spread = np.empty(3, np.float32)
        shared = np.empty((int(2 * reach_y) + 3, int(2 * reach_x) + 3))
        for j in range(ny):
            if reached[j, 1] < first - 0.5 or reached[j, 0] > last + 0.5:
                continue
            for i in range(columns[j, 0], columns[j, 1]):
                middle = pixmap[j, i, 1]
                if weight[j, i] == 0 or not (middle + reach_y >= first - 0.5 and middle - reach_y <= last + 0.5):
                    continue
                area = _corners(pixmap, i, j, half, cx, cy)
                if np.isnan(area):
                    continue
                low = max(int(np.floor(min(cy[0], cy[1], cy[2], cy[3]) + 0.5)), first)
                high = min(int(np.floor(max(cy[0], cy[1], cy[2], cy[3]) + 0.5)), last)
                left = max(int(np.floor(min(cx[0], cx[1], cx[2], cx[3]) + 0.5)), x0)
                right = min(int(np.floor(max(cx[0], cx[1], cx[2], cx[3]) + 0.5)), x1 - 1)
                high, right = min(high, low + shared.shape[0] - 1), min(right, left + shared.shape[1] - 1)
                if low > high or left > right:
                    continue
                wide, tall = right - left + 1, high - low + 1
                for r in range(tall):
                    for c in range(wide):
                        shared[r, c] = 0.0
                for k in range(4):
                    n = (k + 1) & 3
                    _add_under(cx[k], cy[k], cx[n], cy[n], left, low, wide, tall, shared)
                density = weight[j, i] / area
                value = np.float32(data[j, i] - level)
                for k in range(count):
                    spread[k] = np.sqrt(variances[k][j, i])
                for y in range(low, high + 1):
                    for x in range(left, right + 1):
                        part = np.float32(shared[y - low, x - left] * density)
                        if part == 0:
                            continue
                        if context.size and part > 0:
                            context[y, x] |= bit
                        if flags.size:
                            flags[y, x] |= dq[j, i]
                        image[y, x] = _into_mean(image[y, x], total[y, x], value, part)
                        total[y, x] = np.float32(total[y, x] + part)
                        if count:
                            _into_means(planes[y - y0, x - x0], spread, count, part)


@parallel_jit
def add_variances(
    planes: Array, corner: tuple[int, int], which: Array, inverse: int, constant: float, sums: Array, totals: Array
) -> None:
    """Add one input's resampled variances, with its weight squared, to the sums.

    Parameters
    ----------
    planes : (rows, columns, 4) float32
        From `spread_square`.
    corner : (int, int)
        Row and column of the output at which `planes` begins.
    which : (n,) int64
        Which of the sums the planes 1, 2, … belong to.
    inverse : int
        The weight of an output pixel is the inverse of the variance in this plane; `constant` where it is 0.
    constant : float
        The weight where `inverse` is 0.
    sums, totals : (kinds, NY, NX) float32
        Sum of weight² · variance, and of weights; updated.
    """
    rows, columns, _ = planes.shape
    for r in numba.prange(rows):
        for c in range(columns):
            if planes[r, c, 0] == 0:
                continue
            scale = constant
            if inverse:
                noise = np.float32(planes[r, c, inverse] * planes[r, c, inverse])
                scale = np.float64(np.float32(1) / noise) if noise > 0 and np.isfinite(noise) else 0.0
            if not scale > 0:
                continue
            y, x = corner[0] + r, corner[1] + c
            for k in range(which.size):
                variance = np.float32(planes[r, c, k + 1] * planes[r, c, k + 1])
                if np.isfinite(variance):
                    sums[which[k], y, x] = np.float32(sums[which[k], y, x] + variance * scale * scale)
                    totals[which[k], y, x] = np.float32(totals[which[k], y, x] + scale)


@parallel_jit
def combine_variances(sums: Array, totals: Array, scale: float) -> Array:
    """Turn `sums` into variances in place and return the error, (NY, NX) float32.

    Parameters
    ----------
    sums, totals : (kinds, NY, NX) float32
        From `add_variances`. A variance is ``sums · scale / totals²``, NaN where nothing was added.
    scale : float
        Applied to every variance.
    """
    kinds, ny, nx = sums.shape
    error = np.empty((ny, nx), np.float32)
    for y in numba.prange(ny):
        for x in range(nx):
            both, known = np.float32(0), False
            for k in range(kinds):
                total = totals[k, y, x]
                variance = np.float32(np.nan)
                if total > 0:
                    variance = np.float32(sums[k, y, x] * scale / total / total)
                    both = np.float32(both + variance)
                    known = True
                sums[k, y, x] = variance
            error[y, x] = np.sqrt(both) if known else np.float32(np.nan)
    return error
