"""Finding pixels that differ from what the other images say, and putting flags and NaN together."""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from jwnb.kernels import jit, parallel_jit
from jwnb.kernels.medians import rolling_median

__all__ = [
    "add_nan",
    "blanked",
    "core_contrast",
    "core_counts",
    "far_from",
    "far_from_blotted",
    "far_from_rolling",
    "grown",
    "in_blocks",
    "marked",
    "nearest",
]

Array = npt.NDArray[Any]

# Where the level that a maximum stands on is looked up.
_RING = ((-3, 0), (3, 0), (0, -3), (0, 3), (-2, -2), (-2, 2), (2, -2), (2, 2))
_LANES = 16  # time series at once: a cache line of pixels


@jit
def _noise(err: np.float32) -> np.float32:
    """Return an error as the comparison takes it: NaN is 0, infinite the largest number."""
    if np.isnan(err):
        return np.float32(0)
    if np.isinf(err):
        return np.float32(3.4028235e38) if err > 0 else np.float32(-3.4028235e38)
    return err


@jit
def _larger(one: np.float32, other: np.float32) -> np.float32:
    """Return the larger of two; `one` where the other is NaN."""
    return other if other > one else one


@jit
def _steepness(image: Array, y: int, x: int) -> np.float32:
    """Return the largest absolute difference from the four neighbours, NaN at a NaN; neighbours that are NaN do not count."""
    here = image[y, x]
    if np.isnan(here):
        return np.float32(np.nan)
    largest = np.float32(0)
    if y > 0:
        off = abs(here - image[y - 1, x])
        if np.isfinite(off):
            largest = off
    if y + 1 < image.shape[0]:
        largest = _larger(largest, abs(here - image[y + 1, x]))
    if x > 0:
        largest = _larger(largest, abs(here - image[y, x - 1]))
    if x + 1 < image.shape[1]:
        largest = _larger(largest, abs(here - image[y, x + 1]))
    return largest


@jit
def _beyond(
    data: Array, err: Array, blot: Array, y: int, x: int, snr: np.float32, scale: np.float32, background: np.float32
) -> bool:  # fmt: skip
    off, noise = abs(data[y, x] - blot[y, x] - background), snr * _noise(err[y, x])
    # The steepness can only raise the limit, and most pixels need no look at it.
    return bool(off > noise and off > scale * _steepness(blot, y, x) + noise)


@parallel_jit
def far_from_blotted(data: Array, err: Array, blot: Array, snr: Array, scale: Array, background: np.float32) -> Array:
    """Return which pixels of an image differ too much from the blotted median, (ny, nx) bool.

    A pixel is an outlier where ``|data - blot - background|`` is above ``scale[1] · steepness + snr[1] · err``, and for one of the
    3 x 3 pixels about it above the same with ``scale[0]`` and ``snr[0]``. The steepness is the largest difference of the
    blotted pixel from its four neighbours. NaN in `data` or `blot` is no outlier.

    Parameters
    ----------
    data, err, blot : (ny, nx) float32
        The image, its errors (NaN counts as 0) and what is expected.
    snr, scale : (2,) float32
        Factors of the two passes.
    background : float32
        What the image has more than `blot`.
    """
    ny, nx = data.shape
    out = np.zeros((ny, nx), np.bool_)
    for y in numba.prange(ny):
        for x in range(nx):
            if _beyond(data, err, blot, y, x, snr[1], scale[1], background):
                found = False
                for v in range(max(0, y - 1), min(ny, y + 2)):
                    for u in range(max(0, x - 1), min(nx, x + 2)):
                        found = found or _beyond(data, err, blot, v, u, snr[0], scale[0], background)
                out[y, x] = found
    return out


