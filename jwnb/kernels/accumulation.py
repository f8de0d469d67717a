"""Charge on a detector, frame by frame: photons, cosmic rays, non-linearity, full wells, the average of a group's frames."""

import numpy as np
from numba import prange
from numpy.typing import NDArray

from jwnb.kernels import jit, parallel_jit

__all__ = ["accumulate_ramps", "invert_polynomial"]


@jit
def _measured(linear, coeffs, ceiling):
    """Solve polynomial(m) = linear for m, up to `ceiling`, by Newton's method from above the root."""
    last = coeffs.size - 1
    m = linear
    for _ in range(20):
        value, slope = 0.0, 0.0
        for k in range(last, -1, -1):
            slope = slope * m + value
            value = value * m + coeffs[k]
        step = (value - linear) / slope
        m -= step
        if abs(step) < 1e-4:
            break
    return min(m, ceiling)


@jit
def _poisson(expected, none):
    """Draw a Poisson number; `none` is exp(-expected), which small expectations are inverted from with one uniform number."""
    if expected > 25.0:
        return np.random.poisson(expected)  # noqa: NPY002 (numba's generator of the thread)
    u = np.random.random()  # noqa: NPY002
    n, p = 0, none
    while u > p and n < 200:
        u -= p
        n += 1
        p *= expected / n
    return n


@parallel_jit
def _invert(linear, coeffs, ceiling, out):
    for y in prange(out.shape[0]):
        for x in range(out.shape[1]):
            out[y, x] = _measured(float(linear[y, x]), coeffs[:, y, x], float(ceiling[y, x]))


def invert_polynomial(linear: NDArray[np.float32], coeffs: NDArray[np.float32], ceiling: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the counts that a polynomial maps to `linear`.

    Parameters
    ----------
    linear : NDArray
        Corrected counts (ny, nx).
    coeffs : NDArray
        Coefficients (ncoeff, ny, nx), lowest power first; rising with the counts up to `ceiling`.
    ceiling : NDArray
        Largest counts that can be measured (ny, nx).

    Returns
    -------
    NDArray[np.float64]
        Measured counts (ny, nx), to better than 1e-6 (Newton's method converges quadratically; it stops at a step of 1e-4).
    """
    out = np.empty(linear.shape)
    _invert(linear, coeffs, ceiling, out)
    return out


@parallel_jit
def _accumulate(rate, gain, coeffs, full_well, frame_time, nframes, gap, start, when, charge, seed, groups, first):
    nints, ngroups, ny, nx = groups.shape
    per_group = nframes + gap
    for y in prange(ny):
        polynomial = np.empty(coeffs.shape[0])
        np.random.seed(seed[y])  # noqa: NPY002 - each row its own stream, so that the result does not depend on the threads
        for x in range(nx):
            event, stop = start[y * nx + x], start[y * nx + x + 1]
            dead = rate[y, x] <= 0.0
            top = 0.0
            for k in range(coeffs.shape[0] - 1, -1, -1):
                polynomial[k] = coeffs[k, y, x]
                top = top * full_well[y, x] + polynomial[k]
            scale = 1.0 / gain[y, x]
            expected = rate[y, x] * frame_time
            expected_long = expected * (1 + gap)  # a frame with the dropped frames before it
            none, none_long = np.exp(-expected), np.exp(-expected_long)
            for i in range(nints):
                electrons = 0.0
                base = i * ngroups * per_group
                for g in range(ngroups):
                    total = 0.0
                    for f in range(nframes):
                        frame = base + g * per_group + f
                        if not dead and electrons * scale < top:
                            if f == 0 and g > 0:
                                electrons += _poisson(expected_long, none_long)
                            else:
                                electrons += _poisson(expected, none)
                        while event < stop and when[event] <= frame:
                            if when[event] >= base:
                                electrons += charge[event]
                            event += 1
                        linear = electrons * scale
                        m = full_well[y, x] if linear >= top else _measured(linear, polynomial, full_well[y, x])
                        total += m
                        if g == 0 and f == 0:
                            first[i, y, x] = m
                    groups[i, g, y, x] = total / nframes


def accumulate_ramps(
    rate: NDArray[np.float32], *, gain: NDArray[np.float32], coeffs: NDArray[np.float32], full_well: NDArray[np.float32],
    frame_time: float, nints: int, ngroups: int, nframes: int, groupgap: int,
    hits: NDArray[np.void], seed: NDArray[np.int64],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:  # fmt: skip
    """Collect charge in frames and return what a noiseless, unbiased readout would give.

    Every integration starts empty. Frame n is read n + 1 frame times after the reset; the dropped frames of a group
    collect charge but are not read. Counts of charge are Poisson distributed.

    Parameters
    ----------
    rate : NDArray
        Electrons per second, light and dark current together (ny, nx); 0 or less for pixels that collect nothing.
    gain : NDArray
        Electrons per DN (ny, nx).
    coeffs : NDArray
        Polynomial (ncoeff, ny, nx) that straightens measured DN; its inverse is applied.
    full_well : NDArray
        Measured DN at which a pixel stops (ny, nx).
    frame_time : float
        Seconds a frame.
    nints, ngroups, nframes, groupgap : int
        The readout pattern.
    hits : NDArray
        Cosmic rays: a structured array with integer fields ``frame`` (counted through the exposure, dropped frames
        included), ``y``, ``x``, and ``electrons``.
    seed : NDArray[np.int64]
        One seed for each row, in [0, 2**32).

    Returns
    -------
    groups : NDArray[np.float32]
        Mean of the frames of each group, DN (nints, ngroups, ny, nx).
    first : NDArray[np.float32]
        First frame of each integration, DN (nints, ny, nx).
    """
    ny, nx = rate.shape
    pixel = hits["y"].astype(np.int64) * nx + hits["x"]
    order = np.lexsort((hits["frame"], pixel))
    start = np.searchsorted(pixel[order], np.arange(ny * nx + 1))
    groups = np.empty((nints, ngroups, ny, nx), np.float32)
    first = np.empty((nints, ny, nx), np.float32)
    _accumulate(
        rate, gain, coeffs, full_well, float(frame_time), nframes, groupgap, start,
        hits["frame"][order].astype(np.int64), hits["electrons"][order].astype(np.float64), seed, groups, first,
    )  # fmt: skip
    return groups, first
