"""NIRCam's filters and point spread function, as far as practice observations need them.

Filters: pivot wavelength, bandwidth and throughput, rounded from the table of filters in the JWST User Documentation. The
point spread function is a sum of Gaussians of the right width for the wavelength, with rings, a halo and six spikes: quick to
draw, its flux exact, and nothing more than that.
"""

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from jwnb.errors import ParameterError
from jwnb.sim.geometry import Detector

__all__ = ["FILTERS", "Bandpass", "Blend", "bandpass", "encircled_energy", "point_spread"]

MIRROR_DIAMETER = 6.5  # m
MIRROR_AREA = 25.4  # m²
PLANCK = 6.62607015e-34  # J s

# name: wheel elements (FILTER, PUPIL), channel, pivot wavelength and bandwidth in µm, throughput of the whole system
FILTERS: dict[str, tuple[str, str, str, float, float, float]] = {
    "F070W": ("F070W", "CLEAR", "SHORT", 0.704, 0.128, 0.237),
    "F090W": ("F090W", "CLEAR", "SHORT", 0.901, 0.194, 0.318),
    "F115W": ("F115W", "CLEAR", "SHORT", 1.154, 0.225, 0.333),
    "F140M": ("F140M", "CLEAR", "SHORT", 1.404, 0.142, 0.434),
    "F150W": ("F150W", "CLEAR", "SHORT", 1.501, 0.318, 0.476),
    "F150W2": ("F150W2", "CLEAR", "SHORT", 1.671, 1.227, 0.489),
    "F162M": ("F150W2", "F162M", "SHORT", 1.626, 0.168, 0.469),
    "F164N": ("F150W2", "F164N", "SHORT", 1.644, 0.020, 0.385),
    "F182M": ("F182M", "CLEAR", "SHORT", 1.845, 0.238, 0.505),
    "F187N": ("F187N", "CLEAR", "SHORT", 1.874, 0.024, 0.434),
    "F200W": ("F200W", "CLEAR", "SHORT", 1.990, 0.461, 0.525),
    "F210M": ("F210M", "CLEAR", "SHORT", 2.093, 0.205, 0.522),
    "F212N": ("F212N", "CLEAR", "SHORT", 2.120, 0.027, 0.420),
    "F250M": ("F250M", "CLEAR", "LONG", 2.503, 0.181, 0.370),
    "F277W": ("F277W", "CLEAR", "LONG", 2.786, 0.672, 0.412),
    "F300M": ("F300M", "CLEAR", "LONG", 2.996, 0.318, 0.432),
    "F322W2": ("F322W2", "CLEAR", "LONG", 3.247, 1.339, 0.499),
    "F323N": ("F322W2", "F323N", "LONG", 3.237, 0.038, 0.290),
    "F335M": ("F335M", "CLEAR", "LONG", 3.365, 0.347, 0.480),
    "F356W": ("F356W", "CLEAR", "LONG", 3.563, 0.787, 0.530),
    "F360M": ("F360M", "CLEAR", "LONG", 3.621, 0.372, 0.515),
    "F405N": ("F444W", "F405N", "LONG", 4.055, 0.046, 0.418),
    "F410M": ("F410M", "CLEAR", "LONG", 4.092, 0.436, 0.499),
    "F430M": ("F430M", "CLEAR", "LONG", 4.280, 0.228, 0.526),
    "F444W": ("F444W", "CLEAR", "LONG", 4.421, 1.024, 0.533),
    "F460M": ("F460M", "CLEAR", "LONG", 4.624, 0.228, 0.460),
    "F466N": ("F444W", "F466N", "LONG", 4.654, 0.054, 0.320),
    "F470N": ("F444W", "F470N", "LONG", 4.707, 0.051, 0.316),
    "F480M": ("F480M", "CLEAR", "LONG", 4.834, 0.303, 0.447),
}

# shares of the flux; widths in λ/D: the core (for a FWHM of 1.03 λ/D), the rings, two halos
ROUND = ((0.70, 0.437), (0.16, 1.1), (0.07, 3.0), (0.03, 8.0))
SPIKES = ((0.025, 3.5), (0.015, 9.0))  # in three directions, 0.45 λ/D wide
NARROW = 0.02  # ratio of variances below which only the mean covariance of a convolving profile matters
SPIKE_ANGLES = (30.0, 90.0, 150.0)  # degrees from +x: the edges of the hexagonal segments


