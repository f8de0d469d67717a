"""Finding the sources of a mosaic: what stands out of the sky, taken apart where it is blended."""

import warnings
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from astropy import units as u
from astropy.convolution import Gaussian1DKernel
from astropy.stats import gaussian_fwhm_to_sigma
from gwcs import WCS
from numpy.typing import NDArray
from scipy import ndimage

from jwnb.errors import ParameterError
from jwnb.kernels.sources import has_saddle, smooth
from jwnb.stage3.star_finding import sky_and_noise

__all__ = ["Detected", "Segmentation", "StarFinding", "find_segments", "find_stars_of", "smoothed"]

Image = NDArray[np.float32]
Mask = NDArray[np.bool_]

CORNERS = ("ll", "ul", "lr", "ur")
KRON = (2.5, 1.4, 0.0)


@dataclass(frozen=True)
class Segmentation:
    """How segments are found; the names are those of the step's options."""

    npixels: int = 25
    connectivity: int = 8
    deblend: bool = True
    nlevels: int = 32
    contrast: float = 0.001
    multithresh_mode: Literal["exponential", "linear", "sinh"] = "exponential"
    localbkg_width: int = 0
    apermask_method: Literal["correct", "mask", "none"] = "correct"
    kron_params: tuple[float, ...] = KRON
    kron: bool = False


@dataclass(frozen=True)
class StarFinding:
    """How the finders of stars choose."""

    finder: Literal["dao", "iraf"]
    separation: int
    sigma_radius: float
    sharpness: tuple[float, float]
    roundness: tuple[float, float]
    peakmax: float | None
    brightest: int | None


@dataclass(frozen=True)
class Detected:
    """What was found.

    Attributes
    ----------
    label : int32 (n,)
        Numbers from 1.
    x, y : float64 (n,)
        Centroids, pixels; the centre of the first is (0, 0).
    columns : dict
        What the finder measured, by the name of the catalogue's column; flux in the image's unit, angles and lengths as quantities.
    segments : int32 (ny, nx), or None
        Label of each pixel, 0 for none.
    kron : dict
        Kron columns, where asked for.
    meta : dict
        What photutils says of itself.
    """

    label: NDArray[np.int32]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    columns: dict[str, Any]
    segments: NDArray[np.int32] | None
    kron: dict[str, Any] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)


def find_segments(
    data: Image, err: Image, masked: Mask, wcs: WCS, *, boxsize: int, snr_threshold: float, fwhm: float, how: Segmentation
) -> Detected | None:
    """Find connected pixels above the sky, take blends apart, and measure the segments.

    Parameters
    ----------
    data, err : float32 (ny, nx)
        The image and its error, in one unit.
    masked : bool (ny, nx)
        Pixels to leave out.
    wcs : gwcs.WCS
        Of the image.
    boxsize : int
        Side of the boxes in which the sky is measured, pixels.
    snr_threshold : float
        In units of the noise of the sky.
    fwhm : float
        Of the Gaussian by which the image is smoothed, pixels; 0 for none.
    how : Segmentation
        The rest.

    Returns
    -------
    Detected, or None
        None where nothing stands out or no pixel can be used.
    """
    from photutils.segmentation import SourceCatalog

    measured = sky_and_noise(data, masked, boxsize=boxsize)
    if measured is None:
        return None
    sky, noise, _ = measured
    threshold = np.multiply(noise, np.float32(snr_threshold), out=noise)
    light = np.subtract(data, sky, out=sky)
    seen = smoothed(light, masked, fwhm) if fwhm > 0 else light
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of photutils: nothing found, and sources without flux, are said by the step
        segments = _connected((seen > threshold) & ~masked, how)
        if segments is None:
            return None
        if how.deblend:
            segments = _taken_apart(seen, segments, how)
        sources = SourceCatalog(
            light, segments, mask=masked, convolved_data=seen, error=err, wcs=wcs, local_bkg_width=how.localbkg_width,
            aperture_mask_method=how.apermask_method, kron_params=how.kron_params,
        )  # fmt: skip
        return _measured(sources, segments.data, kron=how.kron)


