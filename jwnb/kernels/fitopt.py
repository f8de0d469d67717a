"""What each segment of each ramp gave: the optional product of ramp fitting."""

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from jwnb.kernels import jit, parallel_jit
from jwnb.kernels.ramps import Fitted, Pixels, Ramps, poisson_variance, read_only
from jwnb.kernels.segments import (
    ZERO_FRAME,
    Bits,
    Plan,
    Weights,
    dissect,
    noise_in_electrons,
    power_index,
    read_noise_variance,
    segment_slope,
    segment_time,
)

__all__ = ["SegmentFits", "fit_segments"]

SQRT2 = 1.41421356


class SegmentFits(NamedTuple):
    """Values by integration and segment, (nints, nsegments, ny, nx), 0 where a ramp has fewer segments.

    Slopes in DN/s, their variances, and weights 1 / read-noise variance; `sigslope`, `yint` and `sigyint` as the fit gives
    them, per group and in DN. `pedestal` (nints, ny, nx) and `crmag` (nints, njumps, ny, nx) are in DN.
    """

    slope: NDArray[np.float32]
    sigslope: NDArray[np.float32]
    var_poisson: NDArray[np.float32]
    var_rnoise: NDArray[np.float32]
    yint: NDArray[np.float32]
    sigyint: NDArray[np.float32]
    weights: NDArray[np.float32]
    pedestal: NDArray[np.float32]
    crmag: NDArray[np.float32]


def fit_segments(
    ramps: Ramps,
    pixels: Pixels,
    *,
    plan: Plan,
    bits: Bits,
    weights: Weights,
    rateints: Fitted,
    median: NDArray[np.float64],
    groups_before: float,
) -> SegmentFits:
    """Fit each segment once more, and keep what there is to know of it.

    Parameters
    ----------
    ramps, pixels, plan, bits, weights
        As for `jwnb.kernels.ramps.fit_ramps`.
    rateints, median
        What that gave.
    groups_before : float
        The pedestal lies this many times the rate (in DN/s, as `jwst` has it) below the first group.

    Returns
    -------
    SegmentFits
        The pedestal is 0 where the integration has no slope; `crmag` are differences across jumps, in order.
    """
    ramps, pixels = read_only(ramps), read_only(pixels)
    nints, _, ny, nx = ramps.data.shape
    most = np.zeros((ny, 2), np.int64)
    _count_rows(ramps, plan, bits, most)
    segments, jumps = (int(n) for n in most.max(axis=0))
    by_segment = {name: np.zeros((nints, segments, ny, nx), np.float32) for name in SegmentFits._fields[:-2]}
    fits = SegmentFits(
        **by_segment,
        pedestal=np.zeros((nints, ny, nx), np.float32),
        crmag=np.zeros((nints, jumps, ny, nx), np.float32),
    )
    _fit_rows(ramps, pixels, plan, bits, weights, rateints.rate, median, groups_before, fits)
    return fits


@parallel_jit
def _count_rows(ramps, plan, bits, most):
    for y in numba.prange(ramps.groupdq.shape[2]):
        _count_row(np.int64(y), ramps, plan, bits, most)


@jit
def _count_row(y, ramps, plan, bits, most):
    """Write the most segments and the most jumps that any ramp of a row has."""
    groupdq, zeroframe = ramps.groupdq, ramps.zeroframe
    nints, ngroups, _, nx = groupdq.shape
    n = plan.stop - plan.start
    flags, starts, lengths = np.empty(ngroups, np.uint8), np.empty(n, np.int64), np.empty(n, np.int64)
    for i in range(nints):
        for x in range(nx):
            jumps = 0
            for g in range(ngroups):
                flags[g] = groupdq[i, g, y, x]
                if plan.start < g < plan.stop and flags[g] & bits.jump:
                    jumps += 1
            zero = zeroframe[i, y, x] if zeroframe.size else np.float32(0.0)
            _, _, _, _, listed = dissect(flags, ngroups, zero, plan, bits, starts, lengths)
            most[y, 0] = max(most[y, 0], listed)
            most[y, 1] = max(most[y, 1], jumps)


