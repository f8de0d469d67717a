"""What stands round drizzling: the weight of each input pixel, and variances added with squared weights."""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from jwnb.kernels import parallel_jit

__all__ = ["add_variances", "combine_variances", "weights"]

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


@parallel_jit
def add_variances(planes: Array, which: Array, inverse: int, constant: float, sums: Array, totals: Array) -> None:
    """Add one input's resampled variances, with its weight squared, to the sums.

    Parameters
    ----------
    planes : (NY, NX, 4) float32
        The input's weight in the output, and its resampled standard deviations.
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
    for y in numba.prange(rows):
        for x in range(columns):
            if planes[y, x, 0] == 0:
                continue
            scale = constant
            if inverse:
                noise = np.float32(planes[y, x, inverse] * planes[y, x, inverse])
                scale = np.float64(np.float32(1) / noise) if noise > 0 and np.isfinite(noise) else 0.0
            if not scale > 0:
                continue
            for k in range(which.size):
                variance = np.float32(planes[y, x, k + 1] * planes[y, x, k + 1])
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
