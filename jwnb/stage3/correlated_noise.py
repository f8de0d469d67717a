"""How far drizzling correlates the noise of neighbouring pixels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from stdatamodels.jwst.datamodels import ImageModel

from jwnb.step import note

__all__ = ["Correlation", "correlation_of"]

Floats = NDArray[np.float64]

_FINE = 256  # points of a pixel for integrals over kernels
_VANISHING = 1e-3  # of the variance: what is less is no correlation
_GAUSSIAN_REACH, _GAUSSIAN_LEAST = 2.5, 1.2  # standard deviations, and input pixels, where the drizzle library cuts its Gaussian
_FWHM = 2.354820045030949  # of a Gaussian, in standard deviations
_POINT = 1e-3  # pixfrac up to which a pixel's light is put into one output pixel


@dataclass(frozen=True)
class Correlation:
    """Covariance of the noise of an image's pixels by their distance, in units of ERR².

    Attributes
    ----------
    along : ndarray
        By distance along an axis, in pixels, (reach + 1,); that of two pixels is the product for their distances in rows and columns.

    Notes
    -----
    ERR of a drizzled image is the mean of the errors of the input pixels, over the ratio of output to input pixel scale: right for
    sums over large areas, without correlation. It says neither how much the noise of a pixel was smoothed, nor how much of it its
    neighbours share. With a kernel of profile w(x), the noise of an output pixel is the sum over the input pixels of w times theirs,
    over the sum of w. Inputs whose pixels fall on the output grid in any way make the mean covariance of two output pixels at a
    distance d, along each axis, s ∫ w(x) w(x - d) dx / (∫ w dx)², with the ratio s of pixel scales. Over squares of side L input
    pixels this gives the factor 1 - pixfrac / 3L of Casertano et al. (2000, AJ 120, 2747, appendix A) and Fruchter & Hook (2002,
    PASP 114, 144, section 7).
    """

    along: Floats

    @property
    def table(self) -> Floats:
        """The covariance by distance in rows and columns, (reach + 1, reach + 1)."""
        return np.outer(self.along, self.along)

    def variance_of_sum(self, weights: Floats) -> Floats:
        """Return the variance of weighted sums of pixels.

        Parameters
        ----------
        weights : ndarray
            Weight times ERR of each pixel, shape (..., rows, columns).
        """
        summed = weights
        for axis in (-2, -1):
            summed = _convolved(summed, self.along, axis)
        return (weights * summed).sum(axis=(-2, -1))

    def of_median(self, ring: NDArray[np.bool_]) -> float:
        """Return by what factor the variance of the median of some pixels is larger than without correlation.

        Parameters
        ----------
        ring : ndarray of bool
            The pixels, (rows, columns).

        Notes
        -----
        Of correlated Gaussian values the median of n has the variance σ² Σ arcsin(ρ) / n², the sum over all pairs of them.
        """
        where = ring.astype(float)
        rho = self.table / self.table[0, 0]
        total, reach = 0.0, len(self.along) - 1
        for dy in range(-reach, reach + 1):
            for dx in range(-reach, reach + 1):
                pairs = (where * _shifted(_shifted(where, dy, 0), dx, 1)).sum()
                total += pairs * np.arcsin(rho[abs(dy), abs(dx)])
        return float(total / where.sum() / (np.pi / 2))


def correlation_of(image: ImageModel) -> Correlation:
    """Return the correlation that drizzling gave an image; none where its metadata do not tell of a drizzle.

    Parameters
    ----------
    image : ImageModel
        With ``meta.resample.pixfrac``, ``kernel`` and ``pixel_scale_ratio`` where it was drizzled.
    """
    node = (image.instance.get("meta") or {}).get("resample") or {}
    pixfrac, kernel, ratio = (node.get(key) for key in ("pixfrac", "kernel", "pixel_scale_ratio"))
    if pixfrac is None or kernel is None or ratio is None:
        note("the image does not say how it was drizzled: the errors of the columns *_err_corr take its noise as uncorrelated")
        return Correlation(np.ones(1))
    return Correlation(_autocorrelation(str(kernel), float(pixfrac), float(ratio)))


def _autocorrelation(kernel: str, pixfrac: float, ratio: float) -> Floats:
    """Return s ∫ w(x) w(x - d) dx / (∫ w dx)² for distances d of whole output pixels, until it vanishes."""
    if kernel == "point" or (pixfrac <= _POINT and not kernel.startswith("lanczos")):
        return np.ones(1)
    per_pixel = max(_FINE, round(_FINE * ratio))
    step = ratio / per_pixel
    half = int(np.ceil(_reach(kernel, pixfrac, ratio) / step)) + 1
    w = _profile(np.arange(-half, half + 1, dtype=np.float64) * step, kernel, pixfrac, ratio)
    products = np.array([(w[d:] * w[: len(w) - d]).sum() for d in range(0, len(w), per_pixel)]) * ratio / step / w.sum() ** 2
    return products[: np.flatnonzero(np.abs(products) > _VANISHING * products[0])[-1] + 1]


def _reach(kernel: str, pixfrac: float, ratio: float) -> float:
    if kernel.startswith("lanczos"):
        return float(kernel[-1])
    if kernel == "gaussian":
        return max(_GAUSSIAN_REACH * pixfrac / _FWHM, _GAUSSIAN_LEAST) + ratio / 2
    return (pixfrac + ratio) / 2


def _profile(x: Floats, kernel: str, pixfrac: float, ratio: float) -> Floats:
    """Return the weight of an input pixel in an output pixel by their distance in input pixels."""
    if kernel.startswith("lanczos"):
        n = int(kernel[-1])
        return np.where(np.abs(x) < n, np.sinc(x) * np.sinc(x / n), 0.0)
    if kernel == "gaussian":
        return np.exp(-0.5 * (x * _FWHM / pixfrac) ** 2)
    return np.clip((pixfrac + ratio) / 2 - np.abs(x), 0.0, min(pixfrac, ratio))  # length of the overlap


def _convolved(values: Floats, along: Floats, axis: int) -> Floats:
    out = along[0] * values
    for d in range(1, len(along)):
        out = out + along[d] * (_shifted(values, d, axis) + _shifted(values, -d, axis))
    return out


def _shifted(values: Floats, by: int, axis: int) -> Floats:
    """Return values moved along an axis, with zeros where there were none."""
    if by == 0:
        return values
    values = np.moveaxis(values, axis, -1)
    out = np.zeros_like(values)
    if by > 0:
        out[..., by:] = values[..., :-by]
    else:
        out[..., :by] = values[..., -by:]
    return np.moveaxis(out, -1, axis)
