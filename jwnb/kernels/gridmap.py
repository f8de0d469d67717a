"""Cubic interpolation of coordinates known on a coarse grid of pixels."""

import numba
import numpy as np
import numpy.typing as npt

from jwnb.kernels import jit, parallel_jit

__all__ = ["cubic_at", "cubic_rows", "cubic_weights"]

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]


def cubic_weights(places: Array, spacing: float, count: int) -> tuple[Index, Array]:
    """Return where each place's four nodes start and their Lagrange weights.

    Parameters
    ----------
    places : (n,) float64
        Coordinates, the first node at 0.
    spacing : float
        Distance between nodes.
    count : int
        Number of nodes, at least 4. In the first and last cell the four outermost nodes are used.

    Returns
    -------
    (n,) int64, (n, 4) float64
        Index of the first node; weights, which sum to 1.
    """
    first = np.clip((places / spacing).astype(np.int64) - 1, 0, count - 4)
    t = places / spacing - first
    weights = np.empty((places.size, 4))
    weights[:, 0] = -(t - 1) * (t - 2) * (t - 3) / 6
    weights[:, 1] = t * (t - 2) * (t - 3) / 2
    weights[:, 2] = -t * (t - 1) * (t - 3) / 2
    weights[:, 3] = t * (t - 1) * (t - 2) / 6
    return first, weights


@jit
def _blend(nodes: Array, c: int, first: int, w: Array, column: int) -> float:
    """Combine four nodes of one column of component `c`."""
    return (
        w[0] * nodes[c, first, column]
        + w[1] * nodes[c, first + 1, column]
        + w[2] * nodes[c, first + 2, column]
        + w[3] * nodes[c, first + 3, column]
    )


@parallel_jit
def cubic_rows(
    nodes: Array,
    first_y: Index,
    weight_y: Array,
    first_x: Index,
    weight_x: Array,
    out: Array,
) -> None:
    """Fill `out` (rows, columns, components) with the interpolated coordinates of a block of rows.

    Parameters
    ----------
    nodes : (components, gy, gx) float64
        Exact values.
    first_y, weight_y, first_x, weight_x
        From `cubic_weights`, for the rows and columns of `out`.
    out : (ny, nx, components) float64
        Written.
    """
    components, _, width = nodes.shape
    for y in numba.prange(first_y.size):
        row = np.empty((components, width))
        for c in range(components):
            for g in range(width):
                row[c, g] = _blend(nodes, c, first_y[y], weight_y[y], g)
        for x in range(first_x.size):
            k = first_x[x]
            for c in range(components):
                out[y, x, c] = (
                    weight_x[x, 0] * row[c, k]
                    + weight_x[x, 1] * row[c, k + 1]
                    + weight_x[x, 2] * row[c, k + 2]
                    + weight_x[x, 3] * row[c, k + 3]
                )


@jit
def cubic_at(nodes: Array, first_y: Index, weight_y: Array, first_x: Index, weight_x: Array) -> Array:
    """Return the interpolated coordinates, (components, n), at n single places."""
    components = nodes.shape[0]
    out = np.zeros((components, first_y.size))
    for i in range(first_y.size):
        for c in range(components):
            total = 0.0
            for k in range(4):
                total += weight_x[i, k] * _blend(nodes, c, first_y[i], weight_y[i], first_x[i] + k)
            out[c, i] = total
    return out
