"""Where ramps saturate, reach the floor of the A/D converter, and what that says of their neighbours.

The kernels work on blocks of rows. `rows` gives the row of the data that belongs to each row of the reference: all of them in
order for ordinary readouts; in NIRSpec's IRS2 readout, which interleaves reference pixels, only those of ordinary pixels.
"""

import numpy as np
from numba import prange
from numpy.typing import NDArray

from jwnb.kernels import jit, parallel_jit

__all__ = ["flag_ramps", "usable_thresholds", "zero_saturated"]

# The bits of GROUPDQ that are set here; tests/kernels/test_saturation.py compares them with jwnb.dq.
DO_NOT_USE = np.uint8(1)
SATURATED = np.uint8(2)
AD_FLOOR = np.uint8(64)
NO_SAT_CHECK = np.uint32(2**21)

UNREACHABLE = np.float32(65536.0)  # one more than a 16-bit converter gives
_BLOCK = 16  # rows to a block: what a thread holds stays in its cache, and few rows are looked at twice


def usable_thresholds(
    thresholds: NDArray[np.float32], dq: NDArray[np.uint32]
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.uint32]]:
    """Replace the thresholds of pixels that cannot be checked by one that no count reaches.

    Parameters
    ----------
    thresholds : NDArray[np.float32]
        Saturation level in DN, shape (ny, nx); NaN where it is not known.
    dq : NDArray[np.uint32]
        Flags of the reference, same shape; NO_SAT_CHECK says that the threshold is not to be used.

    Returns
    -------
    thresholds : NDArray[np.float32]
    checked : NDArray[np.bool_]
        False where the threshold was replaced.
    dq : NDArray[np.uint32]
        `dq` with NO_SAT_CHECK where the threshold was NaN.
    """
    usable = np.empty(thresholds.shape, dtype=np.float32)
    checked = np.empty(thresholds.shape, dtype=np.bool_)
    flags = np.empty(thresholds.shape, dtype=np.uint32)
    _usable_thresholds(np.ascontiguousarray(thresholds), np.ascontiguousarray(dq), usable, checked, flags)
    return usable, checked, flags


def flag_ramps(
    data: NDArray[np.float32],
    groupdq: NDArray[np.uint8],
    thresholds: NDArray[np.float32],
    checked: NDArray[np.bool_],
    *,
    grow: int = 1,
    nframes: int = 1,
    bias: NDArray[np.float32] | None = None,
    rows: NDArray[np.intp] | None = None,
) -> NDArray[np.uint8]:
    """Flag what is saturated (and stays so for the rest of the ramp), and what is at the floor of the A/D converter.

    A group at or above its threshold, and all later ones, are SATURATED, and so are the pixels within `grow` rows and
    columns of one. A group at or below zero is AD_FLOOR and DO_NOT_USE. NaN is neither.

    Where a group is the average of several frames (`nframes` above 1) it may have saturated in its last frames and yet
    average below the threshold. Such groups, found by the saturation of the group after them, are DO_NOT_USE (in IRS2
    readouts, when it is the second group, SATURATED).

    Parameters
    ----------
    data : NDArray[np.float32]
        Counts in DN, shape (nints, ngroups, ny, nx).
    groupdq : NDArray[np.uint8]
        Flags so far, same shape; SATURATED among them grows too (not in IRS2 readouts).
    thresholds, checked : NDArray
        From `usable_thresholds`, shape (nrows, nx).
    grow : int
        Layers of neighbours to flag.
    nframes : int
        Frames averaged in a group; 1 turns the search for partly saturated groups off.
    bias : NDArray[np.float32], optional
        Counts of a pixel that has collected nothing, shape (nrows, nx). None is zero.
    rows : NDArray[np.intp], optional
        Rows of ordinary pixels in an IRS2 readout; other rows keep their flags. None: an ordinary readout.

    Returns
    -------
    NDArray[np.uint8]
        New flags.
    """
    irs2 = rows is not None
    if rows is None:
        rows = np.arange(data.shape[-2])
    if bias is None:
        bias = np.zeros(thresholds.shape, dtype=np.float32)
    out = groupdq.copy(order="C") if irs2 else np.empty(groupdq.shape, dtype=np.uint8)
    whole = np.ascontiguousarray
    _flag_ramps(whole(data), whole(groupdq), thresholds, checked, whole(bias), rows, int(grow), int(nframes), irs2, out)
    return out


