"""Small dithered fields of stars with cosmic rays that stage 1 left, for the tests of outlier detection."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from helpers_stage3 import dithered
from numpy.typing import NDArray
from scipy.special import erf

__all__ = ["Field", "starfield"]

SKY, READ_NOISE, POISSON = 0.5, 0.02, 2e-3  # MJy/sr, MJy/sr, MJy/sr of variance per MJy/sr of signal


@dataclass
class Field:
    """Images, the same without cosmic rays, which pixels these hit, and where the stars are."""

    images: list[Any]
    clean: list[Any]
    hit: list[NDArray[np.bool_]]
    ra: NDArray[np.float64]
    dec: NDArray[np.float64]
    flux: NDArray[np.float64]


def starfield(
    fwhm: float, *, count: int = 4, shape: tuple[int, int] = (150, 160), stars: int = 40, hits: float = 0.003, seed: int = 1
) -> Field:
    """Return a field of stars of Gaussian profile, integrated over pixels, with noise and cosmic rays of 15 to 500 times the noise.

    Parameters
    ----------
    fwhm : float
        Of the stars, in pixels; those of NIRCam at 1.15 µm have 1.3, and below 2 they are undersampled.
    count, shape
        Number and shape of the images.
    stars : int
        How many there are.
    hits : float
        Share of the pixels of an image that cosmic rays begin at; every other one goes on into a neighbour.
    seed : int
        Of the random numbers.
    """
    rng = np.random.default_rng(seed)
    images = dithered(count, shape)
    ny, nx = shape
    place = np.column_stack([rng.uniform(12, nx - 12, stars), rng.uniform(12, ny - 12, stars)])
    ra, dec = images[0].meta.wcs(*place.T, with_bounding_box=False)
    flux = 10 ** rng.uniform(0.5, 3.0, stars)
    field = Field(images, [], [], ra, dec, flux)
    for image in images:
        signal = SKY + _stars(shape, *image.meta.wcs.invert(ra, dec, with_bounding_box=False), flux, fwhm)
        image.var_rnoise = np.full(shape, READ_NOISE**2, np.float32)
        image.var_poisson = (POISSON * signal).astype(np.float32)
        image.var_flat = np.zeros(shape, np.float32)
        image.err = np.sqrt(image.var_rnoise + image.var_poisson)
        image.dq = np.zeros(shape, np.uint32)
        image.data = (signal + rng.normal(size=shape) * image.err).astype(np.float32)
        field.clean.append(image.copy())
        hit, light = np.zeros(shape, bool), np.zeros(shape)
        y, x = np.nonzero(rng.random(shape) < hits)
        strength = image.err[y, x] * 10 ** rng.uniform(1.2, 2.7, y.size)
        light[y, x] += strength
        hit[y, x] = True
        along = rng.integers(0, 2, y.size)
        v, u = np.minimum(y + along, ny - 1), np.minimum(x + 1 - along, nx - 1)
        light[v[::2], u[::2]] += strength[::2]
        hit[v[::2], u[::2]] = True
        image.data = (image.data + light).astype(np.float32)
        field.hit.append(hit & (light > 10 * image.err))
    return field


def _stars(shape: tuple[int, int], x: Any, y: Any, flux: Any, fwhm: float) -> NDArray[np.float64]:
    out, width = np.zeros(shape), np.sqrt(2) * fwhm / 2.3548
    edges = [np.arange(n + 1) - 0.5 for n in shape]
    for a, b, f in zip(x, y, flux, strict=True):
        across, up = (np.diff(0.5 * erf((edge - middle) / width)) for edge, middle in ((edges[1], a), (edges[0], b)))
        out += f * np.outer(up, across)
    return out
