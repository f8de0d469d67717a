"""One pixel of one integration: which groups count, the segments they make, and a segment's slope.

A segment is a run of groups without flags; it may begin with the group in which a cosmic ray was found, because the ray's
charge is already in that group's counts and all later ones. Slopes are least-squares lines with the weights of Fixsen et al.
(2000, PASP 112, 1350): ``|x - x_mid| ** p`` with `p` growing with the signal-to-noise ratio of the segment.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jwnb.kernels import jit

__all__ = [
    "FIRST_GROUP", "ORDINARY", "ZERO_FRAME", "Bits", "Plan", "Weights", "dissect", "find_segments", "give_back_charge",
    "median_in_place", "median_rate", "noise_in_electrons", "optimal_weights", "power_index", "read_noise_variance",
    "segment_slope", "segment_time", "select_flags",
]  # fmt: skip

ORDINARY, FIRST_GROUP, ZERO_FRAME = 0, 1, 2

_POWERS = (0.0, 0.4, 1.0, 3.0, 6.0, 10.0)


class Bits(NamedTuple):
    """The flags that matter to a fit; the values are the same in GROUPDQ and PIXELDQ but for `no_gain`."""

    do_not_use: np.uint8
    saturated: np.uint8
    jump: np.uint8
    persistence: np.uint8
    charge_loss: np.uint8
    no_gain: np.uint32


class Plan(NamedTuple):
    """What holds for every pixel: which groups are looked at, and the times in seconds.

    Groups outside ``first_used … last_used`` count as DO_NOT_USE. Groups outside ``start … stop - 1`` are left out
    altogether, and `forgive_jump` takes the jump flag off group `start`, which then has nothing before it.
    """

    start: int
    stop: int
    first_used: int
    last_used: int
    forgive_jump: bool
    suppress_one_group: bool
    group_time: float
    frame_time: float
    first_group_time: float
    read_noise_scale: float


class Weights(NamedTuple):
    """Powers of integers from which the weights of any segment follow.

    With ``u = 2 k - (n - 1)`` for group `k` of a segment of `n`, weights are ``|u| ** p`` up to a factor that cancels.
    ``odd[p, u] = u ** (p + 1)``, ``even[p, u] = u ** p``; `slope_norm` and `mean_norm` are indexed by power and length.
    """

    odd: NDArray[np.float64]
    even: NDArray[np.float64]
    slope_norm: NDArray[np.float64]
    mean_norm: NDArray[np.float64]


def optimal_weights(ngroups: int) -> Weights:
    """Return the weights for segments of up to `ngroups` groups."""
    u = np.arange(ngroups, dtype=np.float64)
    powers = np.array(_POWERS)[:, None]
    odd, even = u ** (powers + 1), u**powers
    slope_norm = np.zeros((len(_POWERS), ngroups + 1))
    mean_norm = np.zeros_like(slope_norm)
    for n in range(1, ngroups + 1):
        own = slice((n - 1) % 2, n, 2)
        slope_norm[:, n] = (odd * u)[:, own].sum(axis=1)
        mean_norm[:, n] = 2 * even[:, own].sum(axis=1) - (even[:, 0] if n % 2 else 0.0)
    return Weights(odd, even, slope_norm, mean_norm)


@jit
def dissect(flags, ngroups, zero, plan, bits, starts, lengths):
    """Find the segments of one ramp.

    Parameters
    ----------
    flags : ndarray of uint8
        GROUPDQ of all `ngroups` groups; on return the flags that the fit goes by, from group ``plan.start`` on.
    zero : float
        The pixel's zero frame, 0 where there is none.
    starts, lengths : ndarray of int64
        Filled with the segments.

    Returns
    -------
    seen : uint8
        All flags, or-ed.
    kind : int
        `ORDINARY`; `FIRST_GROUP` where only that one is good; `ZERO_FRAME` where the zero frame stands in for it.
    earned : uint32
        The PIXELDQ flags of a ramp with nothing to fit, else 0.
    count, listed : int
        How many segments there are to fit, and how many the optional product makes room for.
    """
    n = plan.stop - plan.start
    seen = select_flags(flags, ngroups, plan, bits)
    kind = _special_start(flags, n, zero, plan)
    earned = _unusable(flags, n, bits)
    if earned:
        return seen, kind, earned, 0, 0
    count, listed = find_segments(flags, n, bits, starts, lengths)
    return seen, kind, earned, count, listed


@jit
def select_flags(flags, ngroups, plan, bits):
    """Flag what the options leave out, move the groups that are looked at to the front; return all flags, or-ed."""
    good = 0
    for g in range(ngroups):
        if g < plan.first_used or g > plan.last_used:
            flags[g] |= bits.do_not_use
        if flags[g] & ~bits.persistence == 0:
            good += 1
    seen = np.uint8(0)
    for g in range(plan.stop - plan.start):
        flag = flags[g + plan.start]
        if plan.suppress_one_group and good == 1:
            flag |= bits.do_not_use
        if g == 0 and plan.forgive_jump:
            flag &= ~bits.jump
        flags[g] = flag
        seen |= flag
    return seen


@jit
def give_back_charge(flags, ngroups, plan, bits, starts, lengths):
    """Find the segments there would be had no group been given up (DO_NOT_USE) for charge that moved to neighbours."""
    for g in range(ngroups):
        if g < plan.first_used or g > plan.last_used:
            flags[g] |= bits.do_not_use
        if flags[g] & bits.charge_loss:
            flags[g] ^= bits.charge_loss | bits.do_not_use
    for g in range(plan.stop - plan.start):
        flags[g] = flags[g + plan.start]
    return find_segments(flags, plan.stop - plan.start, bits, starts, lengths)[0]


@jit
def _special_start(flags, n, zero, plan):
    """Say whether only the first group is good, or none and a zero frame other than 0 stands in (``flags[0]`` is cleared)."""
    if plan.suppress_one_group:
        return ORDINARY
    good = 0
    for g in range(n):
        if flags[g] == 0:
            good += 1
    if good == 1 and flags[0] == 0:
        return FIRST_GROUP
    if good == 0 and zero != 0.0:
        flags[0] = 0
        return ZERO_FRAME
    return ORDINARY


@jit
def _unusable(flags, n, bits):
    do_not_use, saturated = np.uint32(bits.do_not_use), np.uint32(bits.saturated)
    if flags[0] & bits.saturated:
        return do_not_use | saturated
    for g in range(n):
        if flags[g] & (bits.do_not_use | bits.saturated) == 0:
            return np.uint32(0)
    return do_not_use


@jit
def find_segments(flags, n, bits, starts, lengths):
    """Fill `starts` and `lengths` with the segments to fit; return how many, and how many before single groups were dropped.

    Single groups are dropped where there is a longer segment; where all are single only the first is kept.
    """
    count, longest, begin = 0, 0, -1
    for g in range(n + 1):
        good = g < n and flags[g] & ~bits.persistence == 0
        if good and begin < 0:
            after_jump = g > 0 and flags[g - 1] & ~bits.persistence == bits.jump
            begin = g - 1 if after_jump else g
        elif not good and begin >= 0:
            starts[count], lengths[count] = begin, g - begin
            longest = max(longest, g - begin)
            count += 1
            begin = -1
    if longest < 2:
        return min(count, 1), count
    kept = 0
    for s in range(count):
        if lengths[s] > 1:
            starts[kept], lengths[kept] = starts[s], lengths[s]
            kept += 1
    return kept, kept


@jit
def median_rate(flags, values, kind, plan, bits, work):
    """Return the median difference of successive good groups in DN per second, 0 where there is nothing to go by.

    `values` is NaN where saturated. A ramp without a single good difference is taken at its first group. With one group in all,
    NaN stays NaN.
    """
    n = plan.stop - plan.start
    if n == 1:
        return values[0] / plan.first_group_time
    if kind != ORDINARY:
        rate = values[0] / segment_time(kind, plan)
        return 0.0 if np.isnan(rate) else rate
    m = 0
    for g in range(n - 1):
        if (flags[g] | flags[g + 1]) & bits.do_not_use or flags[g + 1] & bits.jump:
            continue
        difference = values[g + 1] - values[g]
        if not np.isnan(difference):
            work[m] = difference
            m += 1
    if m:
        return median_in_place(work, m, m) / plan.group_time
    if flags[0] & bits.do_not_use or np.isnan(values[0]):
        return 0.0
    return values[0] / plan.group_time


@jit
def median_in_place(work, m, count):
    """Return the median of the `count` smallest of ``work[:m]`` (no NaN), which is reordered; NaN where `count` is 0."""
    half = count // 2
    if count == 0:
        return np.nan
    if m <= 40:
        for j in range(1, m):
            value = work[j]
            k = j
            while k > 0 and work[k - 1] > value:
                work[k] = work[k - 1]
                k -= 1
            work[k] = value
        below = work[max(half - 1, 0)]
    else:
        _partition(work, m, half)
        below = work[0]
        for j in range(1, half):
            below = max(below, work[j])
    return work[half] if count % 2 else (work[half] + below) / 2.0


@jit
def _partition(work, m, k):
    """Bring the `k`-th smallest of ``work[:m]`` to its place, the smaller ones before it (Hoare's selection)."""
    low, high = 0, m - 1
    while low < high:
        pivot = work[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while work[i] < pivot:
                i += 1
            while work[j] > pivot:
                j -= 1
            if i <= j:
                work[i], work[j] = work[j], work[i]
                i += 1
                j -= 1
        if k <= j:
            high = j
        elif k >= i:
            low = i
        else:
            return


@jit
def power_index(first, last, gain, read_noise):
    """Return which weighting a segment gets by the signal-to-noise ratio of its last group minus its first (table 1 of the paper)."""
    signal = (last - first) * gain
    variance = read_noise * read_noise + signal
    if variance <= 0.0 or gain == 0.0:
        return 0
    ratio = signal / np.sqrt(variance)
    if ratio < 5.0:
        return 0
    if ratio < 10.0:
        return 1
    if ratio < 20.0:
        return 2
    if ratio < 50.0:
        return 3
    if ratio < 100.0:
        return 4
    return 5


@jit
def segment_slope(values, start, n, gain, read_noise, odd, slope_norm):
    """Return the slope, in DN per group, of the segment of `n` groups from `start`; for two groups their difference.

    NaN among three or more groups counts as 0; a read noise of 0, NaN or infinity gives NaN (the weights need it).
    """
    last = start + n - 1
    if n == 2:
        return values[last] - values[start]
    p = power_index(values[start], values[last], gain, read_noise)
    total = 0.0
    for j in range(n // 2):
        high, low = values[last - j], values[start + j]
        high = 0.0 if np.isnan(high) else high
        low = 0.0 if np.isnan(low) else low
        total += odd[p, n - 1 - 2 * j] * (high - low)
    if read_noise == 0.0 or not np.isfinite(read_noise) or not np.isfinite(total):
        return np.nan
    return total / slope_norm[p, n]


@jit
def segment_time(kind, plan):
    """Return the seconds that the charge of a single group took."""
    if kind == FIRST_GROUP:
        return plan.first_group_time
    if kind == ZERO_FRAME:
        return plan.frame_time
    return plan.group_time


@jit
def read_noise_variance(n, gain, read_noise, time):
    """Return the variance, in (DN/s)², of the slope of `n` groups `time` apart with `read_noise` electrons each.

    A single group counts as two, with its own `time`.
    """
    if n > 2 and not gain > 0.0:
        return 0.0
    length = np.float64(max(n, 2))
    noise = read_noise / time
    return 12.0 * noise * noise / ((length * length * length - length) * gain * gain)


@jit
def noise_in_electrons(readnoise, gain, plan):
    """Return a group's read noise in electrons from that of a difference of two frames in DN (float32, as files keep it)."""
    return np.float64(np.float32(np.float64(readnoise) * (np.float64(gain) * plan.read_noise_scale)))