def zero_saturated(
    frames: NDArray[np.float32], thresholds: NDArray[np.float32], *, grow: int = 1, rows: NDArray[np.intp] | None = None
) -> NDArray[np.float32]:
    """Set to zero what is saturated, next to it, or at the floor of the A/D converter in a zero frame.

    Parameters
    ----------
    frames : NDArray[np.float32]
        The first frame of each integration in DN, shape (nints, ny, nx).
    thresholds : NDArray[np.float32]
        From `usable_thresholds`, shape (nrows, nx).
    grow : int
        Layers of neighbours of a saturated pixel that are set to zero too.
    rows : NDArray[np.intp], optional
        As in `flag_ramps`.

    Returns
    -------
    NDArray[np.float32]
        A new array.
    """
    out = np.empty(frames.shape, dtype=np.float32) if rows is None else frames.copy(order="C")
    rows = np.arange(frames.shape[-2]) if rows is None else rows
    _zero_saturated(np.ascontiguousarray(frames), thresholds, rows, int(grow), out)
    return out


@parallel_jit
def _usable_thresholds(thresholds, dq, usable, checked, flags):
    ny, nx = thresholds.shape
    for y in prange(ny):
        for x in range(nx):
            unknown = np.isnan(thresholds[y, x])
            unchecked = unknown or (dq[y, x] & NO_SAT_CHECK) != 0
            usable[y, x] = UNREACHABLE if unchecked else thresholds[y, x]
            checked[y, x] = not unchecked
            flags[y, x] = dq[y, x] | NO_SAT_CHECK if unknown else dq[y, x]