@parallel_jit
def far_from(data: Array, err: Array, expected: Array, snr: np.float32) -> Array:
    """Return where planes differ by more than `snr` errors from one that is expected, (n, ny, nx) bool.

    Parameters
    ----------
    data, err : (n, ny, nx) float32
        Planes and their errors (NaN counts as 0).
    expected : (ny, nx) float32
        What to compare with. Where it or the data are NaN there is no outlier.
    snr : float32
        Factor.
    """
    n, ny, nx = data.shape
    out = np.empty((n, ny, nx), np.bool_)
    for job in numba.prange(n * ny):
        k, y = job // ny, job % ny
        for x in range(nx):
            out[k, y, x] = abs(data[k, y, x] - expected[y, x]) > snr * _noise(err[k, y, x])
    return out


@parallel_jit
def far_from_rolling(data: Array, err: Array, dq: Array, bad: np.uint32, width: int, snr: np.float32) -> Array:
    """Return where integrations differ by more than `snr` errors from the median of those about them, (n, ny, nx) bool.

    Parameters
    ----------
    data, err : (n, ny, nx) float32
        Integrations and their errors (NaN counts as 0).
    dq : (n, ny, nx) uint32
        A value with a bit of `bad` counts as NaN in the median.
    bad : uint32
        Bits.
    width : int
        Of the window: see `jwnb.kernels.medians.rolling_median`.
    snr : float32
        Factor.
    """
    n, ny, nx = data.shape
    out = np.empty((n, ny, nx), np.bool_)
    for y in numba.prange(ny):
        series, median = np.empty((_LANES, n), np.float32), np.empty(n, np.float64)
        for start in range(0, nx, _LANES):
            lanes = min(_LANES, nx - start)
            for k in range(n):
                for lane in range(lanes):
                    value = data[k, y, start + lane]
                    series[lane, k] = np.float32(np.nan) if dq[k, y, start + lane] & bad else value
            for lane in range(lanes):
                x = start + lane
                rolling_median(series[lane], width, median)
                for k in range(n):
                    out[k, y, x] = abs(np.float64(data[k, y, x]) - median[k]) > np.float64(snr * _noise(err[k, y, x]))
    return out


def grown(found: Array, radius: float) -> Array:
    """Return `found`, (..., ny, nx) bool, with every pixel no further than `radius` from one in the same plane."""
    if radius < 1:
        return found
    reach = int(radius)
    y, x = np.ogrid[-reach : reach + 1, -reach : reach + 1]
    disc = x * x + y * y <= radius * radius
    return np.asarray(ndimage.binary_dilation(found, disc.reshape((1,) * (found.ndim - 2) + disc.shape)))


@parallel_jit
def core_contrast(median: Array, counts: Array, least: int) -> Array:
    """Return how far the maxima of a median stand out, (ny, nx) float32; 0 elsewhere.

    It is the maximum less the mean of eight pixels about three pixels away.

    Parameters
    ----------
    median : (ny, nx) float32
        A median of images.
    counts : (ny, nx) uint16
        Of how many.
    least : int
        A maximum that is the median of fewer may be an outlier of one image itself, and is left out.
    """
    ny, nx = median.shape
    peaks = np.zeros((ny, nx), np.float32)
    for y in numba.prange(3, ny - 3):
        for x in range(3, nx - 3):
            if counts[y, x] >= least:
                peaks[y, x] = _height(median, y, x)
    return peaks


@jit
def _height(image: Array, y: int, x: int) -> np.float32:
    """Return how far a maximum of 3 x 3 pixels stands out; 0 where there is none, or NaN nearby."""
    here, level = image[y, x], np.float32(0)
    for v in range(y - 1, y + 2):
        for u in range(x - 1, x + 2):
            if not image[v, u] <= here:
                return np.float32(0)
    for dy, dx in _RING:
        level += image[y + dy, x + dx]
    contrast = here - level / np.float32(len(_RING))
    return contrast if contrast > 0 else np.float32(0)


@parallel_jit
def in_blocks(found: Array) -> Array:
    """Return for each row how many pixels of `found`, (ny, nx) bool, have all eight neighbours in it: (ny,) int64."""
    ny, nx = found.shape
    counts = np.zeros(ny, np.int64)
    for y in numba.prange(1, ny - 1):
        for x in range(1, nx - 1):
            if found[y, x] and found[y - 1 : y + 2, x - 1 : x + 2].all():
                counts[y] += 1
    return counts


