"""Means along the first axis without outliers, as `astropy.stats.sigma_clip` finds them: median ± sigma · standard deviation, repeated."""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from jwnb.kernels import jit, parallel_jit

__all__ = ["mean_and_error", "mean_plane"]

Array = npt.NDArray[Any]


@jit
def _limits(values: Array, sigma: float, rounds: int) -> tuple[float, float]:
    """Return the limits that the last round of clipping sets; `values` is sorted, not empty and finite, `rounds` 0 goes on to the end."""
    first, last = 0, len(values)
    done = 0
    while True:
        n = last - first
        middle = first + n // 2
        centre = values[middle] if n % 2 else 0.5 * (values[middle] + values[middle - 1])
        mean = 0.0
        for k in range(first, last):
            mean += values[k]
        mean /= n
        squares = 0.0
        for k in range(first, last):
            squares += (values[k] - mean) ** 2
        reach = sigma * np.sqrt(squares / n)
        low, high = centre - reach, centre + reach
        # Sorted, so that what is left is one run of values.
        while first < last and values[first] < low:
            first += 1
        while last > first and values[last - 1] > high:
            last -= 1
        done += 1
        if last - first == n or last == first or done == rounds:
            return low, high


@jit
def _sorted_in(buffer: Array, count: int) -> Array:
    """Return the first `count` values of `buffer`, put in order."""
    values = buffer[:count]
    if count > 32:
        values.sort()
        return values
    for k in range(1, count):
        value = values[k]
        place = k
        while place > 0 and values[place - 1] > value:
            values[place] = values[place - 1]
            place -= 1
        values[place] = value
    return values


@parallel_jit
def mean_plane(stack: Array, power: int, sigma: float, rounds: int) -> Array:
    """Return the clipped mean of planes, (ny, nx) float32; NaN where no plane has a finite value.

    Parameters
    ----------
    stack : (n, ny, nx) float32
        The planes. What is not finite is left out.
    power : {1, 2}
        2: of the squares of the values.
    sigma : float
        Distance from the median, in standard deviations, beyond which a value is left out.
    rounds : int
        How often to clip at most; 0: until nothing more goes.
    """
    n, ny, nx = stack.shape
    out = np.empty((ny, nx), np.float32)
    for y in numba.prange(ny):
        buffer = np.empty(n, np.float64)
        for x in range(nx):
            count = 0
            for k in range(n):
                value = stack[k, y, x]
                if power == 2:
                    value *= value
                if np.isfinite(value):
                    buffer[count] = value
                    count += 1
            if count == 0:
                out[y, x] = np.nan
                continue
            low, high = _limits(_sorted_in(buffer, count), sigma, rounds)
            total, used = 0.0, 0
            for k in range(n):
                value = stack[k, y, x]
                if power == 2:
                    value *= value
                if np.isfinite(value) and low <= value <= high:
                    total += value
                    used += 1
            out[y, x] = total / used if used else np.nan
    return out


@parallel_jit
def mean_and_error(data: Array, variance: Array, sigma: float, rounds: int) -> tuple[Array, Array, Array]:
    """Return the clipped mean of images, its standard deviation (0 where nothing is left) and how many were used, each (ny, nx).

    Parameters
    ----------
    data : (n, ny, nx) float32
        The images. What is not finite is left out.
    variance : (n, ny, nx) float32
        The variances of the values; that of the mean is the sum over those used, over their number squared.
    sigma, rounds : float, int
        As for `mean_plane`.
    """
    n, ny, nx = data.shape
    mean, error = np.zeros((ny, nx), np.float32), np.zeros((ny, nx), np.float32)
    number = np.zeros((ny, nx), np.uint16)
    for y in numba.prange(ny):
        buffer = np.empty(n, np.float64)
        for x in range(nx):
            count = 0
            for k in range(n):
                if np.isfinite(data[k, y, x]):
                    buffer[count] = data[k, y, x]
                    count += 1
            if count == 0:
                continue
            low, high = _limits(_sorted_in(buffer, count), sigma, rounds)
            total, spread, used = 0.0, 0.0, 0
            for k in range(n):
                value = data[k, y, x]
                if np.isfinite(value) and low <= value <= high:
                    total += value
                    spread += variance[k, y, x]
                    used += 1
            if used:
                mean[y, x] = total / used
                error[y, x] = np.sqrt(spread) / used
                number[y, x] = used
    return mean, error, number
