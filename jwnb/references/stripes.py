"""Which detector lines a striped readout holds.

In NIRCam DHS and NIRISS SOSS stripe modes the subarray is not one rectangle: the readout visits separate stripes of lines (and
the reference pixels in between), in an order that the exposure's keywords describe. References of the full detector are put in
the same order. Superstripe exposures read other stripes in each integration, in turn.
"""

from typing import Any

import numpy as np

from jwnb.errors import InputError

__all__ = ["is_striped", "stripe_lines"]

DETECTOR_LINES = 2048


def is_striped(subarray: Any) -> bool:
    """Whether an exposure's ``meta.subarray`` describes a striped readout."""
    return getattr(subarray, "multistripe_reads1", None) is not None


def stripe_lines(subarray: Any) -> np.ndarray:
    """Return which line of the full detector each line of the subarray is, along the slow axis.

    Parameters
    ----------
    subarray : node
        The exposure's ``meta.subarray``.

    Returns
    -------
    ndarray of int
        0-based, in the orientation of the science arrays; of shape (lines,), or (superstripes, lines) where the
        exposure has superstripes.

    Raises
    ------
    InputError
        Keywords are missing, contradict the size of the subarray, or lead off the detector.
    """
    lines = int(subarray.xsize if abs(subarray.slowaxis) == 1 else subarray.ysize)
    count = _number(subarray, "num_superstripe", default=0)
    read = np.array([_readout(subarray, lines, stripe) for stripe in range(max(count, 1))])
    if read.min() < 0 or read.max() >= DETECTOR_LINES:
        raise InputError(f"the stripe keywords lead to lines {read.min()} to {read.max()} of a detector of {DETECTOR_LINES}.")
    if subarray.slowaxis < 0:
        # The detector reads from the far end of the science array.
        read = DETECTOR_LINES - 1 - read[:, ::-1]
    return read if count else read[0]


def _readout(subarray: Any, lines: int, stripe: int) -> np.ndarray:
    """Return the lines in the order of readout, counted in the detector's own direction."""
    names = ("multistripe_reads1", "multistripe_skips1", "multistripe_reads2", "multistripe_skips2")
    head, skip, body, gap = (_number(subarray, name) for name in names)
    step = _number(subarray, "superstripe_step", default=0)
    superstripe = _number(subarray, "num_superstripe", default=0) > 0
    repeat = _number(subarray, "repeat_stripe", default=0) > 0
    interleave = bool(_number(subarray, "interleave_reads1", default=0))
    if body <= 0 and superstripe:
        body = step
    if body <= 0:
        raise InputError(f"multistripe_reads2={body}: a stripe has at least one line.")
    first = _first_line(subarray)
    offset = step * stripe if superstripe else 0
    parts = [np.arange(first, first + head)]
    at = first + head + skip + offset
    interleaved = skip
    while True:
        parts.append(np.arange(at, at + body))
        at += body
        if sum(map(len, parts)) >= lines:
            break
        if repeat:
            # Back to the start of the detector: the reference lines again, then the next (or the same) stripe.
            parts.append(np.arange(first, first + head))
            interleaved += gap + body
            at = first + head + (interleaved if interleave else skip + offset)
        else:
            at += gap
    read = np.concatenate(parts)
    if len(read) != lines:
        raise InputError(f"the stripe keywords give {len(read)} lines; the subarray has {lines}.")
    return read


def _first_line(subarray: Any) -> int:
    """Return the line at which the readout starts, in the detector's own direction."""
    start = int(subarray.xstart if abs(subarray.slowaxis) == 1 else subarray.ystart)
    if "DHS" in str(subarray.name).upper():
        return 0  # early DHS exposures state another start
    if subarray.slowaxis < 0:
        return 0 if start == 1 else DETECTOR_LINES - start  # early exposures state 1 for the far end
    return start - 1


def _number(subarray: Any, name: str, default: int | None = None) -> int:
    value = getattr(subarray, name, None)
    if value is None and default is None:
        raise InputError(f"a striped exposure needs meta.subarray.{name}.")
    return int(default if value is None else value)  # type: ignore[arg-type]