@parallel_jit
def nearest(image: Array, places: Array, out: Array) -> None:
    """Write the value of an image at the pixel nearest to each place to `out`, (ny, nx) float32; 0 outside.

    Parameters
    ----------
    image : (NY, NX) float32
        Values.
    places : (ny, nx, 2) float64
        x and y in it.
    out : (ny, nx) float32
        Written.
    """
    ny, nx = out.shape
    for y in numba.prange(ny):
        for x in range(nx):
            u, v = places[y, x, 0] + 0.5, places[y, x, 1] + 0.5
            out[y, x] = image[int(v), int(u)] if 0 <= u < image.shape[1] and 0 <= v < image.shape[0] else 0


@parallel_jit
def core_counts(data: Array, err: Array, contrast: Array, found: Array, snr: np.float32) -> Array:
    """Count outliers on the cores of compact sources and elsewhere.

    Parameters
    ----------
    data, err : (ny, nx) float32
        The image and its errors. Only pixels that are no NaN count.
    contrast : (ny, nx) float32
        How far a maximum of the median beside a pixel stands out, from `core_contrast`.
    found : (ny, nx) bool
        The outliers.
    snr : float32
        Pixels whose contrast is above so many errors are on a core.

    Returns
    -------
    (ny, 4) int64
        A row each: pixels on cores, outliers among them, pixels elsewhere, outliers among them.
    """
    ny, nx = data.shape
    counts = np.zeros((ny, 4), np.int64)
    for y in numba.prange(ny):
        on_cores, flagged_there, others, flagged_elsewhere = 0, 0, 0, 0
        for x in range(nx):
            there = not (np.isnan(data[y, x]) or np.isnan(err[y, x]))
            core = contrast[y, x] > snr * err[y, x]
            on_cores += there and core
            flagged_there += there and core and found[y, x]
            others += there and not core
            flagged_elsewhere += there and not core and found[y, x]
        counts[y, 0], counts[y, 1], counts[y, 2], counts[y, 3] = on_cores, flagged_there, others, flagged_elsewhere
    return counts


@parallel_jit
def add_nan(invalid: Array, array: Array) -> None:
    """Set `invalid`, (n, ny, nx) bool, where `array` of the same shape is NaN."""
    n, ny, nx = array.shape
    for job in numba.prange(n * ny):
        k, y = job // ny, job % ny
        for x in range(nx):
            invalid[k, y, x] |= np.isnan(array[k, y, x])


@parallel_jit
def blanked(array: Array, invalid: Array) -> Array:
    """Return a copy of an array, (n, ny, nx), that is NaN where `invalid` is set."""
    n, ny, nx = array.shape
    out = np.empty_like(array)
    for job in numba.prange(n * ny):
        k, y = job // ny, job % ny
        for x in range(nx):
            out[k, y, x] = np.nan if invalid[k, y, x] else array[k, y, x]
    return out


@parallel_jit
def marked(dq: Array, found: Array, invalid: Array, outlier: np.uint32, do_not_use: np.uint32) -> Array:
    """Return flags, (n, ny, nx) uint32, with `outlier` where `found` and `do_not_use` where `invalid`; widen `invalid` by those flagged so.

    Parameters
    ----------
    dq : (n, ny, nx) uint32
        Flags so far.
    found, invalid : (n, ny, nx) bool
        The outliers; they and all others that have no value.
    outlier, do_not_use : uint32
        Bits.
    """
    n, ny, nx = dq.shape
    out = np.empty((n, ny, nx), np.uint32)
    for job in numba.prange(n * ny):
        k, y = job // ny, job % ny
        for x in range(nx):
            flags = dq[k, y, x]
            if found[k, y, x]:
                flags |= outlier
            if invalid[k, y, x]:
                flags |= do_not_use
            elif flags & do_not_use:
                invalid[k, y, x] = True
            out[k, y, x] = flags
    return out