@dataclass(frozen=True)
class Bandpass:
    """A filter in front of a detector channel."""

    name: str
    filter: str
    pupil: str
    channel: str
    pivot: float
    bandwidth: float
    throughput: float

    @property
    def electrons_per_jansky(self) -> float:
        """Electrons per second that 1 Jy makes."""
        return 1e-26 * MIRROR_AREA * self.throughput * self.bandwidth / self.pivot / PLANCK


@dataclass(frozen=True)
class Blend:
    """A profile as a sum of Gaussians: share of the flux, and covariance xx, yy, xy of each."""

    weight: NDArray[np.float64]
    covariance: NDArray[np.float64]

    def convolved_with(self, other: "Blend") -> "Blend":
        """Return the convolution of two profiles, itself a sum of Gaussians.

        Parts of `other` that are far narrower than a part of this one act on it through their mean covariance only.
        """
        weight, covariance = [], []
        for share, shape in zip(self.weight, self.covariance, strict=True):
            narrow = other.covariance[:, :2].max(axis=1) < NARROW * shape[:2].min()
            weight.extend(share * other.weight[~narrow])
            covariance.extend(shape + other.covariance[~narrow])
            if narrow.any():
                total = other.weight[narrow].sum()
                weight.append(share * total)
                covariance.append(shape + other.weight[narrow] @ other.covariance[narrow] / total)
        return Blend(np.array(weight), np.array(covariance))


def bandpass(name: str) -> Bandpass:
    """Return a filter of NIRCam's by its common name; those in the pupil wheel count as filters here.

    Raises
    ------
    ParameterError
        If there is no such filter.
    """
    if name not in FILTERS:
        raise ParameterError(f"no NIRCam filter {name!r}; there are {', '.join(FILTERS)}")
    return Bandpass(name, *FILTERS[name])


def point_spread(band: Bandpass, det: Detector) -> Blend:
    """Return the point spread function at a detector's pixel scale (before the integration over pixels).

    Parameters
    ----------
    band : Bandpass
        The filter.
    det : Detector
        The detector.

    Returns
    -------
    Blend
        Widths in pixels; the weights add up to one.
    """
    pixel = np.sqrt(float(det.pixel_area(1023.5, 1023.5)))
    unit = np.degrees(band.pivot * 1e-6 / MIRROR_DIAMETER) * 3600 / pixel
    weight, covariance = [], []
    for share, width in ROUND:
        weight.append(share)
        covariance.append(((width * unit) ** 2, (width * unit) ** 2, 0.0))
    for share, length in SPIKES:
        for angle in np.radians(SPIKE_ANGLES):
            along, across = (length * unit) ** 2, max(0.45 * unit, 0.7) ** 2
            c, s = np.cos(angle), np.sin(angle)
            weight.append(share / len(SPIKE_ANGLES))
            covariance.append((along * c * c + across * s * s, along * s * s + across * c * c, (along - across) * c * s))
    return Blend(np.array(weight) / sum(weight), np.array(covariance))


def encircled_energy(blend: Blend, radius: float) -> float:
    """Return the share of the flux inside a circle, pixels; the tilted Gaussians are summed over their angles."""
    angle = np.linspace(0, np.pi, 181)[:-1]
    xx, yy, xy = blend.covariance.T[:, :, None]
    det = xx * yy - xy**2
    c, s = np.cos(angle), np.sin(angle)
    shape = (yy * c**2 - 2 * xy * c * s + xx * s**2) / det  # inverse covariance along each direction
    inside = np.mean((1 - np.exp(-0.5 * radius**2 * shape)) / shape / np.sqrt(det), axis=1)
    return float(inside @ blend.weight)


@functools.cache
def radius_enclosing(blend_key: tuple[str, str], share: float) -> float:
    """Return the radius in pixels that holds a share of the flux; `blend_key` is (filter, detector)."""
    from jwnb.sim.geometry import detector

    blend = point_spread(bandpass(blend_key[0]), detector(blend_key[1]))
    return float(brentq(lambda r: encircled_energy(blend, r) - share, 1e-3, 500.0))
