"""Light of sources in circles, the sky round them, and how round and how sharp they are."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from astropy.convolution import Gaussian2DKernel
from astropy.stats import gaussian_fwhm_to_sigma
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from jwnb.kernels.sources import ring_medians
from jwnb.stage3.correlated_noise import Correlation

__all__ = ["Circles", "Sky", "ab_magnitudes", "circles", "local_sky", "nearest_neighbours", "shapes", "stamps"]

Floats = NDArray[np.float64]
Image = NDArray[np.float32]

AB_ZERO = 8.9  # AB magnitude of 1 Jy, as `jwst` has it
_CLIP_SIGMA, _CLIP_ROUNDS = 3.0, 5
_PIXELS_AT_ONCE = 2**21  # of stamps
_NOWHERE = -1000.0  # where sources without a position are put


@dataclass(frozen=True)
class Sky:
    """The sky in a ring round each source, for a pixel, and its standard error without and with correlated noise; (n,) each."""

    level: Floats
    error: Floats
    error_corr: Floats


@dataclass(frozen=True)
class Circles:
    """Flux in a circle round each source, the sky taken off, and its error without and with correlated noise; (n,) each."""

    flux: Floats
    error: Floats
    error_corr: Floats


def local_sky(image: Image, x: Floats, y: Floats, *, inner: float, outer: float, correlation: Correlation) -> Sky:
    """Measure the sky in rings: clipped medians of the pixels whose centres are in them.

    Parameters
    ----------
    image : float32 (ny, nx)
        Pixels that are not finite are left out.
    x, y : float64 (n,)
        Positions in pixels; what is not finite gets NaN.
    inner, outer : float
        Radii in pixels.
    correlation : Correlation
        Of the noise of pixels.

    Returns
    -------
    Sky
        The error is that of the median of Gaussian values, sqrt(π / 2n) times the standard deviation.
    """
    x, y = _placed(x, y)
    level, spread, number = ring_medians(image, x, y, inner, outer, _CLIP_SIGMA, _CLIP_ROUNDS)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt(np.pi / (2 * number)) * spread
    reach = int(np.ceil(outer)) + len(correlation.along)
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    distance = rows**2 + columns**2
    ring = (distance >= inner**2) & (distance < outer**2)
    return Sky(level, error, error * np.sqrt(correlation.of_median(ring)) if ring.any() else error)


def circles(image: Image, err: Image, places: tuple[Floats, Floats], *, radius: float, sky: Sky, correlation: Correlation) -> Circles:
    """Sum the light in circles, pixels at the rim by the part that is inside.

    Parameters
    ----------
    image, err : float32 (ny, nx)
        The image and its error. A NaN in a circle makes its sum NaN.
    places : (float64 (n,), float64 (n,))
        Positions x and y in pixels; circles that do not touch the image give NaN.
    radius : float
        In pixels.
    sky : Sky
        Taken off.
    correlation : Correlation
        Of the noise of pixels.

    Returns
    -------
    Circles
        `error` adds the variances of pixels, by the part that is inside, as photutils does; `error_corr` the covariances of
        pixels, too, and the error of the sky.
    """
    x, y = _placed(*places)
    flux, variance, correlated = (np.full(x.size, np.nan) for _ in range(3))
    half = int(np.ceil(radius)) + 1
    for part in _parts(x.size, 2 * half + 1):
        weights, rows, columns = _overlaps(image.shape, x[part], y[part], radius, half)
        counts = weights > 0
        light, errors = (np.where(counts, array[rows, columns], 0) for array in (image, err))
        seen = counts.any(axis=(1, 2))
        for out, values in (
            (flux, (weights * light).sum(axis=(1, 2))),
            (variance, (weights * errors**2).sum(axis=(1, 2))),
            (correlated, correlation.variance_of_sum(weights * errors)),
        ):
            out[part] = np.where(seen, values, np.nan)
    area = np.pi * float(radius) ** 2
    return Circles(flux - sky.level * area, np.sqrt(variance), np.sqrt(correlated + (area * sky.error_corr) ** 2))


def _overlaps(
    shape: tuple[int, ...], x: Floats, y: Floats, radius: float, half: int
) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64]]:
    """Return the part of each pixel round each position that is in the circle, 0 beyond the image, with its row and column."""
    from photutils.geometry import circular_overlap_grid

    side = 2 * half + 1
    rows, columns, inside = _around(shape, x, y, half)
    weights = np.empty((x.size, side, side))
    dx, dy = (np.ceil(v - 0.5) - half - 0.5 - v for v in (x, y))
    for k in range(x.size):
        weights[k] = circular_overlap_grid(dx[k], dx[k] + side, dy[k], dy[k] + side, side, side, radius, 1, 1)
    weights[~inside] = 0.0
    return weights, rows, columns


def _around(shape: tuple[int, ...], x: Floats, y: Floats, half: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Return rows (n, side, 1) and columns (n, 1, side) round the nearest pixels, kept on the image, and which pixels are on it."""
    offsets = np.arange(-half, half + 1)
    rows = np.ceil(y - 0.5).astype(np.int64)[:, None, None] + offsets[:, None]
    columns = np.ceil(x - 0.5).astype(np.int64)[:, None, None] + offsets
    inside = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
    return np.clip(rows, 0, shape[0] - 1), np.clip(columns, 0, shape[1] - 1), inside