@parallel_jit
def _fit_rows(ramps, pixels, plan, bits, weights, rates, median, groups_before, fits):
    for y in numba.prange(ramps.groupdq.shape[2]):
        _fit_row(np.int64(y), ramps, pixels, plan, bits, weights, rates, median, groups_before, fits)


@jit
def _fit_row(y, ramps, pixels, plan, bits, weights, rates, median, groups_before, fits):
    data, groupdq, zeroframe = ramps.data, ramps.groupdq, ramps.zeroframe
    nints, ngroups, _, nx = data.shape
    n = plan.stop - plan.start
    flags, values = np.empty(ngroups, np.uint8), np.empty(n)
    starts, lengths = np.empty(n, np.int64), np.empty(n, np.int64)
    for i in range(nints):
        for x in range(nx):
            for g in range(ngroups):
                flags[g] = groupdq[i, g, y, x]
            zero = zeroframe[i, y, x] if zeroframe.size else np.float32(0.0)
            _, kind, _, count, _ = dissect(flags, ngroups, zero, plan, bits, starts, lengths)
            jumps = 0
            for g in range(n):
                flag = groupdq[i, plan.start + g, y, x]
                values[g] = np.nan if flag & bits.saturated else np.float64(data[i, plan.start + g, y, x])
                if g > 0 and flag & bits.jump:
                    fits.crmag[i, jumps, y, x] = values[g] - values[g - 1]
                    jumps += 1
            if kind == ZERO_FRAME:
                values[0] = zero
            gain = np.float64(pixels.gain[y, x])
            noise = noise_in_electrons(pixels.readnoise[y, x], gain, plan)
            for s in range(count):
                m = lengths[s]
                time = plan.group_time if m > 1 else segment_time(kind, plan)
                slope, sigslope, yint, sigyint = _line(values, starts[s], m, gain, noise, weights)
                variance = read_noise_variance(m, gain, noise, time)
                fits.slope[i, s, y, x] = slope / time
                fits.sigslope[i, s, y, x] = sigslope
                fits.yint[i, s, y, x] = yint
                fits.sigyint[i, s, y, x] = sigyint
                fits.var_poisson[i, s, y, x] = poisson_variance(m, median[y, x], pixels.dark[y, x], gain, time)
                fits.var_rnoise[i, s, y, x] = variance
                fits.weights[i, s, y, x] = 1.0 / variance
            pedestal = values[0] - np.float64(rates[i, y, x]) * groups_before
            fits.pedestal[i, y, x] = 0.0 if np.isnan(pedestal) else pedestal


@jit
def _line(values, start, n, gain, noise, weights):
    """Return a segment's slope and its error per group, and its value at group 0 and its error, in DN."""
    if n == 1:
        return values[start], 0.0, 0.0, 0.0
    if n == 2:
        second = start + 1.0
        value = values[start + 1] * (1.0 - second) + values[start] * second
        return values[start + 1] - values[start], SQRT2 * noise, value, SQRT2 * noise
    slope = segment_slope(values, start, n, gain, noise, weights.odd, weights.slope_norm)
    if noise == 0.0 or not np.isfinite(noise):
        return slope, np.nan, np.nan, np.nan
    p = power_index(values[start], values[start + n - 1], gain, noise)
    total = 0.0
    for k in range(n):
        value = values[start + k]
        if not np.isnan(value):
            total += weights.even[p, abs(2 * k - n + 1)] * value
    # The weights that count for errors are those whose largest is 1 / noise².
    largest = weights.even[p, n - 1]
    middle = start + (n - 1) / 2.0
    spread = weights.slope_norm[p, n] / (2.0 * largest)
    weight = weights.mean_norm[p, n] / largest
    value = total / weights.mean_norm[p, n] - slope * middle
    return slope, abs(noise) / np.sqrt(spread), value, abs(noise) * np.sqrt(1.0 / weight + middle * middle / spread)