def find_stars_of(data: Image, masked: Mask, *, boxsize: int, snr_threshold: float, fwhm: float, how: StarFinding) -> Detected | None:
    """Find stars by DAOFIND or IRAF's starfind; arguments as for `find_segments`."""
    from photutils import use_future_column_names
    from photutils.detection import DAOStarFinder, IRAFStarFinder

    measured = sky_and_noise(data, masked, boxsize=boxsize)
    if measured is None:
        return None
    sky, noise, _ = measured
    kind = DAOStarFinder if how.finder == "dao" else IRAFStarFinder
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            finder = kind(
                np.median(np.float32(snr_threshold) * noise), fwhm, sigma_radius=how.sigma_radius, min_separation=how.separation,
                sharpness_range=how.sharpness, roundness_range=how.roundness, peak_max=how.peakmax, n_brightest=how.brightest,
            )  # fmt: skip
        except (TypeError, ValueError) as problem:
            raise ParameterError(f"starfinder={how.finder!r}: {problem}") from problem
        with use_future_column_names():
            found = finder(data - sky, mask=masked)
    if found is None:
        return None
    columns: dict[str, Any] = {"isophotal_flux": np.asarray(found["flux"])}
    if "orientation" in found.colnames:  # of IRAF's finder alone
        columns["orientation"] = u.Quantity(found["orientation"], u.deg)
    x, y = (np.asarray(found[name], float) for name in ("x_centroid", "y_centroid"))
    return Detected(np.asarray(found["id"]), x, y, columns, None, meta=dict(found.meta))


def smoothed(image: Image, masked: Mask, fwhm: float) -> Image:
    """Smooth by a Gaussian, missing pixels filled from those round them; beyond the border is zero."""
    profile = Gaussian1DKernel(fwhm * gaussian_fwhm_to_sigma).array
    out: Image = smooth(image, masked, np.ascontiguousarray(profile / profile.sum(), float))
    return out


def _connected(bright: Mask, how: Segmentation) -> Any:
    """Return the connected pixels as a `SegmentationImage`, or None; as photutils finds them, which looks at each speck of noise."""
    from photutils.segmentation import SegmentationImage

    specks, _ = ndimage.label(bright, structure=ndimage.generate_binary_structure(2, 2 if how.connectivity == 8 else 1))
    large = np.bincount(specks.ravel()) >= how.npixels
    large[0] = False
    return SegmentationImage((np.cumsum(large) * large).astype(np.int32)[specks]) if large.any() else None


def _taken_apart(seen: Image, segments: Any, how: Segmentation) -> Any:
    """Deblend the segments that have a saddle; photutils looks at these only, for most have none."""
    from photutils.segmentation import deblend_sources

    large = np.flatnonzero(segments.areas >= 2 * how.npixels)
    if not large.size:
        return segments
    labels = segments.labels[large].astype(np.int64)
    boxes = np.array([(s[0].start, s[0].stop, s[1].start, s[1].stop) for s in (segments.slices[k] for k in large)], np.int64)
    levels = _levels(seen, segments, large, how)
    blended = has_saddle(seen, segments.data, labels, boxes, levels, how.npixels, how.connectivity == 8)
    if not blended.any():
        return segments
    return deblend_sources(
        seen, segments, how.npixels, labels=labels[blended], n_levels=how.nlevels, contrast=how.contrast, mode=how.multithresh_mode,
        connectivity=how.connectivity, progress_bar=False,
    )  # fmt: skip


def _levels(seen: Image, segments: Any, which: NDArray[np.int64], how: Segmentation) -> Image:
    """Return the levels, between faintest and brightest pixel, at which photutils looks whether a segment falls apart."""
    lights = [seen[segments.slices[k]][segments.data[segments.slices[k]] == segments.labels[k]] for k in which]
    low, high = np.array([(light.min(), light.max()) for light in lights], np.float32).T
    even = np.linspace(low, high, how.nlevels + 2, axis=1, dtype=np.float32)
    share = (even - low[:, None]) / np.where(high > low, high - low, 1)[:, None]
    if how.multithresh_mode == "sinh":
        levels = np.sinh(share / 0.25) / np.sinh(4.0) * (high - low)[:, None] + low[:, None]
    elif how.multithresh_mode == "exponential":
        positive = (low > 0)[:, None]
        levels = np.where(positive, low[:, None] * np.where(positive, (high / np.where(low > 0, low, 1))[:, None], 1) ** share, even)
    else:
        levels = even
    return np.ascontiguousarray(levels[:, 1:-1], np.float32)


def _measured(sources: Any, segments: NDArray[np.int32], *, kron: bool) -> Detected:
    columns = {
        "isophotal_flux": sources.segment_flux,
        "isophotal_flux_err": sources.segment_flux_err,
        "isophotal_area": sources.area,
        "semimajor_sigma": sources.semimajor_axis,
        "semiminor_sigma": sources.semiminor_axis,
        "ellipticity": sources.ellipticity,
        "orientation": sources.orientation,
    }
    columns |= {f"sky_bbox_{corner}": getattr(sources, f"sky_bbox_{corner}") for corner in CORNERS}
    kron_columns = {name: getattr(sources, name) for name in ("kron_flux", "kron_flux_err", "kron_radius")} if kron else {}
    columns, kron_columns = ({k: np.atleast_1d(v) for k, v in c.items()} for c in (columns, kron_columns))
    label, x, y = (np.atleast_1d(v) for v in (sources.labels, sources.x_centroid, sources.y_centroid))
    return Detected(label, x, y, columns, segments, kron_columns, dict(sources.meta))