def stamps(image: Image, x: Floats, y: Floats, half: int) -> Image:
    """Cut the pixels round each position, (n, 2 half + 1, 2 half + 1); 0 beyond the image."""
    rows, columns, inside = _around(image.shape, x, y, half)
    return np.where(inside, image[rows, columns], np.float32(0))


def shapes(image: Image, x: Floats, y: Floats, *, fwhm: float) -> tuple[Floats, Image]:
    """Measure sharpness and roundness as DAOFIND does.

    Parameters
    ----------
    image : float32 (ny, nx)
        The image.
    x, y : float64 (n,)
        Positions in pixels.
    fwhm : float
        Of the Gaussian that stars are compared with, pixels.

    Returns
    -------
    sharpness : float64 (n,)
        The brightest pixel's excess over its neighbours, in units of the height of the Gaussian that fits best.
    roundness : float32 (n,)
        Twice the difference between the sums of the smoothed image in two pairs of opposite quadrants, over the sum of its absolute values.

    Notes
    -----
    Stetson (1987, PASP 99, 191). The kernel is a Gaussian within 1.5 sigma or 2 pixels, whichever is more, lowered so that its sum is 0.
    """
    x, y = _placed(x, y)
    sigma = fwhm * gaussian_fwhm_to_sigma
    reach = max(2.0, 1.5 * sigma)
    half = int(reach)
    rows, columns = np.mgrid[-half : half + 1, -half : half + 1]
    disc = np.sqrt(columns**2 + rows**2) <= reach
    kernel = _lowered_gaussian(sigma, disc)
    wide = stamps(image, x, y, 2 * half)
    light = wide[:, half:-half, half:-half]
    smooth = ndimage.convolve(wide, kernel[None], mode="constant", cval=0.0)[:, half:-half, half:-half]
    on_image = _around(image.shape, x, y, half)[2]
    smooth = np.where(on_image, smooth, np.float32(0))
    peak = light[:, half, half]
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = ((light * disc.astype(float)).sum(axis=(1, 2)) - peak) / (disc.sum() - 1)
        sharpness = (peak - mean) / smooth[:, half, half]
        return sharpness, _roundness(smooth, half)


def _lowered_gaussian(sigma: float, disc: NDArray[np.bool_]) -> Floats:
    size = disc.shape[0]
    kernel = Gaussian2DKernel(sigma, x_size=size, y_size=size).array
    kernel = kernel / kernel.max() * disc
    mean = kernel.sum() / disc.sum()
    scale = (kernel**2).sum() - kernel.sum() * mean
    lowered: Floats = (kernel - mean) / scale * disc
    return lowered


def _roundness(smooth: Image, half: int) -> Image:
    around = smooth.copy()
    around[:, half, half] = 0
    # Four parts, each with one arm of the cross through the middle.
    right_up, left_up = around[:, : half + 1, half + 1 :], around[:, :half, : half + 1]
    left_down, right_down = around[:, half:, :half], around[:, half + 1 :, half:]
    difference = -right_up.sum(axis=(1, 2)) + left_up.sum(axis=(1, 2)) - left_down.sum(axis=(1, 2)) + right_down.sum(axis=(1, 2))
    total = np.abs(around).sum(axis=(1, 2))
    rounded: Image = 2 * difference / np.where(total == 0, np.float32(np.nan), total)
    return rounded


def nearest_neighbours(label: NDArray[np.int32], x: Floats, y: Floats) -> tuple[NDArray[np.int32], Floats]:
    """Return label of and distance in pixels to the nearest other source; -1 and NaN where there is none or no position."""
    known = np.isfinite(x) & np.isfinite(y)
    nearest, distance = np.full_like(label, -1), np.full(label.size, np.nan)
    if label.size > 1:
        places = np.column_stack(_placed(x, y))
        distances, others = KDTree(places).query(places, k=[2])
        nearest[known], distance[known] = label[others[known, 0]], distances[known, 0]
    return nearest, distance


def ab_magnitudes(flux: Floats, error: Floats) -> tuple[Floats, Floats]:
    """Return AB magnitudes and errors of fluxes and errors in Jy; NaN for negative fluxes."""
    with np.errstate(divide="ignore", invalid="ignore"):
        negative = flux < 0
        magnitude, uncertainty = -2.5 * np.log10(flux) + AB_ZERO, 2.5 * np.log10(1.0 + error / flux)
    return np.where(negative, np.nan, magnitude), np.where(negative, np.nan, uncertainty)


def _placed(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Put coordinates that are not finite far off the image."""
    return np.where(np.isfinite(x), x, _NOWHERE), np.where(np.isfinite(y), y, _NOWHERE)


def _parts(count: int, side: int) -> Iterator[slice]:
    at_once = max(1, _PIXELS_AT_ONCE // side**2)
    for start in range(0, count, at_once):
        yield slice(start, start + at_once)
