"""Convolution with a small kernel that undoes the coupling of neighbouring pixels (inter-pixel capacitance)."""

import numpy as np
from numba import prange
from numpy.typing import NDArray

from jwnb.kernels import jit, parallel_jit

__all__ = ["deconvolve"]


def deconvolve(
    data: NDArray[np.float32],
    kernel: NDArray[np.float32],
    *,
    borders: tuple[int, int, int, int] = (0, 0, 0, 0),
    rows: NDArray[np.intp] | None = None,
) -> NDArray[np.float32]:
    """Convolve every group with a kernel, leaving reference pixels out.

    Parameters
    ----------
    data : NDArray[np.float32]
        Counts of shape (nints, ngroups, ny, nx). NaN spreads as far as the kernel reaches.
    kernel : NDArray[np.float32]
        Odd-sized kernel (ky, kx), or one for each pixel (ky, kx, nrows, nx).
    borders : tuple of int
        Rows of reference pixels at the bottom and top, columns at the left and right: they stay as they are and give
        nothing to their neighbours.
    rows : NDArray[np.intp], optional
        Rows of `data` that hold ordinary pixels, where reference pixels are interleaved (NIRSpec's IRS2 readout); the
        others stay as they are. None: all rows in order.

    Returns
    -------
    NDArray[np.float32]
        A new array. Terms are added in float32, the central one last.
    """
    if rows is None:
        rows = np.arange(data.shape[-2])
        out = np.empty(data.shape, dtype=np.float32)
    else:
        out = data.copy(order="C")
    field = np.ascontiguousarray(kernel[:, :, None, None] if kernel.ndim == 2 else kernel)
    _deconvolve(np.ascontiguousarray(data), field, rows, *borders, out)
    return out


@parallel_jit
def _deconvolve(data, field, rows, bottom, top, left, right, out):
    nints, ngroups, _, nx = data.shape
    nrows = rows.size
    for k in prange(nrows):
        total = np.empty(nx, dtype=np.float32)
        inside = bottom <= k < nrows - top
        for i in range(nints):
            for g in range(ngroups):
                target = out[i, g, rows[k]]
                target[:] = data[i, g, rows[k]]
                if inside:
                    _add_terms(data[i, g], field, rows, k, bottom, nrows - top, left, nx - right, total)
                    target[left : nx - right] = total[left : nx - right]


@jit
def _add_terms(counts, field, rows, k, y0, y1, x0, x1, total):
    """Sum the kernel's terms for one row, pixels `x0` to `x1`."""
    ky, kx = field.shape[:2]
    total[x0:x1] = np.float32(0.0)
    for j in range(ky):
        y = k + ky // 2 - j
        if y0 <= y < y1:
            for i in range(kx):
                if j != ky // 2 or i != kx // 2:
                    _add_term(counts[rows[y]], field[j, i], k, kx // 2 - i, x0, x1, total)
    _add_term(counts[rows[k]], field[ky // 2, kx // 2], k, 0, x0, x1, total)


@jit
def _add_term(source, weights, k, shift, x0, x1, total):
    """Add one term: the pixel `shift` columns to the right, weighted."""
    start, stop = max(x0, x0 - shift), min(x1, x1 - shift)
    if weights.shape[1] == 1:
        weight = weights[0, 0]
        for x in range(start, stop):
            total[x] += weight * source[x + shift]
    else:
        for x in range(start, stop):
            total[x] += weights[k, x] * source[x + shift]
