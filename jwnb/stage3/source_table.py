"""The catalogue of sources as a table: its columns, their units and descriptions, in the order of today's products."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable
from gwcs import WCS
from numpy.typing import NDArray
from stdatamodels.jwst.datamodels import ImageModel

from jwnb._version import __version__
from jwnb.kernels.sources import summed_variance
from jwnb.record import ledger
from jwnb.stage3.correlated_noise import Correlation
from jwnb.stage3.source_detection import CORNERS, Detected
from jwnb.stage3.source_photometry import Circles, Sky, ab_magnitudes, circles, local_sky, nearest_neighbours, shapes

__all__ = ["Apertures", "Measured", "catalogue", "no_sources"]

Floats = NDArray[np.float64]
Image = NDArray[np.float32]
Columns = dict[str, tuple[Any, str]]  # name to values and description

_NORTHWARDS = 1 * u.arcsec  # step by which the direction of north is found
_PAIRS = ((0, 1), (1, 2), (0, 2))  # circles whose fluxes are compared
_CORNER = {"ll": "lower-left", "ul": "upper-left", "lr": "lower-right", "ur": "upper-right"}
_AXIS = (
    "1-sigma standard deviation along the {} axis of the 2D Gaussian function that has the same second-order central moments as the source"
)
_CORR = "{}, with the noise that drizzling made neighbouring pixels share{}"
_SETTINGS = ("date", "local_bkg_width", "aperture_mask_method", "kron_params")
_PACKAGES = ("Python", "numpy", "scipy", "astropy", "photutils", "gwcs")


@dataclass(frozen=True)
class Apertures:
    """Circles by encircled energy: percent, radius and correction (3,) of each; the ring for the sky. Lengths in pixels of the image."""

    energy: NDArray[np.int64]
    radius: Image
    correction: Image
    inner: np.floating[Any]
    outer: np.floating[Any]


@dataclass(frozen=True)
class Measured:
    """All that was measured of the sources."""

    found: Detected
    apertures: Apertures
    sky: Sky
    circles: tuple[Circles, ...]
    sharpness: Floats
    roundness: Image
    indices: tuple[Floats, ...]
    extended: NDArray[np.bool_]
    isophotal_err_corr: Floats

    @classmethod
    def of(
        cls,
        found: Detected,
        data: Image,
        err: Image,
        apertures: Apertures,
        correlation: Correlation,
        *,
        fwhm: float,
        star: tuple[float, float],
    ) -> "Measured":
        """Measure sources.

        Parameters
        ----------
        found : Detected
            Where they are.
        data, err : float32 (ny, nx)
            The image, with its sky, and its error in Jy.
        apertures : Apertures
            Circles.
        correlation : Correlation
            Of the noise of pixels.
        fwhm : float
            Of the Gaussian that sources are compared with, pixels.
        star : (float, float)
            Concentration indices above which a source is extended.
        """
        x, y = found.x, found.y
        sky = local_sky(data, x, y, inner=float(apertures.inner), outer=float(apertures.outer), correlation=correlation)
        light = tuple(circles(data, err, (x, y), radius=radius, sky=sky, correlation=correlation) for radius in apertures.radius)
        with np.errstate(divide="ignore", invalid="ignore"):
            indices = tuple(light[j].flux / light[i].flux for i, j in _PAIRS)
        extended = (indices[0] > star[0]) & (indices[1] > star[1])
        return cls(
            found, apertures, sky, light, *shapes(data, x, y, fwhm=fwhm), indices, extended, _isophotal_error(found, err, correlation)
        )


def no_sources(finder: str) -> Detected:
    """Return what is found where nothing is found."""
    none = np.empty(0)
    columns: dict[str, Any] = {"isophotal_flux": none}
    if finder == "segmentation":
        columns |= {"isophotal_flux_err": none.astype(np.float32), "isophotal_area": none * u.pix**2, "ellipticity": none * u.one}
        columns |= {"semimajor_sigma": none * u.pix, "semiminor_sigma": none * u.pix, "orientation": none * u.deg}
        columns |= {f"sky_bbox_{corner}": SkyCoord(none, none, unit="deg", frame="icrs") for corner in CORNERS}
    return Detected(np.empty(0, np.int32), none, none, columns, None)


def catalogue(image: ImageModel, measured: Measured, vega_offset: float) -> QTable:
    """Return the table.

    Parameters
    ----------
    image : ImageModel
        With its WCS and ``meta.wcsinfo``.
    measured : Measured
        What was measured, in Jy.
    vega_offset : float
        AB minus Vega magnitude.
    """
    found, wcs = measured.found, image.meta.wcs
    sky = _on_sky(wcs, found.x, found.y)
    nearest, distance = nearest_neighbours(found.label, found.x, found.y)
    columns: Columns = {
        "label": (found.label, "Unique source identification label number"),
        "xcentroid": (found.x, "X pixel value of the source centroid (0 indexed)"),
        "ycentroid": (found.y, "Y pixel value of the source centroid (0 indexed)"),
        "sky_centroid": (sky, "ICRS Sky coordinate of the source centroid"),
        **_in_circles(measured, vega_offset),
        **{
            f"CI_{measured.apertures.energy[j]}_{measured.apertures.energy[i]}": (
                index,
                f"Concentration index calculated as (aper{measured.apertures.energy[j]}_flux / aper{measured.apertures.energy[i]}_flux)",
            )
            for (i, j), index in zip(_PAIRS, measured.indices, strict=True)
        },
        "is_extended": (measured.extended, "Flag indicating whether the source is extended"),
        "sharpness": (measured.sharpness, "The DAOFind source sharpness statistic"),
        "roundness": (measured.roundness, "The DAOFind source roundness statistic"),
        "nn_label": (nearest, "The label number of the nearest neighbor"),
        "nn_dist": (distance * u.pix, "The distance in pixels to the nearest neighbor"),
        **_isophotal(measured, vega_offset),
        **_outlines(image, found),
        **_with_correlation(measured),
        **_of_kron(found),
    }
    table = QTable()
    for name, (values, description) in columns.items():
        table[name] = values
        table[name].info.description = description
        if (form := _format(name)) is not None:
            table[name].info.format = form
    table.meta |= _meta(image, measured, vega_offset)
    return table


def _in_circles(measured: Measured, vega_offset: float) -> Columns:
    sky, last, energy = measured.sky, measured.circles[-1], measured.apertures.energy
    columns: Columns = {
        "aper_bkg_flux": (
            sky.level * u.Jy,
            "The local background value calculated as the sigma-clipped median value in the background annulus aperture",
        ),
        "aper_bkg_flux_err": (sky.error * u.Jy, "The standard error of the sigma-clipped median background value"),
    }
    whole = measured.apertures.correction[-1]
    light = [(f"aper{e}", c.flux, c.error) for e, c in zip(energy, measured.circles, strict=True)]
    light.append(("aper_total", whole * last.flux, whole * last.error))
    magnitudes = {name: ab_magnitudes(flux, error) for name, flux, error in light}
    for kind, offset in (("flux", None), ("abmag", 0.0), ("vegamag", vega_offset)):
        for name, flux, error in light:
            values = (flux * u.Jy, error * u.Jy) if offset is None else (magnitudes[name][0] - offset, magnitudes[name][1])
            for suffix, value in zip(("", "_err"), values, strict=True):
                columns[f"{name}_{kind}{suffix}"] = value, _text_of_circle(name, kind, suffix, energy[-1])
    return columns


def _text_of_circle(name: str, kind: str, suffix: str, last: int) -> str:
    what = {"flux": "flux", "abmag": "AB magnitude", "vegamag": "Vega magnitude"}[kind] + (" error" if suffix else "")
    if name == "aper_total":
        return (
            f"Total aperture-corrected {what} based on the {last}% encircled energy circular aperture; "
            "should be used only for unresolved sources."
        )
    return f"{what[0].upper()}{what[1:]} within the {name.removeprefix('aper')}% encircled energy circular aperture"


def _isophotal(measured: Measured, vega_offset: float) -> Columns:
    got = measured.found.columns
    flux, error = got["isophotal_flux"], got.get("isophotal_flux_err", np.full(len(measured.found.x), np.nan))
    magnitude, uncertainty = ab_magnitudes(flux, error)
    if measured.found.segments is None and "isophotal_flux_err" not in got:
        error_column: Any = error
    else:
        error_column = error * u.Jy
    return {
        "isophotal_flux": (flux * u.Jy, "Isophotal flux"),
        "isophotal_flux_err": (error_column, "Isophotal flux error"),
        "isophotal_abmag": (magnitude, "Isophotal AB magnitude"),
        "isophotal_abmag_err": (uncertainty, "Isophotal AB magnitude error"),
        "isophotal_vegamag": (magnitude - vega_offset, "Isophotal Vega magnitude"),
        "isophotal_vegamag_err": (uncertainty, "Isophotal Vega magnitude error"),
    }


def _outlines(image: ImageModel, found: Detected) -> Columns:
    """Return area, axes, angles and corners; NaN where the finder does not measure them."""
    unknown = np.full(len(found.x), np.nan)
    orientation = found.columns.get("orientation", unknown)
    angles = u.Quantity(orientation, u.deg)
    sky_angles = (180 * u.deg - _north(image) * u.deg + angles) % (360 * u.deg)
    texts: Columns = {
        "isophotal_area": (None, "Isophotal area"),
        "semimajor_sigma": (None, _AXIS.format("semimajor")),
        "semiminor_sigma": (None, _AXIS.format("semiminor")),
        "ellipticity": (None, "1 minus the ratio of the 1-sigma lengths of the semimajor and semiminor axes"),
        "orientation": (orientation, "The angle (degrees) between the positive X axis and the major axis (increases counter-clockwise)"),
        "sky_orientation": (sky_angles, "The position angle (degrees) from North of the major axis"),
    }
    for corner in CORNERS:
        texts[f"sky_bbox_{corner}"] = None, f"Sky coordinate of the {_CORNER[corner]} vertex of the minimal bounding box of the source"
    return {name: (found.columns.get(name, unknown) if v is None else v, text) for name, (v, text) in texts.items()}


def _with_correlation(measured: Measured) -> Columns:
    columns: Columns = {}
    with_sky = " and the error of the local background"
    energy = measured.apertures.energy
    for e, circle in zip(energy, measured.circles, strict=True):
        columns[f"aper{e}_flux_err_corr"] = circle.error_corr * u.Jy, _CORR.format(_text_of_circle(f"aper{e}", "flux", "_err", e), with_sky)
    total = measured.apertures.correction[-1] * measured.circles[-1].error_corr
    text = f"Total aperture-corrected flux error based on the {energy[-1]}% encircled energy circular aperture"
    columns["aper_total_flux_err_corr"] = total * u.Jy, _CORR.format(text, with_sky)
    columns["isophotal_flux_err_corr"] = measured.isophotal_err_corr * u.Jy, _CORR.format("Isophotal flux error", "")
    return columns


def _of_kron(found: Detected) -> Columns:
    texts = {
        "kron_flux": "Flux in the Kron ellipse",
        "kron_flux_err": "Error of the flux in the Kron ellipse",
        "kron_radius": "Kron radius",
    }
    return {name: (values if name == "kron_radius" else np.asarray(values) * u.Jy, texts[name]) for name, values in found.kron.items()}


def _isophotal_error(found: Detected, err: Image, correlation: Correlation) -> Floats:
    if found.segments is None:
        return np.full(len(found.x), np.nan)
    total = np.zeros(int(found.label.max(initial=0)) + 1)
    summed_variance(err, found.segments, correlation.table, total)
    return np.sqrt(np.maximum(total, 0.0))[found.label]


def _on_sky(wcs: WCS, x: Floats, y: Floats) -> SkyCoord:
    if not len(x):
        return SkyCoord(x, y, unit="deg", frame="icrs")
    return wcs.pixel_to_world(x, y)


def _north(image: ImageModel) -> float:
    """Return the direction of north at the reference pixel, in degrees from the x axis."""
    wcs, info = image.meta.wcs, image.meta.wcsinfo
    rows, columns = image.data.shape
    x = (columns - 1) / 2 if info.crpix1 is None else info.crpix1 - 1
    y = (rows - 1) / 2 if info.crpix2 is None else info.crpix2 - 1
    ra, dec = wcs(x, y, with_bounding_box=False)
    here = SkyCoord(ra, dec, unit="deg")
    there = here.directional_offset_by(0.0, _NORTHWARDS)
    (x0, y0), (x1, y1) = (wcs.invert(p.ra.deg, p.dec.deg, with_bounding_box=False) for p in (here, there))
    return float(np.degrees(np.arctan2(y1 - y0, x1 - x0)))


def _format(name: str) -> str | None:
    """Return how a column is written: as many digits as today's catalogues have."""
    if name in ("xcentroid", "ycentroid") or "CI_" in name:
        return ".4f"
    if "mag" in name or name in ("nn_dist", "sharpness", "roundness"):
        return ".6f"
    if name in ("semimajor_sigma", "semiminor_sigma", "ellipticity", "orientation", "sky_orientation"):
        return ".6f"
    return ".6e" if "flux" in name else None


def _meta(image: ImageModel, measured: Measured, vega_offset: float) -> dict[str, Any]:
    theirs, apertures = measured.found.meta, measured.apertures
    versions = theirs.get("version") or theirs.get("versions") or {}
    return {
        **{name: theirs[name] for name in _SETTINGS if name in theirs},
        "version": {name: versions[name] for name in _PACKAGES if name in versions} | {"jwnb": __version__},
        "aperture_params": {
            "aperture_ee": apertures.energy,
            "aperture_radii": apertures.radius,
            "aperture_corrections": apertures.correction,
            "bkg_aperture_inner_radius": apertures.inner,
            "bkg_aperture_outer_radius": apertures.outer,
        },
        "abvega_offset": vega_offset,
        "history": [f"{e['step']} {e['status']}" for e in ledger(image)],
    }