@parallel_jit
def _flag_ramps(data, groupdq, thresholds, checked, bias, rows, grow, nframes, irs2, out):
    nrows = rows.size
    nblocks = (nrows + _BLOCK - 1) // _BLOCK
    for job in prange(data.shape[0] * nblocks):
        first = (job % nblocks) * _BLOCK
        _flag_block(
            data[job // nblocks], groupdq[job // nblocks], thresholds, checked, bias, rows,
            first, min(first + _BLOCK, nrows), grow, nframes, irs2, out[job // nblocks],
        )  # fmt: skip


@jit
def _flag_block(data, groupdq, thresholds, checked, bias, rows, first, last, grow, nframes, irs2, out):
    """Flag rows `first` to `last` of one integration, looking at as many rows around them as can matter."""
    ngroups, _, nx = data.shape
    reach = 2 * grow if nframes > 1 else grow
    low, high = max(0, first - reach), min(rows.size, last + reach)
    height = high - low
    full = np.zeros((height, nx), dtype=np.uint8)  # saturated in this group or before
    seeds = np.empty((height, nx), dtype=np.uint8)
    before = np.empty((height, nx), dtype=np.uint8)  # flags of the group before
    now = np.empty((height, nx), dtype=np.uint8)
    for g in range(ngroups):
        for r in range(height):
            y = rows[low + r]
            _start_row(data[g, y], groupdq[g, y], thresholds[low + r], full[r], seeds[r], now[r], not irs2)
        _spread(seeds, SATURATED, grow, now)
        if g > 0:
            if nframes > 1 and not irs2:
                _find_diluted(data[g - 1], before, now, thresholds, checked, rows, low, g - 1, nframes, seeds)
                _spread(seeds, DO_NOT_USE, grow, before)
            if nframes > 1 and g == 2:
                _find_steps(data, before, now, thresholds, bias, rows, low, nframes, irs2, seeds)
                _spread(seeds, SATURATED if irs2 else DO_NOT_USE, grow if irs2 else 0, before)
            for k in range(first, last):
                out[g - 1, rows[k]] = before[k - low]
        before, now = now, before
    for k in range(first, last):
        out[ngroups - 1, rows[k]] = before[k - low]


@jit
def _start_row(counts, given, thresholds, full, seeds, flags, grow_given):
    """Fill one row's running saturation, what is to spread, and flags without neighbours."""
    kept = SATURATED if grow_given else np.uint8(0)
    for x in range(counts.size):
        full[x] |= np.uint8(counts[x] >= thresholds[x])
        floor = np.uint8(counts[x] <= np.float32(0.0))
        seeds[x] = full[x] | (given[x] & kept)
        flags[x] = given[x] | (floor * np.uint8(AD_FLOOR | DO_NOT_USE))


@jit
def _spread(seeds, bit, grow, flags):
    """Set `bit` within `grow` rows and columns of each seed (any non-zero value)."""
    height, nx = seeds.shape
    wide = np.empty(nx, dtype=np.uint8)
    for r in range(height):
        some = np.uint8(0)
        for x in range(nx):
            some |= seeds[r, x]
        if some == 0:
            continue
        row = seeds[r]
        for x in range(nx):
            wide[x] = row[x]
        for d in range(1, min(grow, nx - 1) + 1):
            for x in range(nx - d):
                wide[x] |= row[x + d]
            for x in range(nx - d):
                wide[x + d] |= row[x]
        for rr in range(max(0, r - grow), min(height, r + grow + 1)):
            target = flags[rr]
            for x in range(nx):
                target[x] |= np.uint8(wide[x] != 0) * bit


@jit
def _find_diluted(counts, flags, later, thresholds, checked, rows, low, group, nframes, seeds):
    """Seed groups whose average may hide frames at the threshold, and that saturate in the group after.

    With evenly rising counts the mean frame of a group stands to its last one as their times since the reset do.
    """
    dilution = (group * nframes + 0.5 * (nframes + 1)) / ((group + 1) * nframes)
    unusable = np.uint8(SATURATED | DO_NOT_USE)
    height, nx = seeds.shape
    for r in range(height):
        row = counts[rows[low + r]]
        limits, known = thresholds[low + r], checked[low + r]
        for x in range(nx):
            turned = (flags[r, x] & unusable) == 0 and (later[r, x] & SATURATED) != 0
            seeds[r, x] = turned and known[x] and np.float64(row[x]) >= np.float64(limits[x]) * dilution


@jit
def _find_steps(data, second, third, thresholds, bias, rows, low, nframes, irs2, seeds):
    """Seed second groups that a sudden rise in their last frame may have saturated.

    The first group must not foretell saturation by the third, the third must be saturated, and the rise to the second
    must be more than one frame at the threshold adds to an average.
    """
    height, nx = seeds.shape
    for r in range(height):
        y = rows[low + r]
        for x in range(nx):
            limit = thresholds[low + r, x]
            if irs2:
                turned = data[2, y, x] >= limit
            else:
                turned = (third[r, x] & SATURATED) != 0 and (second[r, x] & SATURATED) == 0
            seeds[r, x] = turned and _rises(data[0, y, x], data[1, y, x], limit, bias[low + r, x], nframes)


@jit
def _rises(one, two, limit, bias, nframes):
    foretold = np.float64(one - bias) / (0.5 * (nframes + 1)) * (3 * nframes) + np.float64(bias)
    return foretold < np.float64(limit) and two - one > (limit - one) / np.float32(nframes)


@parallel_jit
def _zero_saturated(frames, thresholds, rows, grow, out):
    nints, _, nx = frames.shape
    nrows = rows.size
    for k in prange(nrows):
        low, high = max(0, k - grow), min(nrows, k + grow + 1)
        seeds = np.empty((1, nx), dtype=np.uint8)
        flags = np.empty((1, nx), dtype=np.uint8)
        for i in range(nints):
            for x in range(nx):
                hit = np.uint8(0)
                for r in range(low, high):
                    hit |= np.uint8(frames[i, rows[r], x] >= thresholds[r, x])
                seeds[0, x] = hit
                flags[0, x] = frames[i, rows[k], x] <= np.float32(0.0)
            _spread(seeds, SATURATED, grow, flags)
            for x in range(nx):
                out[i, rows[k], x] = np.float32(0.0) if flags[0, x] != 0 else frames[i, rows[k], x]
