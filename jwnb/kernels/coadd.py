"""What stands round drizzling: the weight of each input pixel, and variances added with squared weights."""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from jwnb.kernels import jit, parallel_jit

__all__ = ["add_image", "add_variances", "combine_variances", "extent", "pair", "parted", "shift", "weights"]

Array = npt.NDArray[Any]


@parallel_jit
def weights(data: Array, dq: Array, others: tuple[Array, ...], variance: Array, bad: np.uint32, constant: np.float32) -> Array:
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
def extent(pixmap: Array) -> tuple[Array, Array]:
    """Return least and largest output row and column of a ``pixmap`` (ny, nx, 2): two arrays of (y, x); infinite where all are NaN."""
    low, high = np.full(2, np.inf), np.full(2, -np.inf)
    ny, nx, _ = pixmap.shape
    for y in range(ny):
        for x in range(nx):
            for axis in range(2):
                value = pixmap[y, x, 1 - axis]
                if not np.isnan(value):
                    low[axis], high[axis] = min(low[axis], value), max(high[axis], value)
    return low, high


@parallel_jit
def shift(pixmap: Array, x0: float, y0: float) -> None:
    """Let a ``pixmap`` (ny, nx, 2) count from the output pixel (`x0`, `y0`)."""
    for y in numba.prange(pixmap.shape[0]):
        for x in range(pixmap.shape[1]):
            pixmap[y, x, 0] -= x0
            pixmap[y, x, 1] -= y0


@parallel_jit
def pair(first: Array, second: Array, weight: Array) -> tuple[Array, Array, bool]:
    """Return the ratio of two standard deviations, second to first, the weight times the first, and whether that can be done.

    Parameters
    ----------
    first, second, weight : (ny, nx) float32
        Variances, and weights. Where the weight is 0 the variances do not matter; elsewhere `first` must be above 0.
    """
    ny, nx = weight.shape
    ratio, scaled = np.zeros((ny, nx), np.float32), np.zeros((ny, nx), np.float32)
    impossible = np.zeros(ny, np.int64)
    for y in numba.prange(ny):
        for x in range(nx):
            if weight[y, x] != 0:
                if not (first[y, x] > 0 and np.isfinite(first[y, x])):
                    impossible[y] = 1
                    continue
                deviation = np.sqrt(np.float64(first[y, x]))
                ratio[y, x] = np.sqrt(np.float64(second[y, x])) / deviation
                scaled[y, x] = weight[y, x] * deviation
    return ratio, scaled, not impossible.any()


@parallel_jit
def parted(ratio: Array, first: Array, weight: Array) -> tuple[Array, Array]:
    """Return the two weighted means that were drizzled together.

    Parameters
    ----------
    ratio, first : (NY, NX) float32
        Image and weight that came of what `pair` gave.
    weight : (NY, NX) float32
        The weight of the image itself. Where it is 0 the result is NaN.
    """
    one, two = np.empty(weight.shape, np.float32), np.empty(weight.shape, np.float32)
    for y in numba.prange(weight.shape[0]):
        for x in range(weight.shape[1]):
            mean = np.float64(np.nan) if weight[y, x] == 0 else np.float64(first[y, x]) / np.float64(weight[y, x])
            one[y, x] = mean
            two[y, x] = mean * ratio[y, x]
    return one, two


@parallel_jit
def add_image(image: Array, weight: Array, data: Array, total: Array, took_part: Array, context: Array, bit: np.int32) -> None:
    """Add one drizzled image to the weighted mean of those before.

    Parameters
    ----------
    image, weight : (ny, nx) float32
        Its values and weights; where the weight is 0 there is nothing to add.
    data, total : (ny, nx) float32
        The mean so far and the sum of weights; updated.
    took_part : (ny, nx) bool or (0, 0)
        Where the context gets `bit`; without it where the weight is not 0.
    context : (ny, nx) int32 or (0, 0)
        Updated.
    bit : int32
        The image's bit.
    """
    ny, nx = image.shape
    for y in numba.prange(ny):
        for x in range(nx):
            w = np.float64(weight[y, x])
            if context.size and (took_part[y, x] if took_part.size else w != 0):
                context[y, x] |= bit
            if w == 0:
                continue
            before = np.float64(total[y, x])
            if before + w != 0:
                data[y, x] = (data[y, x] * before + image[y, x] * w) / (before + w)
            total[y, x] = before + w


@parallel_jit
def add_variances(
    weight: Array, deviations: tuple[Array, ...], which: Array, inverse: bool, constant: float, sums: Array, totals: Array
) -> None:
    """Add one input's resampled variances, with its weight squared, to the sums.

    Parameters
    ----------
    weight : (ny, nx) float32
        The input's weight in the output; where it is 0 nothing is added.
    deviations : tuple of (ny, nx) float32
        Its resampled standard deviations.
    which : (n,) int64
        Which of the sums each of them belongs to.
    inverse : bool
        The weight of an output pixel is the inverse of the first variance; `constant` otherwise.
    constant : float
        The weight of every pixel without `inverse`.
    sums, totals : (kinds, ny, nx) float32
        Sum of weight² · variance, and of weights; updated.
    """
    rows, columns = weight.shape
    for y in numba.prange(rows):
        for x in range(columns):
            if weight[y, x] == 0:
                continue
            scale = constant
            if inverse:
                noise = np.float32(deviations[0][y, x] * deviations[0][y, x])
                scale = np.float64(np.float32(1) / noise) if noise > 0 and np.isfinite(noise) else 0.0
            if not scale > 0:
                continue
            for k in range(len(deviations)):
                variance = np.float32(deviations[k][y, x] * deviations[k][y, x])
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
